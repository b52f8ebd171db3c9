"""The shape of a factor model, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from celloquy.checks import check_whole_number
from celloquy.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class FactorModelConfig(ModelConfig):
    """Everything that a :class:`celloquy.FactorModel` is built from, the vocabulary aside.

    Examples
    --------
    >>> import celloquy as cq
    >>> config = cq.FactorModelConfig.preset("mini").replace(width=60)
    >>> cq.FactorModelConfig.from_json(config.to_json()).width
    60
    """

    family: ClassVar[str] = "factors"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"mini": {}}

    width: int = 100
    """Number of factors. 50 and 150 served held-out studies a little less."""

    axes: int = 0
    """Number of principal axes of the user's cells that an adapted model holds beside the factors."""

    components: int | None = None
    """Number of principal components of factors and axes that are the embedding of an adapted model; None embeds by
    the factors as they are."""

    def __post_init__(self) -> None:
        check_whole_number("width", self.width, least=1, remedy="pass the number of factors, such as 100.")
        check_whole_number("axes", self.axes, least=0, remedy="leave it out: an adaptation sets it.")
        if self.components is not None:
            check_whole_number("components", self.components, least=1, remedy="leave it out: an adaptation sets it.")

    @property
    def embedding_width(self) -> int:
        """Number of components, or of factors and axes."""
        return self.components or self.width + self.axes
