"""What Python alone makes of cells in the tasks, for R to be compared with.

Each task writes OUT.txt with the names of columns and OUT.npy, a row for every cell; all train for two epochs. Labels
of an annotation's reference are in its tissue.txt; an imputation uses positions if there is a positions.txt.
"""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import io, sparse

import celloquy as cq


def read(folder: str) -> ad.AnnData:
    """Read what R's write_counts() wrote."""
    source = Path(folder)
    adata = ad.AnnData(
        sparse.csr_matrix(io.mmread(source / "counts.mtx").T, dtype=np.int32),
        obs=pd.DataFrame(index=(source / "cells.txt").read_text().split("\n")),
        var=pd.DataFrame(index=(source / "genes.txt").read_text().split("\n")),
    )
    if (source / "tissue.txt").exists():
        adata.obs["tissue"] = (source / "tissue.txt").read_text().split("\n")
    if (source / "positions.txt").exists():
        adata.obsm["spatial"] = np.loadtxt(source / "positions.txt")
    return adata


def write(out: str, table: pd.DataFrame) -> None:
    """Write the result."""
    Path(f"{out}.txt").write_text("\n".join(map(str, table.columns)))
    np.save(f"{out}.npy", table.to_numpy(dtype=np.float64))


def annotate(cells: str, reference: str, out: str) -> None:
    """Label cells: the probabilities, the novelty, and whether the label is unknown."""
    adata = read(cells)
    cq.annotate(adata, reference=read(reference), label_key="tissue", epochs=2, seed=42, progress=False)
    unknown = adata.obs["celloquy_label"] == "unknown"
    novelty = adata.obs["celloquy_novelty"]
    write(out, cq.get(adata, "celloquy_probability").assign(novelty=novelty, unknown=unknown.astype(float)))


def denoise(cells: str, out: str, *genes: str) -> None:
    """Denoise genes."""
    adata = read(cells)
    batch = "tissue" if "tissue" in adata.obs else None
    cq.denoise(adata, genes=genes, unit="lognorm", return_std=True, batch_key=batch, epochs=2, seed=42, progress=False)
    write(out, cq.get(adata, "celloquy_denoised").join(cq.get(adata, "celloquy_denoised_std").add_suffix("_sd")))


def impute(cells: str, reference: str, out: str, *genes: str) -> None:
    """Impute genes; the last row is their reliability."""
    adata = read(cells)
    tissue = "tissue" if "tissue" in adata.obs else None
    spatial = "spatial" if "spatial" in adata.obsm else None
    cq.impute(
        adata, reference=read(reference), genes=genes, tissue_key=tissue, spatial_key=spatial, epochs=2, seed=42,
        progress=False,
    )  # fmt: skip
    table = cq.get(adata, "celloquy_imputed")
    table.loc["reliability"] = adata.uns["celloquy"]["celloquy_imputed"]["reliability"]["predicted"]
    write(out, table)
