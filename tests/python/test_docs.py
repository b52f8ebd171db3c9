"""What the documentation shows runs as it stands."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import celloquy as cq

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "imputation.md"


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
def test_the_first_block_on_imputation_runs_on_its_own_data():
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    # Short, and without a bar.
    quick = block.replace('"Mef2c"])', '"Mef2c"], epochs=2, progress=False)')
    assert quick != block
    space = {}
    exec(compile(quick, str(PAGE), "exec"), space)
    found = cq.get(space["spatial"], "celloquy_imputed")
    assert list(found.columns) == ["Slc1a3", "Mef2c"]
    assert np.isfinite(found.to_numpy()).all()


# What the text of each page says of its results.
TOLD = {
    "tour": lambda space: space["right"] > 0.75 and space["shifts"]["gene"].tolist() == ["SPI1", "LYZ"],
    "networks": lambda space: space["factor"]["target"].iloc[0] == "TYROBP" and "network" in space["pbmc"].varp,
    "in-silico": lambda space: (
        tuple(space["drivers"].loc[0, ["gene", "direction"]]) == ("SPI1", "up")
        and (space["nothing"]["q"] == 1).all() and (space["nothing"]["confidence"] == 0).all()
    ),
    "gene-properties": lambda space: (
        space["told"]["label"].tolist() == ["myeloid"] * 3 + ["lymphoid"] * 3
        and space["nothing"].method_ == "prevalence"
    ),
    "tissue": lambda space: (
        space["in_niches"] > 0.5 and space["in_niches"] > 3 * adjusted_rand_score(space["region"], space["alone"])
        and 0.05 < space["read"]["strength"].mean() < 0.2
    ),
    "evidence": lambda space: (
        space["b_cells"]["gene"].iloc[0] == "CD79A" and space["one"]["attribution"].gt(0).all()
        and space["right"] > 0.7 and space["by_type"].index[0] == "CD14+ Monocyte"
    ),
    "responses": lambda space: (
        min(space["found"].values()) > 0.5
        and set(space["null"].predict("drug b", doses=10).obs["method"]) == {"no change"}
    ),
}  # fmt: skip


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
@pytest.mark.parametrize("page", TOLD)
def test_the_tutorials_run_and_find_what_they_tell(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tutorial = ROOT / "docs" / "tutorials" / f"{page}.md"
    space = runpy.run_path(str(ROOT / "scripts" / "tutorials.py"))["run"](tutorial)
    assert TOLD[page](space)
    shown = re.findall(r"!\[.*?\]\((.*?)\)", tutorial.read_text(encoding="utf-8"))
    assert shown
    assert all((tmp_path / name).exists() and tutorial.with_name(name).exists() for name in shown)
