"""Labels are names, honest about their doubt, and learned from the reference alone."""

import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, CountsError, GeneCoverageWarning, GenesError, KeyWarning, MissingLabelWarning
from celloquy.tasks.annotation.annotator import SHAPE

GENES = 60
IDS = np.array([f"ENSG{i:011d}" for i in range(1, GENES + 1)])
TYPES = ("B cell", "T cell", "monocyte", "platelet")
TINY = SHAPE.replace(width=16, layers=1, feedforward=16, decoder_width=16, decoder_rank=16)
QUICK = cq.TrainingOptions(epochs=15)


def cells(n: int = 160, seed: int = 0, shares=(0.4, 0.3, 0.25, 0.05), strength: float = 6.0) -> ad.AnnData:
    """Cells of four types, one of them rare, each with ten genes of its own."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(len(shares), n, p=np.array(shares) / sum(shares))
    kind[: 2 * len(shares)] = np.repeat(np.arange(len(shares)), 2)
    rates = np.where(np.arange(GENES)[None, :] // 10 == kind[:, None], strength, 0.8)
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates * rng.gamma(8, 1 / 8, (n, 1))).astype(np.float32)))
    adata.var_names = IDS
    adata.obs_names = [f"cell{seed}-{i}" for i in range(n)]
    adata.obs["cell_type"] = pd.Categorical(np.array(TYPES)[kind], categories=TYPES)
    adata.obs["lineage"] = np.where(kind < 2, "lymphoid", "myeloid")
    adata.obs["donor"] = np.where(np.arange(n) % 2, "a", "b")
    return adata


def fitted(reference=None, *, query=None, **options) -> cq.Annotator:
    shape = {} if "model" in options else {"config": TINY}
    options = {"label_key": "cell_type", "training": QUICK, "progress": False} | shape | options
    return cq.Annotator(**options).fit(cells() if reference is None else reference, query=query)


@pytest.fixture(scope="module")
def annotator() -> cq.Annotator:
    return fitted()


def probability(annotator: cq.Annotator, adata: ad.AnnData) -> pd.DataFrame:
    return cq.get(annotator.predict(adata, copy=True), "celloquy_probability")


def test_labels_are_the_names_of_the_reference(annotator):
    adata = cells(100, seed=1)
    assert annotator.predict(adata) is None
    label = adata.obs["celloquy_label"]
    known = label != "unknown"
    assert set(label[known]) == set(TYPES)
    assert (label[known].astype(str) == adata.obs["cell_type"][known].astype(str)).mean() > 0.95
    assert known.mean() > 0.85
    found = cq.get(adata, "celloquy_probability")
    assert list(found.columns) == list(TYPES)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(adata.obs["celloquy_confidence"], found.max(1))
    assert adata.uns["celloquy"]["celloquy_label"]["task"] == "annotate"
    assert adata.uns["celloquy"]["celloquy_label"]["model"] == annotator.model_.fingerprint
    assert adata.uns["celloquy"]["celloquy_label"]["parameters"]["label_key"] == "cell_type"


def test_both_heads_tell_the_types_and_are_weighed(annotator):
    adata = cells(100, seed=1)
    read = annotator._over(annotator._source(adata), annotator.model_.vocabulary)
    embedding = torch.from_numpy(annotator._embed(read))
    truth = torch.from_numpy(adata.obs["cell_type"].cat.codes.to_numpy(dtype=np.int64))
    classifier = annotator.classifier_
    for logits in (classifier.linear_logits(read.read_all()), classifier.embedding_logits(embedding)):
        assert (logits.argmax(1) == truth).float().mean() > 0.8
    assert (classifier.weight > 0).all()
    assert not torch.equal(classifier.weight, torch.ones(2))
    assert 0 <= annotator.calibration_error_ < 0.3


def test_a_type_that_the_reference_lacks_is_called_unknown():
    reference = cells(200, shares=(1, 1, 1, 0.02))
    reference = reference[(reference.obs["cell_type"] != "platelet").to_numpy()].copy()
    adata = cells(100, seed=1, shares=(1, 1, 1, 1), strength=12.0)
    fitted(reference).predict(adata)
    strange = (adata.obs["cell_type"] == "platelet").to_numpy()
    unknown = (adata.obs["celloquy_label"] == "unknown").to_numpy()
    assert unknown[strange].mean() > 0.8
    assert unknown[~strange].mean() < 0.3
    assert cq.evaluate.unknown_auroc(strange, -adata.obs["celloquy_novelty"]) > 0.9
    assert ((adata.obs["celloquy_novelty"] > 0.5) == unknown).all()


def test_no_cell_is_unknown_where_none_may_be():
    adata = cells(60, seed=1)
    fitted(false_unknown_rate=0).predict(adata)
    assert set(adata.obs["celloquy_label"]) <= set(TYPES)


def test_a_seed_gives_the_same_labels_bit_for_bit(annotator):
    again = fitted()
    assert again.model_.fingerprint == annotator.model_.fingerprint
    pd.testing.assert_frame_equal(probability(again, cells(30, seed=1)), probability(annotator, cells(30, seed=1)))


def test_what_is_fitted_knows_nothing_of_the_cells_to_annotate_but_their_genes():
    reference, adata = cells(), cells(60, seed=1)
    other = adata.copy()
    other.X = sparse.csr_matrix(np.random.default_rng(9).poisson(3.0, other.shape).astype(np.float32))
    other.obs["cell_type"] = np.random.default_rng(9).permutation(other.obs["cell_type"])
    first, second = fitted(reference, query=adata), fitted(reference, query=other)
    assert first.model_.fingerprint == second.model_.fingerprint
    for name, weight in first.classifier_.state_dict().items():
        assert torch.equal(weight, second.classifier_.state_dict()[name]), name


def test_shuffled_labels_or_another_order_of_the_cells_to_annotate_change_nothing(annotator):
    adata = cells(60, seed=1)
    order = np.random.default_rng(0).permutation(60)
    shuffled = adata[order].copy()
    shuffled.obs["cell_type"] = np.random.default_rng(1).permutation(shuffled.obs["cell_type"])
    expected = probability(annotator, adata)
    np.testing.assert_allclose(probability(annotator, shuffled).loc[adata.obs_names], expected, rtol=1e-4, atol=1e-6)
    alone = probability(annotator, adata[:1].copy())
    np.testing.assert_allclose(alone, expected.iloc[:1], rtol=1e-4, atol=1e-6)


def test_held_out_cells_choose_no_gene_and_train_no_weight():
    reference = cells()
    annotator = fitted(reference)
    codes = torch.from_numpy(reference.obs["cell_type"].cat.codes.to_numpy(dtype=np.int64))
    counts = CellSource(reference).over(cq.GeneVocabulary.from_ids(IDS.tolist())).read_all()
    from celloquy.tasks.annotation.linear import marker_genes
    from celloquy.training.masked_counts import split_cells

    _, kept = split_cells(counts.batch, annotator._held_out(codes), 0, codes)
    assert 0 < len(kept) < len(codes) / 3
    spoiled = reference.copy()
    noise = reference.X.toarray()
    noise[kept.numpy()] = np.random.default_rng(0).poisson(50.0, (len(kept), GENES))
    spoiled.X = sparse.csr_matrix(noise)
    again = CellSource(spoiled).over(cq.GeneVocabulary.from_ids(IDS.tolist())).read_all()
    used, _ = split_cells(again.batch, annotator._held_out(codes), 0, codes)
    every = torch.ones(GENES, dtype=torch.bool)
    np.testing.assert_array_equal(
        marker_genes(counts.select(used), codes[used], 4, every),
        marker_genes(again.select(used), codes[used], 4, every),
    )
    one_epoch = cq.TrainingOptions(epochs=1)
    first, second = fitted(reference, training=one_epoch), fitted(spoiled, training=one_epoch)
    assert torch.equal(
        first.model_.encoder.layers[0].feedforward[0].weight, second.model_.encoder.layers[0].feedforward[0].weight
    )


def test_a_saved_annotator_predicts_the_same_in_another_process_on_other_genes(annotator, tmp_path):
    annotator.save(tmp_path / "annotator")
    adata = cells(40, seed=1)
    extra = ad.AnnData(sparse.csr_matrix(np.full((40, 5), 7.0, dtype=np.float32)), obs=adata.obs)
    extra.var_names = [f"ENSG{i:011d}" for i in range(100, 105)]
    wide = ad.concat([extra, adata[:, np.random.default_rng(0).permutation(GENES)].copy()], axis=1, merge="first")
    wide.write_h5ad(tmp_path / "cells.h5ad")
    code = f"""
import anndata as ad, celloquy as cq, torch
torch.set_num_threads(1)
adata = ad.read_h5ad({str(tmp_path / "cells.h5ad")!r})
annotator = cq.Annotator.load({str(tmp_path / "annotator")!r})
annotator.predict(adata, top_k=2, return_evidence=True)
adata.write_h5ad({str(tmp_path / "out.h5ad")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    there = ad.read_h5ad(tmp_path / "out.h5ad")
    here = annotator.predict(adata, top_k=2, return_evidence=True, copy=True)
    np.testing.assert_allclose(there.obsm["celloquy_probability"], here.obsm["celloquy_probability"], atol=1e-5)
    np.testing.assert_allclose(there.obs["celloquy_novelty"], here.obs["celloquy_novelty"], atol=1e-4)
    for key in ("celloquy_top", "celloquy_evidence"):
        pd.testing.assert_frame_equal(cq.get(there, key), cq.get(here, key))
    assert (there.obs["celloquy_label"].astype(str) == here.obs["celloquy_label"].astype(str)).all()


def test_top_labels_and_evidence_come_in_order(annotator):
    adata = cells(30, seed=1)
    annotator.predict(adata, top_k=3, return_evidence=True)
    found = adata.obsm["celloquy_probability"]
    top = cq.get(adata, "celloquy_top")
    assert list(top.columns) == ["1", "2", "3"]
    assert (top["1"].astype(str) == np.array(TYPES)[found.argmax(1)]).all()
    assert (top["2"].astype(str) == np.array(TYPES)[np.argsort(-found, 1)[:, 1]]).all()
    reference = cells()
    evidence = cq.get(adata, "celloquy_evidence")
    assert list(evidence.columns[:2]) == ["cell_1", "label_1"]
    assert (reference.obs.loc[evidence["cell_1"], "cell_type"].astype(str).to_numpy() == evidence["label_1"]).all()
    assert (evidence["label_1"] == adata.obs["cell_type"].astype(str)).mean() > 0.8
    own = cq.get(annotator.predict(reference, return_evidence=True, copy=True), "celloquy_evidence")
    assert (own["cell_1"] == reference.obs_names).all()


def test_a_coarse_column_is_annotated_like_a_fine_one():
    adata = cells(50, seed=1)
    cq.annotate(
        adata,
        reference=cells(),
        label_key="lineage",
        config=TINY,
        epochs=10,
        progress=False,
        false_unknown_rate=0,
        seed=1,
    )
    assert set(adata.obs["celloquy_label"]) == {"lymphoid", "myeloid"}
    assert (adata.obs["celloquy_label"].astype(str) == adata.obs["lineage"]).mean() > 0.95


def test_a_pretrained_model_is_tuned_or_frozen():
    model = cq.pretrain(cells(), config=TINY.replace(latent="gaussian", latent_width=8), epochs=5, progress=False)
    before = model.fingerprint
    tuned, frozen = fitted(model=model), fitted(model=model, freeze_encoder=True)
    assert model.fingerprint == before
    assert tuned.model_.vocabulary == model.vocabulary
    assert torch.equal(frozen.model_.embedder.gene, model.embedder.gene)
    assert not torch.equal(tuned.model_.embedder.gene, model.embedder.gene)
    adata = cells(50, seed=1)
    for annotator in (tuned, frozen):
        best = probability(annotator, adata).idxmax(axis=1)
        assert (best == adata.obs["cell_type"].astype(str)).mean() > 0.9


def broken(change) -> ad.AnnData:
    reference = cells(60)
    change(reference)
    return reference


def alone(reference):
    reference.obs["cell_type"] = ["the only one"] + ["B cell"] * 30 + ["T cell"] * 29


@pytest.mark.filterwarnings("ignore::celloquy.errors.MissingLabelWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.obs.drop(columns="cell_type", inplace=True),
            r"no column 'cell_type' in reference\.obs[\s\S]*donor",
        ),
        (lambda r: r.obs.__setitem__("cell_type", "B cell"), r"has one label[\s\S]*'B cell'"),
        (alone, r"labels of one cell[\s\S]*the only one"),
        (lambda r: r.obs.__setitem__("cell_type", ["nan", ""] * 30), r"has no label"),
    ],
)
def test_labels_that_can_not_be_learned_are_named(change, message):
    reference = broken(change)
    columns, adata = reference.obs.copy(), cells(20, seed=1)
    with pytest.raises(ArgumentError, match=message):
        cq.annotate(adata, reference=reference, label_key="cell_type", progress=False)
    pd.testing.assert_frame_equal(reference.obs, columns)
    assert list(adata.obs) == ["cell_type", "lineage", "donor"]
    assert not adata.uns
    assert not adata.obsm


def test_cells_without_shared_genes_or_counts_are_refused_and_left_as_they_are(annotator):
    strange = cells(20, seed=1)
    strange.var_names = [f"ENSG{i:011d}" for i in range(500, 500 + GENES)]
    with pytest.raises(GenesError, match=r"0 of the 60 genes that the model reads|Only 0"):
        annotator.predict(strange)
    with pytest.raises(GenesError):
        cq.annotate(strange, reference=cells(), label_key="cell_type", progress=False)
    logged = cells(20, seed=1)
    logged.X = logged.X.log1p()
    with pytest.raises(CountsError):
        annotator.predict(logged)
    with pytest.raises(ArgumentError, match="`top_k` can't be used"):
        annotator.predict(cells(20), top_k=9)
    with pytest.raises(ArgumentError, match="`false_unknown_rate` can't be used"):
        cq.Annotator(label_key="cell_type", false_unknown_rate=1.0).fit(cells(20))
    with pytest.raises(ArgumentError, match="has not been fitted"):
        cq.Annotator(label_key="cell_type").predict(cells(20))
    for adata in (strange, logged):
        assert not adata.uns
        assert "celloquy_label" not in adata.obs


def test_copy_leaves_the_input_alone(annotator):
    adata = cells(20, seed=1)
    before = adata.copy()
    copied = annotator.predict(adata, copy=True)
    assert "celloquy_label" in copied.obs
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns
    assert (adata.X != before.X).nnz == 0


def test_a_second_annotation_leaves_the_first():
    adata, options = cells(40, seed=1), {"reference": cells(), "config": TINY, "epochs": 2, "progress": False}
    cq.annotate(adata, label_key="cell_type", **options)
    fine = adata.obs["celloquy_label"].copy()
    with pytest.warns(KeyWarning, match="'cell_type' stays"):
        cq.annotate(adata, label_key="lineage", **options)
    pd.testing.assert_series_equal(adata.obs["celloquy_label"], fine)
    assert set(adata.obs["celloquy_lineage_label"]) <= {"lymphoid", "myeloid", "unknown"}
    records = adata.uns["celloquy"]
    assert {key for key in records if "task" in records[key]} == {"celloquy_label", "celloquy_lineage_label"}
    cq.annotate(adata, label_key="lineage", key_added="coarse", **options)
    assert "coarse_confidence" in adata.obs


def test_few_shared_genes_are_told_before_the_training():
    adata = cells(40, seed=1)
    with pytest.raises(GenesError, match=r"Only \d\.\d% of the counts of the reference"):
        cq.annotate(adata[:, :1].copy(), reference=cells(), label_key="cell_type", progress=False)
    with pytest.warns(GeneCoverageWarning, match="of the counts of the reference"):
        cq.annotate(adata[:, :20].copy(), reference=cells(), label_key="cell_type", epochs=1, progress=False)


def test_a_reference_may_be_a_file(tmp_path):
    cells().write_h5ad(tmp_path / "reference.h5ad")
    options = {"label_key": "cell_type", "config": TINY, "epochs": 2, "progress": False, "copy": True}
    here = cq.annotate(cells(30, seed=1), reference=cells(), **options)
    there = cq.annotate(cells(30, seed=1), reference=tmp_path / "reference.h5ad", **options)
    pd.testing.assert_frame_equal(*(cq.get(one, "celloquy_probability") for one in (there, here)))


def test_cells_without_a_label_and_rare_types_teach_nothing():
    reference, adata = cells(), cells(40, seed=1)
    kinds = reference.obs["cell_type"].astype(object)
    lost = np.arange(20, 60)
    kinds.iloc[lost[::2]], kinds.iloc[lost[1::2]] = "Unassigned", np.nan
    kinds.iloc[:3] = "a rare type"
    reference.obs["cell_type"] = kinds
    with pytest.warns(MissingLabelWarning, match="40 of 160"):
        found = fitted(reference, drop_rare=4)
    assert found.labels_ == TYPES
    left = np.setdiff1d(np.arange(160), [0, 1, 2, *lost])
    expected = fitted(reference[left].copy())
    assert set(found.reference_.names) == set(expected.reference_.names) == set(reference.obs_names[left])
    np.testing.assert_allclose(probability(found, adata), probability(expected, adata), atol=0.02)


def test_the_reference_has_a_layer_of_its_own():
    reference, adata = cells(), cells(30, seed=1)
    expected = probability(fitted(reference), adata)
    reference.layers["umi"], reference.X = reference.X.copy(), reference.X.log1p()
    pd.testing.assert_frame_equal(probability(fitted(reference, reference_layer="umi"), adata), expected)
    with pytest.raises(CountsError, match=r"X of reference[\s\S]*reference_layer='umi'"):
        fitted(reference)


def test_with_a_model_too_nothing_is_told_by_genes_that_only_one_of_the_two_has(tmp_path):
    reference, adata = cells(), cells(60, seed=1)
    model = cq.pretrain(reference, config=TINY, training=cq.TrainingOptions(epochs=2), progress=False)
    panel = [gene for place, gene in enumerate(IDS) if place % 10 < 6]
    query = adata[:, panel].copy()
    narrow = probability(fitted(reference[:, panel].copy(), query=query, model=model), query)
    wide = fitted(reference, query=query, model=model)
    pd.testing.assert_frame_equal(probability(wide, query), narrow)
    # Cells that have more genes than both are read over the shared ones, also from the disk.
    wide.save(tmp_path / "annotator")
    for annotator in (wide, cq.Annotator.load(tmp_path / "annotator")):
        pd.testing.assert_frame_equal(probability(annotator, adata), narrow)
    with pytest.warns(GeneCoverageWarning, match="of the counts of the reference"):
        cq.annotate(
            query[:, panel[:8]].copy(),
            reference=reference,
            label_key="cell_type",
            model=model,
            epochs=1,
            progress=False,
        )
