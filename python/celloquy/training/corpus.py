"""The corpus of a pretraining: the cells of several AnnData over one vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celloquy.data import CellBatch, CellColumns, CellSource
from celloquy.data.store import opened
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.genes import GeneVocabulary, identify_genes, in_species

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_COUNTS = 3
"""Counts over all cells below which a vocabulary leaves a gene out, because nothing can be learned from it."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a pretraining."""

    name: str
    """Name of the input, for messages and batches."""
    data: AnnData | Path
    """The cells, in memory or as the path of a file."""

    @contextmanager
    def open(self) -> Iterator[AnnData]:
        """Yield the cells; a file is read from disk and closed afterwards."""
        with opened(self.data, "adatas") as adata:
            yield adata


def as_inputs(adatas: Any) -> list[Input]:
    """Return the inputs of a call: an AnnData, a path, or several of them.

    Raises
    ------
    ArgumentError
        If there is no input, or one is neither an AnnData nor a path.
    """
    from anndata import AnnData

    several = adatas if isinstance(adatas, Sequence) and not isinstance(adatas, str) else [adatas]
    if not len(several):
        raise ArgumentError(
            "There is nothing to train on.",
            found="no AnnData",
            expected="an AnnData or the path of an h5ad file or a zarr directory, or a list of them",
            remedy="pass at least one.",
            argument="adatas",
        )
    inputs = []
    for number, one in enumerate(several, start=1):
        if isinstance(one, AnnData):
            inputs.append(Input(f"input {number}", one))
        elif isinstance(one, str | PathLike):
            inputs.append(Input(Path(one).stem, Path(one)))
        else:
            raise ArgumentError(
                f"Input {number} can't be trained on.",
                found=f"an object of type {type(one).__name__}",
                expected="an AnnData or the path of an h5ad file or a zarr directory",
                remedy="wrap the counts in an AnnData: cells × genes, genes named in `var_names`.",
                argument="adatas",
            )
    return inputs


def find_vocabulary(sources: Sequence[CellSource]) -> GeneVocabulary:
    """Return the union of the known genes that are expressed in the inputs.

    With ``species="auto"``, genes of another species are mapped to the species of the first input.

    Raises
    ------
    GenesError
        If no gene is known, or the inputs are of different species.
    """
    union: GeneVocabulary | None = None
    species_of: dict[str, str] = {}
    for source in sources:
        names = source.expressed_names(LEAST_COUNTS)
        first = next(iter(species_of.values()), None)
        if source.columns.species == "auto" and first in ("human", "mouse"):
            names = in_species(names, "human" if first == "human" else "mouse")
        identified = identify_genes(names)
        genes = GeneVocabulary.from_ids(dict.fromkeys(gene for gene in identified.ids if gene))
        if not len(genes):
            raise GenesError(
                f"No gene of {source.name} is known.",
                found=some(source.var_names),
                expected="Ensembl ids or gene symbols of human or mouse",
                remedy="name the genes in `var_names`; see cq.identify_genes(adata.var_names).",
            )
        species_of[source.name] = identified.species
        union = genes if union is None else union.union(genes)
    assert union is not None
    if len(set(species_of.values()) - {"unknown"}) > 1:
        raise GenesError(
            "The inputs are of different species.",
            found=", ".join(f"{name}: {kind}" for name, kind in species_of.items()),
            expected="inputs of one species",
            remedy='pass species="auto" to map them to one-to-one orthologs, or map the genes with cq.orthologs(…).',
            argument="species",
        )
    return union


@dataclass(frozen=True, slots=True)
class Corpus:
    """All cells of a pretraining."""

    cells: CellBatch
    """The cells; tissues are numbered over all inputs, and the panel of a cell is its input."""
    batches: list[str]
    """Names of the batches, in the order of their codes; empty if there are none."""
    counts: list[str]
    """Place of the counts in each input."""
    vocabulary: GeneVocabulary
    """Genes of the corpus."""


def read_corpus(inputs: list[Input], columns: CellColumns, vocabulary: GeneVocabulary | None = None) -> Corpus:
    """Read the cells of all inputs into memory, sparse.

    Each of several inputs is a batch of its own, which the batch column splits further.

    Parameters
    ----------
    inputs
        Inputs, at least one.
    columns
        Options by which each input is read.
    vocabulary
        Genes to read; by default those that :func:`find_vocabulary` finds.
    """
    parts: list[CellBatch] = []
    names: list[str] = []
    places: list[str] = []
    with ExitStack() as stack:
        sources = [CellSource(stack.enter_context(one.open()), columns, name=one.name) for one in inputs]
        genes = find_vocabulary(sources) if vocabulary is None else vocabulary
        for source in sources:
            part = source.over(genes).read_all()
            if len(sources) > 1:
                part = replace(part, batch=part.batch.clamp(min=0) + len(names))
                names += [f"{source.name}: {name}" for name in source.batches] or [source.name]
            else:
                names = list(source.batches)
            parts.append(part)
            places.append(f"{source.name}: {source.counts.source}")
    return Corpus(CellBatch.concatenate(parts, renumber_tissues=True), names, places, genes)
