"""``orthologs``: the corresponding genes of the other species."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final, Literal, get_args

from celloquy.errors import ArgumentError, GenesError, OtherSpeciesWarning
from celloquy.genes.identify import IdentifiedGenes, check_species, identify_genes, species_of
from celloquy.genes.species import detect_species
from celloquy.genes.tables import Species, gene_table, ortholog_pairs

if TYPE_CHECKING:
    import pandas as pd

Relation = Literal["one-to-one", "many-to-one", "one-to-many", "all"]
_RELATIONS: Final[tuple[Relation, ...]] = get_args(Relation)
_RULE: Final[dict[str, str]] = {
    "one-to-one": "genes with a single ortholog that has no other",
    "many-to-one": "genes with a single ortholog, which others may share (their counts can be summed)",
    "one-to-many": "genes whose orthologs, one or several, have no other: a row for each",
    "all": "every pair of orthologs: a row for each",
}
_SOURCES: Final = (
    "pairs of Ensembl Compara; where it has none for either gene, those on which at least five methods of HCOP agree"
)


@dataclass(frozen=True, slots=True)
class OrthologPair:
    """A gene under its given name, one of its orthologs, and their relation."""

    name: str
    ensembl_id: str
    symbol: str
    ortholog_id: str
    ortholog_symbol: str
    relation: str
    source: str


@dataclass(frozen=True, repr=False)
class Orthologs:
    """Orthologs of some genes, in the order of their names.

    Attributes
    ----------
    pairs
        One pair for each name and ortholog; a name may have none or, for some relations, several.
    identified
        Genes that the names stand for.
    to
        Species of the orthologs.
    rule
        Rule by which pairs were kept, and their sources, in words.
    excluded
        Names of known genes whose orthologs the relation leaves out.
    without
        Names of known genes that have no ortholog.

    Examples
    --------
    >>> import celloquy as cq
    >>> found = cq.orthologs(["Cd3e", "Gm10358"], to="human")
    >>> found.without
    """

    pairs: tuple[OrthologPair, ...]
    identified: IdentifiedGenes
    to: Species
    rule: str
    excluded: tuple[str, ...]
    without: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per pair: ``name, ensembl_id, symbol, ortholog_id, ortholog_symbol, relation, source``."""
        import pandas as pd

        columns = list(OrthologPair.__dataclass_fields__)
        rows = [tuple(getattr(pair, column) for column in columns) for pair in self.pairs]
        return pd.DataFrame(rows, columns=columns, dtype=object)

    def __repr__(self) -> str:
        found = len({pair.name for pair in self.pairs})
        kinds = Counter(pair.relation for pair in self.pairs)
        unread = len(self.identified) - self.identified.identified
        lines = [
            f"{found:,} of {len(self.identified):,} names have {self.to} orthologs ({len(self):,} pairs)",
            f"  rule: {self.rule}",
            f"  relations: {', '.join(f'{kind} {count:,}' for kind, count in kinds.items()) or 'none'}",
            f"  left out: {len(self.excluded):,} by the rule, {len(self.without):,} without an ortholog, "
            f"{unread:,} ambiguous or unknown names",
        ]
        return "\n".join(lines)


def orthologs(
    genes: Iterable[str], *, to: Species, relation: Relation = "one-to-one", species: Species | None = None
) -> Orthologs:
    """Find the human genes that correspond to mouse genes, or the reverse.

    Pairs come from Ensembl Compara; where it has none for either gene, from HCOP if at least five of its methods
    agree. Relations are counted among these pairs, between genes of the current annotation.

    Parameters
    ----------
    genes
        Ensembl ids or symbols; see :func:`celloquy.identify_genes`.
    to
        Species of the orthologs, ``"human"`` or ``"mouse"``.
    relation
        Pairs to keep. ``"one-to-one"``: the gene has a single ortholog, which has no other.
        ``"many-to-one"``: the gene has a single ortholog, which other genes may share (one-to-one included), so that
        every gene becomes at most one, and counts can be summed. ``"one-to-many"``: the gene has one or several, none
        shared (one-to-one included). ``"all"``: every pair.
    species
        Species of ``genes``; by default the species that ``to`` is not.

    Returns
    -------
    Orthologs
        Printing it shows the rule and what was left out; ``.frame`` has the pairs.

    Raises
    ------
    GenesError
        If the genes are of the species ``to`` already.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.orthologs(["Cd3e", "Trp53"], to="human").frame["ortholog_symbol"].tolist()
    ['CD3E', 'TP53']
    """
    target = check_species(to, "to")
    if target is None or relation not in _RELATIONS:
        raise ArgumentError(
            "This kind of ortholog does not exist.",
            found=f"to={to!r}, relation={relation!r}",
            expected=f"to='human' or 'mouse', relation {', '.join(map(repr, _RELATIONS))}",
            remedy="pass one of them.",
            argument="to" if target is None else "relation",
        )
    source: Species = "mouse" if target == "human" else "human"
    identified = identify_genes(genes, species=check_species(species) or source)
    known = [match for match in identified if match.ensembl_id]
    if known and not any(match.species == source for match in known):
        raise GenesError(
            f"These genes are not of {source}.",
            found=f"{len(known):,} Ensembl ids of {target if known[0].species == target else 'other species'}, "
            f"such as {known[0].ensembl_id}",
            expected=f"{source} genes, to be mapped to {target}",
            remedy=f'pass `to="{source}"`, or {source} genes.',
            argument="genes",
        )
    return _collect(identified, source, target, relation)


def in_species(names: Iterable[str], species: Species, *, warn: bool = True) -> list[str]:
    """Return names unchanged if they are of a species, else the Ensembl ids of their one-to-one orthologs in it.

    A name without such an ortholog is marked with its species, so that it matches no gene with the same spelling.

    Warns
    -----
    OtherSpeciesWarning
        If the names are of the other species, unless ``warn`` is False; the warning says how many were mapped.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.genes.in_species(["Cd3e"], "human", warn=False)
    ['ENSG00000198851']
    """
    given = list(map(str, names))
    found = detect_species(given)
    if found.species not in ("human", "mouse") or found.species == species or not found.certain:
        return given
    mapped = orthologs(given, to=species)
    ids = {pair.name: pair.ortholog_id for pair in mapped.pairs}
    if warn:
        warnings.warn(
            f"Genes of {found.species} were mapped to {species} through one-to-one orthologs: {len(ids):,} of "
            f"{len(given):,}; the others are left out.",
            OtherSpeciesWarning,
            stacklevel=4,
        )
    return [ids.get(name, f"{name} ({found.species})") for name in given]


def orthologs_of(ensembl_id: str) -> tuple[str, ...]:
    """Return the ids of all orthologs of a gene in the other species."""
    source = species_of(ensembl_id)
    if source is None:
        return ()
    table = gene_table("mouse" if source == "human" else "human")
    return tuple(table.id_of(number) for number, _ in _partners(source).get(int(ensembl_id[-11:]), ()))


def ortholog_of(ensembl_id: str) -> str:
    """Return the id of a gene's one-to-one ortholog in the other species, or an empty string."""
    found = orthologs_of(ensembl_id)
    return found[0] if len(found) == 1 and len(orthologs_of(found[0])) == 1 else ""


def ortholog_groups(first: Iterable[str], second: Iterable[str]) -> dict[str, int]:
    """Group the genes of two species: orthologs of one another, of whatever relation, are one group.

    A pair of one-to-one orthologs is a group of two; where a gene has become several, all of them and their orthologs
    are one, whose counts can be summed.

    Parameters
    ----------
    first, second
        Ensembl ids of genes of the one species and of the other; only these are grouped.

    Returns
    -------
    dict
        Number of the group of each id, from 0 in the order of ``first``; ids without an ortholog among those of the
        other species have none.
    """
    one, other = dict.fromkeys(first), dict.fromkeys(second)
    group: dict[str, int] = {}
    number = 0
    for gene in one:
        if gene in group:
            continue
        found, waiting = {gene}, [gene]
        while waiting:
            current = waiting.pop()
            there = other if current in one else one
            fresh = {ortholog for ortholog in orthologs_of(current) if ortholog in there} - found
            found |= fresh
            waiting += sorted(fresh)
        if len(found) > 1:
            group |= dict.fromkeys(sorted(found), number)
            number += 1
    return group


def _collect(identified: IdentifiedGenes, source: Species, target: Species, relation: Relation) -> Orthologs:
    forward, backward = _partners(source), _partners(target)
    table = gene_table(target)
    pairs: list[OrthologPair] = []
    excluded: list[str] = []
    without: list[str] = []
    for name, match in zip(identified.names, identified.matches, strict=True):
        if not match.ensembl_id:
            continue
        partners = forward.get(int(match.ensembl_id[-11:]), ()) if match.species == source else ()
        if not partners:
            without.append(name)
            continue
        shared = any(len(backward[number]) > 1 for number, _ in partners)
        if (len(partners) > 1 and relation in ("one-to-one", "many-to-one")) or (
            shared and relation in ("one-to-one", "one-to-many")
        ):
            excluded.append(name)
            continue
        for number, evidence in partners:
            kind = f"{'many' if len(backward[number]) > 1 else 'one'}-to-{'many' if len(partners) > 1 else 'one'}"
            ortholog, symbol = table.id_of(number), table.symbol_of[number]
            pairs.append(OrthologPair(name, match.ensembl_id, match.symbol, ortholog, symbol, kind, evidence))
    rule = f"{relation}: {_RULE[relation]}; {_SOURCES}"
    return Orthologs(tuple(pairs), identified, target, rule, tuple(excluded), tuple(without))


@cache
def _partners(species: Species) -> dict[int, tuple[tuple[int, str], ...]]:
    """Orthologs of each gene of a species, with the source that pairs them."""
    partners: dict[int, tuple[tuple[int, str], ...]] = {}
    for human, mouse, source in ortholog_pairs():
        own, other = (human, mouse) if species == "human" else (mouse, human)
        partners[own] = (*partners.get(own, ()), (other, source))
    return partners
