"""The encoding of a position depends on that position alone."""

import pytest
import torch

from celloquy.nn.position import SpatialEncoding


def test_a_cell_without_a_position_gets_the_learned_vector():
    encoding = SpatialEncoding(16)
    position = torch.tensor([[1.0, 2.0], [float("nan"), 3.0], [50.0, 100.0]])
    found = encoding(position)
    torch.testing.assert_close(found[1], encoding.unknown)
    assert not torch.allclose(found[0], encoding.unknown)
    torch.testing.assert_close(found[[0, 2]], encoding(position[[0, 2]]))


def test_near_positions_are_encoded_alike_but_not_equally():
    encoding = SpatialEncoding(16)
    here, near, far = encoding(torch.tensor([[10.0, 10.0], [10.1, 10.0], [90.0, 40.0]]))
    assert 0 < (here - near).norm() < (here - far).norm()


def test_swapping_the_axes_changes_the_encoding():
    one, other = SpatialEncoding(16)(torch.tensor([[10.0, 40.0], [40.0, 10.0]]))
    assert not torch.allclose(one, other)


def test_missing_positions_give_the_learned_vector_a_finite_gradient():
    encoding = SpatialEncoding(16)
    encoding(torch.tensor([[1.0, 2.0], [float("nan"), float("nan")]])).sum().backward()
    torch.testing.assert_close(encoding.unknown.grad, torch.ones(16))


@pytest.mark.parametrize("width", [4, 8, 12])
def test_the_width_may_be_any_multiple_of_four(width):
    assert SpatialEncoding(width)(torch.zeros(3, 2)).shape == (3, width)
