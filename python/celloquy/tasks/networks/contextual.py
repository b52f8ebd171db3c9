"""Scores from a gene model that reads the cells: likeness of vectors, attention, the effect of deleting a regulator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from celloquy.data import CellBatch, CellColumns
from celloquy.data.share import CellShare
from celloquy.errors import GenesError, some
from celloquy.genes.orthology import ortholog_of
from celloquy.models import Model
from celloquy.runtime.hardware import Precision
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.gene_reading import DescribesGenes, GroupedCells, grouped_cells, known_genes, reading
from celloquy.tasks.gene_vectors import gene_embeddings
from celloquy.tasks.networks.cells import Expression
from celloquy.tasks.networks.moments import Array

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.data import CellReader

CELLS_DELETED = 64
"""Cells of a group in which a regulator is deleted, at most."""


@dataclass(frozen=True, eq=False)
class ModelReader:
    """A gene model and the cells and genes that it is asked about."""

    model: Model
    adata: AnnData
    by: str | None
    columns: CellColumns
    precision: Precision
    device: torch.device
    progress: bool
    expression: Expression
    regulators: NDArray[np.int64]
    """Places of the regulators among the genes of the expression."""
    targets: NDArray[np.int64]
    """Places of the targets."""

    def cosine(self) -> list[Array]:
        """Return the cosine of the vectors of regulator and target, means over the cells of a group that read them.

        The mean of all vectors is taken from each; see :func:`celloquy.similar_genes`.
        """
        vectors = gene_embeddings(
            self.model, self.adata, by=self.by, genes=self._names(), layer=self.columns.layer,
            counts=self.columns.counts, species=self.columns.species, precision=self.precision,
            device=str(self.device), progress=self.progress,
        )  # fmt: skip
        place = self._places(vectors.obs["gene"])
        group = vectors.obs["group"].astype(str).to_numpy() if self.by else np.full(len(place), "")
        found = []
        for one in self.expression.groups:
            unit = np.full((len(self.expression.names), vectors.n_vars), np.nan)
            rows = (group == one.name) & (place >= 0)
            centred = np.asarray(vectors.X, dtype=np.float64)[rows]
            centred = centred - centred.mean(0) if len(centred) else centred
            unit[place[rows]] = centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
            found.append(unit[self.regulators] @ unit[self.targets].T)
        return found

    def attention(self) -> list[Array]:
        """Return how much targets read of regulators in the last layer; nan where no cell reads both."""
        shape = len(self.expression.groups), len(self.regulators), len(self.targets)
        sums, times = np.zeros(np.prod(shape)), np.zeros(np.prod(shape), dtype=np.int64)
        with self._open() as cells:
            rows = np.sort(np.concatenate([group.rows for group in self.expression.groups]))
            share = cast("CellReader", CellShare(cells.cells, rows))
            cells = replace(cells, cells=share, group=cells.group[torch.from_numpy(rows)])
            place = self._places(cells.genes["gene"])
            regulator, target = (
                _numbers(one, len(self.expression.names))[place] for one in (self.regulators, self.targets)
            )
            last = self._describer.n_layers - 1
            for group, batch in cells.read(self.progress):
                for cell, query, key, weight in self._describer.gene_attention_in(batch, cells.rows, last):
                    first, second = regulator[key.numpy()], target[query.numpy()]
                    kept = (first >= 0) & (second >= 0)
                    into = np.ravel_multi_index((group[cell].numpy()[kept], first[kept], second[kept]), shape)
                    sums += np.bincount(into, weights=weight.double().numpy()[kept], minlength=len(sums))
                    times += np.bincount(into, minlength=len(times))
        with np.errstate(invalid="ignore"):
            return list((sums / np.where(times > 0, times, np.nan)).reshape(shape))

    def deletion(self) -> list[Array]:
        """Return how far the vector of a target moves where the regulator is deleted, one minus the cosine.

        A mean over 64 cells that express the regulator, or all if there are fewer, of those that read the target; the
        cells with the smallest hashes of their names. nan where there is none.
        """
        found = [np.full((len(self.regulators), len(self.targets)), np.nan) for _ in self.expression.groups]
        with self._open() as cells:
            row_of = np.full(len(self.expression.names), -1)
            place = self._places(cells.genes["gene"])
            row_of[place[place >= 0]] = cells.genes["row"].to_numpy()[place >= 0]
            targets = torch.from_numpy(row_of[self.targets])
            total = len(self.regulators) * len(found)
            with ProgressBar(total=total, desc="Deleting regulators", unit=" genes", disable=not self.progress) as bar:
                for group, scores in zip(self.expression.groups, found, strict=True):
                    for number, regulator in enumerate(self.regulators):
                        expressing = group.values[:, [regulator]].indices
                        rows = np.sort(group.rows[np.sort(expressing)[:CELLS_DELETED]])
                        if row_of[regulator] >= 0 and len(rows):
                            batch = CellShare(cells.cells, rows).read(0, len(rows))
                            moved = _moved(self._describer, batch, int(row_of[regulator]))
                            scores[number] = torch.where(targets >= 0, moved[targets], torch.nan).numpy()
                        bar.update()
        return found

    @property
    def _describer(self) -> DescribesGenes:
        return cast("DescribesGenes", self.model)

    @contextmanager
    def _open(self) -> Iterator[GroupedCells]:
        """Open the cells, with the genes of both sides that the model knows."""
        arguments = self.by, self._names(), self.columns, self.precision, self.device
        with reading(self.model, self.device), grouped_cells(self.model, self.adata, *arguments) as cells:
            yield cells

    def _names(self) -> list[str]:
        """The ids by which the model knows the genes of both sides."""
        known = set(known_genes(self.model)["gene"])
        wanted = [self.expression.ids[place] for place in np.union1d(self.regulators, self.targets)]
        options = [[gene, ortholog_of(gene)] for gene in wanted if gene]
        names = [next((one for one in pair if one in known), "") for pair in options]
        if not any(names):
            raise GenesError(
                "The model knows none of these genes.",
                found=some(wanted),
                expected=f"some of its genes, such as {some(sorted(known), 3)}",
                remedy="name other genes, or pass a model that knows them.",
                argument="model",
            )
        return list(dict.fromkeys(filter(None, names)))

    def _places(self, genes: Iterable[str]) -> NDArray[np.int64]:
        """The places among the genes of the expression of genes as the model names them, or -1."""
        place = {gene: number for number, gene in enumerate(self.expression.ids) if gene}
        others = {ortholog_of(gene): number for gene, number in place.items()}
        place = others | place
        return np.array([place.get(gene, -1) if gene else -1 for gene in genes], dtype=np.int64)


def _numbers(places: NDArray[np.int64], genes: int) -> NDArray[np.int64]:
    """Return the number that each gene has in a list of places, ``(genes + 1,)``, or -1; the last is that of none."""
    found = np.full(genes + 1, -1)
    found[places] = np.arange(len(places))
    return found


def _moved(model: DescribesGenes, batch: CellBatch, row: int) -> Tensor:
    """Return how far the vector of each gene moves where one is deleted, ``(genes,)``; nan where no cell reads it.

    Cells that do not read the gene, as it is beyond the context, do not count.
    """
    keys, vectors = _vectors(model, batch)
    left_keys, left_vectors = _vectors(model, batch.keep(batch.indices != row))
    reads = torch.zeros(len(batch), dtype=torch.bool)
    reads[keys[keys % batch.n_genes == row] // batch.n_genes] = True
    found = torch.searchsorted(keys, left_keys).clamp(max=max(len(keys) - 1, 0))
    both = (keys[found] == left_keys) & reads[left_keys // batch.n_genes] if len(keys) else left_keys < 0
    shift = 1 - cosine_similarity(vectors[found[both]], left_vectors[both], dim=-1)
    gene = left_keys[both] % batch.n_genes
    total = torch.zeros(batch.n_genes, dtype=torch.float64).index_add_(0, gene, shift.double())
    # 0 / 0 is nan.
    return total / torch.bincount(gene, minlength=batch.n_genes)


def _vectors(model: DescribesGenes, batch: CellBatch) -> tuple[Tensor, Tensor]:
    """Return a number for each cell and gene, rising, and the vectors."""
    parts = [(cell * batch.n_genes + row, vectors.float().cpu()) for cell, row, vectors in model.gene_vectors_in(batch)]
    if not parts:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1)
    keys, vectors = (torch.cat(some) for some in zip(*parts, strict=True))
    order = keys.argsort()
    return keys[order], vectors[order]
