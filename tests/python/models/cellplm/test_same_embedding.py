"""Three models give the same embeddings of real cells as when their hashes were stored.

The hash is that of the bits, which depend on the processor's kernels; elsewhere a sample of the values is compared.
``python tests/python/models/cellplm/test_same_embedding.py`` stores both anew.
"""

import hashlib
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch

import celloquy as cq

STORED = Path(__file__).with_name("same_embedding.json")
CASES = {
    "scrna/pbmc3k.h5ad": (cq.CellModelConfig.preset("mini"), {}),
    "spatial/starmap_mpfc.h5ad": (
        cq.CellModelConfig.preset("small"),
        {"tissue_key": "slice", "spatial_key": "spatial"},
    ),
    "scrna/breast_wu.h5ad": (
        cq.CellModelConfig(latent="mixture", attention="softmax"),
        {"tissue_key": "Sample"},
    ),
}


def embed(file: Path, config: cq.CellModelConfig, columns: dict[str, str]) -> np.ndarray:
    adata = ad.read_h5ad(file)[:500].copy()
    torch.manual_seed(0)
    model = cq.CellModel(config, cq.GeneVocabulary.from_names(adata.var_names))
    cq.embed(adata, model=model, precision="float32", progress=False, **columns)
    return adata.obsm["X_celloquy"]


def machine() -> str:
    """What decides which kernels run."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    processor = [value.strip() for name, value in facts.items() if name.strip() in ("vendor_id", "cpu family", "model")]
    version, capability = torch.__version__.split("+")[0], torch.backends.cpu.get_cpu_capability()
    return f"torch {version}, {capability}, processor {' '.join(processor)}, 1 thread"


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CASES)
def test_the_embedding_of_real_cells_is_what_it_was(shared, one_thread, name):
    stored = json.loads(STORED.read_text())
    found = embed(shared / "data" / name, *CASES[name])
    np.testing.assert_allclose(found[:5, :8], stored[name]["sample"], rtol=1e-3, atol=1e-4)
    if stored["machine"] == machine():
        assert hashlib.sha256(found.tobytes()).hexdigest() == stored[name]["sha256"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(__file__).resolve().parents[5] / "shared" / "data"
    record = {"machine": machine()}
    for name, (config, columns) in CASES.items():
        values = embed(folder / name, config, columns)
        sample = np.round(values[:5, :8].astype(float), 5).tolist()
        record[name] = {"sha256": hashlib.sha256(values.tobytes()).hexdigest(), "sample": sample}
    STORED.write_text(json.dumps(record) + "\n")
