"""Positions: where a cell lies is told to the cell, and to it alone."""

import pytest
import torch

from celloquy.nn.position import SpatialEncoding


def test_a_cell_without_a_position_gets_the_learned_vector_whatever_its_neighbours_have():
    encoding = SpatialEncoding(16)
    position = torch.tensor([[1.0, 2.0], [float("nan"), 3.0], [50.0, 100.0]])
    found = encoding(position)
    torch.testing.assert_close(found[1], encoding.unknown)
    assert not torch.allclose(found[0], encoding.unknown)
    torch.testing.assert_close(found[[0, 2]], encoding(position[[0, 2]]))


def test_near_cells_are_encoded_alike_and_no_two_places_the_same():
    encoding = SpatialEncoding(16)
    here, near, far = encoding(torch.tensor([[10.0, 10.0], [10.1, 10.0], [90.0, 40.0]]))
    assert 0 < (here - near).norm() < (here - far).norm()


def test_axes_are_told_apart():
    one, other = SpatialEncoding(16)(torch.tensor([[10.0, 40.0], [40.0, 10.0]]))
    assert not torch.allclose(one, other)


def test_gradient_reaches_the_learned_vector_and_is_finite_beside_missing_positions():
    encoding = SpatialEncoding(16)
    encoding(torch.tensor([[1.0, 2.0], [float("nan"), float("nan")]])).sum().backward()
    torch.testing.assert_close(encoding.unknown.grad, torch.ones(16))


@pytest.mark.parametrize("width", [4, 8, 12])
def test_any_multiple_of_four_will_do(width):
    assert SpatialEncoding(width)(torch.zeros(3, 2)).shape == (3, width)
