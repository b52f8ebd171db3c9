"""The coarse cell types that the model in the box names, and the labelled cells it learns them from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from make_models import read_study
from scipy import sparse

import celloquy as cq
from celloquy.data import CellBatch, CellSource

TYPES = {
    "T cell": "CL:0000084",
    "natural killer cell": "CL:0000623",
    "B cell": "CL:0000236",
    "plasma cell": "CL:0000786",
    "monocyte": "CL:0000576",
    "macrophage": "CL:0000235",
    "dendritic cell": "CL:0000451",
    "plasmacytoid dendritic cell": "CL:0000784",
    "mast cell": "CL:0000097",
    "basophil": "CL:0000767",
    "neutrophil": "CL:0000775",
    "erythroid cell": "CL:0000764",
    "megakaryocyte or platelet": "CL:0000556 CL:0000233",
    "haematopoietic progenitor": "CL:0008001",
    "endothelial cell": "CL:0000115",
    "fibroblast": "CL:0000057",
    "smooth muscle cell or pericyte": "CL:0000192 CL:0000669",
    "mesothelial cell": "CL:0000077",
    "adipocyte": "CL:0000136",
    "chondrocyte": "CL:0000138",
    "osteoblast": "CL:0000062",
    "skeletal muscle cell": "CL:0000188",
    "satellite cell of muscle": "CL:0000594",
    "cardiomyocyte": "CL:0000746",
    "decidual cell": "CL:2000002",
    "trophoblast": "CL:0000351",
    "granulosa or luteal cell": "CL:0000501 CL:0000175",
    "adrenocortical cell": "CL:0002097",
    "chromaffin cell": "CL:0000166",
    "melanocyte": "CL:0000148",
    "keratinocyte or squamous cell": "CL:0000312 CL:0000076",
    "basal or myoepithelial cell": "CL:0000646 CL:0000185",
    "glandular or luminal epithelial cell": "CL:0000150",
    "urothelial cell": "CL:0000731",
    "ciliated epithelial cell": "CL:0000067",
    "enterocyte": "CL:0000584",
    "goblet cell": "CL:0000160",
    "intestinal stem cell": "CL:0002250",
    "enteroendocrine cell": "CL:0000164",
    "hepatocyte": "CL:0000182",
    "acinar cell": "CL:0000622",
    "ductal cell of the pancreas": "CL:0002079",
    "alpha cell": "CL:0000171",
    "beta cell": "CL:0000169",
    "delta cell": "CL:0000173",
    "proximal tubule cell": "CL:0002306",
    "distal nephron cell": "CL:0002305 CL:1000454",
    "glutamatergic neuron": "CL:0000679",
    "GABAergic neuron": "CL:0000617",
    "cerebellar granule cell": "CL:0001031",
    "Purkinje cell": "CL:0000121",
    "peripheral neuron": "CL:2000032",
    "neural progenitor or radial glia": "CL:0011020 CL:0000681",
    "astrocyte": "CL:0000127",
    "oligodendrocyte": "CL:0000128",
    "oligodendrocyte precursor": "CL:0002453",
    "microglia": "CL:0000129",
    "Schwann cell or enteric glia": "CL:0002573 CL:4040002",
    "ependymal cell": "CL:0000065",
}
"""Name of each type, in the order of the codes, and its ids in the Cell Ontology."""
LABELLED = {
    "scrna/lymph_node_ref": "cell_type",
    "scrna/nsclc_zilionis": "Minor.subset",
    "scrna/pbmc_sorted_mudan": "cell_type",
    "scrna/interneuron_zeisel": "cell_type",
    "scrna/rctd_hippocampus_ref": "cell_type",
    "scrna/rctd_cerebellum_ref": "cell_type",
    "scrna/pancreas_endocrinogenesis_mouse_labelled": "cell_type",
    "cross_species/lung_tumour_zilionis_mouse": "cell_type",
}
"""Files of the corpus whose cells have labels, and the column with them."""
PROFILES = ("cross_species/profiles_human", "cross_species/profiles_mouse")

RULES: tuple[tuple[str, str | None], ...] = (
    # Too vague, of two types at once, or of none of the types; these come first.
    (
        r"/(lymphoid|myeloid|leukocyte|immunocyte|b t nk|granulocyte(?! monocyte)|innate lymphoid|ilc$|nkt"
        r"|neuronal$)",
        None,
    ),
    (
        r"natural killer cell cd8\+|monocyte macrophage|macrophages dc|microglia_macro|monodc"
        r"|progenitors and muller",
        None,
    ),
    (
        r"dividing|choroid|neoplastic|/pt\d|nd_dpp4|bmyeloid|eosinophil|osteoclast|/epsilon|/pre-endo|/ngn3"
        r"|/islet endo",
        None,
    ),
    (
        r"/endocrine (cell|prog)|/reproductive|hippocampus neuron asic4|/lymphoid progenitor"
        r"|vascular smooth muscle prog",
        None,
    ),
    (
        r"/(neuronal|lens fibre|photorec|retinal pig|bipolar|horizontal|ganglion cells|parietal|metaneph"
        r"|ureteric bud)",
        None,
    ),
    (r"/neuron$|neuron (kpna2|tuba1c|igfbpl1|isl1|npy|fabp7|rtn1) high", None),
    (
        r"/(mesenchymal stem|tendon|preosteoblast|thecal|endocardial|mesangial|primitive endo|endodermal"
        r"|epicardial fat)",
        None,
    ),
    (
        r"ovary/.*(surface|cumulu)|mammarygland/.*stem progenitor|stomach/adult|stomach cell|columnar epi"
        r"|paneth|acinar cell spp1|/s cell$",
        None,
    ),
    (
        r"(heart|muscle|skin|pancreas|brain)/[^/]*/[^/]*/epithelial cell|acta1 high|rib/.*oligodend|/pro b"
        r"|macrophage (s100a4|ms4a6c)|stromal cell (ankrd1|upk3b|cnmd)",
        None,
    ),
    (
        r"stomach/[^/]*/[^/]*/epithelial cell|cl?ub epi|neuroendocrine epi|epithelial cell sh2d6"
        r"|kidney/.*epithelial cell cryab",
        None,
    ),
    (r"/muscle cell$|muscle cell junb|muscle cell lrrc15|ureteric epi", None),
    # Blood.
    (r"plasmacytoid|siglech|/tpdc", "plasmacytoid dendritic cell"),
    (r"plasma|jchain|igkv|iglv|ighg1 high$(?<!neutrophil ighg1 high)|b cell igha|/tpc\d", "plasma cell"),
    (
        r"haematop|hematop|cd34\+ prog|granulocyte monocyte prog|multipotent prog|monocyte (progenitor|prtn3"
        r"|elane)",
        "haematopoietic progenitor",
    ),
    (r"megakaryocyte|platelet", "megakaryocyte or platelet"),
    (r"erythro(bl|cy|id)", "erythroid cell"),
    (r"neutrophil|/[bt]n\d", "neutrophil"),
    (r"basophil", "basophil"),
    (r"mast( cell)?s?$|/tmast", "mast cell"),
    (r"microglia", "microglia"),
    (r"macrophage|marcrophage|hofbauer|/tmac", "macrophage"),
    (r"monocyte|/[bt]mono\d", "monocyte"),
    (r"dendritic|/dc$|/tdc", "dendritic cell"),
    (r"natural killer|/[bt]?nk\d?( |$)", "natural killer cell"),
    (
        r"/(bcells|b cells?|b)( |$)|(naive|memory|marginal zone|mantle|follicular|hypermutation|precursor"
        r"|cd27.) b cell|pre pro b|/tb$",
        "B cell",
    ),
    (
        r"\bt (cells?|helper)|helper t|cytotoxict|memoryt|regulatoryt|thelper|naivet|naivecyt|/t_cd"
        r"|/t cells?|/bcd[48]t|/tt\d|/t helper",
        "T cell",
    ),
    # Brain and nerves.
    (r"schwann|glia[l]?( cell)?$(?<!microglia)(?<!radial glia)|ens glia", "Schwann cell or enteric glia"),
    (r"opc$|polydendro|oligodendrocyte prec", "oligodendrocyte precursor"),
    (r"oligodendro", "oligodendrocyte"),
    (r"astrocyte|bergmann", "astrocyte"),
    (r"ependymal", "ependymal cell"),
    (r"radial glia|neural prog|neurogenesis|neuronal prog", "neural progenitor or radial glia"),
    (r"purkinje", "Purkinje cell"),
    (r"cerebellum.*/granule|e14.5/[^/]*/granule neuron", "cerebellar granule cell"),
    (
        r"inhibitory|gabaergic|interneuron|lamp5|pax6|pvalb$|sst$|vip$|golgi|lugaro|mli|globular|candelab"
        r"|amacrine|/int\d",
        "GABAergic neuron",
    ),
    (
        r"excitatory|/l\d.* (it|et|np|ct)|l5 6 it|l6b|ca[13]$|denate|entor|slc17a6|cajal|ubcs|unipolar"
        r"|pyramidal|limbic",
        "glutamatergic neuron",
    ),
    (r"ens neuron|visceral neuron|ganglion cell (gal|cartpt)|sympatho", "peripheral neuron"),
    # Of the body.
    (r"endotheli|vascular ec|lymphatic ec|lymph vessel|blood vessel|/endo|vascular type", "endothelial cell"),
    (r"cardiomyocyte|cardiac muscle", "cardiomyocyte"),
    (r"satellite|muscs and|muscle progenitor", "satellite cell of muscle"),
    (r"skeletal muscle|mature skeletal|muscle cell (tnnc2|myl1 |actc1)", "skeletal muscle cell"),
    (
        r"smooth|pericyte|perivascular|vsmc|mural|/smc|enteric muscle|muscle cell (myl9|mylk|rgs5)"
        r"|/uterus.*muscle",
        "smooth muscle cell or pericyte",
    ),
    (r"mesothel", "mesothelial cell"),
    (r"adipo", "adipocyte"),
    (r"chondro|cartilage", "chondrocyte"),
    (r"osteobl", "osteoblast"),
    (r"decidual stromal", "decidual cell"),
    (r"fibro|stromal|mesenchymal cell|vlmc", "fibroblast"),
    (r"trophobl", "trophoblast"),
    (r"granulosa|luteal", "granulosa or luteal cell"),
    (r"adrenocort", "adrenocortical cell"),
    (r"chromaffin", "chromaffin cell"),
    (r"melanoc", "melanocyte"),
    (r"/keratinocyte|(esophagus|squamous|corneal).*epithelial cell", "keratinocyte or squamous cell"),
    (r"basal epi|myoepi", "basal or myoepithelial cell"),
    (r"(bladder.*epithelial cell upk3a)|umbrella|urothel", "urothelial cell"),
    (r"ciliated", "ciliated epithelial cell"),
    (r"goblet", "goblet cell"),
    (r"/(stem cell|ta|progenitor)$|enterocyte progenitor", "intestinal stem cell"),
    (r"enterocyte|villus", "enterocyte"),
    (r"enter[io]+endo|s cell (chgb|gip)|neuroendocrine cells", "enteroendocrine cell"),
    (r"hepatocyte", "hepatocyte"),
    (r"acinar", "acinar cell"),
    (r"pancreas.*ductal", "ductal cell of the pancreas"),
    (r"/alpha|pancreatic a cell", "alpha cell"),
    (r"/beta|type b pancr", "beta cell"),
    (r"/delta|pancreatic d cell", "delta cell"),
    (r"proximal tub", "proximal tubule cell"),
    (r"distal|collecting duct|loop of henle", "distal nephron cell"),
    (
        r"glandular epi|luminal|prostate gland|secretory alv|submucosal gland|hillock",
        "glandular or luminal epithelial cell",
    ),
)  # fmt: skip
"""Patterns, the first of which that a label has in it gives its type; a label is
``study/label``, of a profile ``file/tissue/age/study/label``."""


def type_of(label: str) -> str | None:
    """Return the type of a label, or None if it says too little or is of no type."""
    return next((kind for pattern, kind in RULES if re.search(pattern, label.lower())), None)


@dataclass(frozen=True)
class Cells:
    """Cells with the codes of their types; -1 is none."""

    batch: CellBatch
    codes: np.ndarray


@dataclass(frozen=True)
class Profiles:
    """Mean profiles of cell types over a vocabulary."""

    shares: np.ndarray
    """``(profiles, genes)``, adding up to 1."""
    codes: np.ndarray
    """Type; -1 is none."""
    sample: np.ndarray
    """Species, tissue, age and study."""
    species: np.ndarray
    """0 of human, 1 of mouse: the row of ``measured``."""
    measured: torch.Tensor
    """``(2, genes)``."""


def labelled_studies(folder: Path, vocabulary: cq.GeneVocabulary) -> Iterator[tuple[str, Cells]]:
    """Yield the real cells with labels, study by study: to score by, as learning from them helped no other study."""
    for name, column in LABELLED.items():
        adata = ad.read_h5ad(folder / f"{name}.h5ad")
        study = name.split("/")[1]
        codes = codes_of(f"{study}/{label}" for label in adata.obs[column].astype(str))
        yield study, Cells(CellSource(adata).over(vocabulary).read_all(), codes)


def read_profiles(folder: Path, vocabulary: cq.GeneVocabulary) -> Profiles:
    """Return the mean profiles of both species."""
    shares, codes, samples, measured = [], [], [], []
    for name in PROFILES:
        adata = read_study(folder / f"{name}.h5ad")
        cells = CellSource(adata).over(vocabulary).read_all()
        sample = [f"{name}/{row.tissue}/{row.age}/{row.study}" for row in adata.obs.itertuples()]
        codes.append(codes_of(f"{where}/{label}" for where, label in zip(sample, adata.obs["cell_type"], strict=True)))
        counts = cells.to_csr().toarray()
        shares.append(counts / counts.sum(1, keepdims=True))
        samples += sample
        measured.append(cells.measured.all(0))
    species = np.repeat(np.arange(len(shares)), [len(part) for part in shares])
    return Profiles(np.concatenate(shares), np.concatenate(codes), np.array(samples), species, torch.stack(measured))


CELLS_A_TYPE = 100
DEPTHS = (3000, 0.8)
"""Median and log standard deviation of the counts of a drawn cell, kept within 300 and 20,000."""
AMBIENT = 0.2
"""Share of a drawn cell's counts that is of its sample's mean, at most."""
SHAPE = 2.0
"""Shape of the gamma noise on each gene's share."""


def drawn_cells(profiles: Profiles, seed: int = 0, chosen: np.ndarray | None = None) -> Cells:
    """Draw cells of every type from its profiles, the same number of each type.

    Parameters
    ----------
    profiles
        Mean profiles.
    seed
        Seed of the draws.
    chosen
        Profiles to draw from, a mask; by default all.
    """
    random = np.random.default_rng(seed)
    usable = (profiles.codes >= 0) & (True if chosen is None else chosen)
    ambient = {name: profiles.shares[profiles.sample == name].mean(0) for name in np.unique(profiles.sample)}
    rows, sources = [], []
    for code in np.unique(profiles.codes[usable]):
        own = np.flatnonzero(usable & (profiles.codes == code))
        # All profiles as often as the others, give or take one.
        source = random.permutation(np.resize(random.permutation(own), max(CELLS_A_TYPE, len(own))))[:CELLS_A_TYPE]
        around = np.stack([ambient[profiles.sample[one]] for one in source])
        mixed = random.uniform(0, AMBIENT, (len(source), 1))
        shares = ((1 - mixed) * profiles.shares[source] + mixed * around).astype(np.float32)
        shares *= random.standard_gamma(SHAPE, shares.shape, dtype=np.float32)
        depth = np.exp(random.normal(np.log(DEPTHS[0]), DEPTHS[1], (len(source), 1))).clip(300, 20_000)
        rows.append(sparse.csr_matrix(random.poisson(shares / shares.sum(1, keepdims=True) * depth)))
        sources.append(source)
    source, counts = np.concatenate(sources), sparse.vstack(rows).tocsr()
    species, n = torch.from_numpy(profiles.species[source]), len(source)
    batch = CellBatch(
        torch.from_numpy(counts.indptr.astype(np.int64)), torch.from_numpy(counts.indices.astype(np.int32)),
        torch.from_numpy(counts.data.astype(np.float32)), torch.zeros(n, dtype=torch.int64),
        torch.full((n, 2), float("nan")), species, species, profiles.measured,
    )  # fmt: skip
    return Cells(batch, profiles.codes[source])


def codes_of(labels: Iterable[str]) -> np.ndarray:
    """Return the code of each label's type, -1 for none."""
    code = {name: place for place, name in enumerate(TYPES)}
    return np.array([code.get(type_of(label) or "", -1) for label in labels])
