"""Match the columns of a count matrix to the genes of a vocabulary, and report what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celloquy.errors import ArgumentError, GenesError
from celloquy.genes.coverage import (
    check_coverage,
    check_presence,
    check_species_agree,
    refuse_mixture,
    refuse_other_species,
    warn_of_mixture,
)
from celloquy.genes.identify import as_names, check_species, identify_given
from celloquy.genes.lookup import REASONS, Match
from celloquy.genes.reports import AlignmentReport, Duplicate, Genes
from celloquy.genes.species import SpeciesGuess, detect_species
from celloquy.genes.tables import Species

# Rules besides the reasons of identify_genes. "own id": the name is an id of the vocabulary. "same symbol": the
# vocabulary has the symbol under another Ensembl id.
_RULES: Final = ("own id", *REASONS, "same symbol")


@dataclass(frozen=True)
class Alignment:
    """A column map and its report.

    Attributes
    ----------
    columns
        ``(names,)`` int64: place of each name in the vocabulary, or -1.
    report
        Report of which columns were matched, by which rule, which were summed and which were left out.

    Examples
    --------
    >>> import celloquy as cq
    >>> genes = cq.GeneVocabulary.from_names(["CD3D", "MS4A1", "NKG7"])
    >>> genes.align(["NKG7", "CD3D"]).columns.tolist()
    [2, 0]
    """

    columns: NDArray[np.int64]
    report: AlignmentReport


def align(
    vocabulary: Genes,
    var_names: Iterable[str],
    counts_per_gene: ArrayLike | None,
    species: str | None,
    *,
    selected: bool = False,
    warn: bool = True,
) -> Alignment:
    """Match names to a vocabulary; see :meth:`celloquy.GeneVocabulary.align`."""
    names = as_names(var_names)
    weights = _weights(counts_per_gene, len(names))
    if not names:
        raise GenesError(
            "There are no gene names to align.",
            found="an empty list",
            expected="the names of the columns of a count matrix",
            remedy="pass `adata.var_names` of an object that has genes.",
            argument="var_names",
        )
    guess = _guess_species(vocabulary, names, check_species(species))
    identified = identify_given(names, guess)
    if guess.species == "mixed" and vocabulary.pairs:
        refuse_mixture(identified, weights)
    matcher = _Matcher(vocabulary, guess.species)
    placed = [matcher.place(name, match) for name, match in zip(names, identified, strict=True)]
    # An alias yields to a column that names the same gene by its id or symbol.
    named_otherwise = {place for place, rule in placed if rule != "alias"}
    yielded = [rule == "alias" and place in named_otherwise for place, rule in placed]
    placed = [(-1, rule) if yields else (place, rule) for (place, rule), yields in zip(placed, yielded, strict=True)]
    columns = np.fromiter((place for place, _ in placed), dtype=np.int64, count=len(names))
    matched = columns >= 0
    # Counts that are all zero say nothing about coverage.
    weighed = weights if weights is not None and weights.sum() > 0 else np.ones(len(names))
    rules = Counter(rule for place, rule in placed if place >= 0)
    unmatched = [
        (name, match)
        for name, match, has_place, yields in zip(names, identified, matched, yielded, strict=True)
        if not (has_place or yields)
    ]
    report = AlignmentReport(
        names=len(names),
        vocabulary_size=len(vocabulary),
        matched=int(matched.sum()),
        genes=len(set(columns[matched].tolist())),
        species=guess.species,
        rules={rule: rules[rule] for rule in _RULES if rules[rule]},
        share=float(weighed[matched].sum() / weighed.sum()),
        weighed_by="counts" if weighed is weights else "names",
        duplicates=_duplicates(vocabulary, names, columns),
        yielded=tuple(compress(names, yielded)),
        ambiguous={name: match.candidates for name, match in unmatched if match.reason == "ambiguous"},
        unknown=tuple(name for name, match in unmatched if match.reason == "unknown"),
        elsewhere=tuple(name for name, match in unmatched if match.ensembl_id),
    )
    if guess.species == "unknown" and guess.certain:
        refuse_other_species(names)
    check_species_agree(vocabulary, names, report)
    (check_presence if selected else check_coverage)(vocabulary, names, report, warn=warn)
    if guess.species == "mixed" and warn:
        warn_of_mixture(vocabulary, identified, weighed if weighed is weights else None)
    return Alignment(columns, report)


class _Matcher:
    """Places names in a vocabulary: by its own ids, then by Ensembl id, then by symbol."""

    def __init__(self, vocabulary: Genes, species: str) -> None:
        self._species = species
        self._place_of_id: dict[str, int] = {}
        self._place_of_symbol: dict[tuple[str, str], int] = {}
        for place, gene, symbol, of in vocabulary.genes():
            self._place_of_id[gene] = place
            if symbol:
                # A symbol that the vocabulary has twice names neither of the two.
                self._place_of_symbol[symbol, of] = -1 if (symbol, of) in self._place_of_symbol else place

    def place(self, name: str, match: Match) -> tuple[int, str]:
        """Return the place in the vocabulary, or -1, and the rule that led there."""
        for own in (name, match.read_as if match.reason == "replaced" else name):
            # A vocabulary of an older release still has an id that the current one has replaced.
            if own in self._place_of_id and own != match.ensembl_id:
                return self._place_of_id[own], "own id"
        if match.ensembl_id:
            place = self._place_of_id.get(match.ensembl_id, -1)
            if place >= 0:
                return place, match.reason
            # Ids change between releases, and copies of a gene have ids of their own; the symbol stays the same.
            symbol = match.symbol
        else:
            # The name is ambiguous or not in the tables, but the vocabulary may have one gene with exactly this symbol.
            symbol = name
        place = self._place_of_symbol.get((symbol, match.species or self._species), -1)
        return place, "same symbol"


def _guess_species(vocabulary: Genes, names: tuple[str, ...], species: Species | None) -> SpeciesGuess:
    if species:
        return SpeciesGuess(species, certain=True)
    guess = detect_species(names)
    if not guess.certain and len(vocabulary.species) == 1:
        # A few names in capitals fit human and mouse equally well; the vocabulary decides.
        return SpeciesGuess(vocabulary.species[0], certain=False)
    return guess


def _weights(counts_per_gene: ArrayLike | None, names: int) -> NDArray[np.float64] | None:
    if counts_per_gene is None:
        return None
    weights = np.asarray(counts_per_gene, dtype=np.float64).ravel()
    if weights.shape != (names,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ArgumentError(
            "`counts_per_gene` does not fit the names.",
            found=f"{weights.size} values" if weights.size != names else "negative or missing values",
            expected=f"{names} sums of counts, one for each name",
            remedy="pass the column sums of the count matrix, in the order of its names.",
            argument="counts_per_gene",
        )
    return weights


def _duplicates(vocabulary: Genes, names: tuple[str, ...], columns: NDArray[np.int64]) -> tuple[Duplicate, ...]:
    sharing: dict[int, list[str]] = {}
    for name, place in zip(names, columns.tolist(), strict=True):
        if place >= 0:
            sharing.setdefault(place, []).append(name)
    return tuple(
        Duplicate(vocabulary.ids[place], vocabulary.symbols[place], tuple(sharing[place]))
        for place in sorted(sharing)
        if len(sharing[place]) > 1
    )
