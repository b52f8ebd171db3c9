"""A model family in forty lines: a random linear projection of log counts. Importing this file registers it."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from celloquy.models import Model, ModelConfig, register_family


@dataclass(frozen=True, slots=True)
class ProjectionConfig(ModelConfig):
    """Width of the projection."""

    family: ClassVar[str] = "projection"

    width: int = 8

    @property
    def embedding_width(self) -> int:
        """The projection is the embedding."""
        return self.width


@register_family
class ProjectionModel(Model):
    """Projects log1p of counts onto some directions."""

    config_class: ClassVar[type[ModelConfig]] = ProjectionConfig

    def __init__(self, config, vocabulary):
        super().__init__(config, vocabulary)
        self.directions = torch.nn.Parameter(torch.randn(len(vocabulary), config.width) / len(vocabulary) ** 0.5)

    def embed_batch(self, batch):
        """Return the projections ``(n, width)``."""
        return torch.nn.functional.embedding_bag(
            batch.indices.long(),
            self.directions,
            batch.indptr,
            mode="sum",
            per_sample_weights=batch.values.log1p(),
            include_last_offset=True,
        )
