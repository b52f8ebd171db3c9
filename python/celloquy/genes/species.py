"""Detect the species of gene names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from celloquy.genes.spellings import ENSEMBL_ID, in_small_letters, other_species, without_genome, without_suffix
from celloquy.genes.tables import PREFIX, SPECIES, Species, gene_table

# Names that point to the wrong species (old human names that are mouse symbols in another case, and the reverse) stay
# below this share of the names that point to a species.
_MINORITY = 0.2
# Up to this many names that point to a species may be mistakes of the source.
_FEW = 2
# Up to this many symbols in small letters may come from human or mouse data. Of more, nearly all are then known in
# capitals; of zebrafish's about half are, and of names that are no symbols at all none.
_FEW_SMALL, _SOME, _NEARLY_ALL = 5, 0.3, 0.85


@dataclass(frozen=True)
class SpeciesGuess:
    """A species, and whether it is certain: ACTB alone may as well be a mouse gene written in capitals.

    A certain ``"unknown"`` is another species than human and mouse.
    """

    species: Species | Literal["mixed", "unknown"]
    certain: bool


def detect_species(names: Iterable[str]) -> SpeciesGuess:
    """Detect the species from Ensembl prefixes, genome prefixes and symbols.

    A symbol votes for the species that spells it so. Names in capitals are human, unless more of them are known from
    mouse alone (ZFP106, GM2000) than from human alone (ZNF106, HLA-A): then they are mouse names in capitals.
    """
    marked = dict.fromkeys(SPECIES, 0)
    symbols: list[str] = []
    given = list(names)
    foreign = set(names_of_other_species(given))
    for name in given:
        if name in foreign:
            continue
        if match := ENSEMBL_ID.match(name):
            for species, prefix in PREFIX.items():
                marked[species] += match[1][:-11].upper() == prefix
        elif prefixed := without_genome(name):
            marked[prefixed[0]] += 1
        else:
            symbols.append(name)
    if 2 * (sum(marked.values()) + len(symbols)) < len(given):
        return SpeciesGuess("unknown", certain=True)
    if sum(marked.values()) > len(symbols):
        return _majority(marked["human"], marked["mouse"])

    spelled = _count_spellings(symbols)
    human = marked["human"] + spelled.in_both + spelled.human_alone
    mouse = marked["mouse"] + spelled.mouse
    if mouse >= _MINORITY * (human + mouse) and mouse:
        return _majority(human, mouse)
    human += _count_former(spelled)
    if spelled.mouse_in_capitals > spelled.human_alone and marked["human"] <= marked["mouse"]:
        return SpeciesGuess("mouse", certain=spelled.mouse_in_capitals > _FEW)
    if human:
        return SpeciesGuess("human", certain=spelled.human_alone + marked["human"] > _FEW)
    return SpeciesGuess("unknown", certain=False)


def names_of_other_species(names: list[str]) -> list[str]:
    """Return the names that are spelled as in neither human nor mouse.

    Symbols in small letters are, if there are several and too many of them are no symbol in capitals: zebrafish has a
    gapdh, too, but also an actb1.
    """
    foreign = [name for name in names if other_species(name)]
    small = [name for name in names if in_small_letters(name)]
    known = gene_table("human").symbols_in_capitals, gene_table("mouse").symbols_in_capitals
    found = sum(any(name.upper() in table for table in known) for name in small)
    if len(small) > _FEW_SMALL and _SOME * len(small) <= found < _NEARLY_ALL * len(small):
        foreign += small
    return foreign


def _majority(human: int, mouse: int) -> SpeciesGuess:
    if min(human, mouse) >= _MINORITY * (human + mouse):
        return SpeciesGuess("mixed", certain=True)
    return SpeciesGuess("human" if human > mouse else "mouse", certain=True)


@dataclass
class _Spellings:
    """Number of names by the species that their spelling points to."""

    mouse: int = 0  # spelled as a mouse symbol, and as no human symbol
    in_both: int = 0  # a human symbol that in another case is a mouse symbol
    human_alone: int = 0  # a human symbol, and no mouse symbol in any case
    mouse_in_capitals: int = 0  # a mouse symbol in capitals, and no human symbol
    others: list[str] = field(default_factory=list)  # no symbol of either species


def _count_spellings(names: list[str]) -> _Spellings:
    human, mouse = gene_table("human"), gene_table("mouse")
    count = _Spellings()
    for name in names:
        capitals = name.upper()
        if mouse.is_symbol(name) and not human.is_symbol(name):
            count.mouse += 1
        elif capitals in human.symbols_in_capitals:
            shared = capitals in mouse.symbols_in_capitals
            count.in_both += shared
            count.human_alone += not shared
        elif capitals in mouse.symbols_in_capitals:
            count.mouse_in_capitals += 1
        else:
            count.others.append(name)
    return count


def _count_former(count: _Spellings) -> int:
    """Let former symbols, aliases and numbered names vote too, if they could change the outcome; return human votes."""
    margin = abs(count.human_alone - count.mouse_in_capitals)
    if margin > len(count.others) and max(count.human_alone, count.mouse_in_capitals) > _FEW:
        return 0
    human, mouse = gene_table("human"), gene_table("mouse")
    added = 0
    for name in count.others:
        candidates = [candidate for candidate in (name, without_suffix(name)) if candidate]
        of_human = any(human.spellings(one) or human.name_spellings(one) for one in candidates)
        of_mouse = any(mouse.spellings(one) or mouse.name_spellings(one) for one in candidates)
        added += of_human
        count.human_alone += of_human and not of_mouse
        count.mouse_in_capitals += of_mouse and not of_human
    return added
