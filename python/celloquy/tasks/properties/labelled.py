"""Genes and their labels, read and checked: names found, each gene once, classes or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.checks import check_choice, refuse
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.genes import GeneVocabulary, identify_genes
from celloquy.genes.identify import as_names
from celloquy.genes.tables import SPECIES, gene_table

LEAST_GENES: Final = 10
"""Genes with a label from which on something can be learned, and be tested."""
SEVERAL: Final = 20
"""Different whole numbers up to which labels are classes."""

Unknown = Literal["error", "drop"]


@dataclass(frozen=True, eq=False)
class NamedGenes:
    """Genes by name: those that were found, in the order in which they were named."""

    vocabulary: GeneVocabulary
    """The genes, a row for each, shared by orthologs."""
    names: tuple[str, ...]
    """Names of the genes."""
    ids: tuple[str, ...]
    """Ensembl id of each name."""
    rows: NDArray[np.int64]
    """``(names,)``: row of each name."""
    kept: NDArray[np.int64]
    """``(names,)``: places of the names among those that were given."""


@dataclass(frozen=True, eq=False)
class LabelledGenes:
    """Genes with a label each, every gene once, in the order of the vocabulary."""

    vocabulary: GeneVocabulary
    classes: tuple[str, ...]
    """Names of the classes; none where labels are numbers."""
    labels: NDArray[Any]
    """``(genes,)``: int64, the class of each gene, or float64, its number."""

    @property
    def species(self) -> str:
        """The species of most genes: human where both are as many."""
        of_mouse = sum(not human for human in self.vocabulary.human_ids)
        return "mouse" if 2 * of_mouse > len(self.vocabulary) else "human"


def named_genes(genes: Iterable[str], unknown: Unknown, argument: str = "genes") -> NamedGenes:
    """Find genes by their names, human or mouse.

    Parameters
    ----------
    genes
        Symbols or Ensembl ids.
    unknown
        ``"error"``, or ``"drop"`` names that stand for no gene.
    argument
        Name of the argument, for messages.

    Raises
    ------
    GenesError
        If a name stands for no gene; it tells the nearest names.
    """
    check_choice("unknown", unknown, ("error", "drop"))
    if isinstance(genes, str | bytes | dict) or not isinstance(genes, Iterable):
        refuse(argument, genes, "a list of names of genes")
    names = as_names(genes)
    found = identify_genes(names)
    missing = [name for name, gene in zip(names, found.ids, strict=True) if not gene]
    if missing and (unknown == "error" or len(missing) == len(names)):
        raise GenesError(
            "These names stand for no gene.",
            found=some(_with_nearest(name) for name in missing[:5]) + (" and others" if len(missing) > 5 else ""),
            expected="symbols or Ensembl ids of human or mouse",
            remedy='correct them, or pass `unknown="drop"`; `cq.identify_genes(genes)` shows what each stands for.',
            argument=argument,
        )
    kept = np.array([place for place, gene in enumerate(found.ids) if gene], dtype=np.int64)
    ids = tuple(found.ids[place] for place in kept)
    vocabulary = GeneVocabulary.both(ids)
    rows = np.array([vocabulary.index(gene) for gene in ids], dtype=np.int64)
    return NamedGenes(vocabulary, tuple(names[place] for place in kept), ids, rows, kept)


def labelled_genes(genes: Iterable[str], labels: Iterable[Any], unknown: Unknown) -> LabelledGenes:
    """Read genes with their labels.

    Text, categories, True and False, and up to 20 whole numbers are classes; other numbers are numbers. A gene without
    a label is left out; one that is named twice, by any of its names or as its ortholog, counts once.

    Raises
    ------
    ArgumentError, GenesError
        If lengths differ, fewer than ten genes have a label, all have the same, or two labels of a gene contradict.
    """
    if isinstance(genes, Iterable) and not isinstance(genes, str | bytes | dict):
        genes = list(genes)
    if isinstance(labels, str | bytes | dict) or not isinstance(labels, Iterable):
        refuse("labels", labels, "a label for each gene")
    given = (
        pd.Series(labels).reset_index(drop=True)
        if isinstance(labels, pd.Series | pd.Categorical)
        else pd.Series(list(labels))
    )
    named = named_genes(genes, unknown)
    n_given = len(genes) if isinstance(genes, list) else 0
    if n_given != len(given):
        raise ArgumentError(
            "Each gene needs a label.",
            found=f"{n_given:,} genes and {len(given):,} labels",
            expected="as many of both; NaN or None for a gene without one",
            remedy="pass a label for each gene.",
            argument="labels",
        )
    given = given.iloc[named.kept]
    there = given.notna().to_numpy()
    values, rows, names = given[there], named.rows[there], np.array(named.names, dtype=object)[there]
    numbers = _are_numbers(values)
    told: Any = values.to_numpy(dtype=np.float64) if numbers else values.map(_text).to_numpy(dtype=object)
    if numbers and not np.isfinite(told).all():
        refuse("labels", float(told[~np.isfinite(told)][0]), "finite numbers; NaN for a gene without one")
    label_of: dict[int, Any] = {}
    for row, value, name in zip(rows.tolist(), told.tolist(), names, strict=True):
        if label_of.setdefault(row, value) != value:
            raise ArgumentError(
                "A gene has labels that contradict each other.",
                found=f"{name}: {label_of[row]!r} and {value!r}",
                expected="one label for each gene, under whichever name; one-to-one orthologs count as one gene",
                remedy="keep one of the two.",
                argument="labels",
            )
    _check_enough(label_of)
    chosen = sorted(label_of)
    kept = [label_of[row] for row in chosen]
    if numbers:
        return LabelledGenes(named.vocabulary.take(chosen), (), np.array(kept, dtype=np.float64))
    classes = _ordered(values, kept)
    codes = np.array([classes.index(label) for label in kept], dtype=np.int64)
    return LabelledGenes(named.vocabulary.take(chosen), classes, codes)


def _check_enough(label_of: dict[int, Any]) -> None:
    if len(label_of) < LEAST_GENES:
        raise ArgumentError(
            "There are too few genes with a label.",
            found=f"{len(label_of)} different genes",
            expected=f"at least {LEAST_GENES}",
            remedy="pass labels of more genes.",
            argument="labels",
        )
    times = pd.Series(list(label_of.values())).value_counts()
    if len(times) == 1:
        raise ArgumentError(
            "All genes have the same label.",
            found=f"{times.index[0]!r} for {len(label_of):,} genes",
            expected="at least two different labels",
            remedy="add genes of another label, such as a draw of the others.",
            argument="labels",
        )
    if not isinstance(times.index[0], float) and times.min() < 2:
        raise ArgumentError(
            "A label of one gene alone can't be learned.",
            found=some(times.index[times < 2]),
            expected="at least two genes of each label",
            remedy="leave such genes out, or join their labels to others.",
            argument="labels",
        )


def _are_numbers(values: pd.Series) -> bool:
    """True if labels are measured, not counted off: fractions, or many whole numbers."""
    if isinstance(values.dtype, pd.CategoricalDtype) or not len(values):
        return False
    exact = values.infer_objects()
    if exact.dtype.kind not in "iuf":
        return False
    whole = np.asarray(exact, dtype=np.float64)
    return bool((whole != np.round(whole)).any()) or len(np.unique(whole)) > SEVERAL


def _text(value: object) -> str:
    """A label as text; a whole number has no fraction, though NaN beside it made it one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _ordered(values: pd.Series, kept: list[str]) -> tuple[str, ...]:
    """The classes in the order of their categories, of their numbers, or of the alphabet."""
    there = set(kept)
    if isinstance(values.dtype, pd.CategoricalDtype):
        return tuple(label for label in map(_text, values.cat.categories) if label in there)
    numeric = values.infer_objects().dtype.kind in "iuf"
    return tuple(sorted(there, key=float if numeric else str))


def _with_nearest(name: str) -> str:
    """A name with the symbols that are spelled most like it, among those of its first letter and nearly its length."""
    symbols = {
        symbol
        for species in SPECIES
        for symbol in gene_table(species).symbol_of.values()
        if symbol[:1].upper() == name[:1].upper() and abs(len(symbol) - len(name)) <= 2
    }
    nearest = get_close_matches(name, sorted(symbols), n=3, cutoff=0.7)
    return f"{name!r}" + (f" (nearest: {', '.join(nearest)})" if nearest else "")
