"""The shape of a cell model and of the task it is pretrained on, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from celloquy.errors import ArgumentError
from celloquy.models.config import ModelConfig
from celloquy.nn.masking import Masking

Attention = Literal["flow", "softmax", "none"]
Latent = Literal["mixture", "gaussian", "none"]
Preset = Literal["mini", "small", "base"]


@dataclass(frozen=True, slots=True)
class CellModelConfig(ModelConfig):
    """Everything that a :class:`celloquy.CellModel` is built from, the vocabulary aside.

    The defaults are those of the preset ``"mini"`` (128 wide, 2 layers). ``"small"`` is 256 wide with 4 layers,
    ``"base"`` the published 85-million-parameter CellPLM (1,024 wide, 4 layers), with positions in use.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.CellModelConfig.preset("base").width
    1024
    >>> small = cq.CellModelConfig.preset("small").replace(positions=False)
    >>> cq.CellModelConfig.from_json(small.to_json()) == small
    True
    """

    family: ClassVar[str] = "cellplm"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mini": {},
        "small": {"width": 256, "layers": 4, "heads": 8, "feedforward": 512, "latent_width": 64}
        | {"latent_hidden": 256, "decoder_width": 256, "dropout": 0.1},
        "base": {"width": 1024, "layers": 4, "heads": 8, "feedforward": 2048, "latent_width": 512}
        | {"latent": "mixture", "latent_hidden": 512, "decoder_width": 1024, "dropout": 0.2, "kl_weight": 5.0}
        | {"mask_cells": 0.75, "mask_beta": (5.0, 13.0)},
    }

    width: int = 128
    """Width of a gene's and of a cell's vector."""
    layers: int = 2
    """Encoder layers."""
    heads: int = 4
    """Attention heads; divides ``width``."""
    feedforward: int = 256
    """Hidden width of the feed-forward blocks."""
    attention: Attention = "flow"
    """How the cells of a tissue read each other; ``"softmax"`` and ``"none"`` (each cell alone) are the ablations."""
    positions: bool = True
    """True if cells are told where in their tissue they lie."""
    dropout: float = 0.0
    """Share of each hidden vector dropped in training."""
    norm_groups: int = 4
    """Groups of the group norms; divides ``width`` and ``decoder_width``."""
    latent: Latent = "gaussian"
    """Prior of the latent: Gaussian mixture, one Gaussian, or no latent at all."""
    latent_width: int = 32
    """Width of the latent, which is the embedding; ``width`` where ``latent`` is ``"none"``."""
    latent_hidden: int = 128
    """Hidden width of the mixture's ``q(z|h, y)``."""
    components: int = 16
    """Gaussians in the mixture."""
    decoder_width: int = 128
    """Hidden width of the decoder."""
    decoder_layers: int = 1
    """Hidden layers of the decoder."""
    decoder_rank: int = 128
    """Width of the decoder's last hidden layer, from which every gene is read."""
    covariates: tuple[tuple[str, int], ...] = ()
    """Covariates of the decoder, each with its number of levels, e.g. ``(("batch", 3),)``."""
    mask_cells: float = 1.0
    """Share of cells masked in pretraining."""
    mask_beta: tuple[float, float] = (5.0, 5.0)
    """Beta distribution from which each masked cell draws its share of masked genes."""
    mask_cap: float = 0.9
    """Largest share of a cell's genes that is masked."""
    kl_weight: float = 0.3
    """Weight of the latent's divergence from its prior."""
    free_bits: float = 5.0
    """Nats of that divergence which cost little."""

    def __post_init__(self) -> None:
        for name, options in (("attention", get_args(Attention)), ("latent", get_args(Latent))):
            if getattr(self, name) not in options:
                self._refuse(name, " or ".join(map(repr, options)))
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "layers" else 1
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                self._refuse(field.name, f"a whole number of at least {least}")
        for name in ("dropout", "mask_cells", "mask_cap"):
            if not 0 <= getattr(self, name) <= 1:
                self._refuse(name, "a share between 0 and 1")
        if self.width % self.heads:
            self._refuse("heads", f"a divisor of width, {self.width}")
        if self.width % self.norm_groups or self.decoder_width % self.norm_groups:
            self._refuse("norm_groups", f"a divisor of width, {self.width}, and of decoder_width, {self.decoder_width}")
        if self.positions and self.width % 4:
            self._refuse("width", "a multiple of 4, for sines and cosines of two axes, or positions=False")
        if self.latent == "none" and self.latent_width != self.width:
            object.__setattr__(self, "latent_width", self.width)

    def _refuse(self, name: str, expected: str) -> None:
        raise ArgumentError(
            f"CellModelConfig can't have this `{name}`.",
            found=repr(getattr(self, name)),
            expected=expected,
            remedy=f"change `{name}`, or start from CellModelConfig.preset('mini').",
        )

    @property
    def embedding_width(self) -> int:
        """Width of the latent, which is the embedding."""
        return self.latent_width

    @property
    def masking(self) -> Masking:
        """Share of the counts that is hidden from the encoder in pretraining."""
        return Masking(share=self.mask_cells, beta=self.mask_beta, cap=self.mask_cap)
