"""Whether the priors mean something: do genes that one source finds alike go together in another, made without it?

Usage: python benchmarks/quality/gene_priors.py --data FOLDER

Co-expression is computed from data sets in FOLDER of which none serves to measure a model.

Two genes are as alike by a prior as the cosine of their features, each weighted by the logarithm of its rarity. Pairs
count for which both sources know both genes, genes of human or shared by human and mouse.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import anndata
import numpy as np
from scipy import sparse
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize

import celloquy as cq
from celloquy.data import CellSource

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

HERE = Path(__file__).resolve().parent
DATA = [
    "scrna/hsc_mouse",
    "scrna/intestine_grun",
    "scrna/interneuron_zeisel",
    "scrna/lung_delorey",
    "scrna/lymph_node_ref",
    "scrna/nsclc_zilionis",
    "scrna/pancreas_endocrinogenesis_mouse",
    "scrna/pbmc_frozen_donor_a",
    "scrna/pbmc_sorted_mudan",
    "cross_species/lung_tumour_zilionis_mouse",
    "spatial/pdac_st",
]
MOST_CELLS = 2000
# Sets above this size say little of a pair.
LARGEST_SET = 100
PAIRS, SEED = 100_000, 0
# Sources that are made of each other: the ontology takes over pathways, domains and families, families are named for
# domains.
CIRCULAR = {
    frozenset(pair) for pair in [("Gene Ontology", "Reactome"), ("Gene Ontology", "domains"),
                                 ("Gene Ontology", "family"), ("family", "domains")]
}  # fmt: skip


def read(folder: Path) -> tuple[cq.GeneVocabulary, list[sparse.csr_matrix]]:
    """Return the vocabulary of all data sets, human and mouse, and their counts over it."""
    sets = [anndata.read_h5ad(folder / f"{name}.h5ad") for name in DATA]
    vocabulary = cq.GeneVocabulary.both(*(one.var_names for one in sets))
    random = np.random.default_rng(SEED)
    counts = []
    for one in sets:
        drawn = np.sort(random.permutation(one.n_obs)[:MOST_CELLS])
        batch = CellSource(one[drawn].copy()).over(vocabulary).read_all()
        counts.append(batch.to_csr())
    return vocabulary, counts


def weighted(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Weight features by the logarithm of their rarity, and give every gene the length 1."""
    known = max(1, int((np.diff(matrix.indptr) > 0).sum()))
    size = np.asarray((matrix != 0).sum(axis=0)).ravel()
    return normalize(matrix @ sparse.diags(np.log(known / np.maximum(size, 1))))


def together(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Which genes share a feature of at most ``LARGEST_SET`` genes."""
    size = np.asarray((matrix != 0).sum(axis=0)).ravel()
    small = (matrix[:, size <= LARGEST_SET] != 0).astype(np.float32)
    shared = sparse.csr_matrix(small @ small.T)
    shared.setdiag(0)
    shared.eliminate_zeros()
    return shared


def compare(alike: sparse.csr_matrix, truth: sparse.csr_matrix, known: np.ndarray) -> tuple[float, float, float]:
    """Return AUROC, share of nearest genes that go together, and the same of random genes."""
    random = np.random.default_rng(SEED)
    alike, truth = alike[known], sparse.csr_matrix(truth[known][:, known])
    drawn = random.permutation(truth.nnz)[:PAIRS]
    others = random.integers(0, len(known), (PAIRS, 2))
    others = others[(others[:, 0] != others[:, 1]) & ~np.asarray(truth[others[:, 0], others[:, 1]] > 0).ravel()]
    pairs = np.concatenate([np.stack(truth.nonzero(), axis=1)[drawn], others])
    scores = np.asarray(alike[pairs[:, 0]].multiply(alike[pairs[:, 1]]).sum(axis=1)).ravel()
    labels = np.arange(len(pairs)) < len(drawn)
    hits = []
    for start in range(0, len(known), 1000):
        block = (alike[start : start + 1000] @ alike.T).toarray()
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        nearest = block.argmax(axis=1)
        hits.append(np.asarray(truth[np.arange(start, start + len(block)), nearest] > 0).ravel())
    chance = truth.nnz / len(known) / (len(known) - 1)
    return float(roc_auc_score(labels, scores)), float(np.concatenate(hits).mean()), chance


def main(folder: Path) -> None:
    """Measure all pairs of sources and write the table."""
    vocabulary, counts = read(folder)
    began = time.process_time()
    found = cq.genes.coexpression(counts, vocabulary)
    seconds = time.process_time() - began
    print(found, f"{seconds:.0f} s", flush=True)
    function = cq.genes.prior("function", vocabulary)
    pathway = np.array([feature.startswith("R-") for feature in function.features])
    priors = {name: cq.genes.prior(name, vocabulary).matrix for name in ("family", "domains", "signalling")}
    priors |= {"Gene Ontology": function.matrix[:, ~pathway], "Reactome": function.matrix[:, pathway]}
    matrices = {name: sparse.csr_matrix(matrix) for name, matrix in priors.items()}
    alike = {name: weighted(matrix) for name, matrix in matrices.items()}
    # A gene is alike to those it is expressed with, and to those expressed with the same.
    alike["co-expression"] = normalize(sparse.csr_matrix(found.matrix + sparse.identity(len(vocabulary)) * 0.5))
    truths = {name: together(matrices[name]) for name in ("Reactome", "family", "domains")}
    truths["co-expression"] = sparse.csr_matrix(found.matrix)
    # Mouse genes without a human partner have the features of their orthologs, so they go together by construction.
    human = np.array([bool(gene) for gene in vocabulary.human_ids])
    rows = []
    for name, similar in alike.items():
        cells = []
        for other, truth in truths.items():
            if name == other or frozenset((name, other)) in CIRCULAR:
                cells.append("–")
                continue
            by_prior = np.diff(similar.indptr) > (name == "co-expression")
            known = np.flatnonzero(human & by_prior & (np.diff(truth.indptr) > 0))
            auroc, nearest, chance = compare(similar, truth, known)
            cells.append(f"{auroc:.3f} ({nearest:.1%}, {chance:.2%})")
        rows.append([name, *cells])
        print(*rows[-1], sep=" | ", flush=True)
    body = f"""{sum(one.shape[0] for one in counts):,} cells of {len(DATA)} data sets of human and mouse over
{len(vocabulary):,} rows; their co-expression took {seconds:.0f} s of one core. AUROC of telling pairs of genes that go
together (share a pathway, family or domain of at most {LARGEST_SET} genes, or are expressed together) from random
pairs, by how alike a prior finds them; in brackets the share of genes whose most similar gene goes together with them,
and that of random genes. A dash: the two are made of each other.

{report.table(["alike by", *truths], rows)}"""
    command = "python benchmarks/quality/gene_priors.py --data FOLDER"
    report.write_section("gene_priors", "Priors of genes", body, command=command, folder=HERE / "results")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    main(parser.parse_args().data)
