"""How well expected counts explain the counts: the negative binomial loss, never as a matrix of cells × genes.

With mean μ and dispersion θ, the negative logarithm of the negative binomial is

    lgamma(θ) + lgamma(x + 1) - lgamma(x + θ) + (θ + x) log(1 + μ/θ) + x (log θ - log μ),

of which θ log(1 + μ/θ) remains where x = 0. So that alone is dense; all else is computed at the non-zero counts.

The loss is a sum over cells, so its gradients are made while a chunk of cells is at hand: the chunk is never needed
again, and what survives it has the size of the parameters.
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

CHUNK_ENTRIES = {"cpu": 2**20, "cuda": 2**25, "mps": 2**23}
"""Entries (cells × genes) that are computed at a time: few enough for the cache of a CPU, enough to fill a GPU."""


def count_loss(hidden: Tensor, decoder: CountDecoder, batch: CellBatch, mask: BiLevelMask | None = None) -> Tensor:
    """Return the mean over cells of the negative log-likelihood of their counts, in nats.

    Every gene that a cell's source measured counts once, a hidden one twice. The means are scaled so that those of the
    visible genes sum to the visible counts (at least 1); so no hidden count can reach its own prediction. With a mask,
    only cells with something masked count; without one, all cells do and everything is visible.

    Parameters
    ----------
    hidden
        ``(cells, rank)``, what the decoder made of the cells.
    decoder
        From which the genes are read.
    batch
        The whole counts of the cells, hidden ones included.
    mask
        What was hidden from the encoder.
    """
    cells = torch.arange(len(batch), device=hidden.device) if mask is None else mask.masked.nonzero().flatten()
    # Cells of one panel lie together, so that genes that it did not measure cost nothing.
    cells = cells[batch.panel[cells].argsort(stable=True)]
    parameters = hidden[cells].to(decoder.log_dispersion), decoder.log_mean.weight, decoder.log_mean.bias
    task = _Task(
        batch.select(cells),
        None if mask is None else mask.select(cells),
        gradients=torch.is_grad_enabled(),
        products=product_type(hidden.device, parameters[0].dtype),
    )
    total: Tensor = _CountLoss.apply(*parameters, decoder.log_dispersion, task)
    return total / max(1, len(cells))


@dataclass(frozen=True, slots=True)
class _Task:
    batch: CellBatch
    mask: BiLevelMask | None
    gradients: bool
    """Whether gradients are wanted."""
    products: torch.dtype
    """In which the matrix products run; all else runs in the type of the parameters."""


class _CountLoss(torch.autograd.Function):
    """The sum of the loss over cells that are sorted by panel."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, log_dispersion: Tensor, task: _Task) -> Tensor:
        gradients = [torch.zeros_like(t) for t in (hidden, weight, bias, log_dispersion)] if task.gradients else []
        total = hidden.new_zeros((), dtype=_precise(hidden))
        sizes = torch.bincount(task.batch.panel, minlength=len(task.batch.measured)).tolist()
        start = 0
        with torch.autocast(hidden.device.type, enabled=False):
            for measured, size in zip(task.batch.measured, sizes, strict=True):
                genes = measured.nonzero().flatten()
                if size and len(genes):
                    cells = range(start, start + size)
                    total += _add_panel(gradients, cells, genes, hidden, weight, bias, log_dispersion, task)
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
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    log_dispersion: Tensor,
    task: _Task,
) -> Tensor:
    """Return the loss of the cells of one panel, chunk by chunk, and add its gradients to those of all."""
    panel = _Panel(genes, weight, bias, log_dispersion, task.products)
    total = hidden.new_zeros((), dtype=_precise(hidden))
    step = max(1, CHUNK_ENTRIES[hidden.device.type] // len(genes))
    for start in cells[::step]:
        chunk = slice(start, min(start + step, cells.stop))
        hidden_gradient = gradients[0][chunk] if gradients else None
        hide = None if task.mask is None else task.mask.block(chunk.start, chunk.stop, genes)
        total += panel.add(hidden[chunk], task.batch[chunk], hide, hidden_gradient)
    if gradients:
        for gradient, of_panel in zip(gradients[1:], panel.gradients(), strict=True):
            gradient.index_add_(0, genes, of_panel)
    return total


class _Panel:
    """The loss over the genes of one panel, chunk by chunk, with the gradients of the decoder's last layer.

    Shapes: ``c`` cells of a chunk, ``g`` genes of the panel, ``r`` the decoder's rank, ``k`` non-zero counts.
    """

    def __init__(
        self, genes: Tensor, weight: Tensor, bias: Tensor, log_dispersion: Tensor, products: torch.dtype
    ) -> None:
        self.genes, self.products = len(genes), products
        self.column = genes.new_full((len(weight),), -1)
        self.column[genes] = torch.arange(len(genes), device=genes.device)
        self.weight = (weight if len(genes) == len(weight) else weight[genes]).to(products)
        self.bias, self.log_dispersion = bias[genes], log_dispersion[genes]
        self.dispersion = self.log_dispersion.exp().clamp(*DISPERSION_BOUNDS)
        # A difference of two lgamma at a large dispersion has no digits left in float32.
        self.precise_dispersion = self.dispersion.to(_precise(weight))
        self.lgamma, self.digamma = self.precise_dispersion.lgamma(), self.precise_dispersion.digamma()
        self.weight_gradient = bias.new_zeros(self.weight.shape)
        self.bias_gradient = torch.zeros_like(self.bias)
        self.dispersion_gradient = torch.zeros_like(self.bias)

    def add(self, hidden: Tensor, batch: CellBatch, hide: Tensor | None, hidden_gradient: Tensor | None) -> Tensor:
        """Return the loss of a chunk, and add its gradients where gradients are wanted.

        Parameters
        ----------
        hidden
            ``(c, r)``.
        batch
            The cells.
        hide
            ``(c, g)`` bool, which entries are hidden.
        hidden_gradient
            ``(c, r)``, the gradient of ``hidden``, to be added to.
        """
        # (c, g) throughout; the logarithms of the means first
        logits = self._product(hidden, self.weight.t()).add_(self.bias)
        lowest, highest = map(math.log, MEAN_BOUNDS)
        least, most = logits.aminmax()
        beyond = (logits < lowest) | (logits > highest) if least < lowest or most > highest else None
        mean = logits.clamp_(lowest, highest).exp_()
        times = None if hide is None else hide.to(mean)
        visible = mean if times is None else torch.addcmul(mean, mean, times, value=-1)
        if times is not None:
            times += 1  # A hidden entry counts twice.

        counts, row, place = self._counts(batch)
        times_at = torch.ones_like(counts) if times is None else times.view(-1)[place]
        depth = mean.new_zeros(len(mean)).index_add_(0, row, counts * (2 - times_at)).clamp_(min=1)
        total = visible.sum(1)
        # A cell of which nothing is visible keeps its means as they are.
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
        column = place % self.genes
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
        hidden_gradient += self._product(slope, self.weight)
        self.weight_gradient += self._product(slope.t(), hidden)
        self.bias_gradient += slope.sum(0)
        return loss

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the weight ``(g, r)``, bias ``(g,)`` and log-dispersion ``(g,)``."""
        lowest, highest = map(math.log, DISPERSION_BOUNDS)
        moves = (self.log_dispersion >= lowest) & (self.log_dispersion <= highest)
        return self.weight_gradient, self.bias_gradient, self.dispersion_gradient * moves

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        return (left.to(self.products) @ right.to(self.products)).to(self.bias)

    def _counts(self, batch: CellBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Counts ``(k,)`` of the panel's genes, their cells, and their places in the flattened chunk."""
        column, row, counts = self.column[batch.indices], batch.cell_of_count, batch.values.to(self.bias)
        measured = column >= 0
        if not measured.all():
            column, row, counts = column[measured], row[measured], counts[measured]
        return counts, row, row * self.genes + column


def _precise(tensor: Tensor) -> torch.dtype:
    # Apple's GPUs have no float64.
    return torch.float32 if tensor.device.type == "mps" else torch.float64
