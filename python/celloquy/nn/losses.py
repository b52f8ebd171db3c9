"""The negative binomial loss of counts, without a matrix of all cells × genes.

With mean μ and dispersion θ, the negative logarithm of the negative binomial is

    lgamma(θ) + lgamma(x + 1) - lgamma(x + θ) + (θ + x) log(1 + μ/θ) + x (log θ - log μ),

of which θ log(1 + μ/θ) remains where x = 0. So that term alone is dense; all else is computed at the non-zero counts.

The loss is a sum over cells, so the gradients of a chunk of cells are computed together with its loss. The chunk is not
needed again, and what is kept has the size of the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from celloquy.nn.decoder import DISPERSION_BOUNDS, MEAN_BOUNDS, CountDecoder
from celloquy.nn.masking import BiLevelMask
from celloquy.nn.precision import product_type

if TYPE_CHECKING:
    from celloquy.data import CellBatch

CHUNK_ENTRIES = {"cpu": 2**19, "cuda": 2**25, "mps": 2**23}
"""Number of entries (cells × genes) of a chunk: few enough for the cache of a CPU, enough to fill a GPU."""

FREQUENT = 0.1
"""Share of the cells that express a gene, from which on :func:`sample_genes` always draws it."""

LEAST_PROBABILITY = 0.1
"""Probability with which it draws a gene that no cell expresses."""

FEW_GENES = 4096
"""Number of genes up to which it takes all."""


def count_loss(
    hidden: Tensor,
    decoder: CountDecoder,
    batch: CellBatch,
    mask: BiLevelMask | None = None,
    gene_weight: Tensor | None = None,
) -> Tensor:
    """Return the mean over cells of the negative log-likelihood of their counts, in nats.

    Every gene that was measured in a cell counts once, a hidden one twice. The means are scaled so that those of the
    visible genes sum to the visible counts (at least 1); so no hidden count can influence its own prediction. With a
    mask, only cells with hidden genes count; without one, all cells count and all their genes are visible.

    Parameters
    ----------
    hidden
        Last hidden layer of the decoder, ``(cells, rank)``.
    decoder
        The decoder, whose last layer decodes the genes.
    batch
        The cells with all their counts, hidden ones included.
    mask
        Mask of the counts that were hidden from the encoder.
    gene_weight
        ``(genes,)``: weight of each gene in the loss and in the sum of the means, such as the inverse of the
        probability with which :func:`sample_genes` drew it; a gene of weight 0 takes no time. By default all are 1.
    """
    cells = torch.arange(len(batch), device=hidden.device) if mask is None else mask.masked.nonzero().flatten()
    # Cells of one panel lie together, so that genes that the panel does not measure take no time.
    cells = cells[batch.panel[cells].argsort(stable=True)]
    parameters = hidden[cells].to(decoder.log_dispersion), decoder.log_mean.weight, decoder.log_mean.bias
    inputs = _Inputs(
        batch.select(cells),
        None if mask is None else mask.select(cells),
        gene_weight,
        gradients=torch.is_grad_enabled(),
        products=product_type(hidden.device, parameters[0].dtype),
    )
    total: Tensor = _CountLoss.apply(*parameters, decoder.log_dispersion, inputs)
    return total / max(1, len(cells))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of the loss that have no gradient."""

    batch: CellBatch
    mask: BiLevelMask | None
    gene_weight: Tensor | None
    gradients: bool
    """True if gradients are needed."""
    products: torch.dtype
    """Type of the matrix products; all else is computed in the type of the parameters."""


class _CountLoss(torch.autograd.Function):
    """The sum of the loss over cells that are sorted by panel."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, log_dispersion: Tensor, inputs: _Inputs
    ) -> Tensor:
        gradients = [torch.zeros_like(t) for t in (hidden, weight, bias, log_dispersion)] if inputs.gradients else []
        total = hidden.new_zeros((), dtype=_precise(hidden))
        sizes = torch.bincount(inputs.batch.panel, minlength=len(inputs.batch.measured)).tolist()
        depth = _visible_depth(inputs.batch, inputs.mask)
        start = 0
        with torch.autocast(hidden.device.type, enabled=False):
            for measured, size in zip(inputs.batch.measured, sizes, strict=True):
                weighted = measured if inputs.gene_weight is None else measured & (inputs.gene_weight > 0)
                genes = weighted.nonzero().flatten()
                if size and len(genes):
                    cells = range(start, start + size)
                    total += _add_panel(gradients, cells, genes, depth, hidden, weight, bias, log_dispersion, inputs)
                start += size
        ctx.save_for_backward(*gradients)
        return total.to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * saved for saved in ctx.saved_tensors), None


def _add_panel(
    gradients: list[Tensor],
    cells: range,
    genes: Tensor,
    depth: Tensor,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_dispersion: Tensor,
    inputs: _Inputs,
) -> Tensor:
    """Return the loss of the cells of one panel, chunk by chunk, and add its gradients to the given ones."""
    gene_weight = None if inputs.gene_weight is None else inputs.gene_weight[genes]
    panel = _Panel(genes, gene_weight, weight, bias, log_dispersion, inputs.products)
    total = hidden.new_zeros((), dtype=_precise(hidden))
    step = max(1, CHUNK_ENTRIES[hidden.device.type] // len(genes))
    for start in cells[::step]:
        chunk = slice(start, min(start + step, cells.stop))
        hidden_gradient = gradients[0][chunk] if gradients else None
        hide = None if inputs.mask is None else inputs.mask.block(chunk.start, chunk.stop, genes)
        total += panel.add(hidden[chunk], inputs.batch[chunk], depth[chunk], hide, hidden_gradient)
    if gradients:
        for gradient, panel_gradient in zip(gradients[1:], panel.gradients(), strict=True):
            gradient.index_add_(0, genes, panel_gradient)
    return total


class _Panel:
    """The loss over the genes of one panel, chunk by chunk, with the gradients of the decoder's last layer.

    Shapes: ``c`` cells of a chunk, ``g`` genes of the panel, ``r`` rank of the decoder, ``k`` non-zero counts.
    """

    def __init__(
        self,
        genes: Tensor,
        gene_weight: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        log_dispersion: Tensor,
        products: torch.dtype,
    ) -> None:
        self.gene_weight = gene_weight
        self.n_genes, self.products = len(genes), products
        self.column = genes.new_full((len(weight),), -1)
        self.column[genes] = torch.arange(len(genes), device=genes.device)
        self.weight = (weight if len(genes) == len(weight) else weight[genes]).to(products)
        self.bias, self.log_dispersion = bias[genes], log_dispersion[genes]
        self.dispersion = self.log_dispersion.exp().clamp(*DISPERSION_BOUNDS)
        # In float32 the difference of two lgamma at a large dispersion has no exact digits left.
        self.precise_dispersion = self.dispersion.to(_precise(weight))
        self.lgamma, self.digamma = self.precise_dispersion.lgamma(), self.precise_dispersion.digamma()
        self.weight_gradient = bias.new_zeros(self.weight.shape)
        self.bias_gradient = torch.zeros_like(self.bias)
        self.dispersion_gradient = torch.zeros_like(self.bias)

    def add(
        self, hidden: Tensor, batch: CellBatch, depth: Tensor, hide: Tensor | None, hidden_gradient: Tensor | None
    ) -> Tensor:
        """Return the loss of a chunk, and add its gradients if they are needed.

        Parameters
        ----------
        hidden
            Last hidden layer of the cells, ``(c, r)``.
        batch
            The cells.
        depth
            Sum of their visible counts, at least 1, ``(c,)``.
        hide
            True at the hidden entries, ``(c, g)`` bool.
        hidden_gradient
            Gradient of ``hidden``, ``(c, r)``, to which the gradient of the chunk is added; None if it is not needed.
        """
        # All matrices here are (c, g); the first holds the logarithms of the means.
        logits = self._product(hidden, self.weight.t(), self.bias)
        lowest, highest = map(math.log, MEAN_BOUNDS)
        least, most = logits.aminmax()
        beyond = None
        if least < lowest or most > highest:
            beyond = (logits < lowest) | (logits > highest)
            logits.clamp_(lowest, highest)
        mean = logits.exp_()
        times = None if hide is None else hide.to(mean)
        visible = mean if times is None else torch.addcmul(mean, mean, times, value=-1)
        if times is not None:
            times += 1  # A hidden entry counts twice.

        counts, row, column = self._counts(batch)
        place = row * self.n_genes + column
        times_at = torch.ones_like(counts) if times is None else times.view(-1)[place]
        total = visible.sum(1) if self.gene_weight is None else visible @ self.gene_weight
        # A cell without a visible gene keeps its means as they are.
        per_total = torch.where(total > 0, 1 / total, 0)
        scale = torch.where(total > 0, depth * per_total, 1)

        ratio = mean.mul(scale[:, None]).div_(self.dispersion)
        logarithm = ratio.log1p()
        ratio_at, logarithm_at = ratio.view(-1)[place], logarithm.view(-1)[place]
        slope = ratio.div_(ratio + 1)
        if times is not None:
            logarithm *= times
            slope *= times
        logarithm_sum = logarithm.sum(0)
        if self.gene_weight is not None:
            logarithm_sum *= self.gene_weight
            slope *= self.gene_weight
            visible *= self.gene_weight
            times_at = times_at * self.gene_weight[column]
        dispersion, exact = self.precise_dispersion[column], counts.to(self.precise_dispersion)
        loss_at = self.lgamma[column] + (exact + 1).lgamma() - (exact + dispersion).lgamma()
        loss_at += exact * (logarithm_at - ratio_at.log())
        loss = self.precise_dispersion @ logarithm_sum.to(exact) + times_at.to(exact) @ loss_at
        if hidden_gradient is None:
            return loss

        drop = times_at * counts / (1 + ratio_at)
        digamma = dispersion * (self.digamma[column] - (exact + dispersion).digamma())
        self.dispersion_gradient += self.dispersion * (logarithm_sum - slope.sum(0))
        self.dispersion_gradient.index_add_(0, column, drop + times_at * digamma.to(drop))
        # The gradient of the logits: with the scale fixed, then through the scale.
        slope *= self.dispersion
        slope.view(-1).index_add_(0, place, drop, alpha=-1)
        slope.addcmul_(visible, (slope.sum(1) * per_total)[:, None], value=-1)
        if beyond is not None:
            slope.masked_fill_(beyond, 0)
        self._add_product(hidden_gradient, slope, self.weight)
        self._add_product(self.weight_gradient, slope.t(), hidden)
        self.bias_gradient += slope.sum(0)
        return loss

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the weight ``(g, r)``, bias ``(g,)`` and log-dispersion ``(g,)``."""
        lowest, highest = map(math.log, DISPERSION_BOUNDS)
        within = (self.log_dispersion >= lowest) & (self.log_dispersion <= highest)
        return self.weight_gradient, self.bias_gradient, self.dispersion_gradient * within

    def _product(self, left: Tensor, right: Tensor, bias: Tensor) -> Tensor:
        """Return a product plus a bias."""
        if self.products == self.bias.dtype:
            return torch.addmm(bias, left, right)
        return (left.to(self.products) @ right.to(self.products)).to(self.bias).add_(bias)

    def _add_product(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        """Add a product to a total, without a matrix for the product if the types are the same."""
        if self.products == self.bias.dtype:
            total.addmm_(left, right)
        else:
            total += (left.to(self.products) @ right.to(self.products)).to(self.bias)

    def _counts(self, batch: CellBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the counts ``(k,)`` of the genes of the panel, their cells and their columns in the chunk."""
        column, row, counts = self.column[batch.indices], batch.cell_of_count, batch.values.to(self.bias)
        measured = column >= 0
        if not measured.all():
            column, row, counts = column[measured], row[measured], counts[measured]
        return counts, row, column


def sample_genes(batch: CellBatch) -> Tensor | None:
    """Draw genes for the loss of some cells, and return their weights ``(genes,)``: 0 for genes that were not drawn.

    Most genes are zero in most cells, and their zeros take most of the time of the loss. A gene that a tenth of the
    cells express is always drawn, a rarer one in proportion to that, and one in ten of the others; its weight is the
    inverse of this probability, so that the expected loss is that of all genes (Horvitz & Thompson 1952). Where there
    are few genes, all are taken, and None is returned.
    """
    if batch.n_genes <= FEW_GENES:
        return None
    cells = torch.bincount(batch.indices, minlength=batch.n_genes) / max(1, len(batch))
    probability = (cells / FREQUENT).clamp(LEAST_PROBABILITY, 1)
    return (torch.rand_like(probability) < probability) / probability


def _visible_depth(batch: CellBatch, mask: BiLevelMask | None) -> Tensor:
    """Return the sum of the visible counts of measured genes of each cell, at least 1."""
    cell, counts = batch.cell_of_count, batch.values
    seen = batch.measured[batch.panel[cell], batch.indices]
    if mask is not None:
        seen = seen & ~mask.at(cell, batch.indices)
    return counts.new_zeros(len(batch)).index_add_(0, cell, counts * seen).clamp_(min=1)


def _precise(tensor: Tensor) -> torch.dtype:
    # Apple's GPUs have no float64.
    return torch.float32 if tensor.device.type == "mps" else torch.float64
