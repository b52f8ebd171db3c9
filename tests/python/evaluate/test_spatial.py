"""The protocol holds out the given genes and scores by the published formulas."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celloquy as cq
from celloquy.evaluate.spatial import shared_genes

NAMES = ["Gad1", "Pvalb", "Sst", "Vip", "Lamp5", "Snap25"]


@pytest.fixture
def spatial() -> ad.AnnData:
    counts = np.random.default_rng(0).poisson(2.0, (30, 6)).astype(np.float32)
    counts[:, 4] = 0
    adata = ad.AnnData(sparse.csr_matrix(counts))
    adata.var_names = NAMES
    adata.obsm["spatial"] = np.random.default_rng(1).random((30, 2))
    adata.layers["counts"] = adata.X.copy()
    return adata


@pytest.fixture
def reference() -> ad.AnnData:
    adata = ad.AnnData(np.random.default_rng(2).poisson(2.0, (20, 5)).astype(np.float32))
    adata.var_names = ["Sst", "Vip", "Pvalb", "Lamp5", "Slc17a7"]
    return adata


def test_hidden_genes_are_removed_and_positions_are_kept(spatial, reference):
    held_out = cq.evaluate.hold_out_genes(spatial, reference, ["Sst", "Vip"])
    assert list(held_out.spatial.var_names) == ["Gad1", "Pvalb", "Lamp5", "Snap25"]
    assert not held_out.spatial.layers
    np.testing.assert_array_equal(held_out.spatial.obsm["spatial"], spatial.obsm["spatial"])
    np.testing.assert_array_equal(held_out.counts.toarray(), spatial[:, ["Sst", "Vip"]].X.toarray())
    assert "Sst" in held_out.reference.var_names


def test_the_seed_decides_which_shared_genes_are_hidden(spatial, reference):
    first, same = (cq.evaluate.hold_out_genes(spatial, reference, 0.5, 3).genes for _ in range(2))
    assert first == same
    assert len(first) == 2
    assert set(first) <= {"Pvalb", "Sst", "Vip", "Lamp5"}


def test_shared_genes_are_found_whatever_their_spelling():
    assert shared_genes(["Sst", "Gad1", "Nonsense"], ["ENSMUSG00000004366", "Nonsense"]) == ["Sst", "Nonsense"]


def test_the_scores_follow_their_formulas(spatial, reference):
    held_out = cq.evaluate.hold_out_genes(spatial, reference, ["Sst", "Vip"])
    values = np.random.default_rng(3).gamma(1, 1, (30, 2))
    score = held_out.score(pd.DataFrame(values, index=spatial.obs_names, columns=["Sst", "Vip"]))
    depth = held_out.spatial.X.toarray().sum(1)
    share = depth / np.median(depth)
    for place, gene in enumerate(["Sst", "Vip"]):
        counts = spatial[:, gene].X.toarray().ravel()
        for true, found, ending in (
            (np.log1p(counts / share), values[:, place], ""),
            (counts, np.expm1(values[:, place]) * share, "_counts"),
        ):
            assert score.loc[gene, f"pearson{ending}"] == pytest.approx(np.corrcoef(true, found)[0, 1])
            cosine = true @ found / np.linalg.norm(true) / np.linalg.norm(found)
            assert score.loc[gene, f"cosine{ending}"] == pytest.approx(cosine)


def test_a_constant_correlates_with_nothing_and_unexpressed_genes_are_out(spatial, reference):
    held_out = cq.evaluate.hold_out_genes(spatial, reference, ["Sst", "Lamp5"])
    score = held_out.score(pd.DataFrame(1.0, index=spatial.obs_names, columns=["Lamp5", "Sst"]))
    assert list(score.index) == ["Sst"]
    assert score.loc["Sst", "pearson"] == 0
    assert score.loc["Sst", "cosine"] > 0


def test_unfit_genes_and_unfit_imputed_values_are_refused(spatial, reference):
    with pytest.raises(cq.errors.ArgumentError, match="Gad1 not in both"):
        cq.evaluate.hold_out_genes(spatial, reference, ["Gad1"])
    with pytest.raises(cq.errors.ArgumentError, match="shared genes"):
        cq.evaluate.hold_out_genes(spatial, reference, 1.0)
    held_out = cq.evaluate.hold_out_genes(spatial, reference, ["Sst"])
    with pytest.raises(cq.errors.ArgumentError, match="no column for Sst"):
        held_out.score(pd.DataFrame(index=spatial.obs_names))
    with pytest.raises(cq.errors.ArgumentError, match="another order"):
        held_out.score(pd.DataFrame({"Sst": 1.0}, index=spatial.obs_names[::-1]))
    with pytest.raises(cq.errors.ArgumentError, match="not finite"):
        held_out.score(pd.DataFrame({"Sst": np.nan}, index=spatial.obs_names))
