import numpy as np
import pytest
import torch

from celloquy.data import CellBatch
from celloquy.tasks.annotation.coarse import CoarseTypes, fit_coarse

GENES, TYPES = 300, 4


def cells_of(codes, *, depth=2000, seed=0, measured=None):
    """Cells of types that have thirty genes each to themselves."""
    random = np.random.default_rng(seed)
    levels = np.ones((TYPES, GENES))
    for code in range(TYPES):
        levels[code, 30 * code : 30 * code + 30] = 8
    counts = random.poisson(depth * levels[codes] / levels.sum(1, keepdims=True)[codes]).astype(np.float32)
    batch = batch_of(counts)
    return batch if measured is None else batch.keep_genes(measured)


def batch_of(counts):
    row, column = np.nonzero(counts)
    n = len(counts)
    return CellBatch(
        torch.from_numpy(np.searchsorted(row, np.arange(n + 1))), torch.from_numpy(column).int(),
        torch.from_numpy(counts[row, column]), torch.zeros(n, dtype=torch.int64), torch.full((n, 2), torch.nan),
        torch.arange(n) % 2, torch.zeros(n, dtype=torch.int64), torch.ones(1, GENES, dtype=torch.bool),
    )  # fmt: skip


@pytest.fixture(scope="module")
def types():
    codes = np.repeat(np.arange(TYPES), 40)
    return fit_coarse(cells_of(codes), codes, TYPES)


def test_types_are_told_apart_at_any_depth(types):
    codes = np.tile(np.arange(TYPES), 10)
    for depth in (100, 1000, 20_000):
        assert (types.logits(cells_of(codes, depth=depth, seed=1)).argmax(1).numpy() == codes).mean() > 0.95


def test_a_small_panel_makes_a_label_less_certain_but_not_another_one(types):
    codes = np.tile(np.arange(TYPES), 10)
    panel = torch.arange(GENES) % 10 == 0
    whole, part = types.logits(cells_of(codes, seed=2)), types.logits(cells_of(codes, seed=2, measured=panel))
    assert (part.argmax(1).numpy() == codes).mean() > 0.9
    assert part.max(1).values.mean() < whole.max(1).values.mean()


def test_a_panel_without_marker_genes_leaves_all_types_as_likely(types):
    panel = torch.zeros(GENES, dtype=torch.bool)
    logits = types.logits(cells_of(np.arange(TYPES), measured=panel))
    torch.testing.assert_close(logits, torch.full_like(logits, -np.log(TYPES)))


def test_a_cell_is_labelled_alone(types):
    cells = cells_of(np.tile(np.arange(TYPES), 5), seed=3)
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(types.logits(cells.select(order)), types.logits(cells)[order])


def test_half_precision_gives_the_same_labels(types):
    cells = cells_of(np.tile(np.arange(TYPES), 10), seed=4)
    stored = CoarseTypes.from_weights(types.weights())
    assert torch.equal(stored.logits(cells).argmax(1), types.logits(cells).argmax(1))
    torch.testing.assert_close(stored.logits(cells).exp(), types.logits(cells).exp(), atol=0.01, rtol=0)
