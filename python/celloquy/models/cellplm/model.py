"""The cell language model: raw counts of a tissue's cells in, one latent a cell and expected counts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from celloquy.genes import GeneVocabulary
from celloquy.models.base import Model, register_family
from celloquy.models.cellplm.config import CellModelConfig
from celloquy.models.cellplm.encoding import TissueEncoding
from celloquy.models.cellplm.initialise import set_gene_components, set_mean_counts, shrink_latent_variance
from celloquy.models.config import ModelConfig
from celloquy.models.encoding import Embedding, EmbeddingOptions
from celloquy.models.losses import FillingLosses
from celloquy.nn.decoder import CountDecoder
from celloquy.nn.encoder import CellEncoder
from celloquy.nn.expression import ExpressionEmbedder
from celloquy.nn.latent import GaussianLatent, MixtureLatent, NoLatent
from celloquy.nn.losses import count_loss, sample_genes
from celloquy.nn.masking import BiLevelMask, Masking
from celloquy.nn.position import SpatialEncoding
from celloquy.nn.weights import LayerReading, readings_of
from celloquy.runtime.hardware import PRODUCTS

if TYPE_CHECKING:
    from celloquy.data import CellBatch, CellReader

GENE_VECTORS_RATE = 0.1
"""Factor of the learning rate of a pretrained model's gene vectors: what they know took many cells to learn."""

EMBEDDING_PARTS = ("embedder", "position", "encoder", "norm", "latent")
"""Parts of the model that make the embedding; the decoder is not among them."""


@register_family
class CellModel(Model):
    """A cell language model: cells are tokens, a tissue is a sentence.

    Wen et al. 2024, CellPLM: Pre-training of Cell Language Model Beyond Single Cells (ICLR).

    Parameters
    ----------
    config
        Widths, depths and kinds of the parts.
    vocabulary
        The genes that the model knows, in the order of its tables.

    Examples
    --------
    >>> import celloquy as cq
    >>> vocabulary = cq.GeneVocabulary.from_ids(["ENSG00000153563", "ENSG00000010610"])
    >>> model = cq.CellModel(cq.CellModelConfig.preset("mini"), vocabulary)

    Usually one is trained, kept, and read again:

    >>> model = cq.pretrain(adata, config="mini", tissue_key="slice", out="model/")
    >>> model = cq.CellModel.from_pretrained("model/").eval()
    >>> cq.embed(adata, model=model, tissue_key="slice")

    Its parts, for cells of your own:

    >>> batch = cq.data.CellSource(adata).over(model.vocabulary).read_all()
    >>> with torch.inference_mode():
    ...     embedding = model.embed_batch(batch)
    ...     rates = model.expected_counts(embedding, torch.full((len(batch),), -1))
    """

    config_class: ClassVar[type[ModelConfig]] = CellModelConfig
    abilities: ClassVar[frozenset[str]] = frozenset({"embed", "fill in", "decode", "sum genes", "weigh cells"})
    config: CellModelConfig

    def __init__(self, config: CellModelConfig, vocabulary: GeneVocabulary) -> None:
        super().__init__(config, vocabulary)
        self.embedder = ExpressionEmbedder(
            len(vocabulary), config.width, dropout=config.dropout, norm_groups=config.norm_groups
        )
        self.position = SpatialEncoding(config.width) if config.positions else None
        self.encoder = CellEncoder(
            config.width,
            layers=config.layers,
            heads=config.heads,
            feedforward=config.feedforward,
            dropout=config.dropout,
            attention=config.attention,
        )
        self.norm = nn.LayerNorm(config.width)
        self.latent = _latent(config)
        self.decoder = CountDecoder(
            len(vocabulary),
            config.latent_width,
            config.decoder_width,
            config.decoder_layers,
            rank=config.decoder_rank,
            covariates=config.covariates,
            dropout=config.dropout,
            norm_groups=config.norm_groups,
        )

    def embed_expression(self, batch: CellBatch, table: Sequence[Tensor] | None = None) -> Tensor:
        """Return the cells ``(n, width)`` before they read each other: expression and position.

        Where no gradient is wanted, ``table`` may hold the genes' vectors, see :meth:`ExpressionEmbedder.table`.
        """
        cells = self.embedder.finish(self.embedder.gene_sum(batch.indices, batch.indptr, batch.values, table))
        return cells if self.position is None else cells + self.position(batch.position)

    def encode(self, batch: CellBatch) -> Tensor:
        """Return the encoded cells ``(n, width)``; every cell of a tissue must be in the batch."""
        encoded: Tensor = self.norm(self.encoder(self.embed_expression(batch), batch.tissue))
        return encoded

    @classmethod
    def initialise(
        cls,
        config: ModelConfig,
        vocabulary: GeneVocabulary,
        cells: CellBatch,
        *,
        batches: int = 0,
        seed: int = 0,
        seen: CellBatch | None = None,
    ) -> Self:
        """See :meth:`Model.initialise`; gene vectors start at principal components, the decoder at mean counts."""
        assert isinstance(config, CellModelConfig)
        model = cls(config.replace(covariates=_covariates(batches)), vocabulary)
        set_mean_counts(model.decoder, cells)
        set_gene_components(model.embedder, cells if seen is None else seen, seed)
        shrink_latent_variance(model.latent)
        return model

    def with_batches(self, batches: int) -> Self:
        """See :meth:`Model.with_batches`; what the decoder knows of batches is learned anew."""
        adapted = type(self)(self.config.replace(covariates=_covariates(batches)), self.vocabulary)
        kept = {name: weight for name, weight in self.state_dict().items() if ".covariates." not in name}
        adapted.load_state_dict(adapted.state_dict() | kept)
        adapted.provenance = dict(self.provenance)
        return adapted

    @property
    def dropout(self) -> float:  # type: ignore[override]  # read, never set
        """Share of each hidden vector dropped in training."""
        return self.config.dropout

    @property
    def reads(self) -> frozenset[str]:
        """See :attr:`Model.reads`; positions are those within a tissue."""
        if self.config.positions:
            return super().reads
        return frozenset() if self.config.attention == "none" else frozenset({"tissue"})

    @property
    def masking(self) -> Masking:
        """How counts are hidden from the encoder in training."""
        return self.config.masking

    def expression(self, batch: CellBatch) -> Tensor:
        """Return the values with which the vectors of genes are summed, ``(z,)``; ability ``"sum genes"``."""
        return batch.values.log1p()

    def expression_table(self, measured: Tensor) -> Tensor:
        """Return the vectors of genes, ``(genes, width)``; one that was not measured has no value."""
        return self.embedder.gene

    def embed_sums(self, sums: Tensor) -> Tensor:
        """Return the embedding of cells from sums of the vectors, each cell as if it were alone in its tissue."""
        alone = torch.arange(len(sums), device=sums.device)
        mean: Tensor = self.latent(self.norm(self.encoder(self.embedder.finish(sums), alone))).mean
        return mean

    @property
    def reading_layers(self) -> int:
        """Layers in which cells read one another; ability ``"weigh cells"``, as the two methods that follow."""
        return 0 if self.config.attention == "none" else self.config.layers

    def cell_vectors(self, batch: CellBatch) -> Tensor:
        """Return the cells ``(n, width)`` before they read each other."""
        return self.embed_expression(batch)

    def weigh_cells(self, vectors: Tensor) -> list[LayerReading]:
        """Return what the cells of one tissue, whose vectors are given, read of one another in each such layer."""
        return readings_of(self.encoder.layers, vectors)  # type: ignore[arg-type]  # a ModuleList does not say of what

    def embed_batch(self, batch: CellBatch) -> Tensor:
        """Return the latent's mean ``(n, latent_width)``; every cell of a tissue must be in the batch."""
        mean: Tensor = self.latent(self.encode(batch)).mean
        return mean

    def embed(self, cells: CellReader, options: EmbeddingOptions = EmbeddingOptions()) -> Embedding:  # noqa: B008 -- frozen
        """Return the embedding of any number of cells, each read with all cells of its tissue, in bounded memory."""
        return TissueEncoding(self, cells, options).run()

    def bytes_to_embed(self, n_cells: int, precision: str) -> int:
        """Return the memory of the cells' vectors, latents, queries and keys."""
        width = self.config.width
        return n_cells * (4 * (width + self.embedding_width) + 2 * PRODUCTS[precision].itemsize * width)

    def bytes_beside_weights(self, precision: str) -> int:
        """Return the memory of the table of gene vectors that is kept in half precision."""
        return 2 * self.embedder.gene.numel() if precision == "bfloat16" else 0

    def learning_rate_factors(self, *, freeze: bool) -> dict[str, float]:
        """See :meth:`Model.learning_rate_factors`."""
        if freeze:
            return {f"{part}.": 0.0 for part in EMBEDDING_PARTS}
        return {"embedder.gene": GENE_VECTORS_RATE}

    def fill_in(self, seen: CellBatch, batch: CellBatch, mask: BiLevelMask) -> FillingLosses:
        """See :meth:`Model.fill_in`."""
        latent = self.latent(self.encode(seen))
        hidden = self.decoder(latent.z, {"batch": batch.batch})
        # Without masks every count is seen, and every cell is learned from.
        hides = mask if self.config.mask_cells else None
        weight = sample_genes(batch) if self.training else None
        reconstruction = count_loss(hidden, self.decoder, batch, hides, weight)
        return FillingLosses(latent.mean, reconstruction, latent.kl.float(), self.config.kl_weight)

    def expected_counts(self, embedding: Tensor, batch: Tensor, genes: Tensor | None = None) -> Tensor:
        """See :meth:`Model.expected_counts`."""
        return self.decoder.mean(self.decoder(embedding, {"batch": batch}), genes)

    def count_dispersion(self) -> Tensor:
        """See :meth:`Model.count_dispersion`."""
        return self.decoder.dispersion()

    def describe(self) -> dict[str, str]:
        """See :meth:`Model.describe`."""
        config = self.config
        return super().describe() | {
            "embedding": f"{config.latent_width} wide, {config.latent} latent",
            "encoder": f"{config.layers} layers, {config.width} wide, {config.attention} attention",
            "positions": "used" if config.positions else "not used",
        }


def _covariates(batches: int) -> tuple[tuple[str, int], ...]:
    return (("batch", batches),) if batches else ()


def _latent(config: CellModelConfig) -> MixtureLatent | GaussianLatent | NoLatent:
    if config.latent == "mixture":
        return MixtureLatent(
            config.width,
            config.latent_width,
            components=config.components,
            hidden=config.latent_hidden,
            bits=config.free_bits,
        )
    if config.latent == "gaussian":
        return GaussianLatent(config.width, config.latent_width, bits=config.free_bits)
    return NoLatent()
