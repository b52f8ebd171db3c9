"""What the documentation shows runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

import celloquy as cq

PAGE = Path(__file__).parents[2] / "docs" / "imputation.md"


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
