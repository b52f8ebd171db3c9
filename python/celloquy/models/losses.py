"""What a model that fills in hidden counts gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class FillingLosses:
    """How well a model fills in what it did not see of ``n`` cells."""

    embedding: Tensor
    """``(n, embedding_width)``."""
    reconstruction: Tensor
    """Scalar: loss of what was hidden, a mean over the cells, such as a negative log-likelihood in nats a cell."""
    divergence: Tensor | None = None
    """Scalar: how far the cells lie from the model's prior, in nats a cell, if it has one."""
    divergence_weight: float = 0.0
    """Weight of the divergence in the loss."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars: parts of the reconstruction by name, for the record of the training."""
