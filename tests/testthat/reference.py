"""What Python alone makes of cells, for R to be compared with.

reference.py cells FOLDER            the counts of scanpy's 700 PBMC: counts.mtx (genes × cells), genes.txt, cells.txt
reference.py model FOLDER OUT        a model with drawn weights over the genes of FOLDER
reference.py gene_model FOLDER OUT   a gene model with drawn weights over them, with their medians and priors that ship
reference.py no_medians MODEL OUT    that gene model without medians
reference.py genes FOLDER MODEL OUT  vectors of genes in the cells of FOLDER, by tissue, and the attention between three
reference.py network FOLDER OUT      the network of the cells of FOLDER, by tissue
reference.py perturb FOLDER MODEL OUT  how far two deleted genes move these cells, by tissue
reference.py drivers FOLDER MODEL OUT  drivers from the first tissue to the second
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
from celloquy.data import CellSource


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


def gene_model(folder: str, out: str) -> None:
    """Draw the weights of a small gene model over the genes of a folder, of which it reads 40 of a cell."""
    torch.manual_seed(0)
    adata = read(folder)
    vocabulary = cq.GeneVocabulary.both(adata.var_names)
    shape = {"width": 16, "heads": 2, "feedforward": 24, "context": 40, "priors": (("family", 8),)}
    batch = CellSource(adata).over(vocabulary).read_all()
    drawn = cq.GeneModel.initialise(cq.GeneModelConfig(**shape), vocabulary, batch)
    drawn.save(out)


def no_medians(model: str, out: str) -> None:
    """Save a model without its medians, as a released checkpoint is that was read without them."""
    loaded = cq.GeneModel.from_pretrained(model)
    loaded.median = torch.zeros_like(loaded.median)
    loaded.save(out)


def genes(folder: str, model: str, out: str) -> None:
    """Write vectors of genes in the cells of a folder, by tissue, and the attention between three."""
    adata, target = read(folder), Path(out)
    adata.obs["group"] = (Path(folder) / "tissue.txt").read_text().split("\n")
    vectors = cq.gene_embeddings(model, adata, by="group", progress=False)
    np.save(target / "vectors.npy", vectors.X)
    vectors.obs.rename_axis("name").to_csv(target / "vectors.csv")
    chosen = ["CD3E", "LYZ", "HLA-DRA"]
    cq.gene_attention(model, adata, chosen, by="group", progress=False).to_csv(target / "attention.csv", index=False)


def network(folder: str, out: str) -> None:
    """Write the network of the cells of a folder, by tissue, from three regulators."""
    adata = read(folder)
    adata.obs["group"] = (Path(folder) / "tissue.txt").read_text().split("\n")
    options = {"regulators": ["LYZ", "S100A9", "CD79A"], "method": ["pearson", "prior"], "n_edges": None, "seed": 42}
    cq.infer_network(adata, by="group", progress=False, **options).to_csv(out, index=False)


def perturb(folder: str, model: str, out: str) -> None:
    """Write how far two deleted genes move the cells of a folder, by tissue."""
    adata = read(folder)
    adata.obs["group"] = (Path(folder) / "tissue.txt").read_text().split("\n")
    asked = {"model": model, "by": "group", "n_random": 6, "progress": False}
    cq.perturb(adata, ["LYZ", "CD3E"], **asked).to_csv(out, index=False)


def drivers(folder: str, model: str, out: str) -> None:
    """Write the drivers from tissue a to b of a folder."""
    adata = read(folder)
    adata.obs["group"] = (Path(folder) / "tissue.txt").read_text().split("\n")
    asked = {"model": model, "by": "group", "n_random": 6, "progress": False}
    cq.rank_drivers(adata, source="first", target="second", **asked).to_csv(out, index=False)


def read(folder: str) -> ad.AnnData:
    """Read the cells of a folder."""
    source = Path(folder)
    return ad.AnnData(
        sparse.csr_matrix(io.mmread(source / "counts.mtx").T, dtype=np.int32),
        obs=pd.DataFrame(index=(source / "cells.txt").read_text().split("\n")),
        var=pd.DataFrame(index=(source / "genes.txt").read_text().split("\n")),
    )


def embed(folder: str, model: str, out: str) -> None:
    """Embed the cells of a folder."""
    source, adata = Path(folder), read(folder)
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
    tasks = {"cells": cells, "model": model, "gene_model": gene_model, "genes": genes, "embed": embed}
    tasks |= {"no_medians": no_medians, "network": network}

    tasks |= {"no_medians": no_medians, "perturb": perturb, "drivers": drivers}
    tasks[sys.argv[1]](*sys.argv[2:])
