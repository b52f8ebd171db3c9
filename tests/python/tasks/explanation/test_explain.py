"""The shares of genes in a label sum to what the annotator says, and are largest for the genes that mark it."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, CountsError, ModelError
from tasks.annotation.test_adapting_model import FACTORS
from tasks.annotation.test_annotator import IDS, TINY, TYPES, cells, fitted


@pytest.fixture(scope="module", params=["factors", "network"])
def annotator(request) -> cq.Annotator:
    return fitted(model=FACTORS, training=None) if request.param == "factors" else fitted()


def explained(adata, annotator, **given) -> pd.DataFrame:
    return cq.explain(adata, labels=annotator, progress=False, **given)


def groups_of(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(table.attrs["celloquy"]["groups"]).T


def logits_of(annotator: cq.Annotator, adata: ad.AnnData) -> pd.Series:
    """How much the logit of each cell's likeliest label exceeds the mean of the others."""
    read = annotator._over(CellSource(adata), annotator.model_.vocabulary)
    logits = annotator._read(read, torch.from_numpy(annotator._embed(read)))[0].numpy()
    best = logits.max(1)
    return pd.Series(best - (logits.sum(1) - best) / (logits.shape[1] - 1), adata.obs_names)


def test_the_shares_of_all_genes_sum_to_the_difference_of_the_logits(annotator):
    table = explained(cells(80, seed=1), annotator)
    summed = table.groupby("group")["attribution"].sum()
    expected = groups_of(table)["difference"].astype(float)
    exact = annotator.model_ is not None and isinstance(annotator.model_, cq.FactorModel)
    np.testing.assert_allclose(summed, expected[summed.index], rtol=1e-4 if exact else 1e-2)


def test_what_two_cells_differ_by_is_what_the_annotator_says(annotator):
    adata = cells(80, seed=1)
    logits = logits_of(annotator, adata)
    known = (annotator.predict(adata, copy=True).obs["celloquy_label"] != "unknown").to_numpy()
    table = explained(adata, annotator, cells=adata.obs_names[known][:12])
    found = groups_of(table)["difference"].astype(float)
    label = groups_of(table)["label"]
    for name in TYPES:
        own = label.index[label == name]
        np.testing.assert_allclose(
            found[own] - found[own].mean(), logits[own] - logits[own].mean(), atol=2e-3 * logits.abs().max()
        )


def test_the_genes_of_a_type_speak_for_it(annotator):
    table = explained(cells(120, seed=1), annotator)
    there = table[table["expression"] > 0]
    for place, name in enumerate(TYPES):
        best = there[there["group"] == name]["gene"][:5]
        assert set(best) <= set(IDS[10 * place : 10 * place + 10])


def test_the_mean_over_a_group_is_that_of_its_cells(annotator):
    adata = cells(60, seed=1)
    table = explained(adata, annotator, by="donor")
    label = annotator.predict(adata, copy=True).obs["celloquy_label"]
    known = adata.obs_names[(label != "unknown").to_numpy()]
    alone = explained(adata, annotator, cells=known)
    wide = alone.pivot(index="group", columns="gene", values="attribution").fillna(0)
    for donor, own in table.groupby("group"):
        names = [name for name in known if adata.obs.loc[name, "donor"] == donor]
        np.testing.assert_allclose(own["attribution"], wide.loc[names, own["gene"]].mean(), atol=1e-4)


def test_a_cell_asked_for_alone_is_compared_with_the_mean_of_all_cells(annotator):
    adata = cells(80, seed=1)
    together = explained(adata, annotator, cells=adata.obs_names[:3])
    alone = explained(adata, annotator, cells=adata.obs_names[:1])
    assert alone["attribution"].abs().max() > 0.01
    pd.testing.assert_frame_equal(
        alone, together[together["group"] == adata.obs_names[0]].reset_index(drop=True), check_exact=False, atol=1e-5
    )


def test_the_order_of_cells_and_genes_does_not_matter(annotator):
    adata = cells(60, seed=1)
    random = np.random.default_rng(0)
    turned = adata[random.permutation(60)][:, random.permutation(len(IDS))].copy()
    keys = ["group", "gene"]
    one, other = (explained(those, annotator).set_index(keys)["attribution"] for those in (adata, turned))
    pd.testing.assert_series_equal(one.sort_index(), other.reindex(one.index).sort_index(), atol=1e-4)


def test_the_largest_shares_alone_are_those_of_all(annotator):
    adata = cells(60, seed=1)
    whole, some = explained(adata, annotator), explained(adata, annotator, n_genes=7)
    for name, own in some.groupby("group"):
        assert len(own) == 7
        assert own["attribution"].is_monotonic_decreasing
        sizes = whole[whole["group"] == name].set_index("gene")["attribution"].abs()
        assert set(own["gene"]) == set(sizes.nlargest(7).index)


def test_a_file_is_explained_as_the_object_which_stays(annotator, tmp_path):
    adata = cells(60, seed=1)
    before = adata.copy()
    table = explained(adata, annotator)
    assert (adata.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns
    adata.write_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(explained(tmp_path / "cells.h5ad", annotator), table)


def named_cells(n: int = 90) -> ad.AnnData:
    """Cells of three clusters, each with ten genes of its own, and cells without a cluster."""
    genes = [
        symbol
        for _, _, symbol, species in cq.Model.from_pretrained("cells-mini").vocabulary.genes()
        if species == "human"
    ][:30]
    random = np.random.default_rng(0)
    kind = np.arange(n) % 3
    rates = np.where(np.arange(30) // 10 == kind[:, None], 6.0, 0.5)
    adata = ad.AnnData(sparse.csr_matrix(random.poisson(rates).astype(np.float32)), var=pd.DataFrame(index=genes))
    adata.obs["cluster"] = pd.Categorical([f"c{one}" for one in kind])
    adata.obs.loc[adata.obs_names[:4], "cluster"] = np.nan
    return adata


@pytest.mark.filterwarnings("ignore::celloquy.errors.MissingLabelWarning")
def test_clusters_are_explained_by_an_annotator_that_learns_them():
    adata = named_cells()
    table = cq.explain(adata, labels="cluster", progress=False)
    assert groups_of(table)["n_cells"].sum() == 86
    there = table[table["expression"] > 0]
    for place in range(3):
        assert set(there[there["group"] == f"c{place}"]["gene"][:5]) <= set(
            adata.var_names[10 * place : 10 * place + 10]
        )
    assert table.attrs["celloquy"]["parameters"]["labels"] == "cluster"


def test_the_call_says_whether_a_bar_is_shown_and_not_the_annotator(capsys):
    annotator = fitted(model=FACTORS, training=None)
    annotator.progress = True
    explained(cells(30, seed=1), annotator)
    assert capsys.readouterr().err == ""
    assert annotator.progress


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"labels": "nothing"}, "labels"),
        ({"labels": 3}, "labels"),
        ({"by": "nothing"}, "by"),
        ({"cells": ["nobody"]}, "cells"),
        ({"cells": []}, "cells"),
        ({"cells": ["cell1-0"], "by": "donor"}, "cells"),
        ({"n_genes": 0}, "n_genes"),
        ({"layer": "none"}, "layer"),
    ],
)
def test_what_can_not_be_explained_is_refused(given, argument):
    adata = cells(30, seed=1)
    with pytest.raises((ArgumentError, CountsError)) as caught:
        cq.explain(adata, **({"labels": fitted(model=FACTORS, training=None), "progress": False} | given))
    assert caught.value.argument == argument


def test_a_label_of_one_cell_is_refused_with_what_can_be_done_here():
    adata = cells(30, seed=1)
    adata.obs["cell_type"] = ["alone", *adata.obs["cell_type"].astype(str)[1:]]
    with pytest.raises(ArgumentError, match=r"labels of one cell[\s\S]*alone[\s\S]*leave their cells out") as caught:
        cq.explain(adata, labels="cell_type", progress=False)
    assert "drop_rare" not in str(caught.value)


def test_an_annotator_that_is_not_fitted_or_whose_cells_read_one_another_is_refused():
    with pytest.raises(ArgumentError, match="fit"):
        explained(cells(30), cq.Annotator(label_key="cell_type"))
    social = fitted(config=TINY.replace(attention="flow"), training=cq.TrainingOptions(epochs=1))
    with pytest.raises(ArgumentError, match="reads each cell for itself"):
        explained(cells(30), social)


def test_a_model_of_another_kind_is_refused_by_name():
    with pytest.raises(ModelError, match="can't sum genes"):
        cq.GeneModel.require(["sum genes"], "`explain`")
