"""What a cell was read with: the weights of the model's own attention, within its tissue, whatever the order."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import celloquy as cq
from celloquy.data import CellColumns, CellSource
from celloquy.errors import ArgumentError, ModelError
from celloquy.nn.attention import TissueBlocks
from celloquy.tasks.context import reading, verb
from examples import cells, small_model

MODELS = {kind: small_model(attention=kind) for kind in ("flow", "softmax")}
KEYS = ["group", "kind", "read"]
KINDS = pytest.mark.parametrize("kind", MODELS)


def labelled(n: int = 60, seed: int = 0) -> ad.AnnData:
    adata = cells(n, seed)
    adata.obs["type"] = pd.Categorical(np.array(["a", "b", "c"])[np.arange(n) % 3])
    return adata


def context(adata, kind: str = "flow", **given) -> pd.DataFrame:
    usual = {"labels": "type", "model": MODELS[kind], "tissue_key": "sample", "spatial_key": "spatial"}
    return cq.context(adata, **{**usual, **given}, progress=False)


def one_by_one(adata, kind: str = "flow", **given) -> pd.DataFrame:
    return context(adata, kind, cells=adata.obs_names, **given)


def weights_by_hand(adata, kind: str) -> np.ndarray:
    """The weights of all cells in all cells, ``(n, n)``, from what the layers of the model do to a change of values."""
    model = MODELS[kind]
    columns = CellColumns(tissue_key="sample", spatial_key="spatial")
    batch = CellSource(adata, columns).over(model.vocabulary).read_all()
    found = np.zeros((adata.n_obs, adata.n_obs))
    with torch.no_grad():
        for tissue in batch.tissue.unique():
            own = torch.nonzero(batch.tissue == tissue)[:, 0]
            vectors = model.embed_expression(batch)[own]
            whole = TissueBlocks.whole(vectors)
            for layer in model.encoder.layers:
                normed, attention = layer.norm_attention(vectors), layer.attention
                kept = [attention.value, attention.out]
                heads = attention.heads
                weight = torch.zeros(len(own), len(own))
                for head in range(heads):
                    # Values that are 1 for one cell, in one head: what comes out is the weight of that cell.
                    for place in range(len(own)):
                        attention.value = _One(place, head, normed.shape[1] // heads)
                        attention.out = torch.nn.Identity()
                        out = attention(normed, whole).unflatten(1, (heads, -1))[:, head, 0]
                        weight[:, place] += _share(attention, kept, normed, whole, head, out) / heads
                    attention.value, attention.out = kept
                found[np.ix_(own, own)] += weight.double().numpy() / len(model.encoder.layers)
                vectors = layer(vectors, whole)
    return found


class _One(torch.nn.Module):
    def __init__(self, place: int | None, head: int, width: int) -> None:
        super().__init__()
        self.place, self.at = place, head * width

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        values = torch.zeros_like(vectors)
        values[slice(None) if self.place is None else self.place, self.at] = 1
        return values


def _share(attention, kept, normed, whole, head, out) -> torch.Tensor:
    """A weight over the sum of all, which is what comes out where every value is 1."""
    width = normed.shape[1] // attention.heads
    attention.value = _One(None, head, width)
    total = attention(normed, whole).unflatten(1, (attention.heads, -1))[:, head, 0]
    return out / total


@KINDS
def test_the_shares_are_those_with_which_the_models_own_attention_mixes_cells(kind):
    adata = labelled(24)
    expected = weights_by_hand(adata, kind)
    table = one_by_one(adata, kind, n_top=adata.n_obs)
    named = table[table["kind"] == "cell"]
    wide = named.pivot(index="group", columns="read", values="weight").reindex(adata.obs_names, columns=adata.obs_names)
    np.testing.assert_allclose(wide.fillna(0).to_numpy(), expected, atol=1e-5)
    by_label = table[table["kind"] == "label"].pivot(index="group", columns="read", values="weight")
    summed = expected @ pd.get_dummies(adata.obs["type"]).to_numpy(dtype=float)
    np.testing.assert_allclose(by_label.reindex(adata.obs_names).fillna(0).to_numpy(), summed, atol=1e-5)


@KINDS
def test_shares_by_label_and_by_distance_sum_to_one(kind):
    sums = context(labelled(), kind).groupby(["group", "kind"])[["weight", "cells"]].sum()
    assert len(sums) == 6
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


def test_means_over_groups_are_those_of_their_cells():
    adata = labelled()
    single = one_by_one(adata).set_index(KEYS)
    wide = single["weight"].unstack("group").fillna(0).T
    strength = single.groupby("group")["strength"].first()
    grouped = context(adata, by="sample")
    for (group, kind), own in grouped.groupby(["group", "kind"]):
        names = adata.obs_names[adata.obs["sample"] == group]
        expected = wide.loc[names, kind].mean()
        np.testing.assert_allclose(own["weight"], expected[own["read"]], atol=1e-6)
        np.testing.assert_allclose(own["strength"], strength[names].mean(), rtol=1e-5)
        assert (own["n_cells"] == len(names)).all()


@KINDS
def test_asked_cells_have_the_rows_that_they_have_among_all(kind):
    adata = labelled()
    whole = one_by_one(adata, kind).set_index(KEYS)
    some = context(adata, kind, cells=list(adata.obs_names[[40, 3]])).set_index(KEYS)
    assert list(dict.fromkeys(some.index.get_level_values("group"))) == list(adata.obs_names[[40, 3]])
    pd.testing.assert_frame_equal(some.sort_index(), whole.loc[["40", "3"]].sort_index(), rtol=1e-5)


def test_a_mask_asks_for_the_means_of_its_cells():
    adata = labelled()
    masked = context(adata, cells=adata.obs["type"] == "b")
    whole = context(adata)
    expected = whole[whole["group"] == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(masked, expected, rtol=1e-5)


@KINDS
def test_the_order_of_the_cells_and_the_memory_change_nothing(kind, monkeypatch):
    adata = labelled()
    table = one_by_one(adata, kind).set_index(KEYS).sort_index()
    turned = adata[np.random.default_rng(1).permutation(adata.n_obs)].copy()
    pd.testing.assert_frame_equal(one_by_one(turned, kind).set_index(KEYS).sort_index(), table, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("celloquy.nn.weights.WEIGHTS_AT_A_TIME", 200)
    monkeypatch.setattr(reading, "CELLS_READ", 7)
    monkeypatch.setattr(reading, "CELLS_SUMMED", 3)
    pd.testing.assert_frame_equal(one_by_one(adata, kind).set_index(KEYS).sort_index(), table, rtol=1e-5)


@KINDS
def test_a_tissue_is_read_the_same_alone_and_beside_others(kind):
    adata = labelled()
    own = adata[adata.obs["sample"] == "s1"].copy()
    edges = [200, 400, 800]
    alone = context(own, kind, by="sample", distances=edges)
    together = context(adata, kind, by="sample", distances=edges)
    together = together[together["group"] == "s1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together, rtol=1e-5)
    named = one_by_one(adata, kind, n_top=100)
    named = named[named["kind"] == "cell"]
    sample = adata.obs["sample"].astype(str)
    assert (sample[named["group"]].to_numpy() == sample[named["read"]].to_numpy()).all()


def test_intervals_hold_the_cells_at_their_distance():
    adata = labelled(30)
    adata.obs["sample"] = "s"
    table = one_by_one(adata, n_top=30, distances=[100, 300])
    named = table[table["kind"] == "cell"]
    places = pd.DataFrame(adata.obsm["spatial"], adata.obs_names)
    far = np.linalg.norm(places.loc[named["group"]].to_numpy() - places.loc[named["read"]].to_numpy(), axis=1)
    np.testing.assert_allclose(named["distance"], far, rtol=1e-3, atol=0.1)
    interval = np.array(["0 to 100", "100 to 300", "from 300"])[np.digitize(far, [100, 300])]
    expected = named.groupby(["group", interval])["weight"].agg(["sum", "size"])
    found = table[table["kind"] == "distance"].set_index(["group", "read"]).loc[expected.index]
    np.testing.assert_allclose(found["weight"], expected["sum"], rtol=1e-5)
    np.testing.assert_allclose(found["cells"], expected["size"] / 30, rtol=1e-5)
    np.testing.assert_allclose(found["ratio"], found["weight"] / found["cells"])


def test_usual_intervals_double_and_reach_over_the_tissue():
    adata = labelled(200)
    edges = np.array(context(adata).attrs["celloquy"]["parameters"]["distances"])
    np.testing.assert_allclose(edges[1:] / edges[:-1], 2)
    assert set(context(adata)["read"]) >= {f"0 to {edges[0]:g}", f"from {edges[-1]:g}"}
    assert edges[0] < 200
    assert 700 < edges[-1] < 1500
    adata.obsm["spatial"] *= 1e-3
    scaled = context(adata).attrs["celloquy"]["parameters"]["distances"]
    np.testing.assert_allclose(scaled, edges * 1e-3)


def test_cells_without_a_position_have_an_interval_of_their_own():
    adata = labelled()
    adata.obsm["spatial"][::4] = np.nan
    table = context(adata)
    unknown = table[table["read"] == "no position"]
    assert len(unknown) == 3
    assert unknown["distance"].isna().all()
    np.testing.assert_allclose(table.groupby(["group", "kind"])["weight"].sum(), 1, rtol=1e-5)


def test_what_attention_adds_is_told_beside_what_it_reads():
    silent = small_model()
    with torch.no_grad():
        for layer in silent.encoder.layers:
            layer.attention.out.weight.zero_()
            layer.attention.out.bias.zero_()
    adata = labelled()
    assert (context(adata, model=silent)["strength"] == 0).all()
    assert (context(adata)["strength"] > 0).all()


def test_a_layer_is_asked_for_by_its_number_and_all_are_averaged():
    adata = labelled()
    first, second = (context(adata, encoder_layer=one) for one in (1, 2))
    assert not np.allclose(first["weight"], second["weight"], atol=1e-4)
    np.testing.assert_allclose(context(adata)["weight"], (first["weight"] + second["weight"]) / 2, rtol=1e-5)


def test_a_file_is_read_as_the_object_which_stays(tmp_path):
    adata = labelled()
    before = adata.copy()
    table = context(adata)
    assert (adata.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns
    adata.write_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(context(tmp_path / "cells.h5ad"), table)


def test_a_model_is_trained_on_the_cells_where_none_is_given(monkeypatch):
    asked = {}

    def pretrain(adata, **given):
        asked.update(given)
        return MODELS["flow"]

    monkeypatch.setattr(verb, "pretrain", pretrain)
    adata = labelled()
    pd.testing.assert_frame_equal(context(adata, model="scratch"), context(adata))
    assert (asked["tissue_key"], asked["spatial_key"]) == ("sample", "spatial")


def test_a_model_that_reads_cells_alone_is_refused_and_says_which_does_not():
    for model in (small_model(attention="none"), small_model(layers=0), "cells-mini", "genes-mini"):
        with pytest.raises(ModelError, match="reads each cell alone") as error:
            context(labelled(), model=model)
        assert "model='scratch'" in error.value.remedy
        assert error.value.argument == "model"


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"cells": ["nobody"]}, "cells"),
        ({"cells": []}, "cells"),
        ({"cells": [False] * 60}, "cells"),
        ({"cells": [True] * 59}, "cells"),
        ({"cells": [1, 2]}, "cells"),
        ({"labels": "nothing"}, "labels"),
        ({"by": "nothing"}, "by"),
        ({"labels": None, "spatial_key": None}, "labels"),
        ({"spatial_key": "nothing"}, "spatial_key"),
        ({"spatial_key": None, "distances": [1]}, "distances"),
        ({"distances": [3, 2]}, "distances"),
        ({"distances": []}, "distances"),
        ({"distances": "far"}, "distances"),
        ({"n_top": 3}, "n_top"),
        ({"n_top": -1}, "n_top"),
        ({"encoder_layer": 3}, "encoder_layer"),
        ({"tissue_key": "nothing"}, "tissue_key"),
    ],
)
def test_what_can_not_be_asked_is_refused_by_name(given, argument):
    with pytest.raises(ArgumentError) as error:
        context(labelled(), **given)
    assert error.value.argument == argument


def test_more_cells_than_can_be_shown_are_refused_and_averaged_by_group(monkeypatch):
    monkeypatch.setattr(verb, "MOST_CELLS", 10)
    adata = labelled()
    with pytest.raises(ArgumentError, match="`cells`"):
        one_by_one(adata)
    pd.testing.assert_frame_equal(one_by_one(adata, by="type"), context(adata, by="type"))


def test_positions_without_extent_are_refused():
    adata = labelled()
    adata.obsm["spatial"][:] = 3.0
    with pytest.raises(ArgumentError, match="No tissue has an extent"):
        context(adata)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(training):
    model = small_model(dropout=0.3).train(training)
    pd.testing.assert_frame_equal(context(labelled(), model=model), context(labelled(), model=model))
    assert model.training == training
