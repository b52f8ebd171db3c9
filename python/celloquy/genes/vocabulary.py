"""``GeneVocabulary``: the ordered genes that a model knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from numpy.typing import ArrayLike

from celloquy.errors import GenesError
from celloquy.genes.alignment import Alignment, align
from celloquy.genes.identify import as_names, identify_genes, species_of
from celloquy.genes.spellings import ENSEMBL_ID
from celloquy.genes.tables import SPECIES, Species, gene_table

_HEADER = ("ensembl_id", "symbol", "species")


@dataclass(frozen=True, repr=False)
class GeneVocabulary:
    """An ordered set of genes, each with its Ensembl id, symbol and species.

    Two vocabularies are equal if they have the same genes in the same order, whatever their symbols.

    Attributes
    ----------
    ids
        Ensembl ids without version, each once. Other ids, such as that of a transgene, are possible too.
    symbols, species
        Symbol of each gene, and its species, ``"human"`` or ``"mouse"``; empty if not known.

    Examples
    --------
    >>> import celloquy as cq
    >>> genes = cq.GeneVocabulary.from_names(["CD3D", "MS4A1", "NKG7"])
    >>> genes.align(["NKG7", "ENSG00000156738.18", "GFP"]).columns
    array([ 2,  1, -1])
    """

    ids: tuple[str, ...]
    symbols: tuple[str, ...]
    species: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.symbols) == len(self.species):
            raise GenesError(
                "The columns of this vocabulary differ in length.",
                found=f"{len(self.ids)} ids, {len(self.symbols)} symbols, {len(self.species)} species",
                expected="one symbol and one species for each id",
                remedy="use `GeneVocabulary.from_ids(ids)`, which fills in symbols and species.",
            )
        if len(self._places) < len(self.ids):
            twice = [gene for place, gene in enumerate(self.ids) if self._places[gene] != place]
            raise GenesError(
                "A vocabulary has each gene once.",
                found=f"{len(twice)} ids more than once, such as {twice[0]}",
                expected="different ids",
                remedy="drop the repeated ids, for example with `dict.fromkeys(ids)`.",
                argument="ids",
            )
        unusable = [gene for gene in self.ids if not gene or any(sign in gene for sign in "\t\r\n")]
        if unusable:
            raise GenesError(
                "A vocabulary needs an id for every gene.",
                found=repr(unusable[0]),
                expected="ids that are not empty and hold no tab or line break",
                remedy="drop or rename these ids.",
                argument="ids",
            )

    @classmethod
    def from_ids(cls, ids: Iterable[str]) -> GeneVocabulary:
        """Make a vocabulary of Ensembl ids, with symbols and species from the tables.

        Versions are dropped. An id that the tables lack is kept without a symbol.
        """
        given = as_names(ids)
        parsed = [ENSEMBL_ID.fullmatch(gene) for gene in given]
        genes = tuple(match[1].upper() if match else gene for gene, match in zip(given, parsed, strict=True))
        symbols = [gene for gene, match in zip(given, parsed, strict=True) if not match and _is_symbol(gene)]
        if symbols:
            raise GenesError(
                "These are symbols, not Ensembl ids.",
                found=", ".join(symbols[:5]),
                expected="ids such as ENSG00000141510",
                remedy="use `GeneVocabulary.from_names(names)`.",
                argument="ids",
            )
        species = tuple(species_of(gene) or "" for gene in genes)
        return cls(genes, tuple(_symbol(gene, of) for gene, of in zip(genes, species, strict=True)), species)

    @classmethod
    def from_names(
        cls, names: Iterable[str], species: Species | None = None, *, keep_unknown: bool = False
    ) -> GeneVocabulary:
        """Make a vocabulary of the genes that names of any kind stand for, in their order.

        A gene that has several names is taken once. :func:`celloquy.identify_genes` shows which gene each name means.

        Parameters
        ----------
        names
            Ensembl ids or symbols.
        species
            Species of the names; by default it is detected from them.
        keep_unknown
            Keep unknown and ambiguous names as ids of their own, after the known genes, instead of leaving them out.
        """
        given = list(dict.fromkeys(map(str, names))) if keep_unknown else names
        identified = identify_genes(given, species=species)
        known = cls.from_ids(dict.fromkeys(gene for gene in identified.ids if gene))
        if not keep_unknown:
            return known
        others = tuple(name for name, gene in zip(given, identified.ids, strict=True) if not gene)
        nothing = ("",) * len(others)
        return known.union(cls(others, nothing, nothing))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the ids in their order, in hexadecimal."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()

    def index(self, gene: str) -> int:
        """Return the place of an Ensembl id; raise ``KeyError`` if the vocabulary does not have it."""
        return self._places[gene]

    def take(self, places: Iterable[int]) -> GeneVocabulary:
        """Return the genes at some places, in the order of the places."""
        chosen = list(places)
        return GeneVocabulary(*(tuple(column[place] for place in chosen) for column in self._columns()))

    def union(self, other: GeneVocabulary) -> GeneVocabulary:
        """Return these genes, followed by those genes of the other vocabulary that are new."""
        rows = [row for row in other._rows() if row[0] not in self]
        return GeneVocabulary(*(own + tuple(row[i] for row in rows) for i, own in enumerate(self._columns())))

    def align(
        self,
        var_names: Iterable[str],
        *,
        counts_per_gene: ArrayLike | None = None,
        species: Species | None = None,
        selected: bool = False,
    ) -> Alignment:
        """Find the place of every column of a count matrix in the vocabulary.

        A name matches if it is an id of the vocabulary, else by the Ensembl id that :func:`celloquy.identify_genes`
        gives it, else by its symbol if the vocabulary has one gene of this symbol under another id.

        Parameters
        ----------
        var_names
            Names of the columns, ``(names,)``: Ensembl ids or symbols.
        counts_per_gene
            Sum of the counts of each column, ``(names,)``, by which coverage is measured.
        species
            Species of the names; by default it is detected from them.
        selected
            True if the vocabulary is a selection of genes: coverage is then measured by genes, not by counts.

        Returns
        -------
        Alignment
            ``columns`` ``(names,)``, place or -1, and ``report``. Columns that share a place are the same gene; the
            caller sums their counts.

        Raises
        ------
        GenesError
            If the names are of another species, or the coverage is below 5 %.

        Warns
        -----
        GeneCoverageWarning
            If the coverage is below one half.
        """
        return align(self, var_names, counts_per_gene, species, selected=selected)

    def save(self, path: str | Path) -> None:
        """Write the genes as a table with the columns ``ensembl_id``, ``symbol`` and ``species``."""
        lines = ["\t".join(row) for row in (_HEADER, *self._rows())]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> GeneVocabulary:
        """Read a table that :meth:`save` wrote."""
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        rows = [tuple(line.rstrip("\r").split("\t")) for line in lines if line.strip()]
        odd = next((row for row in rows if len(row) != len(_HEADER)), None)
        if not rows or rows[0] != _HEADER or odd:
            raise GenesError(
                f"{path} is not a table of genes.",
                found=repr("\t".join(odd or (rows[0] if rows else ()))),
                expected=f"the tab-separated columns {', '.join(_HEADER)}, with this header",
                remedy="write it with `vocabulary.save(path)`.",
                argument="path",
            )
        return cls(*(tuple(row[i] for row in rows[1:]) for i in range(len(_HEADER))))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, gene: object) -> bool:
        return gene in self._places

    def __eq__(self, other: object) -> bool:
        return self.ids == other.ids if isinstance(other, GeneVocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        shown = ", ".join(symbol or gene for gene, symbol in zip(self.ids[:5], self.symbols[:5], strict=True))
        species = " and ".join(one for one in SPECIES if one in self.species) or "unknown species"
        return f"GeneVocabulary of {len(self):,} genes ({species}): {shown}{', …' if len(self) > 5 else ''}"

    @cached_property
    def _places(self) -> dict[str, int]:
        return {gene: place for place, gene in enumerate(self.ids)}

    def _columns(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        return self.ids, self.symbols, self.species

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        return zip(*self._columns(), strict=True)


def _symbol(gene: str, species: str) -> str:
    table = next((gene_table(one) for one in SPECIES if one == species), None)
    return table.symbol_of.get(int(gene[-11:]), "") if table else ""


def _is_symbol(name: str) -> bool:
    return any(gene_table(species).is_symbol(name) for species in SPECIES)
