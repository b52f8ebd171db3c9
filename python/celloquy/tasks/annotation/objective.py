"""The objective of annotation: the label of a cell some of whose counts are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor
from torch.nn import functional

from celloquy.models import Model
from celloquy.nn.masking import BiLevelMask
from celloquy.runtime.hardware import autocast
from celloquy.tasks.annotation.classifier import LabelClassifier
from celloquy.training.loop import Objective

if TYPE_CHECKING:
    from celloquy.data import CellBatch


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
