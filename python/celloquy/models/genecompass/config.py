"""The shape of a gene model and of the task it is pretrained on, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from celloquy.errors import ArgumentError
from celloquy.models.config import ModelConfig

Positions = Literal["rank", "none"]
Depth = Literal["raw", "scaled"]
Pooling = Literal["cls", "mean", "value", "summary"]
POOLED: dict[Pooling, str] = {
    "cls": "the cell token",
    "mean": "a mean of genes",
    "value": "a mean of genes",
    "summary": "a summary of all genes",
}
"""What each of them is, in words."""
Words = Literal["shared", "own"]
Asked = Literal["together", "apart"]
Scale = Literal["log", "raw"]

RELEASED_PRIORS = (("promoter", 768), ("co_exp", 768), ("gene_family", 768), ("peca_grn", 768))
"""Priors of the released models, in their order, with their widths."""

_RELEASED: dict[str, Any] = {
    "positions": "rank",
    "words": "own",
    "depth": "raw",
    "pooling": "cls",
    "dropout": 0.02,
    "priors": RELEASED_PRIORS,
    "asked": "together",
    "cell_weight": 0.0,
}


@dataclass(frozen=True, slots=True)
class GeneModelConfig(ModelConfig):
    """Everything that a :class:`celloquy.GeneModel` is built from, the vocabulary aside.

    The defaults are those of the preset ``"mini"`` (128 wide, 2 layers). ``"small"`` (256 wide, 6 layers; its heads and
    feed-forward width are inferred, not published) and ``"base"`` (768 wide, 12 layers) are the released shapes, with
    their four priors and positions by rank.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.GeneModelConfig(positions="rank", priors=()).context
    2048
    >>> mini = cq.GeneModelConfig.preset("mini").replace(context=512)
    >>> cq.GeneModelConfig.from_json(mini.to_json()).context
    512
    """

    family: ClassVar[str] = "genecompass"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mini": {},
        "small": _RELEASED | {"width": 256, "layers": 6, "heads": 4, "feedforward": 512},
        "base": _RELEASED | {"width": 768, "layers": 12, "heads": 12, "feedforward": 3072},
    }

    width: int = 128
    """Width of a gene's and of a cell's vector."""
    layers: int = 2
    """Encoder layers."""
    heads: int = 4
    """Attention heads; divides ``width``."""
    feedforward: int = 256
    """Hidden width of the feed-forward blocks."""
    context: int = 2048
    """Genes of a cell that are read, at most: those with the highest values."""
    positions: Positions = "none"
    """``"rank"`` tells a gene its rank among the cell's values, as released; ``"none"`` does not, so that a hidden
    value can't be read off the ranks of its neighbours."""
    depth: Depth = "scaled"
    """``"scaled"`` reads counts per 10,000, so that values do not grow with the depth of a cell; ``"raw"`` reads them
    as they are, as released."""
    values: bool = True
    """True if genes are read with their values, False if by their order alone."""
    priors: tuple[tuple[str, int], ...] = (("family", 64), ("function", 64), ("domains", 64), ("signalling", 14))
    """What is known of the genes beforehand: name and width of each table, in the order in which they are fused."""
    words: Words = "shared"
    """``"shared"`` gives a pair of orthologs one word; ``"own"`` has a further word for the mouse gene of a pair, which
    the released models keep though their mouse cells carry the human one."""
    species_token: bool = True
    """True if the token that stands for the cell tells human from mouse."""
    pooling: Pooling = "cls"
    """What a cell's embedding is: the vector of that token, or the mean of its genes' vectors, weighted by their values
    or not, or the summary that the token starts from, for which no layer is computed."""
    summary: bool = False
    """True if the token that stands for the cell starts from all its genes, also those beyond the context: from the
    mean of their words, weighted by their values."""
    dropout: float = 0.0
    """Share of each hidden vector dropped in training."""
    mask_share: float = 0.15
    """Share of a cell's genes that is hidden in pretraining."""
    asked: Asked = "apart"
    """What is asked of a hidden place: ``"together"``, its gene and its value, both hidden, as released; ``"apart"``,
    of one half the gene, both hidden, and of the other the value of a gene that is shown. Without positions hidden
    places are alike, and only a gene that is shown has a value of its own to be told."""
    gene_weight: float = 0.2
    """Weight of naming the hidden genes in the loss."""
    value_weight: float = 0.8
    """Weight of their values in the loss."""
    cell_weight: float = 0.2
    """Weight of naming the hidden genes by the vector of the cell alone, by which alone that vector is trained."""
    value_scale: Scale = "log"
    """Scale on which values are told: ``"log"``, as they are read, or ``"raw"``, counts over medians."""

    def __post_init__(self) -> None:
        for name, options in (
            ("positions", get_args(Positions)),
            ("depth", get_args(Depth)),
            ("pooling", get_args(Pooling)),
            ("words", get_args(Words)),
            ("asked", get_args(Asked)),
            ("value_scale", get_args(Scale)),
            *((field.name, (True, False)) for field in fields(self) if field.type == "bool"),
        ):
            if getattr(self, name) not in options:
                self._refuse(name, " or ".join(map(repr, options)))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                self._refuse(field.name, "a whole number of at least 1")
        for name in ("dropout", "mask_share", "gene_weight", "value_weight", "cell_weight"):
            if not 0 <= getattr(self, name) <= 1:
                self._refuse(name, "a share between 0 and 1")
        if self.width % self.heads:
            self._refuse("heads", f"a divisor of width, {self.width}")
        names = [name for name, _ in self.priors]
        if len(set(names)) < len(names) or not all(
            name.isidentifier() and isinstance(width, int) and width > 0 for name, width in self.priors
        ):
            self._refuse("priors", "pairs of a name, letters without dots or spaces and each once, and a width above 0")
        if self.summary and not self.values:
            self._refuse("summary", "False, as this model reads no values")
        if self.pooling == "summary" and not self.summary:
            self._refuse("pooling", "'cls', 'mean' or 'value', as this model has no summary of the cell")
        if self.pooling == "value" and not self.values:
            self._refuse("pooling", "'cls' or 'mean', as this model reads no values")

    def _refuse(self, name: str, expected: str) -> None:
        raise ArgumentError(
            f"GeneModelConfig can't have this `{name}`.",
            found=repr(getattr(self, name)),
            expected=expected,
            remedy=f"change `{name}`, or start from GeneModelConfig.preset('mini').",
            argument=name,
        )

    @property
    def embedding_width(self) -> int:
        """Width of a cell's vector."""
        return self.width
