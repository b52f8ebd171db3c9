"""cq.niches: what the niches depend on, what they must not depend on, and what is refused."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

import celloquy as cq
from celloquy import plots
from celloquy.errors import ArgumentError, CountsError
from celloquy.tasks.niches.grouping import grouped
from celloquy.tasks.niches.neighbourhoods import averaged, best_size
from examples import IDS, small_model

MODEL = small_model()
examples = settings(max_examples=10)


def tissues(n: int = 60, slices: int = 2, seed: int = 0) -> ad.AnnData:
    """Make slices of two regions that express genes of their own, left and right of the middle."""
    rng = np.random.default_rng(seed)
    place = rng.random((n * slices, 2)) * [2000, 1000]
    right = place[:, 0] > 1000
    rates = rng.gamma(0.5, 2, size=(2, len(IDS)))
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates[right.astype(int)]).astype(np.float32)))
    adata.var_names = IDS
    adata.obs["slice"] = pd.Categorical(np.repeat([f"s{one}" for one in range(slices)], n))
    adata.obs["region"] = np.where(right, "right", "left")
    adata.obsm["spatial"] = place
    return adata


def found(adata: ad.AnnData, **options) -> ad.AnnData:
    given = {"model": MODEL, "tissue_key": "slice", "n_niches": 2, "precision": "float32", "copy": True} | options
    return cq.niches(adata, progress=False, **given)


def vectors(adata: ad.AnnData, **options) -> np.ndarray:
    return found(adata, **options).obsm["X_niche"]


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


drawn_tissues = st.builds(tissues, n=st.integers(8, 50), slices=st.integers(1, 3), seed=st.integers(0, 1000))
sizes = st.sampled_from([None, 2, 5])


@given(adata=drawn_tissues, size=sizes, seed=st.integers(0, 100))
@examples
def test_niches_follow_the_order_of_the_cells(adata, size, seed):
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    assert_same(vectors(adata[order].copy(), n_neighbors=size), vectors(adata, n_neighbors=size)[order])


@given(
    adata=drawn_tissues,
    size=sizes,
    angle=st.floats(0, 6),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    shift=st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000)),
)
@examples
def test_a_tissue_may_be_moved_turned_mirrored_and_scaled(adata, size, angle, scale, shift):
    moved = adata.copy()
    first = (adata.obs["slice"] == "s0").to_numpy()
    turn = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    moved.obsm["spatial"][first] = scale * (adata.obsm["spatial"][first] @ turn + shift)
    assert_same(vectors(moved, n_neighbors=size), vectors(adata, n_neighbors=size))


@given(adata=st.builds(tissues, n=st.integers(8, 50), slices=st.integers(2, 3), seed=st.integers(0, 1000)))
@examples
def test_cells_of_another_tissue_are_no_neighbours(adata):
    moved = adata.copy()
    last = (adata.obs["slice"] == adata.obs["slice"].iloc[-1]).to_numpy()
    # Its cells change places, all over the others.
    moved.obsm["spatial"][last] = adata.obsm["spatial"][last][::-1] * 3
    one, other = (vectors(these, n_neighbors=4)[~last] for these in (adata, moved))
    assert_same(one, other)


def test_cells_that_are_as_far_on_a_grid_count_alike():
    place = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2)
    spot = np.zeros((81, 1), np.float32)
    spot[40] = 1
    for size in (2, 3, 5, 8, 16):
        spread = averaged(spot, place, [np.arange(81)], size).reshape(9, 9)
        np.testing.assert_allclose(spread, spread.T, atol=1e-6)
        np.testing.assert_allclose(spread, spread[::-1], atol=1e-6)


def test_noisy_cells_get_larger_neighbourhoods_than_sharp_ones():
    rng = np.random.default_rng(0)
    place = rng.random((2000, 2))
    wave = np.sin(12 * place[:, :1])
    sharp, noisy = (best_size((wave + noise * rng.normal(size=wave.shape)).astype(np.float32), place,
                              [np.arange(2000)]) for noise in (0.05, 3.0))  # fmt: skip
    assert sharp < noisy


def test_the_regions_are_found_across_slices_that_were_measured_apart():
    adata = tissues(n=150)
    adata.X = adata.X.multiply(np.where(adata.obs["slice"] == "s1", 3, 1)[:, None]).tocsr()
    result = found(adata)
    assert adjusted_rand_score(result.obs["region"], result.obs["niche"]) > 0.6
    sizes = result.obs["niche"].value_counts().reindex(result.obs["niche"].cat.categories)
    assert list(sizes.index) == ["0", "1"]
    assert sizes.is_monotonic_decreasing


def test_the_record_says_which_size_was_used_and_the_object_is_left_alone_with_copy():
    adata = tissues()
    before = adata.copy()
    result = found(adata, key_added="around", n_niches=None, resolution=0.5)
    record = result.uns["celloquy"]["around"]
    assert record["task"] == "niches"
    assert record["parameters"]["n_neighbors"] in (4, 6, 8, 12, 16, 24, 32, 48, 64)
    assert record["parameters"]["n_niches"] == result.obs["around"].nunique()
    assert result.obsm["X_around"].shape == (adata.n_obs, MODEL.embedding_width)
    assert list(adata.obs) == list(before.obs)
    assert list(adata.obsm) == list(before.obsm)
    assert not adata.uns


def test_the_composition_stands_beside_the_embedding_in_its_unit():
    adata = tissues()
    mean, both = vectors(adata), vectors(adata, composition=0.5)
    width = MODEL.embedding_width
    assert_same(both[:, :width] * np.sqrt(mean.var(axis=0).sum()), mean)
    assert both.shape[1] == width + 16
    np.testing.assert_allclose(both[:, width:].var(axis=0).sum(), 0.25, rtol=1e-3)
    # Shares add up to the same in every cell.
    np.testing.assert_allclose(np.ptp(both[:, width:].sum(axis=1)), 0, atol=1e-3)


def test_the_same_seed_gives_the_same_niches():
    adata = tissues()
    for options in ({"n_niches": 4}, {"n_niches": None}):
        one, other = (found(adata, seed=3, **options).obs["niche"] for _ in range(2))
        assert one.equals(other)


def without_positions(adata):
    del adata.obsm["spatial"]


def with_a_gap(adata):
    adata.obsm["spatial"][3, 1] = np.nan


def in_three_dimensions(adata):
    adata.obsm["spatial"] = np.ones((adata.n_obs, 3))


def at_one_place(adata):
    adata.obsm["spatial"][adata.obs["slice"] == "s1"] = 7.0


def with_a_small_slice(adata):
    adata.obs["slice"] = np.where(np.arange(adata.n_obs) < 3, "few", "many")


@pytest.mark.parametrize(
    ("damage", "argument", "says"),
    [
        (without_positions, "spatial_key", r"no 'spatial' in adata\.obsm"),
        (with_a_gap, "spatial_key", r"1 of 120 cells"),
        (in_three_dimensions, "spatial_key", r"shape \(120, 3\)"),
        (at_one_place, "spatial_key", r"Tissue 's1' has no extent"),
        (with_a_small_slice, "tissue_key", r"Tissue 'few' has fewer cells"),
    ],
)
def test_positions_that_have_no_neighbourhoods_are_told(damage, argument, says):
    adata = tissues()
    damage(adata)
    before = adata.copy()
    with pytest.raises(ArgumentError, match=says) as caught:
        cq.niches(adata, model=MODEL, tissue_key="slice", progress=False)
    assert caught.value.argument == argument
    assert list(adata.obs) == list(before.obs)
    assert not adata.uns


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"n_neighbors": 1}, "n_neighbors"),
        ({"n_neighbors": 59}, "n_neighbors"),
        ({"n_niches": 0}, "n_niches"),
        ({"n_niches": 121}, "n_niches"),
        ({"resolution": 0}, "resolution"),
        ({"spatial_key": None}, "spatial_key"),
        ({"key_added": "a/b"}, "key_added"),
        ({"center_tissues": "yes"}, "center_tissues"),
        ({"copy": np.array([1, 2])}, "copy"),
        ({"tissue_key": "lobe"}, "tissue_key"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(options, argument):
    with pytest.raises(ArgumentError) as caught:
        found(tissues(), **options)
    assert caught.value.argument == argument


def test_cells_that_are_all_the_same_have_niches_without_a_word_of_scipy():
    adata = tissues()
    adata.X = sparse.csr_matrix(np.repeat(adata.X[:1].toarray(), adata.n_obs, axis=0))
    assert found(adata, n_niches=None).obs["niche"].notna().all()


def test_more_cells_than_scanpy_compares_by_pairs_are_grouped():
    vectors = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    vectors[:2000] += 20
    niche = grouped(vectors, None, 0.01, seed=0)
    assert list(niche[:2000]) == ["1"] * 2000
    assert list(niche[2000:]) == ["0"] * 3000


def test_cells_without_raw_counts_are_refused():
    adata = tissues()
    adata.X = adata.X * 0.37
    with pytest.raises(CountsError):
        found(adata)


def test_niches_are_drawn_one_panel_a_tissue():
    import matplotlib as mpl

    mpl.use("Agg")
    result = found(tissues())
    axes = plots.niches(result, tissue_key="slice").axes
    assert [axis.get_title() for axis in axes] == ["s0", "s1"]
    assert sum(len(points.get_offsets()) for axis in axes for points in axis.collections) == result.n_obs
    with pytest.raises(ArgumentError, match=r"'around' in adata\.obs"):
        plots.niches(result, key="around")
