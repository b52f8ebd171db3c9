"""``GeneVocabulary``: the ordered genes that a model knows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from numpy.typing import ArrayLike

from celloquy.errors import GenesError, some
from celloquy.genes.alignment import Alignment, align
from celloquy.genes.identify import as_names, identify_genes, species_of, symbol_of
from celloquy.genes.orthology import ortholog_of
from celloquy.genes.spellings import ENSEMBL_ID
from celloquy.genes.tables import SPECIES, Species, gene_table

_HEADER = ("human_id", "human_symbol", "mouse_id", "mouse_symbol", "other_id")


@dataclass(frozen=True, repr=False)
class GeneVocabulary:
    """An ordered set of genes. A row is a gene, or a pair of one-to-one orthologs of human and mouse that share it.

    Two vocabularies are equal if they have the same genes in the same rows, whatever their symbols.

    Attributes
    ----------
    human_ids, human_symbols
        Ensembl id, without version, and symbol of each row's human gene; empty where it has none.
    mouse_ids, mouse_symbols
        The same of each row's mouse gene. A row that has both is a pair.
    other_ids
        Id of a row whose gene is of neither, such as a transgene; else empty.

    Examples
    --------
    >>> import celloquy as cq
    >>> genes = cq.GeneVocabulary.from_names(["CD3D", "MS4A1", "NKG7"])
    >>> genes.align(["NKG7", "ENSG00000156738.18", "GFP"]).columns
    array([ 2,  1, -1])
    >>> both = cq.GeneVocabulary.both(["CD3D", "MS4A1", "NKG7"])
    >>> both.align(["Nkg7", "Cd3d"]).columns.tolist() == both.align(["NKG7", "CD3D"]).columns.tolist()
    True
    >>> next(genes.genes())  # row, id, symbol, species
    (0, 'ENSG00000167286', 'CD3D', 'human')
    >>> both.index("ENSG00000167286") == both.index("ENSMUSG00000032094")
    True
    >>> few = genes.take([0, 2]).union(cq.GeneVocabulary.from_ids(["ENSG00000156738"]))
    >>> few.save("genes.tsv")
    >>> len(cq.GeneVocabulary.load("genes.tsv"))
    3
    """

    human_ids: tuple[str, ...]
    human_symbols: tuple[str, ...]
    mouse_ids: tuple[str, ...]
    mouse_symbols: tuple[str, ...]
    other_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(map(len, self._columns()))) > 1:
            raise GenesError(
                "The columns of this vocabulary differ in length.",
                found=some(f"{len(column)} {name}s" for name, column in zip(_HEADER, self._columns(), strict=True)),
                expected="one value of each column for each row",
                remedy="use `GeneVocabulary.from_ids(ids)`, which fills in symbols and species.",
            )
        genes = [gene for _, gene, _, _ in self.genes()]
        if len(self._places) < len(genes):
            twice = [gene for gene, times in Counter(genes).items() if times > 1]
            raise GenesError(
                "A vocabulary has each gene once.",
                found=f"{len(twice)} ids more than once, such as {twice[0]}",
                expected="different ids",
                remedy="drop the repeated ids, for example with `dict.fromkeys(ids)`; make a vocabulary of both "
                "species with `GeneVocabulary.both(names)`.",
                argument="ids",
            )
        unusable = [gene for gene in (*self.ids, *genes) if not gene or any(sign in gene for sign in "\t\r\n")]
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
        """Make a vocabulary of Ensembl ids, a row for each, with symbols and species from the tables.

        Versions are dropped. An id that the tables lack is kept without a symbol.
        """
        given = as_names(ids)
        parsed = [ENSEMBL_ID.fullmatch(gene) for gene in given]
        genes = [match[1].upper() if match else gene for gene, match in zip(given, parsed, strict=True)]
        symbols = [gene for gene, match in zip(given, parsed, strict=True) if not match and _is_symbol(gene)]
        if symbols:
            raise GenesError(
                "These are symbols, not Ensembl ids.",
                found=", ".join(symbols[:5]),
                expected="ids such as ENSG00000141510",
                remedy="use `GeneVocabulary.from_names(names)`.",
                argument="ids",
            )
        return cls._from_rows(map(_row, genes))

    @classmethod
    def from_names(
        cls, names: Iterable[str], species: Species | None = None, *, keep_unknown: bool = False
    ) -> GeneVocabulary:
        """Make a vocabulary of the genes that names of any kind stand for, in their order, a row for each.

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
        given = list(dict.fromkeys(as_names(names))) if keep_unknown else names
        identified = identify_genes(given, species=species)
        known = cls.from_ids(dict.fromkeys(gene for gene in identified.ids if gene))
        if not keep_unknown:
            return known
        others = [name for name, gene in zip(given, identified.ids, strict=True) if not gene]
        return known.union(cls._from_rows(("", "", "", "", name) for name in others))

    @classmethod
    def both(cls, *names: Iterable[str]) -> GeneVocabulary:
        """Make a vocabulary for cells of human and mouse, in which one-to-one orthologs share a row.

        A gene brings its ortholog along, whether it was named or not; a gene without one, or with several, has a row of
        its own. Rows are sorted, so that the order of the names does not matter: pairs, human genes, mouse genes and
        others, each by id.

        Parameters
        ----------
        names
            Ensembl ids or symbols of human or mouse, in one list or several, such as the ``var_names`` of some files.
            The species of each list is detected from its names. Unknown and ambiguous names are left out.
        """
        genes = {gene for one in names for gene in identify_genes(one).ids if gene}
        rows = {_pair(gene) for gene in genes}
        return cls._from_rows(sorted(rows, key=lambda row: (not row[0], not row[2], row)))

    @classmethod
    def _from_rows(cls, rows: Iterable[tuple[str, ...]]) -> GeneVocabulary:
        listed = list(rows)
        return cls(*(tuple(row[i] for row in listed) for i in range(len(_HEADER))))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Id of each row: of its human gene, else of its mouse gene, else its other id."""
        rows = zip(self.human_ids, self.mouse_ids, self.other_ids, strict=True)
        return tuple(human or mouse or other for human, mouse, other in rows)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each row: of its human gene, else of its mouse gene; empty if not known."""
        rows = zip(self.human_ids, self.human_symbols, self.mouse_symbols, strict=True)
        return tuple(of_human if human else of_mouse for human, of_human, of_mouse in rows)

    @property
    def species(self) -> tuple[Species, ...]:
        """Species of which the vocabulary has genes."""
        return tuple(one for one, ids in zip(SPECIES, (self.human_ids, self.mouse_ids), strict=True) if any(ids))

    @cached_property
    def pairs(self) -> int:
        """Number of rows that a human gene and its mouse ortholog share."""
        return sum(bool(human and mouse) for human, mouse in zip(self.human_ids, self.mouse_ids, strict=True))

    def genes(self) -> Iterator[tuple[int, str, str, str]]:
        """Yield row, id, symbol and species (empty if it has none) of every gene; a pair yields two."""
        for row, (human, of_human, mouse, of_mouse, other) in enumerate(self._rows()):
            if human:
                yield row, human, of_human, "human"
            if mouse:
                yield row, mouse, of_mouse, "mouse"
            if other:
                yield row, other, "", ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the ids in their order, in hexadecimal."""
        rows = zip(self.human_ids, self.mouse_ids, self.other_ids, strict=True)
        return hashlib.sha256("\n".join("\t".join(filter(None, row)) for row in rows).encode()).hexdigest()

    def index(self, gene: str) -> int:
        """Return the row of an id, of either gene of a pair; raise ``KeyError`` if the vocabulary does not have it."""
        return self._places[gene]

    def take(self, places: Iterable[int]) -> GeneVocabulary:
        """Return some rows, in the order of their places."""
        rows = list(self._rows())
        return self._from_rows(rows[place] for place in places)

    def union(self, other: GeneVocabulary) -> GeneVocabulary:
        """Return these rows, followed by those rows of the other vocabulary that have a new gene."""
        new = sorted({row for row, gene, _, _ in other.genes() if gene not in self})
        rows = list(other._rows())
        return self._from_rows([*self._rows(), *(rows[place] for place in new)])

    def align(
        self,
        var_names: Iterable[str],
        *,
        counts_per_gene: ArrayLike | None = None,
        species: Species | None = None,
        selected: bool = False,
        warn: bool = True,
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
        warn
            False if the same names have been aligned, and warned of, before.

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
        MixedSpeciesWarning
            If the names are of both human and mouse.
        """
        return align(self, var_names, counts_per_gene, species, selected=selected, warn=warn)

    def save(self, path: str | Path) -> None:
        """Write the rows as a table of tab-separated columns, named as the attributes."""
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
        return cls._from_rows(rows[1:])

    def __len__(self) -> int:
        return len(self.human_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, gene: object) -> bool:
        return gene in self._places

    def __eq__(self, other: object) -> bool:
        return self.fingerprint == other.fingerprint if isinstance(other, GeneVocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        shown = ", ".join(symbol or gene for gene, symbol in zip(self.ids[:5], self.symbols[:5], strict=True))
        species = " and ".join(self.species) or "unknown species"
        pairs = f", {self.pairs:,} of them pairs of orthologs" if self.pairs else ""
        return f"GeneVocabulary of {len(self):,} genes ({species}{pairs}): {shown}{', …' if len(self) > 5 else ''}"

    @cached_property
    def _places(self) -> dict[str, int]:
        return {gene: row for row, gene, _, _ in self.genes()}

    def _columns(self) -> tuple[tuple[str, ...], ...]:
        return self.human_ids, self.human_symbols, self.mouse_ids, self.mouse_symbols, self.other_ids

    def _rows(self) -> Iterator[tuple[str, ...]]:
        return zip(*self._columns(), strict=True)


def _row(gene: str) -> tuple[str, ...]:
    """Return the row of a single gene."""
    species, symbol = species_of(gene), symbol_of(gene)
    return {"human": (gene, symbol, "", "", ""), "mouse": ("", "", gene, symbol, "")}.get(
        species or "", ("", "", "", "", gene)
    )


def _pair(gene: str) -> tuple[str, ...]:
    """Return the row of a gene and its one-to-one ortholog, if it has one."""
    row, partner = _row(gene), ortholog_of(gene)
    return tuple(own or other for own, other in zip(row, _row(partner), strict=True)) if partner else row


def _is_symbol(name: str) -> bool:
    return any(gene_table(species).is_symbol(name) for species in SPECIES)
