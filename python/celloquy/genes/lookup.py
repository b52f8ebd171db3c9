"""Find what one name stands for: as it stands, then in other spellings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, get_args

from celloquy.genes import spellings
from celloquy.genes.tables import PREFIX, GeneTable, Meaning, Species, gene_table

Reason = Literal[
    "exact",
    "version",
    "replaced",
    "retired",
    "outside",
    "case",
    "previous",
    "alias",
    "suffix",
    "mangled",
    "ambiguous",
    "unknown",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

# The strongest first. A symbol, in any case, wins over every former symbol or alias.
_TIERS: Final = ("symbol", "previous", "retired", "alias")
# A number is removed, or a date turned back, only if the result is a name that annotations used, never for an alias.
_ANNOTATED: Final = _TIERS[:3]
_REASON_OF_TIER: Final[dict[str, Reason]] = {"previous": "previous", "retired": "retired", "alias": "alias"}
_SPECIES_OF_PREFIX: Final = {prefix: species for species, prefix in PREFIX.items()}


@dataclass(frozen=True, slots=True)
class Match:
    """The gene that a name stands for.

    Attributes
    ----------
    ensembl_id
        Ensembl id without version; empty if the name is ambiguous or unknown.
    symbol
        Current symbol, or the last one of a retired gene; empty if it has none.
    species
        Species of the gene: ``"human"``, ``"mouse"``, or empty.
    reason
        Reason of the match, see :func:`celloquy.identify_genes`.
    read_as
        Spelling that was found, if it is not the name itself.
    candidates
        All ids that an ambiguous name may mean; for other names, the ids that a weaker use of the name means.
    """

    ensembl_id: str
    symbol: str
    species: str
    reason: Reason
    read_as: str = ""
    candidates: tuple[str, ...] = ()


NAMES_KEPT = 2**16
"""Number of names whose match is cached, one or two tables of genes: the same genes are looked up repeatedly."""

UNKNOWN: Final = Match("", "", "", "unknown")

# Missing names as text: NaN is an alias of SCN11A, but a column of this name is one whose name was lost.
_MISSING_NAMES: Final = {"", "nan", "na", "n/a", "none", "null", "<na>"}


@lru_cache(NAMES_KEPT)
def match_name(name: str, species: tuple[Species, ...]) -> Match:
    """Find the gene that a name stands for in any of the species."""
    text = name.strip().strip("\"'")
    match = UNKNOWN if text.lower() in _MISSING_NAMES else _match_text(text, species)
    return match if text == name else _reread(match, "mangled", text)


@dataclass(frozen=True, slots=True)
class _Found:
    """A meaning in one species, and the spelling that led to it, which may differ in case from the name."""

    table: GeneTable
    meaning: Meaning
    spelling: str
    same_case: bool

    @property
    def rank(self) -> tuple[int, bool]:
        return _TIERS.index(self.meaning.tier), not self.same_case

    @property
    def reason(self) -> Reason:
        if self.meaning.tier == "symbol":
            return "exact" if self.same_case else "case"
        return _REASON_OF_TIER[self.meaning.tier]


def _match_text(text: str, species: Sequence[Species]) -> Match:
    match = _match_id(text) or _settle(_find((text,), species), text)
    if match:
        return match
    if prefixed := spellings.without_genome(text):
        genome, rest = prefixed
        return _reread(_match_text(rest, (genome,)), "mangled", rest)
    if inside := spellings.id_inside(text):
        numbered = spellings.ENSEMBL_ID.fullmatch(spellings.without_suffix(text) or "")
        return _reread(_match_id(inside) or UNKNOWN, "suffix" if numbered else "mangled", inside)
    return _match_repaired(text, species)


def _match_id(text: str) -> Match | None:
    """Find the gene of an Ensembl id; an id that the tables lack is kept as it is."""
    parts = spellings.ENSEMBL_ID.fullmatch(text)
    if not parts:
        return None
    ensembl_id = parts[1].upper()
    reason: Reason = "case" if parts[1] != ensembl_id else "exact" if text == ensembl_id else "version"
    read_as = ensembl_id if text != ensembl_id else ""
    species = _SPECIES_OF_PREFIX.get(ensembl_id[:-11])
    if not species:
        return Match(ensembl_id, "", "", "outside", read_as)
    table, number = gene_table(species), int(ensembl_id[-11:])
    if number not in table.symbol_of:
        return Match(ensembl_id, "", species, "outside", read_as)
    symbol = table.symbol_of[number]
    if number in table.replaced and (meaning := table.symbol_meaning(symbol)):
        return Match(table.id_of(meaning.genes[0]), symbol, species, "replaced", ensembl_id)
    return Match(ensembl_id, symbol, species, "retired" if number in table.retired else reason, read_as)


def _match_repaired(text: str, species: Sequence[Species]) -> Match:
    """Undo what spreadsheets, R or Seurat may have done; a name that two repairs turn into two genes is ambiguous."""
    if dates := spellings.from_date(text):
        # All symbols that a date may have been are equally likely, so a current symbol does not win.
        dated = _settle(_find(dates, species, _ANNOTATED), text, "mangled", ranked=False)
        if dated:
            return dated
    unmangled = _settle(_find_joined(text, species, _ANNOTATED), text, "mangled")
    unsuffixed = _match_base(text, species)
    if unmangled and unsuffixed and unmangled.ensembl_id != unsuffixed.ensembl_id:
        # SNORD116.3 is SNORD116-3 changed by R, or a second SNORD116 of the table: both are genes.
        possible = [
            match.candidates if not match.ensembl_id else (match.ensembl_id,) for match in (unmangled, unsuffixed)
        ]
        candidates = tuple(sorted({gene for genes in possible for gene in genes}))
        return Match("", "", unmangled.species, "ambiguous", candidates=candidates)
    return unmangled or unsuffixed or _settle(_find_joined(text, species, ("alias",)), text, "mangled") or UNKNOWN


def _match_base(text: str, species: Sequence[Species]) -> Match | None:
    base = spellings.without_suffix(text)
    if not base:
        return None
    tiers = _TIERS[:1] if spellings.names_a_clone(base) else _ANNOTATED
    match = (
        _match_id(base)
        or _settle(_find((base,), species, tiers), base)
        or _settle(_find_joined(base, species, tiers), base)
    )
    return _reread(match, "suffix", base) if match else None


def _find(texts: Iterable[str], species: Sequence[Species], tiers: Sequence[str] = _TIERS) -> list[_Found]:
    """Look the spellings up in each species: symbols before other names, the same case before another."""
    found: list[_Found] = []
    for text in texts:
        for table in map(gene_table, species):
            found.extend(_find_in(table, text, tiers))
    return found


def _find_in(table: GeneTable, text: str, tiers: Sequence[str]) -> list[_Found]:
    if "symbol" in tiers:
        if meaning := table.symbol_meaning(text):
            return [_Found(table, meaning, text, True)]
        if spelled := table.spellings(text):
            meanings = [(table.symbol_meaning(spelling), spelling) for spelling in spelled]
            return [_Found(table, meaning, spelling, False) for meaning, spelling in meanings if meaning]
    if meaning := table.name_meaning(text):
        return [_Found(table, meaning, text, True)] if meaning.tier in tiers else []
    meanings = [(table.name_meaning(spelling), spelling) for spelling in table.name_spellings(text)]
    return [
        _Found(table, meaning, spelling, False) for meaning, spelling in meanings if meaning and meaning.tier in tiers
    ]


def _find_joined(text: str, species: Sequence[Species], tiers: Sequence[str]) -> list[_Found]:
    """Look up the names that differ from the text only in the signs between their letters, or by R's leading X."""
    stripped = spellings.without_leading_x(text)
    found = _find((stripped,), species, tiers) if stripped else []
    for candidate in (text, stripped):
        for one in species if candidate else ():
            found.extend(_find(gene_table(one).joined_spellings(candidate or ""), (one,), tiers))
    return found


def _settle(found: list[_Found], text: str, reason: Reason | None = None, *, ranked: bool = True) -> Match | None:
    """Return the gene on which the strongest meanings agree, or an ambiguous match if they disagree."""
    if not found:
        return None
    best = min(one.rank for one in found)
    strongest = [one for one in found if one.rank == best] if ranked else found
    first = strongest[0]
    genes = {(one.table.species, number): one for one in strongest for number in one.meaning.genes}
    species = first.table.species if len({name for name, _ in genes}) == 1 else ""
    if len(genes) > 1:
        candidates = tuple(one.table.id_of(number) for (_, number), one in sorted(genes.items()))
        return Match("", "", species, "ambiguous", candidates=candidates)
    (number,) = first.meaning.genes
    others = tuple(map(first.table.id_of, first.meaning.others))
    read_as = first.spelling if first.spelling != text else ""
    return Match(
        first.table.id_of(number), first.table.symbol_of[number], species, reason or first.reason, read_as, others
    )


def _reread(match: Match, reason: Reason, spelling: str) -> Match:
    if match.reason in ("ambiguous", "unknown"):
        return match
    return replace(match, reason=reason, read_as=match.read_as or spelling)
