"""Properties of genes are learned from some genes and told of others."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, GenesError, ModelError
from celloquy.tasks.properties import reading
from celloquy.tasks.properties.blending import blend_held_out
from celloquy.tasks.properties.features import Block
from celloquy.tasks.properties.folds import held_out
from celloquy.tasks.properties.trained import TREES, fit_readings
from examples import small_model
from gene_examples import HUMAN, gene_cells, small_gene_model

RANDOM = np.random.default_rng(0)
GENES = [f"ENSG{number:011d}" for number in range(1, 241)]
SIGNAL = RANDOM.normal(size=len(GENES))
TABLE = pd.DataFrame(np.column_stack([SIGNAL, RANDOM.normal(size=(len(GENES), 4))]), index=GENES, columns=list("abcde"))
"""Features of genes, of which the first tells the property."""
PLANTED = np.where(SIGNAL + RANDOM.normal(size=len(GENES)) / 4 > 0, "sensitive", "not")


def fitted(genes=GENES, labels=PLANTED, **options) -> cq.GeneClassifier:
    return cq.GeneClassifier(**{"evidence": [TABLE], "progress": False} | options).fit(genes, labels)


CLASSIFIER = fitted(GENES[:160], PLANTED[:160])


def test_a_planted_property_is_told_of_genes_that_were_not_learned_from():
    told = CLASSIFIER.predict(GENES[160:])
    assert told["gene"].tolist() == GENES[160:]
    assert (told["label"].astype(str) == PLANTED[160:]).mean() > 0.85
    probabilities = told[["probability_not", "probability_sensitive"]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_allclose(told["confidence"], probabilities.max(1))
    assert not told["given"].any()
    assert CLASSIFIER.predict(GENES[:3])["given"].all()
    assert CLASSIFIER.method_ == "own 1"
    assert CLASSIFIER.report_.loc["own 1", "auroc"] > 0.9


def test_probabilities_are_those_of_held_out_genes():
    held = CLASSIFIER.held_out_
    assert len(held) == 160
    assert abs((held["truth"] == "sensitive").mean() - held["probability_sensitive"].mean()) < 0.03
    sure = held["confidence"] > 0.9
    assert (held["label"].astype(str) == held["truth"])[sure].mean() > 0.9


def test_shuffled_labels_give_no_more_than_the_prevalence():
    shuffled = np.random.default_rng(3).permutation(PLANTED)
    classifier = fitted(labels=shuffled)
    assert classifier.method_ == "prevalence"
    told = classifier.predict(GENES)
    np.testing.assert_allclose(told["probability_sensitive"], (shuffled == "sensitive").mean(), atol=0.01)


def test_the_label_of_a_gene_that_is_held_out_changes_nothing(monkeypatch):
    monkeypatch.setattr(reading, "STRENGTHS", (1.0,))
    labels = np.where(PLANTED == "sensitive", 1, 0)
    vocabulary = cq.GeneVocabulary.both(GENES)
    fold = held_out(vocabulary, labels, "random", 0)
    own, changed = fold == 0, labels.copy()
    changed[own] = 1 - changed[own]
    block = Block("own", cq.genes.Prior.from_frame(TABLE))
    before, after = (fit_readings([block, block], vocabulary, one, 2, fold)[1] for one in (labels, changed))
    for name in before:
        np.testing.assert_array_equal(before[name][own], after[name][own])
        assert not np.allclose(before[name][~own], after[name][~own])
    listed = list(before.values())
    first, second = (blend_held_out(listed, one, 2, fold)[own] for one in (labels, changed))
    np.testing.assert_array_equal(first, second)


def test_genes_without_a_label_change_nothing():
    labels = [*PLANTED[:160], *[None] * 80]
    pd.testing.assert_frame_equal(fitted(GENES, labels).predict(GENES[160:]), CLASSIFIER.predict(GENES[160:]))


def test_families_are_held_out_whole():
    genes = [
        "GATA1",
        "GATA2",
        "GATA3",
        "GATA4",
        "CD3D",
        "CD3E",
        "CD3G",
        "HOXA1",
        "HOXA2",
        "HOXB1",
        "INS",
        "ALB",
        "ACTB",
    ]
    vocabulary = cq.GeneVocabulary.both(genes)
    families = cq.genes.gene_families(vocabulary)
    labels = np.arange(len(vocabulary)) % 2
    fold = held_out(vocabulary, labels, "family", 0)
    for family in set(families):
        assert len(set(fold[families == family])) == 1
    assert len(set(fold)) > 1


@settings(max_examples=5)
@given(order=st.permutations(range(60)))
def test_the_order_of_genes_does_not_matter(order):
    genes, labels = GENES[:60], PLANTED[:60]
    told = fitted(genes, labels).predict(GENES[60:80])
    again = fitted([genes[place] for place in order], [labels[place] for place in order]).predict(GENES[60:80])
    pd.testing.assert_frame_equal(told, again)


def test_numbers_and_several_classes_are_told():
    number = fitted(labels=3 * SIGNAL + 10)
    told = number.predict(GENES)
    assert np.corrcoef(told["value"], SIGNAL)[0, 1] > 0.99
    assert abs(told["value"].mean() - 10) < 0.5
    assert (told["error"] > 0).all()
    assert {"r2", "spearman"} <= set(number.report_.columns)
    thirds = pd.Categorical(
        np.array(["low", "middle", "high"])[np.digitize(SIGNAL, [-0.4, 0.4])], ["low", "middle", "high"]
    )
    several = fitted(labels=thirds)
    assert several.classes_ == ("low", "middle", "high")
    assert (several.predict(GENES)["label"].astype(str) == np.asarray(thirds)).mean() > 0.75
    counted = fitted(labels=(SIGNAL > 0).astype(int))
    assert counted.classes_ == ("0", "1")
    assert fitted(labels=SIGNAL > 0).classes_ == ("False", "True")


def test_a_saved_classifier_tells_the_same(tmp_path):
    # Neither high nor low: no line parts them, a tree does.
    classifier = fitted(labels=np.abs(SIGNAL) > 0.7, evidence=[TABLE[["a", "b"]], TABLE])
    assert TREES in classifier.trained_.chosen
    classifier.save(tmp_path / "classifier")
    assert not list((tmp_path / "classifier").glob("*.pkl"))
    again = cq.GeneClassifier.load(tmp_path / "classifier")
    pd.testing.assert_frame_equal(again.predict(GENES), classifier.predict(GENES))
    pd.testing.assert_frame_equal(again.held_out_, classifier.held_out_)
    pd.testing.assert_frame_equal(again.report_, classifier.report_)
    assert again.summary() == classifier.summary()
    with pytest.raises(CheckpointError, match="already"):
        classifier.save(tmp_path / "classifier")
    classifier.save(tmp_path / "classifier", overwrite=True)
    CLASSIFIER.save(tmp_path / "linear")
    linear = cq.GeneClassifier.load(tmp_path / "linear")
    pd.testing.assert_frame_equal(linear.predict(GENES), CLASSIFIER.predict(GENES))
    number = fitted(labels=SIGNAL)
    number.save(tmp_path / "number")
    pd.testing.assert_frame_equal(cq.GeneClassifier.load(tmp_path / "number").predict(GENES), number.predict(GENES))


def test_a_damaged_classifier_is_refused(tmp_path):
    CLASSIFIER.save(tmp_path / "one")
    file = tmp_path / "one" / "task.json"
    described = json.loads(file.read_text())
    file.write_text(json.dumps(described | {"way": "other"}))
    with pytest.raises(CheckpointError, match="do not belong together"):
        cq.GeneClassifier.load(tmp_path / "one")
    file.write_text("{")
    with pytest.raises(CheckpointError, match="no GeneClassifier"):
        cq.GeneClassifier.load(tmp_path / "one")
    with pytest.raises(CheckpointError, match="no GeneClassifier"):
        cq.GeneClassifier.load(tmp_path / "nowhere")


def test_the_function_tells_what_the_class_tells():
    told = cq.classify_genes(GENES[:160], PLANTED[:160], to=GENES[160:], evidence=[TABLE], progress=False)
    pd.testing.assert_frame_equal(told, CLASSIFIER.predict(GENES[160:]))
    assert told.attrs["method"] == CLASSIFIER.method_
    assert "auroc" in told.attrs["report"]


def test_the_same_seed_gives_the_same_bits_and_human_and_mouse_are_one():
    human = ["CD3D", "CD3E", "CD19", "MS4A1", "NKG7", "GNLY", "LYZ", "CD14", "GATA1", "KLF1", "HBB", "ALB"]
    labels = np.arange(len(human)) % 2
    options = {"evidence": ["family", "signalling"], "progress": False}
    one = cq.GeneClassifier(**options).fit(human, labels)
    two = cq.GeneClassifier(**options).fit(human, labels)
    pd.testing.assert_frame_equal(one.predict(human), two.predict(human))
    in_mouse = one.predict(["Cd3d", "Cd19"])
    assert in_mouse["symbol"].tolist() == ["Cd3d", "Cd19"]
    assert in_mouse["given"].all()
    np.testing.assert_allclose(in_mouse["probability_0"], one.predict(["CD3D", "CD19"])["probability_0"])


def test_vectors_of_models_and_what_cells_say_are_read():
    model, genes = small_gene_model(), HUMAN
    adata = gene_cells(40)
    labels = np.arange(len(genes)) % 2
    classifier = cq.GeneClassifier(model=model, evidence=["vectors", "cells"], progress=False).fit(genes, labels, adata)
    names = set(classifier.report_.index)
    assert {"vectors", "cells: expression", "cells: loadings", "cells: vectors"} <= names
    told = cq.GeneClassifier(model="cells-mini", evidence="vectors", progress=False).fit(
        ["CD3D", "CD3E", "CD19", "MS4A1", "NKG7", "GNLY", "LYZ", "CD14", "S100A8", "HBB"], labels[:10]
    )
    assert "cells-mini" in told.report_.index


def test_a_property_of_expression_is_read_off_the_users_cells():
    adata = gene_cells(60)
    level = np.log1p(np.asarray(adata.X.mean(0)).ravel())
    classifier = cq.GeneClassifier(evidence="cells", model=small_gene_model(), progress=False)
    classifier.fit(list(adata.var_names), level, adata)
    assert classifier.report_["spearman"].max() > 0.5


@pytest.mark.parametrize(
    ("genes", "labels", "message"),
    [
        (GENES[:9], PLANTED[:9], "too few genes with a label"),
        (GENES, ["a"] * len(GENES), "same label"),
        (GENES, PLANTED[:-1], "Each gene needs a label"),
        ([*GENES, GENES[0]], [*PLANTED, "else"], "contradict"),
        (GENES, ["once", *["a", "b"] * 119, "a"], "A label of one gene"),
        ([*GENES, "no gene"], [*PLANTED, "not"], "stand for no gene"),
    ],
)
def test_labels_that_can_not_be_learned_are_refused(genes, labels, message):
    with pytest.raises((ArgumentError, GenesError), match=message):
        fitted(genes, labels)


def test_an_unknown_gene_is_told_with_the_nearest_names_or_dropped():
    names = ["CD3D", "CD3E", "CD19", "MS4A1", "NKG7", "GNLY", "LYZ", "CD14", "S100A8", "HBB", "GATA55"]
    with pytest.raises(GenesError, match=r"'GATA55' .nearest: GATA"):
        fitted(names, np.arange(11) % 2, evidence=["family"])
    dropped = fitted(names, np.arange(11) % 2, evidence=["family"], unknown="drop")
    assert len(dropped.held_out_) == 10
    with pytest.raises(GenesError, match="stand for no gene"):
        CLASSIFIER.predict(["neither", "nor"])
    with pytest.raises(GenesError) as caught:
        cq.classify_genes(GENES, PLANTED, to=["neither", GENES[0]], evidence=[TABLE], progress=False)
    assert caught.value.argument == "to"


def test_a_gene_without_a_label_is_left_out_and_one_that_is_named_twice_counts_once():
    names, labels = [*GENES[:20], GENES[0]], [*PLANTED[:19], None, PLANTED[0]]
    assert len(fitted(names, labels).held_out_) == 19


def test_what_can_not_be_read_is_refused():
    with pytest.raises(ModelError, match="can't embed genes"):
        fitted(evidence="vectors", model=small_model())
    with pytest.raises(ArgumentError, match="no cells to describe genes by"):
        fitted(evidence=["cells"])
    for options in ({"evidence": "names"}, {"evidence": []}, {"folds": "no"}, {"seed": -1}, {"unknown": "keep"}):
        with pytest.raises(ArgumentError) as caught:
            fitted(**options)
        assert caught.value.argument == next(iter(options))
    with pytest.raises(ArgumentError, match="not been fitted"):
        cq.GeneClassifier().predict(GENES)
    with pytest.raises(ArgumentError):
        fitted("CD3D", ["a"])


def test_a_gene_that_nothing_knows_gets_the_prevalence():
    told = CLASSIFIER.predict(["ENSG00000999999", GENES[0]])
    assert told["known"].tolist() == [0, 1]
    assert abs(told["probability_sensitive"][0] - (PLANTED[:160] == "sensitive").mean()) < 0.1
