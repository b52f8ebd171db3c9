"""The cell language model: raw counts of a tissue's cells in, one latent a cell and expected counts out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from celloquy.errors import ArgumentError
from celloquy.genes import GeneVocabulary
from celloquy.models.config import CellModelConfig
from celloquy.nn.decoder import CountDecoder
from celloquy.nn.encoder import CellEncoder
from celloquy.nn.expression import ExpressionEmbedder
from celloquy.nn.latent import GaussianLatent, MixtureLatent, NoLatent
from celloquy.nn.position import SpatialEncoding

if TYPE_CHECKING:
    from celloquy.data import CellBatch


class CellModel(nn.Module):
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
    """

    def __init__(self, config: CellModelConfig, vocabulary: GeneVocabulary) -> None:
        super().__init__()
        if not len(vocabulary):
            raise ArgumentError(
                "A cell model needs genes.",
                found="an empty vocabulary",
                remedy="build one with GeneVocabulary.from_names(adata.var_names).",
            )
        self.config, self.vocabulary = config, vocabulary
        self.provenance: dict[str, str] = {}
        """How the weights were made (data, training, results), for the model card; saved with the model."""
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

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the genes, the configuration and every weight: equal models have equal fingerprints."""
        digest = hashlib.sha256(f"{self.vocabulary.fingerprint}\n{self.config.to_json()}".encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def save(self, directory: str | PathLike[str]) -> None:
        """Write the model to a directory: weights, configuration, genes and a model card.

        The directory is written under a temporary name and renamed, so it is whole or not there at all; a model
        that was there before is replaced.

        Parameters
        ----------
        directory
            Where to; made if need be.
        """
        from celloquy.models.checkpoint import save_model

        save_model(self, directory)

    @classmethod
    def from_pretrained(cls, directory: str | PathLike[str]) -> Self:
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        directory
            A directory with ``model.safetensors``, ``config.json`` and ``genes.tsv``.

        Raises
        ------
        CheckpointError
            If a file is missing, or weights, configuration and genes do not fit each other; it says which.
        """
        from celloquy.models.checkpoint import load_model

        return load_model(cls, directory)

    @classmethod
    def from_cellplm(cls, prefix: str | PathLike[str]) -> Self:
        """Read a checkpoint of the released CellPLM.

        Parameters
        ----------
        prefix
            Path without ending: ``PREFIX.config.json`` and ``PREFIX.best.ckpt`` are read. No pickled code is executed.

        Raises
        ------
        CheckpointError
            If a file is missing, or a weight is missing, extra or misshapen; it names the weight.
        """
        from celloquy.models.cellplm import read_cellplm

        return read_cellplm(cls, prefix)


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
