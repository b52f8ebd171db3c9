"""``identify_genes``: which gene each name stands for, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from celloquy.errors import GenesError
from celloquy.genes.lookup import REASONS, Match, match_name
from celloquy.genes.species import SpeciesGuess, detect_species
from celloquy.genes.tables import PREFIX, SPECIES, Species, gene_table

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 5
# Numbered names of one gene from which on they are no copies of its name; and how many names without the plain one
# beside them are too many for copies: more than a few, and a fifth of all.
_SEVERAL, _FEW, _MANY = 3, 5, 0.2
_EXPLANATION = {
    "exact": "as it stands",
    "version": "without the version of its Ensembl id",
    "replaced": "by an id that the gene had before",
    "retired": "a gene that the current annotation no longer has",
    "outside": "an Ensembl id that is not in the tables, kept",
    "case": "in another case",
    "previous": "by a former symbol",
    "alias": "by an alias",
    "suffix": "without the number that made it unique",
    "mangled": "repaired (spreadsheet, R, Seurat or genome prefix)",
    "ambiguous": "ambiguous, left out",
    "unknown": "unknown",
}


@dataclass(frozen=True, repr=False)
class IdentifiedGenes:
    """The gene that each name stands for, in the order of the names.

    Attributes
    ----------
    names
        The names as given.
    matches
        One match for each name: ``ensembl_id``, ``symbol``, ``species``, ``reason``, ``read_as``, ``candidates``.
    species
        Species of the names together: ``"human"``, ``"mouse"``, ``"mixed"`` or ``"unknown"``.

    Examples
    --------
    >>> import celloquy as cq
    >>> genes = cq.identify_genes(["CD3D", "ENSG00000141510.18"])
    >>> genes.species, genes.ids
    ('human', ('ENSG00000167286', 'ENSG00000141510'))
    """

    names: tuple[str, ...]
    matches: tuple[Match, ...]
    species: str

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ensembl id of each name, empty where there is none."""
        return tuple(match.ensembl_id for match in self.matches)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of names by reason, in the order of the list in :func:`identify_genes`."""
        tally = Counter(match.reason for match in self.matches)
        return {reason: tally[reason] for reason in REASONS if tally[reason]}

    @property
    def identified(self) -> int:
        """Number of names that have an Ensembl id."""
        return sum(bool(match.ensembl_id) for match in self.matches)

    def with_reason(self, reason: str) -> tuple[str, ...]:
        """Return the names that have one reason."""
        return tuple(name for name, match in zip(self.names, self.matches, strict=True) if match.reason == reason)

    def shares(self, counts: ArrayLike | None = None) -> dict[Species, float]:
        """Return the share of the counts that lies in the genes of each species.

        Parameters
        ----------
        counts
            Sum of the counts of each name, ``(names,)``; by default each name counts once.
        """
        species = np.array([match.species for match in self.matches], dtype=object)
        weights = np.ones(len(self)) if counts is None else np.asarray(counts, dtype=np.float64)
        total = max(float(weights.sum()), np.finfo(np.float64).tiny)
        return {one: float(weights[species == one].sum()) / total for one in SPECIES}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per name; ``candidates`` reads ``"ENSG… SYMBOL, ENSG… SYMBOL"``."""
        import pandas as pd

        rows = [
            (name, m.ensembl_id, m.symbol, m.species, m.reason, m.read_as, ", ".join(map(labelled, m.candidates)))
            for name, m in zip(self.names, self.matches, strict=True)
        ]
        columns = ["name", "ensembl_id", "symbol", "species", "reason", "read_as", "candidates"]
        return pd.DataFrame(rows, columns=columns, dtype=object)

    def __repr__(self) -> str:
        share = f" ({self.identified / len(self):.1%})" if self.names else ""
        lines = [f"{self.identified:,} of {len(self):,} names identified{share}; species: {self.species}"]
        for reason, count in self.counts.items():
            shown = "" if reason == "exact" else f": {', '.join(map(self._described, self._indices(reason)))}"
            more = ", …" if shown and count > _EXAMPLES else ""
            lines.append(f"  {count:>7,} {reason:<9} {_EXPLANATION[reason]}{shown}{more}")
        return "\n".join(lines)

    def _indices(self, reason: str) -> list[int]:
        return [index for index, match in enumerate(self.matches) if match.reason == reason][:_EXAMPLES]

    def _described(self, index: int) -> str:
        name, match = self.names[index], self.matches[index]
        if match.candidates and not match.ensembl_id:
            return f"{name} ({choice_of(match.candidates)})"
        return f"{name} → {match.symbol or match.ensembl_id}" if match.ensembl_id not in ("", name) else name


def identify_genes(names: Iterable[str], *, species: Species | None = None) -> IdentifiedGenes:
    """Find the gene that each name stands for, and say why.

    It works offline, from tables of GENCODE 48 (human) and M37 (mouse), of the releases before them, and of HGNC's and
    NCBI's former symbols and aliases.

    Parameters
    ----------
    names
        Ensembl ids, symbols, or any mixture, such as ``adata.var_names``.
    species
        Species of the names, ``"human"`` or ``"mouse"``; by default it is detected from them. Ensembl ids keep the
        species that they name.

    Returns
    -------
    IdentifiedGenes
        Printing it gives a summary; ``.frame`` is a table with the columns ``name``, ``ensembl_id``, ``symbol``,
        ``species``, ``reason``, ``read_as`` and ``candidates``. The reasons, in the order in which they are tried:

        ``exact``
            an Ensembl id of the tables or a current symbol.
        ``version``
            an Ensembl id followed by its version.
        ``replaced``
            an Ensembl id that the annotation has given up; it becomes the id that bears the same symbol now.
        ``retired``
            an id or a symbol of a gene that earlier releases had and the current one does not have.
        ``outside``
            a well-formed Ensembl id that the tables lack; it is kept and still matches a vocabulary that has it.
        ``case``
            a current symbol in another case (``ACTB`` in mouse data).
        ``previous``, ``alias``
            a symbol that earlier annotations used; a synonym from the literature.
        ``suffix``
            a name that ``make.unique`` numbered (``MATR3.1``, ``MATR3-1``); the number is removed, unless the names
            beside it show that not copies but features of a gene are numbered, such as guides.
        ``mangled``
            a name that a spreadsheet (``3-Mar``), R (``HLA.A``, ``X7SK``), Seurat (``5S-rRNA``) or a genome prefix
            (``mm10___Actb``) changed.
        ``ambiguous``, ``unknown``
            no gene; an ambiguous name lists its ``candidates``.

    Notes
    -----
    No ambiguous name is resolved silently. A current symbol wins over a former symbol or an alias, and a former symbol
    wins over an alias; the genes that lose in the latter case are listed in ``candidates``. If several ids have one
    current symbol, the name means the only protein-coding one, else the one that has borne the symbol for longest, else
    the one by which ortholog databases know the gene; the others are listed in ``candidates``. All other names are
    ambiguous.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.identify_genes(["ENSG00000141510.18", "SEPT2", "1-Mar", "HLA.A"]).frame[["name", "symbol", "reason"]]
                     name   symbol     reason
    0  ENSG00000141510.18     TP53    version
    1               SEPT2  SEPTIN2   previous
    2               1-Mar           ambiguous
    3               HLA.A    HLA-A    mangled
    """
    given = as_names(names)
    chosen = check_species(species)
    return identify_given(given, SpeciesGuess(chosen, certain=True) if chosen else detect_species(given))


def identify_given(names: tuple[str, ...], guess: SpeciesGuess) -> IdentifiedGenes:
    """Identify names whose species is known."""
    searched = tuple(one for one in SPECIES if guess.species in (one, "mixed", "unknown"))
    matches = tuple(match_name(name, searched) for name in names)
    return IdentifiedGenes(names, _without_numbered_features(names, matches), guess.species)


def _without_numbered_features(names: tuple[str, ...], matches: tuple[Match, ...]) -> tuple[Match, ...]:
    """Matches in which features that are numbered by gene, such as guides, are ambiguous.

    ``make.unique`` numbers the few columns that share a name, nearly always the second of two. Guides and probes are
    several for each gene, or have no column of the gene beside them.
    """
    numbered: dict[str, set[str]] = {}
    for name, match in zip(names, matches, strict=True):
        if match.reason == "suffix":
            numbered.setdefault(match.ensembl_id, set()).add(name)
    plain = {match.ensembl_id for match in matches if match.reason != "suffix"}
    alone = [gene for gene in numbered if gene not in plain]
    no_copies = len(alone) > max(_FEW, _MANY * len(names))
    features = {gene for gene, of_gene in numbered.items() if len(of_gene) >= _SEVERAL}
    features |= set(alone) if no_copies else set()
    if not features:
        return matches
    return tuple(
        Match("", "", match.species, "ambiguous", candidates=(match.ensembl_id,))
        if match.reason == "suffix" and match.ensembl_id in features
        else match
        for match in matches
    )


def as_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as text; a missing one, which tables read as NaN, is empty."""
    given = (names,) if isinstance(names, str) else names
    try:
        return tuple(name if type(name) is str else _as_text(name) for name in given)
    except TypeError:
        raise GenesError(
            "Can't read gene names from this object.",
            found=type(names).__name__,
            expected="a list, an array or an index of names",
            remedy="pass `adata.var_names`, or a list of ids or symbols.",
            argument="names",
        ) from None


def _as_text(name: object) -> str:
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return text if isinstance(name, str | bytes) or text not in ("nan", "None", "<NA>", "NaT") else ""


def check_species(species: str | None, argument: str = "species") -> Species | None:
    """Return the species in lower case, checked against the tables, or None."""
    if species is None:
        return None
    for known in SPECIES:
        if isinstance(species, str) and species.lower() == known:
            return known
    raise GenesError(
        "Genes of this species are not in the tables.",
        found=repr(species),
        expected=" or ".join(map(repr, SPECIES)),
        remedy="pass one of them."
        if argument != "species"
        else "pass one of them, or leave `species` out: it is then detected from the names.",
        argument=argument,
    )


def label_of(ensembl_id: str) -> str:
    """Return the symbol of a gene, or its id if it has none."""
    return symbol_of(ensembl_id) or ensembl_id


def symbol_of(ensembl_id: str) -> str:
    """Return the symbol of a gene, or an empty string if it has none or the tables lack it."""
    species = species_of(ensembl_id)
    return gene_table(species).symbol_of.get(int(ensembl_id[-11:]), "") if species else ""


def labelled(ensembl_id: str) -> str:
    """Return the id of a gene, followed by its symbol if it has one."""
    label = label_of(ensembl_id)
    return ensembl_id if label == ensembl_id else f"{ensembl_id} {label}"


def choice_of(candidates: Iterable[str]) -> str:
    """Name the genes that an ambiguous name may mean, in a few words."""
    genes = Counter(map(label_of, candidates))
    shown = [label if count == 1 else f"{count} genes called {label}" for label, count in genes.items()]
    return " or ".join(shown[:3]) + (f" or {len(shown) - 3} more" if len(shown) > 3 else "")


def species_of(ensembl_id: str) -> Species | None:
    """Return the species that an Ensembl id names."""
    for species, prefix in PREFIX.items():
        if ensembl_id[:-11] == prefix and ensembl_id[-11:].isdigit():
            return species
    return None
