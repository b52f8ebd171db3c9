"""What Python alone makes of cells, for R to be compared with.

reference.py cells FOLDER            the counts of scanpy's 700 PBMC: counts.mtx (genes × cells), genes.txt, cells.txt
reference.py model FOLDER OUT        a model with drawn weights over the genes of FOLDER
reference.py embed FOLDER MODEL OUT  the embedding of the cells of FOLDER, tissue by tissue if there is a tissue.txt,
                                     with their positions if there is a positions.txt
"""

import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import torch
from scipy import io, sparse

import celloquy as cq


def cells(folder: str) -> None:
    """Write the counts of scanpy's PBMC."""
    adata = cq.recover_counts(sc.datasets.pbmc68k_reduced())
    io.mmwrite(Path(folder) / "counts.mtx", sparse.csc_matrix(adata.layers["counts"].T), field="integer")
    (Path(folder) / "genes.txt").write_text("\n".join(adata.var_names))
    (Path(folder) / "cells.txt").write_text("\n".join(adata.obs_names))


def model(folder: str, out: str) -> None:
    """Draw the weights of a small model over the genes of a folder."""
    torch.manual_seed(0)
    genes = (Path(folder) / "genes.txt").read_text().split("\n")
    vocabulary = cq.GeneVocabulary.from_names(genes)
    drawn = cq.CellModel(cq.CellModelConfig.preset("mini"), vocabulary)
    drawn.save(out)


def embed(folder: str, model: str, out: str) -> None:
    """Embed the cells of a folder."""
    source = Path(folder)
    adata = ad.AnnData(
        sparse.csr_matrix(io.mmread(source / "counts.mtx").T, dtype=np.int32),
        obs=pd.DataFrame(index=(source / "cells.txt").read_text().split("\n")),
        var=pd.DataFrame(index=(source / "genes.txt").read_text().split("\n")),
    )
    tissue = positions = None
    if (source / "tissue.txt").exists():
        tissue = "tissue"
        adata.obs[tissue] = (source / "tissue.txt").read_text().split("\n")
    if (source / "positions.txt").exists():
        positions = "spatial"
        adata.obsm[positions] = np.loadtxt(source / "positions.txt")
    cq.embed(adata, model=model, tissue_key=tissue, spatial_key=positions, progress=False)
    np.save(out, adata.obsm["X_celloquy"])


if __name__ == "__main__":
    {"cells": cells, "model": model, "embed": embed}[sys.argv[1]](*sys.argv[2:])
