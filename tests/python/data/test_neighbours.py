"""Neighbours are the nearest cells of the same group, a cell itself never among them."""

import numpy as np

from celloquy.data.neighbours import neighbour_means


def test_each_row_averages_over_the_nearest_others_of_its_group():
    rng = np.random.default_rng(0)
    points, groups = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 2, 40)
    means = neighbour_means(points, groups, 4).toarray()
    for cell in range(40):
        distance = np.linalg.norm(points - points[cell], axis=1)
        distance[(groups != groups[cell]) | (np.arange(40) == cell)] = np.inf
        expected = np.zeros(40)
        expected[np.argsort(distance)[:4]] = 0.25
        np.testing.assert_allclose(means[cell], expected)


def test_cells_on_one_spot_never_count_themselves():
    means = neighbour_means(np.zeros((9, 2), dtype=np.float32), np.zeros(9, dtype=int), 3).toarray()
    np.testing.assert_array_equal(np.diag(means), 0)
    np.testing.assert_allclose(means.sum(1), 1)


def test_a_small_group_has_fewer_neighbours_and_a_lone_or_placeless_cell_none():
    points = np.array([[0, 0], [1, 0], [2, 0], [np.nan, 0]], dtype=np.float32)
    means = neighbour_means(points, np.array([0, 0, 1, 0]), 5).toarray()
    np.testing.assert_array_equal(means, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_in_a_large_group_the_nearest_of_drawn_cells_are_taken(monkeypatch):
    points = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    monkeypatch.setattr("celloquy.data.neighbours.CANDIDATES", 100)
    means = neighbour_means(points, np.zeros(300, dtype=int), 10)
    drawn = np.unique(means.indices)
    assert len(drawn) <= 100
    assert means.diagonal().max() == 0
    distance = np.linalg.norm(points[:, None] - points[drawn], axis=2)
    distance[points[:, None, 0] == points[drawn, 0]] = np.inf
    for cell in range(300):
        assert set(means[cell].indices) == set(drawn[np.argsort(distance[cell])[:10]])
