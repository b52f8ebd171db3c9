"""The objective of annotation: the label of a cell some of whose counts are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from celloquy.models import Model
from celloquy.nn.masking import BiLevelMask
from celloquy.runtime.hardware import autocast
from celloquy.tasks.annotation.classifier import LabelClassifier
from celloquy.training.loop import Objective

if TYPE_CHECKING:
    from celloquy.data import CellBatch


PRIOR = 0.5
"""Strength of the prior that both heads are calibrated as they are, in cells."""


class MaskedLabels(Objective):
    """The cross-entropy of the labels, rare ones weighing more.

    Masks keep a model with few labelled cells from learning them by heart; nothing is masked in validation.

    Parameters
    ----------
    model
        The model to train.
    classifier
        The classifier, of which the head on the embedding is trained.
    sizes
        ``(classes,)``, labelled cells of each class; a class weighs the inverse root of its size.
    precision
        Precision of the matrix products.
    """

    def __init__(
        self,
        model: Model,
        classifier: LabelClassifier,
        sizes: Tensor,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__()
        self.model, self.classifier, self.precision = model, classifier, precision
        weight = sizes.float().clamp(min=1).rsqrt()
        self.register_buffer("weight", weight * sizes.sum() / (weight * sizes).sum())
        self.weight: Tensor

    def forward(self, batch: CellBatch, mask: BiLevelMask, labels: Tensor) -> dict[str, Tensor]:
        """Return ``loss``, in nats a cell.

        Parameters
        ----------
        batch
            Whole tissues.
        mask
            What of them is hidden in training.
        labels
            ``(n,)`` int64.
        """
        with autocast(self.precision, batch.values.device):
            embedding = self.model.embed_batch(mask.hide(batch) if self.training else batch)
            logits = self.classifier.embedding_logits(embedding)
        weight = self.weight[labels]
        losses = functional.cross_entropy(logits.float(), labels, reduction="none")
        return {"loss": (weight * losses).sum() / len(labels)}


def calibrate_heads(linear: Tensor, embedded: Tensor, labels: Tensor) -> Tensor:
    """Return the weights ``(2,)`` under which the sum of two heads' logits is most probable to give the labels.

    Temperature scaling (Guo et al. 2017) of two heads at once. With few cells to tell, both stay near 1.

    Parameters
    ----------
    linear, embedded
        ``(n, c)`` logits of cells that neither was fitted to.
    labels
        ``(n,)`` int64.
    """
    if not len(labels):
        return torch.ones(2)
    log_weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    first, second = linear.double(), embedded.double()
    optimizer = torch.optim.LBFGS([log_weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        weight = log_weight.exp()
        found = functional.cross_entropy(weight[0] * first + weight[1] * second, labels)
        found = found + PRIOR / len(labels) * log_weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return log_weight.detach().exp().float()
