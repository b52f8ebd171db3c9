"""What a model is pretrained on: the cells of several AnnData over one vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from celloquy.data import CellBatch, Cells, choose_counts
from celloquy.data.store import open_store
from celloquy.errors import ArgumentError, GenesError
from celloquy.genes import GeneVocabulary, identify_genes, in_species

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_COUNTS = 3
"""Counts over all cells below which a gene is left out of a vocabulary: nothing can be learned of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One of the inputs: its name, and where its cells are."""

    name: str
    data: AnnData | Path

    @contextmanager
    def open(self) -> Iterator[AnnData]:
        """Give the cells; a file is read where it is and closed afterwards."""
        if not isinstance(self.data, Path):
            yield self.data
            return
        with open_store(self.data) as adata:
            yield adata


def as_sources(adatas: Any) -> list[Source]:
    """Return the inputs of a call: an AnnData, a path, or several of them.

    Raises
    ------
    ArgumentError
        If there is none, or one is neither.
    """
    from anndata import AnnData

    several = adatas if isinstance(adatas, Sequence) and not isinstance(adatas, str) else [adatas]
    if not len(several):
        raise ArgumentError(
            "There is nothing to train on.",
            found="no AnnData",
            expected="an AnnData or the path of an h5ad file or a zarr directory, or a list of them",
            remedy="pass at least one.",
        )
    sources = []
    for number, one in enumerate(several, start=1):
        if isinstance(one, AnnData):
            sources.append(Source(f"input {number}", one))
        elif isinstance(one, str | PathLike):
            sources.append(Source(Path(one).stem, Path(one)))
        else:
            raise ArgumentError(
                f"Input {number} can't be trained on.",
                found=f"an object of type {type(one).__name__}",
                expected="an AnnData or the path of an h5ad file or a zarr directory",
                remedy="wrap the counts in an AnnData: cells × genes, genes named in `var_names`.",
            )
    return sources


def find_vocabulary(sources: list[Source], layer: str | None, species: Literal["auto"] | None = None) -> GeneVocabulary:
    """Return the union of the known genes that are expressed in the inputs.

    With ``species="auto"`` those of another species than the first input's are mapped to it.

    Raises
    ------
    GenesError
        If no gene is known, or the inputs are of different species.
    """
    union: GeneVocabulary | None = None
    of: dict[str, str] = {}
    for source in sources:
        with source.open() as adata:
            counts = choose_counts(adata, layer=layer)
            expressed = np.asarray(counts.genes_total()) >= LEAST_COUNTS
        names: list[str] = np.asarray(counts.var_names)[expressed].tolist()
        first = next(iter(of.values()), None)
        if species == "auto" and first in ("human", "mouse"):
            names = in_species(names, "human" if first == "human" else "mouse")
        identified = identify_genes(names)
        genes = GeneVocabulary.from_ids(dict.fromkeys(gene for gene in identified.ids if gene))
        if not len(genes):
            raise GenesError(
                f"No gene of {source.name} is known.",
                found=", ".join(map(str, counts.var_names[:5])),
                expected="Ensembl ids or gene symbols of human or mouse",
                remedy="name the genes in `var_names`; see cq.identify_genes(adata.var_names).",
            )
        of[source.name] = identified.species
        union = genes if union is None else union.union(genes)
    assert union is not None
    if len(set(of.values()) - {"unknown"}) > 1:
        raise GenesError(
            "The inputs are of different species.",
            found=", ".join(f"{name}: {kind}" for name, kind in of.items()),
            expected="inputs of one species",
            remedy='pass species="auto" to have one-to-one orthologs taken, or map the genes with cq.orthologs(…).',
        )
    return union


@dataclass(frozen=True, slots=True)
class Corpus:
    """All cells to train on."""

    cells: CellBatch
    """Tissues numbered over all inputs; the panel of a cell is its input."""
    batches: list[str]
    """Names of the batches, in the order of their codes; empty where none are told apart."""
    counts: list[str]
    """Where the counts of each input were found."""


def read_corpus(
    sources: list[Source],
    vocabulary: GeneVocabulary,
    *,
    layer: str | None,
    tissue_key: str | None,
    spatial_key: str | None,
    batch_key: str | None,
    species: Literal["auto"] | None = None,
) -> Corpus:
    """Read the cells of all inputs into memory, sparse.

    Several inputs are batches of their own, each split further by ``batch_key``.
    """
    parts: list[CellBatch] = []
    names: list[str] = []
    found: list[str] = []
    tissues = 0
    for source in sources:
        with source.open() as adata:
            cells = Cells(
                adata,
                vocabulary,
                layer=layer,
                tissue_key=tissue_key,
                spatial_key=spatial_key,
                batch_key=batch_key,
                species=species,
            )
            part = cells.read_all()
        batch = part.batch
        if len(sources) > 1:
            batch = batch.clamp(min=0) + len(names)
            names += [f"{source.name}: {name}" for name in cells.batches] or [source.name]
        else:
            names = list(cells.batches)
        parts.append(replace(part, tissue=part.tissue + tissues, batch=batch))
        tissues += int(part.tissue.max()) + 1
        found.append(f"{source.name}: {cells.source}")
    return Corpus(CellBatch.concatenate(parts), names, found)
