"""Coarse cell types without a reference: Gaussian types over marker genes, exact under missing genes.

A type is a mean of log-normalised expression; all types share a covariance of a diagonal and some axes (linear
discriminant analysis with factors). Given the genes that were measured, the likelihood of a type is known in closed
form: a gene that was not measured is left out of it, so a small panel makes a label less certain, not another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from celloquy.data import CellBatch
from celloquy.nn.factors import DEPTH, top_axes
from celloquy.tasks.annotation.linear import f_statistic

GENES = 4000
"""Genes that tell the types apart best, of those that every source measured. 2,000 were worse, 8,000 no better."""
AXES = 50
"""Axes along which cells of one type differ. 25 to 200 gave the same."""
LEAST_NOISE = 0.3
"""Share of a gene's variance within the types that is noise at least, whatever the axes explain."""
FLOOR = 0.1
"""Part of the mean variance that is added to each gene's, so that a gene that hardly varies does not decide."""
SHRINK = 0.9
"""Factor on the means of the types, which those of drawn cells exceed."""
TEMPERATURE = 1.6
"""Temperature of the logits, times the root of the types' squared distance from the mean cell over the measured genes:
the one that made eight labelled studies, none of which was learned from, most likely."""
LEAST_PROBABILITY = 0.4
"""Probability of the best type below which a cell is unknown."""


@dataclass(frozen=True, eq=False)
class CoarseTypes:
    """Types over ``v`` genes of a vocabulary, of which ``g`` are read; ``t`` types, ``k`` axes."""

    genes: Tensor
    """``(g,)`` int64: rows of the vocabulary, rising."""
    usual: Tensor
    """``(v,)``: share of a gene in the counts of a cell of no known type; they add up to 1."""
    mean: Tensor
    """``(g,)``: mean log expression over the types."""
    centres: Tensor
    """``(t, g)``: mean of each type, less that mean."""
    axes: Tensor
    """``(g, k)``: axes of the covariance within the types, times their standard deviation."""
    noise: Tensor
    """``(g,)``: variance that the axes do not explain."""

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> CoarseTypes:
        """Build from what :meth:`weights` returned; half precision becomes full."""
        return cls(**{key: value if key == "genes" else value.float() for key, value in weights.items()})

    def weights(self) -> dict[str, Tensor]:
        """Return what has to be stored, in half precision but for the genes and their usual shares."""
        half = {key: getattr(self, key).half() for key in ("mean", "centres", "axes", "noise")}
        return {"genes": self.genes, "usual": self.usual} | half

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.weights().items()):
            digest.update(name.encode() + weight.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def logits(self, cells: CellBatch) -> Tensor:
        """Return the log probability of every type, ``(n, t)``, of cells of one panel.

        Parameters
        ----------
        cells
            Cells over the vocabulary that the types were fitted over.
        """
        table, bias, temperature = self._map(cells.measured[cells.panel].all(0))
        values = logged(cells, self.usual)
        summed = embedding_bag(
            cells.indices.long(), table, cells.indptr, mode="sum", per_sample_weights=values, include_last_offset=True
        )
        # A cell without counts is of no type more than of another.
        filled = (cells.indptr.diff() > 0)[:, None]
        return ((summed + bias) * filled / temperature).log_softmax(1)

    def _map(self, measured: Tensor) -> tuple[Tensor, Tensor, float]:
        """Table ``(v, t)`` and bias ``(t,)`` that take log expression to logits, and the temperature."""
        seen = measured[self.genes]
        centres, axes, noise = SHRINK * self.centres.T[seen].double(), self.axes[seen].double(), self.noise[seen]
        weighted = axes / noise[:, None].double()
        inner = torch.linalg.inv(torch.eye(axes.shape[1], dtype=torch.float64) + axes.T @ weighted)
        scaled = centres / noise[:, None].double()
        part = scaled - weighted @ (inner @ (axes.T @ scaled))
        distance = (part * centres).sum(0)
        bias = -distance / 2 - self.mean[seen].double() @ part
        table = torch.zeros(len(self.usual), len(self.centres))
        table[self.genes[seen]] = part.float()
        # Squared distance before the means were shrunk.
        temperature = TEMPERATURE * float(distance.median() / SHRINK) ** 0.5 if len(part) else 1.0
        return table, bias.float(), max(temperature, 1e-3)


def fit_coarse(cells: CellBatch, codes: np.ndarray, types: int) -> CoarseTypes:
    """Learn types from cells.

    Parameters
    ----------
    cells
        Cells; ``batch`` tells the species, each of which weighs the same in the mean of a type. A gene is read only
        if all panels measured it.
    codes
        ``(n,)``, type of each cell, from 0.
    types
        Number of types; each needs a cell.
    """
    y = torch.from_numpy(codes).long()
    raw = cells.to_csr()
    # All types together count alike.
    weight = 1 / (np.bincount(codes, minlength=types)[codes] * types * np.maximum(cells.library_size().numpy(), 1))
    usual = torch.from_numpy(weight @ raw).float()
    values = raw.copy()
    values.data = logged(cells, usual).double().numpy()
    separation = f_statistic(values, codes, types) * cells.measured.all(0).numpy()
    genes = np.sort(np.argsort(-separation, kind="stable")[:GENES])
    dense = torch.from_numpy(values[:, genes].toarray()).float()
    centres = torch.stack([_species_mean(dense, cells.batch, y == code) for code in range(types)])
    within = dense - centres[y]
    variance = within.square().mean(0)
    singular, axes = top_axes(within, AXES)
    axes = axes.T * (singular / len(within) ** 0.5)
    floored = variance + FLOOR * variance.mean()
    noise = torch.maximum(floored - axes.square().sum(1), LEAST_NOISE * floored)
    mean = centres.mean(0)
    return CoarseTypes(torch.from_numpy(genes), usual, mean, centres - mean, axes, noise)


def _species_mean(values: Tensor, species: Tensor, chosen: Tensor) -> Tensor:
    parts = [values[chosen & (species == one)].mean(0) for one in species[chosen].unique()]
    return torch.stack(parts).mean(0)


def logged(cells: CellBatch, usual: Tensor) -> Tensor:
    """Return ``log1p`` of the counts, each cell scaled to 10,000 counts of all genes, ``(z,)``.

    A cell of a panel is scaled to the share of 10,000 that the panel's genes usually have: scaled to 10,000, as a cell
    of all genes is, every gene of a small panel would look high.
    """
    share = (cells.measured.float() @ usual)[cells.panel]
    scale = DEPTH * share / cells.library_size().clamp(min=1)
    return (cells.values * scale[cells.cell_of_count]).log1p()
