"""What is known of a perturbation: vectors of the gene or the genes that it changes, structure, target, mechanism."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celloquy.errors import ArgumentError, some
from celloquy.genes import GeneVocabulary, identify_genes
from celloquy.tasks.properties.features import Block
from celloquy.tasks.responses.fingerprints import fingerprints

SMILES: Final = "smiles"
TARGETS: Final = "targets"
MECHANISM: Final = "mechanism"
WORDS: Final = (SMILES, TARGETS, MECHANISM)
"""Columns of text."""
NUMBERS: Final = "own"
"""Name of what the user's columns of numbers describe."""
MOST: Final = 1e100
"""Largest number that describes a perturbation."""
SPLITS: Final = ";|,"
"""Marks between several targets or mechanisms."""


@dataclass(frozen=True, eq=False)
class Describer:
    """What is known of perturbations, by their names.

    Attributes
    ----------
    blocks
        Features of genes, for perturbations that are named by genes and for targets.
    table
        The user's table, a row for each perturbation: ``smiles``, ``targets`` and ``mechanism``, text with ";" between
        several, and any columns of numbers.
    of_genes
        True if perturbations are named by genes; blocks describe targets alone otherwise.
    """

    blocks: tuple[Block, ...]
    table: pd.DataFrame
    of_genes: bool = True

    def describe(self, names: Sequence[str]) -> dict[str, sparse.csr_matrix]:
        """Return the features of perturbations by source, ``(names, features)``, rows of length 1, or 0 if not known.

        Raises
        ------
        ArgumentError
            If a structure can't be read.
        """
        found = {block.name: self._of_genes(block, names) for block in self.blocks if self.of_genes}
        rows = [self._place.get(name, -1) for name in names]
        for source, features in self._of_table.items():
            empty = sparse.csr_matrix((1, features.shape[1]))
            found[source] = sparse.csr_matrix(sparse.vstack([features, empty]))[rows]
        return {source: _unit(features) for source, features in found.items() if features.nnz}

    def _gene_rows(self, names: Sequence[str]) -> tuple[GeneVocabulary | None, list[int]]:
        """The vocabulary of the genes among names, and each name's row of it plus 1, or 0."""
        ids = identify_genes(list(names)).ids
        if not any(ids):
            return None, [0] * len(names)
        vocabulary = GeneVocabulary.both(sorted({one for one in ids if one}))
        row_of = {gene: row + 1 for row, gene, _, _ in vocabulary.genes()}
        return vocabulary, [row_of.get(one, 0) if one else 0 for one in ids]

    def _of_genes(self, block: Block, names: Sequence[str]) -> sparse.csr_matrix:
        vocabulary, rows = self._gene_rows(names)
        if vocabulary is None:
            return sparse.csr_matrix((len(names), block.width))
        features = block.over(vocabulary)
        empty = sparse.csr_matrix((1, features.shape[1]))
        return sparse.csr_matrix(sparse.vstack([empty, features]))[rows]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {str(name): place for place, name in enumerate(self.table.index)}

    @cached_property
    def _of_table(self) -> dict[str, sparse.csr_matrix]:
        """Features of the rows of the table, by source."""
        names = [str(name) for name in self.table.index]
        found: dict[str, sparse.csr_matrix] = {}
        if SMILES in self.table:
            found["structure"] = fingerprints(self.table[SMILES].tolist(), names)
        if TARGETS in self.table:
            split = [_split(text) for text in self.table[TARGETS]]
            listed = sorted({target for some_targets in split for target in some_targets})
            if listed:
                member = _one_hot(split, listed)
                known = [_unit(self._of_genes(block, listed)) for block in self.blocks]
                # A target counts as itself, and by what is known of it.
                each = _unit(sparse.csr_matrix(sparse.hstack([sparse.identity(len(listed)), *known])))
                found[TARGETS] = sparse.csr_matrix(member @ each)
        if MECHANISM in self.table:
            split = [_split(text) for text in self.table[MECHANISM]]
            listed = sorted({one for own in split for one in own})
            if listed:
                found[MECHANISM] = _one_hot(split, listed)
        numbers = [name for name in self.table if name not in WORDS]
        if numbers and len(self.table):
            values = self.table[numbers].to_numpy(dtype=np.float64)
            spread = values.std(0)
            # The mean of equal numbers may be another by rounding.
            varied = spread > 1e-9 * np.abs(values).max(0)
            found[NUMBERS] = sparse.csr_matrix((values - values.mean(0)) * varied / np.where(varied, spread, 1))
        return found


def check_table(table: object) -> pd.DataFrame:
    """Return a table of perturbations with the columns that say something of them.

    Raises
    ------
    ArgumentError
        If it is no table, has a name or a column twice, or a value that is neither a number nor text of a column of
        text.
    """
    if table is None:
        return pd.DataFrame(index=pd.Index([], dtype=object))
    if not isinstance(table, pd.DataFrame):
        raise ArgumentError(
            "`described` can't be used.",
            found=type(table).__name__,
            expected='a DataFrame with a row for each perturbation, by name, and columns "smiles", "targets", '
            '"mechanism", or numbers',
            remedy="make the names of the perturbations its index.",
            argument="described",
        )
    rows, columns = (
        pd.Index([str(label) for label in labels], dtype=object) for labels in (table.index, table.columns)
    )
    kept = table.set_axis(rows, axis=0).set_axis(columns, axis=1)
    for what, labels, remedy in (
        ("names a perturbation", kept.index, "keep one of them, described[~described.index.duplicated()]."),
        ("has a column", kept.columns, "keep one of them, described.loc[:, ~described.columns.duplicated()]."),
    ):
        if labels.has_duplicates:
            raise ArgumentError(
                f"`described` {what} twice.",
                found=some(map(repr, labels[labels.duplicated()])),
                expected="one of each",
                remedy=remedy,
                argument="described",
            )
    for name in kept:
        read = _text if name in WORDS else _number
        values = [read(value) for value in kept[name]]
        if None in values:
            row = values.index(None)
            raise ArgumentError(
                f"Column {name!r} of `described` has values that can't be used.",
                found=f"{kept[name].iloc[row]!r} of {kept.index[row]!r}",
                expected='numbers, or text in columns named "smiles", "targets" or "mechanism", ";" between several',
                remedy="correct the column, rename it, or leave it out.",
                argument="described",
            )
        kept[name] = pd.Series(values, index=kept.index, dtype=object if name in WORDS else np.float64)
    return kept


def _text(value: Any) -> str | None:
    """Text as it is, numbers as text, nothing where a value is missing; None of anything else."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, Real) and not math.isfinite(value)):
        return ""
    return str(value) if isinstance(value, Real) else None


def _number(value: Any) -> float | None:
    """A number, also one in text, whose square is one, too; None of anything else."""
    try:
        number = float(value) if isinstance(value, Real | np.bool_ | str) else np.nan
    except ValueError:
        return None
    return number if abs(number) <= MOST else None


def _unit(features: sparse.csr_matrix) -> sparse.csr_matrix:
    length = np.sqrt(np.asarray(features.multiply(features).sum(1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1)) @ features)


def _one_hot(split: Sequence[Sequence[str]], listed: Sequence[str]) -> sparse.csr_matrix:
    place = {name: at for at, name in enumerate(listed)}
    rows = [row for row, own in enumerate(split) for _ in own]
    columns = [place[one] for own in split for one in own]
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(split), len(listed)))


def _split(text: str) -> list[str]:
    parts = text
    for mark in SPLITS:
        parts = parts.replace(mark, SPLITS[0])
    return list(dict.fromkeys(part.strip() for part in parts.split(SPLITS[0]) if part.strip()))
