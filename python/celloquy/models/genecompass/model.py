"""The gene model: a cell is a sentence of its genes, each with its value; one vector a cell and one a gene out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from celloquy.errors import ArgumentError, ModelError
from celloquy.genes import PRIORS, GeneVocabulary, Prior
from celloquy.models.base import Model, register_family
from celloquy.models.config import ModelConfig
from celloquy.models.encoding import Embedding, EmbeddingOptions
from celloquy.models.genecompass.changing import ChangingTokens
from celloquy.models.genecompass.config import POOLED, GeneModelConfig
from celloquy.models.genecompass.describing import DescribingGenes
from celloquy.models.genecompass.encoding import GeneEncoding, cells_of_like_length
from celloquy.models.genecompass.fusion import GeneFusion, rows_of
from celloquy.models.genecompass.hiding import WHOLE
from celloquy.models.genecompass.knowledge import COEXPRESSION, coexpression_of, known_rows
from celloquy.models.genecompass.medians import medians_of
from celloquy.models.genecompass.objective import fill_in
from celloquy.models.genecompass.reading import checked
from celloquy.models.genecompass.species import partners, rows_of_species, species_of
from celloquy.models.genecompass.summary import Summary, sums_of_words
from celloquy.models.genecompass.tokens import HUMAN, MOUSE, PADDING, SPECIAL, GeneTokens, tokenise
from celloquy.models.losses import FillingLosses
from celloquy.nn.components import gene_components
from celloquy.nn.masking import BiLevelMask, Masking
from celloquy.nn.transformer import TiedHead, Transformer

if TYPE_CHECKING:
    import pandas as pd

    from celloquy.data import CellBatch, CellReader


@register_family
class GeneModel(ChangingTokens, DescribingGenes, Model):
    """A gene language model: genes are tokens, a cell is a sentence.

    Yang et al. 2024, GeneCompass: deciphering universal gene regulatory mechanisms with a knowledge-informed
    cross-species foundation model (Cell Research).

    A cell's genes are read with their values, the highest first; see :mod:`celloquy.models.genecompass.tokens`. A gene
    is a word and what is known of it, see :meth:`set_prior`. One-to-one orthologs share a word, so a mouse cell meets
    the words of human cells, while what is known is that of its own genes. A token of its own stands for the cell, and
    tells the species.

    Parameters
    ----------
    config
        Widths, depths and kinds of the parts.
    vocabulary
        The genes that the model knows, in the order of its tables.

    Examples
    --------
    >>> import celloquy as cq
    >>> vocabulary = cq.GeneVocabulary.both(["CD3D", "MS4A1", "NKG7"])
    >>> model = cq.GeneModel(cq.GeneModelConfig.preset("mini"), vocabulary)
    >>> model.set_prior("family", "family")
    >>> cells, genes = model.encode(torch.tensor([[1, 2]]), torch.tensor([[2.0, 0.5]]), torch.tensor([0]))
    """

    config_class: ClassVar[type[ModelConfig]] = GeneModelConfig
    abilities: ClassVar[frozenset[str]] = frozenset(
        {"embed", "fill in", "describe genes", "embed genes", "read changed counts"}
    )
    config: GeneModelConfig
    token: Tensor
    """``(g,)`` int64: word of each gene of the vocabulary."""
    partner: Tensor
    """``(w,)`` int64: row of what is known of a word in a mouse cell; in a human one it is the word's own."""
    median: Tensor
    """``(k,)`` float64: median of each gene's counts; 0 where it is not known, which counts as 1."""

    def __init__(self, config: GeneModelConfig, vocabulary: GeneVocabulary) -> None:
        super().__init__(config, vocabulary)
        words, known = rows_of(len(vocabulary), vocabulary.pairs, shared=config.words == "shared")
        self.fusion = GeneFusion(config, words, known)
        self.cell = nn.Parameter(torch.randn(2 if config.species_token else 1, config.width) * 0.02)
        """``(species, width)``: the token that stands for the cell."""
        self.encoder = Transformer(
            config.width, layers=config.layers, heads=config.heads, feedforward=config.feedforward,
            dropout=config.dropout,
        )  # fmt: skip
        self.gene_head = TiedHead(config.width, words)
        self.value_head = TiedHead(config.width, 1)
        self.value_weight = nn.Parameter(torch.randn(1, config.width) * 0.02)
        self.summary = Summary(config.width) if config.summary else None
        self.register_buffer("token", torch.arange(len(vocabulary)) + SPECIAL)
        self.register_buffer("partner", partners(vocabulary, words))
        self.register_buffer("median", torch.ones(known, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Medians are read where cells are tokenised, on the CPU and in full: not every device has their type.
        median = self._buffers.pop("median")
        try:
            return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers["median"] = median

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
        """See :meth:`Model.initialise`; medians and words start from the cells, and known priors are filled in.

        Known are those that ship, and ``"coexpression"``, which is that of the cells.
        """
        assert isinstance(config, GeneModelConfig)
        model = cls(config, vocabulary)
        model.survey([cells])
        model.fusion.set_words(model.token, gene_components(cells if seen is None else seen, config.width, seed))
        if model.summary is not None:
            model.summary.centre(*sums_of_words(model.tokens_of(cells), model.fusion.word))
        for name, _ in config.priors:
            if name in PRIORS:
                model.set_prior(name, name)
            elif name == COEXPRESSION:
                model.set_prior(name, coexpression_of(cells, vocabulary))
        return model

    def survey(self, cells: Iterable[CellBatch]) -> None:
        """Set the medians to those of some cells; a gene that one species does not express has the other's."""
        found, often = medians_of(cells, self.species_of, len(self.vocabulary), scaled=self.config.depth == "scaled")
        word, partner = self.token.cpu(), self.partner.cpu()[self.token.cpu()]
        # The first guess of a hidden gene is how many cells express it, and that of a value is one, a count that is the
        # median: were these to be learned, all vectors would first move alike, and tell cells apart no more.
        with torch.no_grad():
            self.value_head.bias.fill_(1.0)
            self.gene_head.bias[word] = torch.log((often + 1) / (often + 1).mean()).float().to(self.cell.device)
        median = torch.zeros_like(self.median)
        median[partner] = torch.where(found[MOUSE] > 0, found[MOUSE], found[HUMAN])
        median[word] = torch.where(found[HUMAN] > 0, found[HUMAN], found[MOUSE])
        self.median = median

    def set_prior(self, name: str, known: str | pd.DataFrame | Prior) -> None:
        """Set what one of the priors knows of the genes.

        Parameters
        ----------
        name
            Name of a prior of the configuration.
        known
            As of :func:`celloquy.genes.prior`: ``"family"``, ``"function"``, ``"domains"``, ``"signalling"``, a
            :class:`celloquy.genes.Prior`, or a table of your own, genes × features. More features than the prior is
            wide are reduced to their principal components, fewer are followed by zeros. A gene that the table does not
            know has what it knows of the other gene of the pair, else zeros.

        Raises
        ------
        ArgumentError, GenesError
            If the configuration has no prior of this name, or the table knows no gene of the vocabulary.
        """
        widths = dict(self.config.priors)
        if name not in widths:
            raise ArgumentError(
                "The model has no such prior.",
                found=repr(name),
                expected=", ".join(map(repr, widths)) or "none: this model reads no priors",
                remedy="name it in the `priors` of GeneModelConfig, with its width.",
                argument="name",
            )
        self.fusion.set_vectors(
            name, known_rows(known, self.vocabulary, self.token, self.partner, self.fusion.vectors(name))
        )

    @property
    def reads(self) -> frozenset[str]:
        """See :attr:`Model.reads`; a cell is read alone."""
        return frozenset()

    @property
    def context(self) -> int:  # type: ignore[override]  # read, never set
        """See :attr:`Model.context`."""
        return self.config.context

    @property
    def dropout(self) -> float:  # type: ignore[override]  # read, never set
        """Share of each hidden vector dropped in training."""
        return self.config.dropout

    def species_of(self, batch: CellBatch) -> Tensor:
        """Return the species of cells, ``(n,)`` int64 on the CPU: 0 human, 1 mouse.

        Where the batch does not say, a panel with more genes of the mouse alone than of human alone is of the mouse.
        """
        return species_of(batch, self.vocabulary)

    def tokenise(self, batch: CellBatch, *, context: int | None = None, scaled: bool | None = None) -> GeneTokens:
        """Return the tokens of some cells, on the CPU; ``cut`` says how many genes of a cell did not fit the context.

        ``context`` and ``scaled`` replace what the configuration says of context and depth.

        Raises
        ------
        ModelError
            If the model has values, but the median of no gene.
        """
        if self.config.values and not self.median.any():
            raise ModelError(
                "The model has no median of any gene, without which counts are no values.",
                found="a released checkpoint that was read without its medians",
                expected="the median of each gene, by which its counts are divided",
                remedy="convert the checkpoint with them, celloquy convert --medians FILE; or pass `medians`, a table "
                "of genes and medians, to cq.read_genecompass; encode() takes tokens that have values.",
                argument="medians",
            )
        token = self.token.cpu()
        median = torch.stack([self.median[token], self.median[self.partner.cpu()[token]]])
        return tokenise(
            batch.to("cpu"), token, median, self.species_of(batch), context=context or self.config.context,
            scaled=self.config.depth == "scaled" if scaled is None else scaled,
        )  # fmt: skip

    @cached_property
    def words_of_species(self) -> tuple[Tensor, ...]:
        """Ids of the genes that human cells may have, and mouse cells."""
        token = self.token.cpu()
        return tuple(token[rows] for rows in rows_of_species(self.vocabulary))

    @property
    def pretraining_masking(self) -> Masking:
        """See :attr:`Model.pretraining_masking`; the same share of the genes of every cell."""
        return Masking(share=1.0, genes=self.config.mask_share)

    def fill_in(self, seen: CellBatch, batch: CellBatch, mask: BiLevelMask) -> FillingLosses:
        """See :meth:`Model.fill_in`; what is seen of a cell is what :func:`hide` leaves of its tokens."""
        return fill_in(self, batch, mask)

    def embed_batch(self, batch: CellBatch) -> Tensor:
        """Return the embedding of some cells, ``(n, width)``; each is read alone."""
        return self.embed_tokens(self.tokens_of(batch))

    def tokens_of(self, batch: CellBatch) -> GeneTokens:
        """Return the tokens that an embedding takes: all, if the cell's own starts from all."""
        return self.tokenise(batch, context=WHOLE if self.config.summary else None)

    def summarised(self, tokens: GeneTokens) -> Tensor:
        """Return what the token of each cell starts from, ``(n, width)``, from all its genes."""
        tokens = tokens.to(self.cell.device)
        return self.start(tokens.species, sums_of_words(tokens, self.fusion.word) if self.config.summary else None)

    def start(self, species: Tensor, sums: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return the same from the species ``(n,)`` and the :func:`sums_of_words`, if the model summarises cells."""
        start = self.cell[species if self.config.species_token else torch.zeros_like(species)]
        return start if self.summary is None or sums is None else start + self.summary(*sums)

    def embed_tokens(
        self, tokens: GeneTokens, tables: Mapping[int, Tensor] | None = None, most: int | None = None
    ) -> Tensor:
        """Return the embedding of cells that are tokenised, ``(n, width)``; cells of like length are read together.

        Parameters
        ----------
        tokens
            The cells, on the CPU.
        tables
            By species, the :meth:`table` of its genes, if no gradient is needed.
        most
            Tokens that are read at a time, at most, unless a single cell has more.
        """
        device = self.cell.device
        start = self.summarised(tokens)
        if self.config.pooling == "summary":
            return start.float()
        tokens = tokens.first(self.config.context)
        groups = cells_of_like_length(tokens.lengths, most, device.type)
        vectors = []
        for cells in groups:
            ids, values = (part.to(device) for part in tokens.padded(cells))
            vectors.append(self._pooled(ids, values, tokens.species[cells], start[cells.to(device)], tables))
        if not vectors:
            return self.cell.new_zeros(0, self.config.width)
        place = torch.cat(groups).argsort().to(device)
        return torch.cat(vectors)[place]

    def _pooled(
        self, ids: Tensor, values: Tensor, species: Tensor, start: Tensor, tables: Mapping[int, Tensor] | None
    ) -> Tensor:
        # Cells of one species are the rule; others are folded for these cells alone.
        kind = int(species[0]) if bool((species == species[0]).all()) else -1
        species = species.to(ids.device)
        folded = functional.embedding(ids, tables[kind]) if tables and kind in tables else self.fold(ids, species)
        whole = self.cells_first(folded, values, start)
        mask = None if bool((ids != PADDING).all()) else _mask(ids)
        if self.config.pooling == "cls":
            return self.encoder(whole, mask, 1)[:, 0].float()
        return self.pooled(self.encoder(whole, mask).float(), ids, values)

    def pooled(self, read: Tensor, ids: Tensor, values: Tensor) -> Tensor:
        """Return the embedding ``(n, width)`` of what the last layer gives, ``(n, 1 + l, width)``, of some tokens."""
        if self.config.pooling == "cls":
            return read[:, 0]
        weight = (ids != PADDING).float() * (values if self.config.pooling == "value" else 1.0)
        total = weight.sum(1, keepdim=True)
        mean = (weight[..., None] * read[:, 1:]).sum(1) / total.clamp(min=torch.finfo().tiny)
        # A cell without counts has no genes.
        return torch.where(total > 0, mean, read[:, 0])

    def encode(self, ids: Tensor, values: Tensor, species: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the last layer's vectors of cells that are given as tokens.

        Parameters
        ----------
        ids
            ``(cells, length)`` int64: genes of each cell, padded with 0; 1 is the mask.
        values
            ``(cells, length)``: their values.
        species
            ``(cells,)``: 0 human, 1 mouse; human by default.

        Returns
        -------
        The vectors of the cells ``(cells, width)``, and those of the genes ``(cells, length, width)``. Padding is not
        read; what stands in its places means nothing.

        Raises
        ------
        ArgumentError
            If the shapes differ, an id or a species is none, or a cell is longer than the positions reach.
        """
        ids, values, species = checked(self.cell, ids, values, species, len(self.partner), self.fusion.position)
        whole = self.encoder(self.embedded(ids, values, species), _mask(ids))
        return whole[:, 0], whole[:, 1:]

    def embedded(self, ids: Tensor, values: Tensor, species: Tensor) -> Tensor:
        """Return what the encoder reads: the cell's token and those of the genes, ``(cells, 1 + length, width)``."""
        start = self.summarised(GeneTokens.unpadded(ids, values, species))
        return self.cells_first(self.fold(ids, species), values, start)

    def cells_first(self, folded: Tensor, values: Tensor, start: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the cell's token and those of its genes, ``(n, 1 + l, width)``, from :meth:`fold` and values."""
        genes = self.fusion(folded, values, places=places).float()
        return torch.cat([start[:, None], genes], 1)

    def table(self, species: int) -> Tensor:
        """Return word and priors of every gene in one row, as cells of a species read them, ``(words, width)``."""
        return self.fusion.table(self.partner if species == MOUSE else torch.arange(len(self.partner)).to(self.partner))

    def fold(self, ids: Tensor, species: Tensor) -> Tensor:
        """Return :meth:`table` at some tokens ``(n, l)`` of cells of some species ``(n,)``, ``(n, l, width)``.

        Each gene is computed once.
        """
        words = len(self.partner)
        genes, place = (ids + words * species[:, None]).unique(return_inverse=True)
        word = genes % words
        return self.fusion.fold(word, torch.where(genes < words, word, self.partner[word]))[place]

    def predict_genes(self, vectors: Tensor) -> Tensor:
        """Return the logits of every word, ``(..., words)``, from gene vectors ``(..., width)``."""
        logits: Tensor = self.gene_head(vectors, self.fusion.word)
        return logits

    def predict_values(self, vectors: Tensor) -> Tensor:
        """Return the values ``(...)`` from gene vectors ``(..., width)``."""
        values: Tensor = self.value_head(vectors, self.value_weight)[..., 0]
        return values

    def embed(self, cells: CellReader, options: EmbeddingOptions = EmbeddingOptions()) -> Embedding:  # noqa: B008 -- frozen
        """Return the embedding of any number of cells, in bounded memory."""
        return GeneEncoding(self, cells, options).run()

    def bytes_beside_weights(self, precision: str) -> int:
        """Return the memory of what is known of the genes, and of the table of one species."""
        known = sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())
        return known + 4 * self.fusion.word.numel()

    def describe(self) -> dict[str, str]:
        """See :meth:`Model.describe`."""
        config = self.config
        return super().describe() | {
            "embedding": f"{config.width} wide, {POOLED[config.pooling]}",
            "encoder": f"{config.layers} layers, {config.width} wide, {config.context:,} genes of a cell",
            "priors": ", ".join(f"{name} ({width})" for name, width in config.priors) or "none",
            "positions": config.positions,
            "values": f"{config.depth} counts, {int((self.median > 0).sum()):,} medians"
            if config.values
            else "not used",
        }


def _mask(ids: Tensor) -> Tensor:
    """What is read, ``(n, 1 + l)``: the cell, and what is no padding."""
    return functional.pad(ids != PADDING, (1, 0), value=True)
