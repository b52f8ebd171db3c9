"""Make the models in the box from a folder of public studies.

    python scripts/make_models.py ../shared/data [--only MODEL …] [--work FOLDER] [--device cuda]      (or: make models)

Writes cells-mini and genes-mini to python/celloquy/models/boxed, and cell_types.safetensors beside them, the types that
are named without a reference. The studies on which the tables report are left out, with every file of the same study;
see the model cards for data, licences and limits. genes-mini takes half an hour of one core; a training that was
interrupted goes on from what is in the folder for work.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from importlib import resources
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from safetensors.torch import save
from scipy import sparse

import celloquy as cq
from celloquy.data import CellBatch, CellSource
from celloquy.models.factors import FactorModel, FactorModelConfig
from celloquy.tasks.annotation.coarse import fit_coarse

BOX = Path(__file__).resolve().parents[1] / "python" / "celloquy" / "models" / "boxed"
STUDIES = {
    "scrna/lung_delorey": "human lung, Delorey",
    "scrna/lymph_node_ref": "human lymph node, spacexr",
    "scrna/nsclc_zilionis": "human lung tumour, Zilionis",
    "scrna/pbmc_frozen_donor_a": "human blood, Zheng",
    "scrna/pbmc_sorted_mudan": "human blood, sorted, Zheng",
    "spatial/pdac_st": "human pancreas tumour, spatial",
    "spatial/lymph_node_visium": "human lymph node, Visium",
    "perturb/glioblastoma_panobinostat": "human glioblastoma",
    "perturb/norman_mcfaline_500": "human cell lines, Norman and McFaline-Figueroa",
    "perturb/thp1_papalexi_299": "human THP-1, Papalexi",
    "scrna/brain_zeisel_saver": "mouse brain, Zeisel",
    "scrna/interneuron_zeisel": "mouse interneurons, Zeisel",
    "scrna/hsc_mouse": "mouse bone marrow, Paul",
    "scrna/intestine_grun": "mouse intestine, Grün",
    "scrna/rctd_hippocampus_ref": "mouse hippocampus, spacexr",
    "scrna/rctd_cerebellum_ref": "mouse cerebellum, spacexr",
    "spatial/rctd_visium_hippocampus": "mouse hippocampus, Visium",
    "spatial/rctd_slideseq_cerebellum": "mouse cerebellum, Slide-seq",
    "cross_species/lung_tumour_zilionis_mouse": "mouse lung tumour, Zilionis",
    "scrna/pancreas_endocrinogenesis_mouse": "mouse pancreas",
    "scrna/pancreas_endocrinogenesis_mouse_labelled": "mouse pancreas, more genes",
    "cross_species/profiles_human": "mean profiles of 241 human cell types, CellProfileLibrary (CC BY 4.0)",
    "cross_species/profiles_mouse": "mean profiles of 301 mouse cell types, CellProfileLibrary (CC BY 4.0)",
}
"""Files of the corpus, and what they hold."""
PROFILE_DEPTH = 1e5
"""Counts that a mean profile stands for."""
LEAST_STUDIES = 2
"""Studies that must express a gene for it to have a row."""
LEFT_OUT = (
    "PBMC 3k, the breast tumours of Wu, the cell line mixtures of sc_mixology, kidney of Tabula Muris, STARmap cortex, "
    "the mouse olfactory bulb, the pancreas of Baron, IFN-β stimulated PBMC"
)
LIMITS = (
    "human and mouse; tissues that no study covers are known from mean profiles alone, and some (liver, testis, "
    "retina, thymus) not at all"
)
LICENCES = "the profiles are CC BY 4.0, with credit to the CellProfileLibrary and its sources; the model holds no cells"
GENES_MINI = cq.GeneModelConfig(
    context=256, heads=2, priors=(("family", 24), ("function", 40), ("domains", 24), ("signalling", 14)),
    gene_weight=0.8, value_weight=0.2, cell_weight=0.8, summary=True,
)  # fmt: skip
"""Shape and task of genes-mini: narrow priors, which are most of its size, and weights by which it learns fast."""
GENES_MINI_TRAINING = cq.TrainingOptions(epochs=3, batch_size=32, learning_rate=1e-3, validation=0.03, patience=None)
CELLS_A_STUDY = 1500
"""Cells of a study that genes-mini learns from, at most."""


def read_study(file: Path) -> ad.AnnData:
    """Return a study's raw counts; mean profiles, stored as ``25 · log1p`` of counts per 10,000, become counts."""
    adata = ad.read_h5ad(file)
    if file.stem.startswith("profiles"):
        values = sparse.csr_matrix(adata.X, dtype=np.float32)
        values.data = np.rint(np.expm1(values.data / 25) * (PROFILE_DEPTH / 1e4))
        adata.X = values
    return adata


def read_studies(folder: Path, names: list[str]) -> tuple[cq.GeneVocabulary, list[CellBatch]]:
    """Return the genes that at least two studies express, and the cells of every study over them."""
    with warnings.catch_warnings(action="ignore"):
        sources = [CellSource(read_study(folder / f"{name}.h5ad")) for name in names]
        everything = cq.GeneVocabulary.both(*[source.expressed_names(3) for source in sources])
        times = np.zeros(len(everything), dtype=int)
        for source in sources:
            times += np.bincount(source.over(everything).read_all().indices, minlength=len(everything)) > 0
        vocabulary = everything.take(np.flatnonzero(times >= LEAST_STUDIES).tolist())
        return vocabulary, [source.over(vocabulary).read_all() for source in sources]


def as_adata(cells: CellBatch, vocabulary: cq.GeneVocabulary) -> ad.AnnData:
    """Return cells of one panel as an AnnData of the genes that it measures, by their ids in its species."""
    measured = torch.nonzero(cells.measured[cells.panel[0]])[:, 0].tolist()
    own, other = vocabulary.human_ids, vocabulary.mouse_ids
    if int(cells.species[cells.panel[0]]) == 1:
        own, other = other, own
    adata = ad.AnnData(cells.to_csr()[:, measured])
    adata.var_names = [own[gene] or other[gene] or vocabulary.ids[gene] for gene in measured]
    return adata


def make_cells_mini(folder: Path) -> None:
    """Fit the factor model on all studies and write it, weights in half precision, with its card."""
    began = time.perf_counter()
    vocabulary, studies = read_studies(folder, list(STUDIES))
    model = FactorModel.fit(studies, vocabulary, FactorModelConfig())
    model.provenance = {
        "name": "cells-mini",
        "data": f"{sum(map(len, studies)):,} cells and mean profiles of {len(STUDIES)} files: "
        + "; ".join(STUDIES.values()),
        "licences": LICENCES,
        "training": "principal axes of log-normalised counts, each study centred on its mean, at most 1,500 cells of "
        "it; no random numbers but those of the decomposition, from a fixed seed",
        "left out": LEFT_OUT,
        "limits": LIMITS,
    }
    for weight in model.parameters():
        weight.data = weight.data.to(torch.float16)
    model.save(BOX / "cells-mini", overwrite=True)
    print(f"{model!r} in {time.perf_counter() - began:.0f} s")


def make_cell_types(folder: Path) -> None:
    """Fit the types that are named without a reference to cells drawn from the mean profiles, and write them."""
    from cell_types import TYPES, drawn_cells, read_profiles

    began = time.perf_counter()
    vocabulary = FactorModel.from_pretrained(BOX / "cells-mini").vocabulary
    with warnings.catch_warnings(action="ignore"):
        cells = drawn_cells(read_profiles(folder, vocabulary))
    types = fit_coarse(cells.batch, cells.codes, len(TYPES))
    described = {"types": json.dumps(TYPES), "vocabulary": vocabulary.fingerprint}
    (BOX / "cell_types.safetensors").write_bytes(save(types.weights(), described))
    print(f"{len(TYPES)} cell types in {time.perf_counter() - began:.0f} s")


def make_genes_mini(folder: Path, work: Path, device: str) -> None:
    """Pretrain the gene model on cells of the studies and cells drawn from the mean profiles, and write it."""
    from cell_types import PROFILES, drawn_cells, read_profiles

    began = time.perf_counter()
    vocabulary, studies = read_studies(folder, list(STUDIES))
    some = [study.select(torch.arange(0, len(study), -(-len(study) // CELLS_A_STUDY))) for study in studies]
    cells = [as_adata(study, vocabulary) for name, study in zip(STUDIES, some, strict=True) if name not in PROFILES]
    with warnings.catch_warnings(action="ignore"):
        drawn = drawn_cells(read_profiles(folder, vocabulary)).batch
        of_species = [torch.nonzero(drawn.panel == species)[:, 0] for species in range(len(PROFILES))]
        cells += [as_adata(drawn.select(own), vocabulary) for own in of_species]
        model = cq.pretrain(
            cells, config=GENES_MINI, out=work / "genes-mini", overwrite=True, resume=True, vocabulary=vocabulary,
            training=GENES_MINI_TRAINING, precision="bfloat16" if device == "cuda" else "float32", device=device,
        )  # fmt: skip
    assert isinstance(model, cq.GeneModel)
    last = model.history.iloc[-1]
    model.provenance = {
        "name": "genes-mini",
        "data": f"{sum(one.n_obs for one in cells):,} cells, of them {len(drawn):,} drawn from mean profiles, of "
        f"{len(STUDIES)} files: " + "; ".join(STUDIES.values()),
        "licences": f"{LICENCES}; priors: {licences_of_priors()}",
        "training": f"epochs: {len(model.history)}, {GENES_MINI_TRAINING.batch_size} cells a step, at most "
        f"{CELLS_A_STUDY:,} cells of a study and {GENES_MINI.context:,} genes of a cell; medians and first gene "
        f"vectors of the same cells; priors that ship with the package; seed 0; made on {name_of(device)} in "
        f"{model.history['seconds'].sum() / 60:.1f} minutes, {model.provenance['precision']}",
        "losses of held-out cells": f"{last['validation']:.3f}, of the training cells {last['loss']:.3f}: "
        f"{last['genes']:.3f} nats to name a hidden gene, {last['cells']:.3f} by the cell's vector alone, squared "
        f"error {last['values']:.3f} of a value",
        "left out": LEFT_OUT,
        "limits": LIMITS + "; a small model after a short training, see docs/gene-models.md for what it is worth",
    }
    model.half().save(BOX / "genes-mini", overwrite=True)
    print(f"{model!r} in {time.perf_counter() - began:.0f} s")


def licences_of_priors() -> str:
    """Return source and licence of every prior of genes-mini."""
    known = json.loads((resources.files("celloquy.genes") / "tables" / "priors" / "SOURCES.json").read_text("utf-8"))
    each = ((name, known["priors"][name]) for name, _ in GENES_MINI.priors)
    return "; ".join(f"{name}, {one['source']}, {one['licence']}" for name, one in each)


def name_of(device: str) -> str:
    """Return what a model was trained on, in words."""
    return torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads of a processor"


MODELS = {"cells-mini": make_cells_mini, "cell_types": make_cell_types, "genes-mini": make_genes_mini}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the studies, as scrna/NAME.h5ad and so on")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="models to make")
    parser.add_argument("--work", type=Path, default=Path("build"), help="folder of a training that is not complete")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device to train genes-mini on")
    options = parser.parse_args()
    for name in options.only:
        make = MODELS[name]
        make(options.folder, options.work, options.device) if name == "genes-mini" else make(options.folder)
