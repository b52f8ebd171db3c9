"""What an alignment of names with a vocabulary reports: what was matched, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from celloquy.genes.identify import choice_of
from celloquy.genes.tables import Species

EXAMPLES: Final = 5
"""Names that a message shows, at most."""


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
    >>> report.to_dict()["matched"]
    1
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
            lines.append(f"  {len(shown):,} genes have several columns, whose counts are summed: {examples(shown)}")
        if self.yielded:
            lines.append(
                f"  {len(self.yielded):,} aliases of genes with their own column, left out: {examples(self.yielded)}"
            )
        if self.ambiguous:
            shown = [f"{name} ({choice_of(ids)})" for name, ids in self.ambiguous.items()]
            lines.append(f"  {len(shown):,} ambiguous, left out: {examples(shown)}")
        if self.unknown:
            lines.append(f"  {len(self.unknown):,} unknown, left out: {examples(self.unknown)}")
        if self.elsewhere:
            lines.append(f"  {len(self.elsewhere):,} known, but not in the vocabulary: {examples(self.elsewhere)}")
        if self.not_genes:
            lines.append(f"  {len(self.not_genes):,} features that are no genes, left out: {examples(self.not_genes)}")
        return "\n".join(lines)


def examples(items: Iterable[str]) -> str:
    """Return the first few of some names, in words."""
    listed = list(items)
    return ", ".join(listed[:EXAMPLES]) + (", …" if len(listed) > EXAMPLES else "")
