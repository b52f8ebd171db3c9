"""What can't be used is refused with the way out, and the object stays as it is."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, CountsError, FewCellsWarning, GenesError
from response_examples import FEATURES, SYMBOLS, perturbed_cells, predictor

CELLS = perturbed_cells(SYMBOLS[:6], cells=20, controls=60, contexts=("a", "b"))
FITTED = predictor().fit(CELLS)


def with_obs(**columns):
    adata = CELLS.copy()
    for name, values in columns.items():
        adata.obs[name] = values
    return adata


@pytest.mark.parametrize(
    ("options", "argument", "words"),
    [
        ({"control": "DMSO"}, "control", "ATF2|CD86|IFNGR1"),
        ({"perturbation_key": "genes"}, "perturbation_key", "gene, line"),
        ({"perturbation_key": ["gene"]}, "perturbation_key", "one column"),
        ({"covariate_key": "cell_type"}, "covariate_key", "cell_type"),
        ({"dose_key": "dose"}, "dose_key", "dose"),
        ({"replicate_key": "batch"}, "replicate_key", "batch"),
        ({"values": "logs"}, "values", "counts"),
        ({"values": "expression"}, "values", 'values="counts"'),
        ({"separator": 1}, "separator", "text"),
        ({"seed": -1}, "seed", "whole number"),
        ({"priors": "cells"}, "priors", "family"),
        ({"priors": ["nothing"]}, "priors", "family"),
        ({"described": ["a"]}, "described", "DataFrame"),
        ({"layer": "spliced"}, "layer", "spliced"),
    ],
)
def test_parameters_that_cannot_be_used(options, argument, words):
    before = CELLS.copy()
    with pytest.raises((ArgumentError, CountsError), match=words) as raised:
        predictor(**options).fit(CELLS)
    assert raised.value.argument == argument
    pd.testing.assert_frame_equal(CELLS.obs, before.obs)
    assert (CELLS.X != before.X).nnz == 0


def test_priors_are_looked_at_where_no_perturbation_is_a_gene():
    drugs = with_obs(gene=["control" if name == "control" else f"drug {name}" for name in CELLS.obs["gene"]])
    with pytest.raises(ArgumentError, match="family") as raised:
        predictor(priors=["nothing"]).fit(drugs)
    assert raised.value.argument == "priors"


def test_a_context_without_controls():
    adata = CELLS[~((CELLS.obs["line"] == "b") & (CELLS.obs["gene"] == "control"))].copy()
    with pytest.raises(ArgumentError, match="'b'") as raised:
        predictor(covariate_key="line").fit(adata)
    assert raised.value.argument == "control"


@pytest.mark.parametrize("dose", ["high", np.nan, 0.0, -1.0, np.inf])
def test_a_dose_that_is_no_number_names_the_cell(dose):
    doses = np.ones(CELLS.n_obs, dtype=object)
    doses[-1] = dose
    with pytest.raises(ArgumentError, match=str(CELLS.obs_names[-1])) as raised:
        predictor(dose_key="dose").fit(with_obs(dose=pd.Series(doses, index=CELLS.obs_names)))
    assert raised.value.argument == "dose_key"


def test_the_dose_of_a_control_is_not_read():
    doses = np.where(CELLS.obs["gene"] == "control", "vehicle", "1.5")
    predictor(dose_key="dose").fit(with_obs(dose=doses))


def test_one_replicate_alone():
    with pytest.raises(ArgumentError, match="one replicate") as raised:
        predictor(replicate_key="batch").fit(with_obs(batch="a"))
    assert raised.value.argument == "replicate_key"


def test_logarithms_where_counts_are_needed():
    adata = CELLS.copy()
    adata.X = adata.X.log1p()
    with pytest.raises(CountsError, match="counts"):
        predictor().fit(adata)
    predictor(values="expression").fit(adata)


def test_missing_values_of_expression():
    adata = CELLS.copy()
    values = np.log1p(adata.X.toarray())
    values[3, 2] = np.nan
    adata.X = values
    with pytest.raises(ArgumentError, match="cell3"):
        predictor(values="expression").fit(adata)


def test_controls_alone():
    with pytest.raises(ArgumentError, match="no perturbation"):
        predictor().fit(CELLS[CELLS.obs["gene"] == "control"].copy())


def test_few_cells_are_told_and_weigh_less():
    some = (CELLS.obs["gene"] == "STAT1").to_numpy()
    kept = ~some | (np.cumsum(some) <= 4)
    with pytest.warns(FewCellsWarning, match=r"STAT1 \(4\)"):
        fitted = predictor().fit(CELLS[kept].copy())
    changes = fitted.profiles_.changes()
    weights = dict(zip(changes.conditions, changes.weights, strict=True))
    few = next(one for one in weights if one.parts == ("STAT1",))
    assert weights[few] < 0.3 * max(weights.values())


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"perturbations": "STAT11"}, GenesError, "STAT1"),
        ({"perturbations": "control"}, ArgumentError, "other than the control"),
        ({"perturbations": 3}, ArgumentError, "names of perturbations"),
        ({"contexts": "z"}, ArgumentError, "controls"),
        ({"doses": -1.0}, ArgumentError, "above 0"),
        ({"doses": "high"}, ArgumentError, "above 0"),
        ({"doses": np.inf}, ArgumentError, "above 0"),
        ({"doses": object()}, ArgumentError, "above 0"),
        ({"doses": np.array("high")}, ArgumentError, "above 0"),
        ({"perturbations": []}, ArgumentError, "names of perturbations"),
        ({"perturbations": np.array("STAT1")}, ArgumentError, "names of perturbations"),
        ({"contexts": []}, ArgumentError, "names of contexts"),
        ({"doses": []}, ArgumentError, "above 0"),
    ],
)
def test_questions_that_cannot_be_answered(asked, error, words):
    with pytest.raises(error, match=words) as raised:
        FITTED.predict(**asked)
    assert raised.value.argument == next(iter(asked))


def test_a_perturbation_that_is_described_by_nothing_is_told_the_mean():
    table = pd.concat([FEATURES.iloc[:6], pd.DataFrame(0.0, index=["new one"], columns=FEATURES.columns)])
    told = predictor(described=table).fit(CELLS).predict("new one")
    assert np.isfinite(told.layers["change"]).all()


def test_nothing_is_fitted():
    for call in (lambda one: one.predict(), lambda one: one.report_, lambda one: one.save("nowhere")):
        with pytest.raises(ArgumentError, match="has not been fitted"):
            call(predictor())


def test_controls_with_other_genes():
    with pytest.raises(ArgumentError, match="lack genes") as raised:
        FITTED.predict("STAT1", controls=CELLS[CELLS.obs["gene"] == "control", :20].copy())
    assert raised.value.argument == "controls"


def test_cells_cannot_be_drawn_without_counts():
    adata = CELLS.copy()
    adata.X = adata.X.log1p()
    fitted = predictor(values="expression").fit(adata)
    with pytest.raises(ArgumentError, match="no counts"):
        fitted.sample_cells(CELLS, "STAT1")


def test_combinations_alone_are_asked_for_by_name():
    pairs = with_obs(gene=["control" if name == "control" else f"{name}+MYC" for name in CELLS.obs["gene"]])
    fitted = predictor(described=None).fit(pairs[pairs.obs["gene"] != "MYC+MYC"].copy())
    with pytest.raises(ArgumentError, match="IRF1\\+MYC") as raised:
        fitted.predict()
    assert raised.value.argument == "perturbations"
    assert fitted.predict("IRF1+MYC").n_obs == 1


def test_a_gene_that_is_there_twice():
    adata = CELLS.copy()
    adata.var_names = [*adata.var_names[:-1], adata.var_names[0]]
    with pytest.raises(GenesError, match="several times") as raised:
        predictor().fit(adata)
    assert raised.value.argument == "adata"
    with pytest.raises(GenesError, match="several times") as raised:
        FITTED.predict(controls=adata)
    assert raised.value.argument == "controls"


def test_controls_without_counts():
    none = CELLS.copy()
    none.X = none.X * 0
    empty = sparse.diags((CELLS.obs["line"] != "b").to_numpy(dtype=np.float32)) @ CELLS.X
    of_one = ad.AnnData(sparse.csr_matrix(empty), obs=CELLS.obs, var=CELLS.var)
    with pytest.raises(CountsError, match="120 controls of 0 counts") as raised:
        predictor().fit(none)
    assert raised.value.argument == "control"
    with pytest.raises(CountsError, match="'b'"):
        predictor(covariate_key="line").fit(of_one)
    with pytest.raises(CountsError, match="0 counts") as raised:
        FITTED.predict(controls=none)
    assert raised.value.argument == "controls"


def test_where_nothing_changes_no_change_is_told():
    effects = pd.DataFrame(0.0, index=SYMBOLS, columns=["ACTB", "GAPDH"])
    fitted = predictor(values="effects").fit(effects)
    assert (fitted.report_["loss"] == 1).all()
    assert (fitted.predict("GATA1").layers["change"] == 0).all()


def test_cells_cannot_be_drawn_from_counts_that_are_too_large():
    adata = CELLS[CELLS.obs["gene"] == "control"].copy()
    adata.X[0, 0] = 1e30
    with pytest.raises(CountsError, match="1e\\+30") as raised:
        FITTED.sample_cells(adata, "STAT1")
    assert raised.value.argument == "controls"


def test_cells_are_drawn_beside_proteins_and_where_names_repeat():
    adata = CELLS[CELLS.obs["gene"] == "control"].copy()
    proteins = ad.AnnData(np.ones((adata.n_obs, 1), np.float32), obs=adata.obs, var=pd.DataFrame(index=["CD3E-1"]))
    both = ad.concat([adata, proteins], axis=1, merge="first")
    both.var_names = [*adata.var_names, "CD3E"]
    both.var["feature_types"] = ["Gene Expression"] * adata.n_vars + ["Antibody Capture"]
    drawn = FITTED.sample_cells(both, "STAT1")
    assert drawn.var_names.tolist() == CELLS.var_names.tolist()
    # Warnings are errors here.
    adata.obs_names = ["cell"] * adata.n_obs
    assert (FITTED.sample_cells(adata, "STAT1").X != drawn.X).nnz == 0


def test_no_gene_is_drawn_above_the_counts_of_its_cell():
    pair = CELLS[CELLS.obs["gene"].isin(["control", "STAT1"])].copy()
    effects = predictor(described=None).fit(pair)
    effects.profiles_.means[:] += 90
    drawn = effects.sample_cells(pair[pair.obs["gene"] == "control"].copy(), "STAT1")
    assert np.isfinite(drawn.X.data).all()


def test_a_table_with_a_wrong_structure_names_the_row():
    pytest.importorskip("rdkit")
    table = pd.DataFrame({"smiles": ["CCO", "C1CC", "", "c1ccccc1", "CC", "CN"]}, index=SYMBOLS[:6])
    with pytest.raises(ArgumentError, match=r"'C1CC' of 'IRF1', row 2") as raised:
        predictor(described=table).fit(CELLS)
    assert raised.value.argument == "described"


def test_structures_without_rdkit_say_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rdkit", None)
    table = pd.DataFrame({"smiles": ["CCO"] * 6}, index=SYMBOLS[:6])
    with pytest.raises(ArgumentError, match=r"celloquy\[compounds\]"):
        predictor(described=table).fit(CELLS)


def test_a_table_with_a_name_twice_or_words_for_numbers():
    with pytest.raises(ArgumentError, match="twice"):
        predictor(described=FEATURES.iloc[[0, 0]]).fit(CELLS)
    with pytest.raises(ArgumentError, match="twice"):
        predictor(described=pd.DataFrame(0.0, index=[1, "1"], columns=["size"])).fit(CELLS)
    with pytest.raises(ArgumentError, match="column twice"):
        predictor(described=FEATURES.iloc[:, [0, 0]]).fit(CELLS)
    with pytest.raises(ArgumentError, match="'kind'"):
        predictor(described=FEATURES.assign(kind="kinase")).fit(CELLS)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("size", np.nan), ("size", 1e200), ("size", 1j), ("size", pd.Timestamp("2020-01-01")), ("size", [1]),
        ("targets", ["STAT1", "IRF1"]), ("smiles", b"CCO"),
    ],
)  # fmt: skip
def test_a_description_that_is_neither_number_nor_text_names_the_perturbation(column, value):
    table = pd.DataFrame({column: pd.Series(["", value], index=["MYC", "SPI1"], dtype=object)})
    if column == "size":
        table.loc["MYC", column] = 1
    with pytest.raises(ArgumentError, match=f"(?s){column}.*'SPI1'") as raised:
        predictor(described=table).fit(CELLS)
    assert raised.value.argument == "described"


def test_descriptions_of_nothing_are_no_features():
    fitted = predictor(described=FEATURES.iloc[:0], priors=["signalling"]).fit(CELLS)
    assert "ridge: own" not in set(fitted.report_["way"])
    equal = predictor(described=pd.DataFrame({"size": 0.1}, index=SYMBOLS[:6])).fit(CELLS)
    assert "ridge: own" not in set(equal.report_["way"])


def test_small_numbers_of_a_description_are_saved_exactly(tmp_path):
    table = FEATURES * 1e-17
    predictor(described=table).fit(CELLS).save(tmp_path / "kept")
    loaded = cq.ResponsePredictor.load(tmp_path / "kept")
    pd.testing.assert_frame_equal(loaded.describer_.table, table, check_exact=True)


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        (pd.DataFrame({"ACTB": [1.0, 1j]}, index=["MYC", "SPI1"]), ArgumentError, "'MYC', 'ACTB'"),
        (pd.DataFrame({"ACTB": ["up", "down"]}, index=["MYC", "SPI1"]), ArgumentError, "no numbers"),
        (pd.DataFrame({"ACTB": pd.to_datetime(["2020-01-01"])}, index=["MYC"]), ArgumentError, "no numbers"),
        (pd.DataFrame({"ACTB": [1.0, 1e200]}, index=["MYC", "SPI1"]), ArgumentError, "too large"),
        (pd.DataFrame(index=["MYC", "SPI1"]), GenesError, "no genes"),
        (pd.DataFrame([[1.0, 2.0]], index=["MYC"], columns=["ACTB", "ACTB"]), GenesError, "several times"),
    ],
)
def test_tables_of_effects_that_hold_something_else(table, error, words):
    before = table.copy()
    for values in ("effects", "ranks"):
        with pytest.raises(error, match=words):
            predictor(values=values).fit(table)
    pd.testing.assert_frame_equal(table, before)


def test_controls_of_no_cells():
    fitted = predictor(values="effects").fit(pd.DataFrame({"ACTB": [1.0, 2.0]}, index=["MYC", "SPI1"]))
    with pytest.raises(ArgumentError, match="no cells") as raised:
        fitted.predict(controls=CELLS[:0].copy())
    assert raised.value.argument == "controls"


def test_ranks_begin_with_one():
    with pytest.raises(ArgumentError, match="no ranks"):
        predictor(values="ranks").fit(pd.DataFrame({"ACTB": [1, -1], "B2M": [2, 1]}, index=["MYC", "SPI1"]))


def test_what_is_no_object_of_cells():
    with pytest.raises(ArgumentError, match="not an AnnData") as raised:
        predictor().fit([1])
    assert raised.value.argument == "adata"
    with pytest.raises(ArgumentError, match="not an AnnData") as raised:
        FITTED.sample_cells((), "STAT1")
    assert raised.value.argument == "controls"


@pytest.mark.parametrize(
    "load", [cq.ResponsePredictor.load, cq.GeneClassifier.load, cq.Annotator.load, cq.CellModel.from_pretrained]
)
def test_what_is_no_path_is_no_directory(load):
    with pytest.raises(ArgumentError, match="the path of a directory"):
        load(3)


def test_a_damaged_directory(tmp_path):
    with pytest.raises(CheckpointError, match="no ResponsePredictor"):
        cq.ResponsePredictor.load(tmp_path)
    FITTED.save(tmp_path / "saved")
    with pytest.raises((ArgumentError, CheckpointError)):
        FITTED.save(tmp_path / "saved")
    task = tmp_path / "saved" / "task.json"
    described = json.loads(task.read_text())
    described["blocks"] = [{"name": "own 1", "file": "../../secret.npz"}]
    task.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="no ResponsePredictor"):
        cq.ResponsePredictor.load(tmp_path / "saved")
