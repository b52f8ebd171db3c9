"""Labels of cells by a reference of the other species.

What is the same in both species is not how much a cell has of a gene, but which genes it has more of than of others,
and more than other cells have. So a cell is read by the genes that mark the labels, standardised within the cell, with
the reference's mean and spread of each gene. Three simple readings of that, all strongly regularised, agree on a label:
a regression, one on principal components, and the cosine to the labels' means. Then the query itself speaks, without
its labels: what differs between the species in all labels alike is taken out, cells that are surely of a label join the
reference, and neighbours in the query speak for one another.

Every constant here was chosen on cells drawn from mean profiles of human and mouse, pancreas left out, and on real
cells of lymph node, blood, hippocampus and cerebellum against drawn ones of the other species.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from celloquy.data import CellSource
from celloquy.errors import GenesError
from celloquy.tasks.annotation.orthologs import SharedOrthologs, species_among
from celloquy.tasks.annotation.readings import (
    LEAST,
    Readings,
    cosines,
    log_counts,
    neighbourhood,
    scale_of,
    softmax,
    spoken_for,
    within_cells,
)
from celloquy.training.split import hold_out

MARKERS = 50
"""Genes that mark a label, at most: those of which it has most more than the other labels, in units of their spread.
Of 10, 20, 35, 50 and 100 the best; a thousand by the F statistic were worse by .02 of macro F1."""
MOST_MARKERS = 2000
"""Genes in all, about; of many labels each has fewer."""
MOST_REFERENCE = 5000
"""Reference cells that are learned from, at most; the same share of every label."""
MOST_TOGETHER = 10_000
"""Cells that are labelled together, at most; of more, parts with the same spread of depths."""
ROUNDS = 5
"""Times that the difference between the species is estimated."""
SHIFT_PRIOR, QUERY_PRIOR, REFERENCE_PRIOR = 3.0, 30.0, 10.0
"""Labels without a difference, and cells of each label, that stand against an estimate: from few it is small."""
SURE = 0.3
"""Share of the cells of each label, the most probable ones, that join the reference."""
OWN = 0.2
"""Weight of the logits of the annotator's own heads. Of 0, .1, .2, .3 and .5 the best."""
OWN_WHERE_BETTER = 0.5
"""The same where these heads tell held-out cells of the reference better by two standard errors: where differences are
fine."""
TEMPERATURE = 0.6
"""Temperature of the mean of the readings, which agree too little to be sure."""
FOLDS = 3
"""Folds by which it is found how much reference cells resemble their label."""


@dataclass(frozen=True, eq=False)
class SpeciesTransfer:
    """Reference cells over the orthologs of two species, from which cells of the other are labelled.

    Shapes: ``n`` reference cells, ``m`` marker genes, ``c`` labels, ``q`` cells to label.
    """

    genes: SharedOrthologs
    species: str
    """Species of the reference."""
    markers: Tensor
    """``(m,)`` int64, groups of orthologs."""
    values: Tensor
    """``(n, m)`` float32, log expression, standardised within the cell."""
    codes: Tensor
    """``(n,)`` int64."""
    usual: Tensor = field(default_factory=lambda: torch.tensor([torch.inf]))
    """``(1,)``: by how many deviations less than usual a known cell may resemble its likeliest label."""
    own: float = OWN
    """Weight of the annotator's own logits."""

    @classmethod
    def learn(
        cls, genes: SharedOrthologs, reference: CellSource, cells: np.ndarray, codes: np.ndarray,
        split: tuple[np.ndarray, np.ndarray], own: np.ndarray, *, false_unknown_rate: float, seed: int,
    ) -> Self:  # fmt: skip
        """Choose the markers, keep the reference's values of them, and weigh the annotator's own heads.

        Parameters
        ----------
        genes
            Orthologs that the cells to label have, too.
        reference
            The reference.
        cells, codes
            Places of the cells with a label, and the labels ``(n,)``, from 0 without a gap.
        split
            Which of them to learn from in a trial, and which are held out; in the end all are learned from.
        own
            Labels that the annotator's own heads give the held-out cells.
        false_unknown_rate
            Share of reference cells that would be called unknown.
        seed
            Seed of the draws.
        """
        counts, random = genes.read(reference)[cells], np.random.default_rng(seed)
        weight, (seen, held) = OWN, split
        if len(held) > 1:
            found = cls._kept(genes, "", counts[seen], codes[seen], random)._label_alike(counts[held])
            gain = (own == codes[held]).astype(float) - (found == codes[held])
            if gain.mean() > 2 * gain.std(ddof=1) / len(gain) ** 0.5:
                weight = OWN_WHERE_BETTER
        kept = cls._kept(genes, species_among(reference), counts, codes, random)
        unusual = _unusual(kept.values.numpy(), kept.codes.numpy(), false_unknown_rate, random)
        return replace(kept, usual=torch.tensor([unusual], dtype=torch.float32), own=weight)

    @classmethod
    def _kept(
        cls, genes: SharedOrthologs, species: str, counts: sparse.csr_matrix, codes: np.ndarray,
        random: np.random.Generator,
    ) -> Self:  # fmt: skip
        if len(codes) > MOST_REFERENCE:
            drawn = np.sort(hold_out(codes, MOST_REFERENCE / len(codes), random)[1])
            counts, codes = counts[drawn], codes[drawn]
        logged = log_counts(counts)
        markers = _markers(logged, codes)
        values = torch.from_numpy(within_cells(logged[:, markers])).float()
        return cls(genes, species, torch.from_numpy(markers), values, torch.from_numpy(codes))

    def serves(self, query: CellSource) -> bool:
        """True if these cells are of the other species."""
        return species_among(query) not in ("", self.species)

    def read(self, query: CellSource, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of every label ``(q, c)`` and the novelty ``(q,)`` of cells of the other species.

        Parameters
        ----------
        query
            The cells.
        own
            ``(q, c)``, probabilities by the annotator's own heads.
        """
        counts = self.genes.read(query)
        depth = np.asarray(counts.sum(1)).ravel()
        parts = max(1, -(-len(depth) // MOST_TOGETHER))
        # By depth, so that parts are alike and do not depend on the order of the cells.
        order = np.argsort(depth, kind="stable")
        probability, novelty = np.empty_like(own), np.empty(len(own), np.float32)
        for part in (np.sort(order[start::parts]) for start in range(parts)):
            if len(part):
                probability[part], novelty[part] = self._read(counts[part], own[part])
        return probability, novelty

    def described(self) -> dict[str, Any]:
        """What a result says of how it was made."""
        return {
            "reference_species": self.species,
            "ortholog_groups": len(self.genes),
            "one_to_one_orthologs": self.genes.one_to_one,
            "marker_groups": len(self.markers),
            "weight_of_own_heads": self.own,
        }

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What is saved, as JSON and as tensors."""
        tensors = {name: getattr(self, name) for name in ("markers", "values", "codes", "usual")}
        genes = {f"genes.{name}": getattr(self.genes, name) for name in ("numbers", "species", "groups")}
        return {"species": self.species, "own": self.own}, tensors | genes

    @classmethod
    def from_state(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """Build from what :meth:`state` returned."""
        genes = {name.removeprefix("genes."): one for name, one in tensors.items() if name.startswith("genes.")}
        others = {name: one for name, one in tensors.items() if not name.startswith("genes.")}
        return cls(SharedOrthologs(**genes), str(values["species"]), own=float(values["own"]), **others)

    def _label_alike(self, counts: sparse.csr_matrix) -> np.ndarray:
        """Labels of further cells of the reference's species, ``(cells,)``; nothing is learned of them."""
        values = self._standardise(within_cells(log_counts(counts)[:, self.markers.numpy()]))
        return Readings(self._standardise(self.values.numpy()), self.codes.numpy())(values).argmax(1)

    def _standardise(self, values: np.ndarray) -> np.ndarray:
        mean, spread = scale_of(self.values.numpy())
        return (values - mean) / spread

    def _read(self, counts: sparse.csr_matrix, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logged, codes = log_counts(counts), self.codes.numpy()
        known = self._standardise(self.values.numpy())
        cells = self._standardise(within_cells(logged[:, self.markers.numpy()]))
        around = neighbourhood(logged)
        readings = Readings(known, codes)
        sizes = np.bincount(codes)
        cells = cells - _difference(cells, readings, sizes, around)
        found = readings(cells)
        sure = _sure(spoken_for(around, softmax(found)))
        joined = np.concatenate([known, cells[sure[0]]]), np.concatenate([codes, sure[1]])
        found = (found + Readings(*joined)(cells)) / 2
        mixed = ((1 - self.own) * found + self.own * np.log(own + LEAST)) / TEMPERATURE
        deviations = _deviations(spoken_for(around, readings.cosines(cells)).max(1))
        return spoken_for(around, softmax(mixed)), 1 / (1 + np.exp(float(self.usual) - deviations))


def shared_orthologs(
    reference: CellSource, query: CellSource | None, *, required: bool = True
) -> SharedOrthologs | None:
    """Return the orthologs that a reference shares with cells of the other species; None if they are of its own.

    If they are not ``required``, since a model knows both species, None is returned where they are too few, too.

    Raises
    ------
    GenesError
        If they are of the other species and share too few.
    """
    if query is None:
        return None
    of_reference, of_query = species_among(reference), species_among(query)
    if not of_reference or not of_query or of_reference == of_query:
        return None
    return SharedOrthologs.of(reference, query, required=required)


def _difference(
    cells: np.ndarray, readings: Readings, sizes: np.ndarray, around: sparse.csr_matrix
) -> np.ndarray:  # fmt: skip
    """What the cells have more of than the reference's of the same label, each label alike, ``(m,)``."""
    difference = np.zeros(cells.shape[1])
    for _ in range(ROUNDS):
        belongs = spoken_for(around, softmax(readings(cells - difference)))
        mass = belongs.sum(0)
        means = (belongs.T @ cells) / np.maximum(mass, 1e-9)[:, None]
        weight = mass / (mass + QUERY_PRIOR) * sizes / (sizes + REFERENCE_PRIOR)
        difference = (weight[:, None] * (means - readings.means)).sum(0) / (weight.sum() + SHIFT_PRIOR)
    return difference


def _sure(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and labels of the most probable cells of each label that has three."""
    code, certain = probability.argmax(1), probability.max(1)
    place = np.empty(0, np.int64)
    for label in range(probability.shape[1]):
        of_label = np.flatnonzero(code == label)
        if len(of_label) > 2:
            ranked = of_label[np.argsort(-certain[of_label], kind="stable")]
            place = np.concatenate([place, ranked[: max(3, int(SURE * len(ranked)))]])
    return place, code[place]


def _markers(logged: sparse.csr_matrix, codes: np.ndarray) -> np.ndarray:
    """Places of the genes that mark the labels, rising."""
    labels = codes.max() + 1
    number = min(MARKERS, max(5, MOST_MARKERS // labels))
    member = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(labels, len(codes)))
    means = (member @ logged).toarray() / np.bincount(codes)[:, None]
    others = (means.sum(0) - means) / max(1, labels - 1)
    mean = np.asarray(logged.mean(0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(0)).ravel() - mean**2
    # A gene of hardly any spread would mark by a few counts.
    score = (means - others) / np.sqrt(variance + 0.005 * variance.max() + 1e-3)
    score[:, np.bincount(logged.indices, minlength=logged.shape[1]) < 3] = -np.inf
    chosen = np.argsort(-score, axis=1, kind="stable")[:, :number]
    found = np.unique(chosen[np.take_along_axis(score, chosen, 1) > 0])
    if len(found) < 2 * labels:
        raise GenesError(
            "Too few orthologs tell the labels apart.",
            found=f"{len(found)} genes that mark {labels} labels",
            expected=f"{2 * labels} at least, each in three cells of the reference",
            remedy="take a reference of more cells, or cells in which more of its genes were measured.",
            argument="reference",
        )
    return found


def _unusual(values: np.ndarray, codes: np.ndarray, share: float, random: np.random.Generator) -> float:
    """Deviations of likeness that a share of the cells exceeds, each told by the means of the other folds."""
    if not share:
        return np.inf
    mean, spread = scale_of(values)
    values, fold = (values - mean) / spread, random.integers(0, FOLDS, len(codes))
    likeness = np.zeros(len(codes))
    for one in range(FOLDS):
        rest = [values[(codes == code) & (fold != one)] for code in range(codes.max() + 1)]
        means = np.stack([of_label.mean(0) for of_label in rest if len(of_label)])
        likeness[fold == one] = cosines(values[fold == one], means).max(1)
    return float(np.quantile(_deviations(likeness), 1 - share))


def _deviations(likeness: np.ndarray) -> np.ndarray:
    """How much less than usual cells resemble their likeliest label, ``(cells,)``, in units of how that varies.

    Cells of the other species resemble all labels less; that is taken out with the median.
    """
    less: np.ndarray = np.median(likeness) - likeness
    return less / max(1.4826 * float(np.median(np.abs(less))), 1e-3)
