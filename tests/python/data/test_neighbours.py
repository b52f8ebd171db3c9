"""Neighbours are the nearest other cells of the same group."""

import numpy as np

from celloquy.data.neighbours import neighbour_means


def test_each_row_averages_over_the_nearest_other_cells_of_its_group():
    rng = np.random.default_rng(0)
    points, groups = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 2, 40)
    means = neighbour_means(points, groups, 4).toarray()
    for cell in range(40):
        distance = np.linalg.norm(points - points[cell], axis=1)
        distance[(groups != groups[cell]) | (np.arange(40) == cell)] = np.inf
        expected = np.zeros(40)
        expected[np.argsort(distance)[:4]] = 0.25
        np.testing.assert_allclose(means[cell], expected)


def test_cells_at_one_position_are_not_their_own_neighbours():
    means = neighbour_means(np.zeros((9, 2), dtype=np.float32), np.zeros(9, dtype=int), 3).toarray()
    np.testing.assert_array_equal(np.diag(means), 0)
    np.testing.assert_allclose(means.sum(1), 1)


def test_small_groups_have_fewer_neighbours_and_unplaced_cells_have_none():
    points = np.array([[0, 0], [1, 0], [2, 0], [np.nan, 0]], dtype=np.float32)
    means = neighbour_means(points, np.array([0, 0, 1, 0]), 5).toarray()
    np.testing.assert_array_equal(means, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_neighbours_in_a_large_group_are_searched_among_sampled_cells(monkeypatch):
    points = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    monkeypatch.setattr("celloquy.data.neighbours.CANDIDATES", 100)
    means = neighbour_means(points, np.zeros(300, dtype=int), 10)
    candidates = np.unique(means.indices)
    assert len(candidates) <= 100
    assert means.diagonal().max() == 0
    distance = np.linalg.norm(points[:, None] - points[candidates], axis=2)
    distance[points[:, None, 0] == points[candidates, 0]] = np.inf
    for cell in range(300):
        assert set(means[cell].indices) == set(candidates[np.argsort(distance[cell])[:10]])
