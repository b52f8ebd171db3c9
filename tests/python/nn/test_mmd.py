"""The discrepancy is 0 if batches lie alike, and its gradient pulls them together."""

import torch

from celloquy.nn.mmd import maximum_mean_discrepancy


def cells(shift: float, n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch = torch.arange(n) % 2
    return torch.randn(n, 4, generator=generator) + shift * batch[:, None], batch


def test_the_discrepancy_grows_with_the_distance_of_the_batches():
    near, middle, far = (float(maximum_mean_discrepancy(*cells(shift))) for shift in (0.0, 1.0, 4.0))
    assert 0 <= near < 0.05 < middle < far < 2


def test_the_gradient_pulls_batches_together():
    points, batch = cells(1.0)
    points.requires_grad_(True)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(maximum_mean_discrepancy(points, batch), points)
        with torch.no_grad():
            points -= 20 * gradient
    assert maximum_mean_discrepancy(points, batch) < 0.3 * maximum_mean_discrepancy(*cells(1.0))


def test_cells_of_no_batch_and_a_single_batch_have_no_discrepancy():
    points, batch = cells(3.0)
    assert float(maximum_mean_discrepancy(points, torch.zeros_like(batch))) == 0
    assert float(maximum_mean_discrepancy(points, torch.full_like(batch, -1))) == 0
    some = torch.where(torch.arange(len(batch)) < 100, batch, -1)
    torch.testing.assert_close(
        maximum_mean_discrepancy(points, some), maximum_mean_discrepancy(points[:100], batch[:100])
    )
