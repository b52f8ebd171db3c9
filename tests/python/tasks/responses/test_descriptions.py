"""What is known of perturbations: genes, structures, targets, mechanisms, numbers."""

import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.tasks.properties.sources import shipped_block
from celloquy.tasks.responses.descriptions import Describer, check_table
from response_examples import SYMBOLS, perturbed_cells, predictor

TABLE = check_table(
    pd.DataFrame(
        {"targets": ["HDAC1;HDAC2", "HDAC1", "", "BRAF"], "mechanism": ["HDAC inhibitor", "HDAC inhibitor", "", "RAF"]},
        index=["vorinostat", "entinostat", "water", "vemurafenib"],
    )
)


def likeness(found, first: str, second: str, names) -> float:
    rows = [list(names).index(one) for one in (first, second)]
    return float((found[rows[0]] @ found[rows[1]].T).toarray()[0, 0])


def test_genes_of_one_family_are_alike():
    names = ["STAT1", "STAT3", "HBB"]
    found = Describer((shipped_block("family"),), TABLE.iloc[:0]).describe(names)["family"]
    assert likeness(found, "STAT1", "STAT3", names) > likeness(found, "STAT1", "HBB", names)
    mouse = Describer((shipped_block("family"),), TABLE.iloc[:0]).describe(["Stat1", "STAT1"])["family"]
    assert likeness(mouse, "Stat1", "STAT1", ["Stat1", "STAT1"]) > 0.99


def test_compounds_with_the_same_target_are_alike():
    found = Describer((shipped_block("family"),), TABLE, of_genes=False).describe(list(TABLE.index))
    assert set(found) == {"targets", "mechanism"}
    names = list(TABLE.index)
    for source in found.values():
        assert likeness(source, "vorinostat", "entinostat", names) > 0.5
        assert likeness(source, "vorinostat", "vemurafenib", names) < 0.5
        assert source[2].nnz == 0
        length = np.sqrt(source.multiply(source).sum(1))
        np.testing.assert_allclose(np.asarray(length)[[0, 1, 3], 0], 1)


def test_structures_are_morgan_fingerprints():
    rdkit = pytest.importorskip("rdkit")
    from rdkit.Chem import MolFromSmiles, rdFingerprintGenerator

    assert rdkit
    smiles = {"ethanol": "CCO", "propanol": "CCCO", "benzene": "c1ccccc1", "unknown": ""}
    table = check_table(pd.DataFrame({"smiles": smiles}))
    found = Describer((), table).describe(list(smiles))["structure"]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    expected = generator.GetFingerprint(MolFromSmiles("CCO")).GetOnBits()
    assert sorted(found[0].indices) == sorted(expected)
    assert likeness(found, "ethanol", "propanol", smiles) > likeness(found, "ethanol", "benzene", smiles)
    assert found[3].nnz == 0


def test_a_compound_is_predicted_from_those_of_its_mechanism():
    adata = perturbed_cells(SYMBOLS[:12])
    adata.X = adata.X.toarray()
    groups = {name: f"mechanism {place // 6}" for place, name in enumerate(SYMBOLS[:12])}
    effects = {0: "STAT1", 1: "GATA1"}
    for place, name in enumerate(SYMBOLS[:12]):
        own = (adata.obs["gene"] == name).to_numpy()
        source = perturbed_cells([effects[place // 6]], seed=place)
        adata.X[np.flatnonzero(own)] = source.X[(source.obs["gene"] != "control").to_numpy()].toarray()
    drugs = {name: f"drug {place}" for place, name in enumerate(SYMBOLS[:12])}
    adata.obs["drug"] = adata.obs["gene"].astype(str).map(lambda name: drugs.get(name, name))
    table = pd.DataFrame({"mechanism": {drugs[name]: group for name, group in groups.items()}})
    table.loc["drug x"] = "mechanism 1"
    fitted = predictor(perturbation_key="drug", described=table).fit(adata)
    told = fitted.predict("drug x").layers["change"][0]
    measured = fitted.measured_.to_df("change")
    same, other = measured.loc["drug 7"], measured.loc["drug 1"]
    assert np.linalg.norm(told - same) < 0.5 * np.linalg.norm(told - other)


def test_models_in_the_box_describe_genes():
    adata = perturbed_cells(SYMBOLS[:6], cells=20, controls=60)
    fitted = cq.ResponsePredictor(perturbation_key="gene", progress=False).fit(adata)
    assert {block.name for block in fitted.describer_.blocks} >= {"family", "function", "cells-mini", "genes-mini"}
    told = fitted.predict("STAT3")
    assert told.obs["situation"].tolist() == ["new perturbation"]


def test_genes_are_described_only_where_perturbations_are_genes():
    names = ["STAT1", "MYC", "JAK2"]
    cells = perturbed_cells(names, cells=12, controls=20)
    assert predictor().fit(cells).describer_.blocks
    cells.obs["drug"] = cells.obs["gene"].map({name: f"drug {name}" for name in names}).fillna("control")
    drugs = predictor(perturbation_key="drug", described=None).fit(cells)
    assert not drugs.describer_.blocks
    assert not drugs.report_["way"].str.startswith("ridge").any()
