"""Match the columns of a count matrix to the genes of a vocabulary, and report what was left out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import compress
from typing import Any, Final, NoReturn, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celloquy.errors import ArgumentError, GeneCoverageWarning, GenesError, MixedSpeciesWarning
from celloquy.genes.identify import IdentifiedGenes, as_names, check_species, choice_of, identify_given
from celloquy.genes.lookup import REASONS, Match
from celloquy.genes.orthology import orthologs
from celloquy.genes.species import SpeciesGuess, detect_species, names_of_other_species
from celloquy.genes.spellings import other_species
from celloquy.genes.tables import Species

REFUSED_BELOW: Final = 0.05
WARNED_BELOW: Final = 0.5
_EXAMPLES = 5
# Rules besides the reasons of identify_genes. "own id": the name is an id of the vocabulary. "same symbol": the
# vocabulary has the symbol under another Ensembl id.
_RULES: Final = ("own id", *REASONS, "same symbol")


class Genes(Protocol):
    """The columns of a vocabulary that an alignment reads; see :class:`celloquy.GeneVocabulary`."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Id of each row."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each row, empty if not known."""

    @property
    def species(self) -> tuple[Species, ...]:
        """Species of which it has genes."""

    @property
    def pairs(self) -> int:
        """Number of rows that orthologs share."""

    def genes(self) -> Iterator[tuple[int, str, str, str]]:
        """Row, id, symbol and species of every gene."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Duplicate:
    """A gene that has several columns; their counts are summed."""

    ensembl_id: str
    symbol: str
    names: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class AlignmentReport:
    """Report of the matched and the left-out columns of a count matrix.

    Attributes
    ----------
    names, vocabulary_size
        Number of columns, and of genes in the vocabulary.
    matched, genes
        Number of columns that match a gene of the vocabulary, and number of the genes that they match.
    species
        Species of the columns: ``"human"``, ``"mouse"``, ``"mixed"`` or ``"unknown"``.
    rules
        Number of matched columns by rule: ``own id`` (the name is an id of the vocabulary), the reasons of
        :func:`celloquy.identify_genes`, and ``same symbol`` (the vocabulary has the symbol under another Ensembl id).
    share, weighed_by
        Coverage by matched columns, and whether it is a share of the ``"counts"`` or, if no counts were given, of the
        ``"names"``.
    duplicates
        Genes that have several columns. The counts of these columns are summed.
    yielded
        Aliases that were left out because their gene also has a column under an id, a symbol or a former symbol: within
        one matrix such an alias is the name of another gene.
    ambiguous
        Names that may mean several genes, and these genes; left out.
    unknown
        Names that no table knows; left out.
    elsewhere
        Names of known genes that the vocabulary does not have; left out.
    not_genes
        Features that the object says are no genes, such as antibodies; left out, and in none of the numbers above.

    Examples
    --------
    >>> import celloquy as cq
    >>> genes = cq.GeneVocabulary.from_names(["CD3D", "MS4A1", "NKG7"])
    >>> report = genes.align(["NKG7", "GFP"], warn=False).report
    >>> report.matched, report.unknown
    (1, ('GFP',))
    """

    names: int
    vocabulary_size: int
    matched: int
    genes: int
    species: str
    rules: Mapping[str, int]
    share: float
    weighed_by: str
    duplicates: tuple[Duplicate, ...]
    yielded: tuple[str, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...]
    elsewhere: tuple[str, ...]
    not_genes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for ``uns``, JSON or R."""
        return asdict(self)

    def __repr__(self) -> str:
        lines = [
            f"{self.matched:,} of {self.names:,} columns are genes of the vocabulary ({self.genes:,} of its "
            f"{self.vocabulary_size:,}), with {self.share:.1%} of the {self.weighed_by}; species: {self.species}",
            f"  matched by {', '.join(f'{rule} {count:,}' for rule, count in self.rules.items()) or 'nothing'}",
        ]
        if self.duplicates:
            shown = [f"{' + '.join(one.names)} → {one.symbol or one.ensembl_id}" for one in self.duplicates]
            lines.append(f"  {len(shown):,} genes have several columns, whose counts are summed: {_examples(shown)}")
        if self.yielded:
            lines.append(
                f"  {len(self.yielded):,} aliases of genes with their own column, left out: {_examples(self.yielded)}"
            )
        if self.ambiguous:
            shown = [f"{name} ({choice_of(ids)})" for name, ids in self.ambiguous.items()]
            lines.append(f"  {len(shown):,} ambiguous, left out: {_examples(shown)}")
        if self.unknown:
            lines.append(f"  {len(self.unknown):,} unknown, left out: {_examples(self.unknown)}")
        if self.elsewhere:
            lines.append(f"  {len(self.elsewhere):,} known, but not in the vocabulary: {_examples(self.elsewhere)}")
        if self.not_genes:
            lines.append(f"  {len(self.not_genes):,} features that are no genes, left out: {_examples(self.not_genes)}")
        return "\n".join(lines)


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
        _refuse_mixture(identified, weights)
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
        _refuse_other_species(names)
    _check_species_agree(vocabulary, names, report)
    (_check_presence if selected else _check_coverage)(vocabulary, names, report, warn=warn)
    if guess.species == "mixed" and warn:
        _warn_of_mixture(vocabulary, identified, weighed if weighed is weights else None)
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


def _refuse_other_species(names: tuple[str, ...]) -> NoReturn:
    foreign = names_of_other_species(list(names))
    spelled = Counter(other_species(name) or "zebrafish or another species with small letters" for name in foreign)
    raise GenesError(
        "These are genes of neither human nor mouse.",
        found=f"{len(foreign):,} of {len(names):,} names spelled as in {spelled.most_common(1)[0][0]}, such as "
        + _examples(foreign),
        expected="Ensembl ids or symbols of human or mouse genes",
        remedy="name human or mouse orthologs in `adata.var_names`; if these are human symbols in small letters, "
        "adata.var_names = adata.var_names.str.upper().",
        argument="species",
    )


def _refuse_mixture(identified: IdentifiedGenes, weights: NDArray[np.float64] | None) -> NoReturn:
    """Refuse genes of both species: the counts of orthologs would be summed, which are of different cells."""
    shares = identified.shares(weights)
    raise GenesError(
        "These are genes of human and mouse together.",
        found=" and ".join(f"{share:.1%} in {one} genes" for one, share in shares.items())
        + f" of the {'names' if weights is None else 'counts'}",
        expected="cells of one species at a time: to this vocabulary orthologs are one gene",
        remedy="split the object: `cq.identify_genes(adata.var_names).frame['species']` tells the columns apart, and "
        "the share of a cell's counts in each species' columns tells the cells; pass each species' cells with its own "
        "columns.",
    )


def _check_species_agree(vocabulary: Genes, names: tuple[str, ...], report: AlignmentReport) -> None:
    if report.species not in ("human", "mouse") or not vocabulary.species or report.species in vocabulary.species:
        return
    if report.share >= WARNED_BELOW:
        return
    (other,) = vocabulary.species
    known = set(vocabulary.ids)
    mapped = sum(pair.ortholog_id in known for pair in orthologs(names, to=other).pairs)
    if mapped < REFUSED_BELOW * len(names):
        raise GenesError(
            f"These are {report.species} genes, and the vocabulary is of {other}.",
            found=f"{len(names):,} {report.species} names, of which {mapped:,} have a one-to-one ortholog in it",
            expected=f"{other} genes, or genes with orthologs among the {len(vocabulary):,} of the vocabulary",
            remedy=f"take a model of {report.species} genes, or cells in which more genes were measured.",
            argument="species",
        )
    raise GenesError(
        f"These are {report.species} genes, and the vocabulary is of {other}.",
        found=f"{report.names:,} names, {report.species} by their spelling or ids",
        expected=f"{other} genes; genes are mapped to another species only on request",
        remedy='pass species="auto" to map them through one-to-one orthologs, or map the genes yourself with '
        f'`cq.orthologs(adata.var_names, to="{other}")`.',
        argument="species",
    )


def _warn_of_mixture(vocabulary: Genes, identified: IdentifiedGenes, weights: NDArray[np.float64] | None) -> None:
    """Say how much is of each species where both are in one object, as in barnyard experiments and xenografts."""
    shares = " and ".join(f"{share:.1%} {one}" for one, share in identified.shares(weights).items())
    read = f"Only those of {vocabulary.species[0]} are" if len(vocabulary.species) == 1 else "Both are"
    warnings.warn(
        f"These are genes of both human and mouse: {shares} by their {'names' if weights is None else 'counts'}.\n"
        f"{read} read: keep the cells of one species and its genes, unless that is meant.",
        MixedSpeciesWarning,
        stacklevel=4,
    )


def _check_coverage(vocabulary: Genes, names: tuple[str, ...], report: AlignmentReport, *, warn: bool) -> None:
    if report.share < REFUSED_BELOW:
        expected = [symbol or gene for gene, symbol in zip(vocabulary.ids, vocabulary.symbols, strict=True)]
        raise GenesError(
            f"Only {report.share:.1%} of the {report.weighed_by} belong to genes of the vocabulary.",
            found=f"{len(names):,} names such as {_examples(names)}",
            expected=f"Ensembl ids or symbols of {len(vocabulary):,} genes such as {vocabulary.ids[0]} ({expected[0]})"
            if len(vocabulary)
            else "a vocabulary with genes; this one is empty",
            remedy="put Ensembl ids or gene symbols into `adata.var_names`; `cq.identify_genes(adata.var_names)` shows "
            "what each name became.",
        )
    if report.share < WARNED_BELOW and warn:
        warnings.warn(
            f"Only {report.share:.1%} of the {report.weighed_by} belong to genes of the vocabulary; the rest is left "
            f"out.\n{report!r}",
            GeneCoverageWarning,
            stacklevel=4,
        )


def _check_presence(vocabulary: Genes, names: tuple[str, ...], report: AlignmentReport, *, warn: bool) -> None:
    """Check that most genes of a selection are among the names, however small their share of the counts is."""
    share = report.genes / max(1, len(vocabulary))
    if share < REFUSED_BELOW:
        raise GenesError(
            f"Only {report.genes:,} of the {len(vocabulary):,} genes that the model reads are among the names.",
            found=f"{len(names):,} names such as {_examples(names)}",
            expected=f"Ensembl ids or symbols of genes such as {_examples(vocabulary.ids)}",
            remedy="put Ensembl ids or gene symbols into `adata.var_names`; `cq.identify_genes(adata.var_names)` shows "
            "what each name became.",
        )
    if share < WARNED_BELOW and warn:
        warnings.warn(
            f"Only {report.genes:,} of the {len(vocabulary):,} genes that the model reads are among the names.\n"
            f"{report!r}",
            GeneCoverageWarning,
            stacklevel=4,
        )


def _examples(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:_EXAMPLES]) + (", …" if len(listed) > _EXAMPLES else "")
