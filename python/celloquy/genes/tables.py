"""The gene tables that ship with the package, loaded when a species is first used.

``scripts/build_gene_tables.py`` makes them; ``tables/SOURCES.json`` lists their sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow.parquet

Species = Literal["human", "mouse"]
SPECIES: Final[tuple[Species, ...]] = ("human", "mouse")
PREFIX: Final[dict[Species, str]] = {"human": "ENSG", "mouse": "ENSMUSG"}

_FOLDER = Path(__file__).parent / "tables"
_SEPARATORS = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True)
class Meaning:
    """The genes that a name stands for in one species.

    Attributes
    ----------
    genes
        Ensembl numbers of the genes. Several: the name is ambiguous.
    tier
        Kind of the name: ``"symbol"``, or ``"previous"``, ``"retired"``, ``"alias"`` if it is not a current symbol.
    others
        Ensembl numbers that a weaker use of the name means, e.g. as an alias.
    """

    genes: tuple[int, ...]
    tier: str
    others: tuple[int, ...] = ()


class GeneTable:
    """Ids, symbols and other names of one species' genes.

    Each gene has its Ensembl number as key: 141510 for ENSG00000141510.
    """

    def __init__(self, species: Species) -> None:
        self.species = species
        self.prefix = PREFIX[species]
        genes = _read(f"genes_{species}.parquet")
        self.symbol_of: dict[int, str] = dict(zip(genes["number"], genes["symbol"], strict=True))
        # Nearly all genes are current, so only the others are listed.
        self.retired: set[int] = set()
        self.replaced: set[int] = set()
        self._symbols: dict[str, int] = {}
        self._copies: dict[str, list[int]] = {}
        for number, symbol, standing in zip(genes["number"], genes["symbol"], genes["standing"], strict=True):
            if standing == "retired":
                self.retired.add(number)
            elif standing == "replaced":
                self.replaced.add(number)
            elif symbol and standing == "current":
                self._symbols[symbol] = number
            elif symbol:
                self._copies.setdefault(symbol, []).append(number)

    def id_of(self, number: int) -> str:
        """Return the Ensembl id of a number."""
        return f"{self.prefix}{number:011d}"

    def is_symbol(self, name: str) -> bool:
        """Return whether a current gene has this symbol, spelled exactly so."""
        return name in self._symbols or name in self._copies

    def symbol_meaning(self, symbol: str) -> Meaning | None:
        """Return the genes that bear this current symbol, spelled exactly so."""
        number = self._symbols.get(symbol)
        copies = tuple(self._copies.get(symbol, ()))
        if number is not None:
            return Meaning((number,), "symbol", copies)
        return Meaning(copies, "symbol") if copies else None

    def name_meaning(self, name: str) -> Meaning | None:
        """Return the genes that this former symbol or alias, spelled exactly so, may stand for."""
        row = self._names.rows.get(name)
        if row is None:
            return None
        number, tier, listed = self._names.genes[row], self._names.tiers[row], self._names.candidates[row]
        candidates = tuple(map(int, listed.split()))
        if number:
            return Meaning((number,), tier, tuple(other for other in candidates if other != number))
        return Meaning(candidates, tier)

    def spellings(self, name: str) -> tuple[str, ...]:
        """Return the current symbols that equal the name but for case."""
        return self._symbols_by_case.get(name.upper(), ())

    def name_spellings(self, name: str) -> tuple[str, ...]:
        """Return the former symbols and aliases that equal the name but for case."""
        return self._names_by_case.get(name.upper(), ())

    def joined_spellings(self, name: str) -> tuple[str, ...]:
        """Return the symbols and names, in capitals, that equal this one but for the signs between the letters."""
        return self._by_letters.get(letters_of(name), ())

    @cached_property
    def _names(self) -> _Names:
        parts = [_read(f"{part}_{self.species}.parquet") for part in ("names", "aliases")]
        columns = {column: [value for part in parts for value in part[column]] for column in parts[0]}
        rows = {name: row for row, name in enumerate(columns["name"])}
        return _Names(rows, columns["gene"], columns["tier"], columns["candidates"])

    @cached_property
    def symbols_in_capitals(self) -> frozenset[str]:
        """Every current symbol in capitals."""
        return frozenset(self._symbols_by_case)

    @cached_property
    def _symbols_by_case(self) -> dict[str, tuple[str, ...]]:
        return _by_capitals(self._symbols | self._copies)

    @cached_property
    def _names_by_case(self) -> dict[str, tuple[str, ...]]:
        return _by_capitals(self._names.rows)

    @cached_property
    def _by_letters(self) -> dict[str, tuple[str, ...]]:
        grouped: dict[str, tuple[str, ...]] = {}
        for name in self._symbols_by_case | self._names_by_case:
            if not name.isalnum():
                letters = letters_of(name)
                grouped[letters] = (*grouped.get(letters, ()), name)
        return grouped


@dataclass(frozen=True)
class _Names:
    """Columns of the tables of former symbols and aliases; ``genes`` is 0 where the name is ambiguous."""

    rows: dict[str, int]
    genes: list[int]
    tiers: list[str]
    candidates: list[str]


@cache
def gene_table(species: Species) -> GeneTable:
    """Return the table of one species."""
    return GeneTable(species)


@cache
def ortholog_pairs() -> tuple[tuple[int, int, str], ...]:
    """Return human number, mouse number and source of every pair of orthologs."""
    columns = _read("orthologs.parquet")
    return tuple(zip(columns["human"], columns["mouse"], columns["source"], strict=True))


def letters_of(name: str) -> str:
    """Return the name in capitals, with one dash for any signs between its letters and digits."""
    return _SEPARATORS.sub("-", name.upper())


def _read(file: str) -> dict[str, list[Any]]:
    # Not read_table: that imports pyarrow.dataset, which takes longer than the tables themselves.
    table = pyarrow.parquet.ParquetFile(_FOLDER / file).read(use_threads=False)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _by_capitals(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, tuple[str, ...]] = {}
    for name in names:
        capitals = name.upper()
        grouped[capitals] = (*grouped[capitals], name) if capitals in grouped else (name,)
    return grouped
