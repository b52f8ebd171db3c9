"""Make the table of how genes are expressed in the corpus of the models in the box.

    python scripts/build_gene_expression.py ../shared/data

Writes python/celloquy/genes/tables/expression.npz: statistics of each gene's expression over the studies from which
cells-mini was made, see `celloquy.genes.expression`. The studies on which tables report are left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from make_models import LICENCES, STUDIES, read_studies
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

import celloquy as cq
from celloquy.data import CellBatch
from celloquy.genes.expression import FILE, STATISTICS

DEPTH = 1e4
PROFILES = ("cross_species/profiles_human", "cross_species/profiles_mouse")
EXPRESSED = 0.1
"""Log expression from which on a cell type expresses a gene."""
DIGITS = 7
"""Binary digits of a value that are kept."""

COMPONENTS = 16


def logged(cells: CellBatch) -> sparse.csr_matrix:
    """Return log1p of counts per 10,000, cells × genes, of the cells that have counts."""
    matrix = sparse.csr_matrix(cells.to_csr(), dtype=np.float64)
    depth = np.asarray(matrix.sum(1)).ravel()
    matrix = matrix[depth > 0]
    matrix.data *= np.repeat(DEPTH / depth[depth > 0], np.diff(matrix.indptr))
    return matrix.log1p()


def statistics(studies: dict[str, CellBatch], genes: int) -> np.ndarray:
    """Return the statistics of each gene, ``(genes, len(STATISTICS))``; 0 of one that nothing measured."""
    mean, share, variance = np.zeros(genes), np.zeros(genes), np.zeros(genes)
    highest, times = np.zeros(genes), np.zeros(genes)
    for name, cells in studies.items():
        if name in PROFILES:
            continue
        measured = cells.measured.all(0).numpy()
        matrix = logged(cells)
        average = np.asarray(matrix.mean(0)).ravel()
        mean += average * measured
        share += np.asarray((matrix > 0).mean(0)).ravel() * measured
        variance += (np.asarray(matrix.multiply(matrix).mean(0)).ravel() - average**2) * measured
        highest = np.maximum(highest, average * measured)
        times += measured
    types = [logged(studies[name]).toarray() * np.where(studies[name].measured.all(0), 1, np.nan) for name in PROFILES]
    profile = np.concatenate(types)
    there = ~np.isnan(profile)
    known = there.any(0)
    filled = np.where(there, profile, 0)
    kinds = there.sum(0).clip(1)
    top = filled.max(0)
    # Yanai et al. 2005: 1 for a gene of one cell type, 0 for one that all express alike.
    specificity = (there * (1 - filled / np.maximum(top, 1e-9))).sum(0) / (kinds - 1).clip(1) * (top > 0)
    breadth = (filled > EXPRESSED).sum(0) / kinds
    columns = [mean / times.clip(1), share / times.clip(1), np.sqrt(variance / times.clip(1)), highest,
               filled.sum(0) / kinds, top, breadth, specificity * known]  # fmt: skip
    average = filled.sum(0) / kinds
    centred = np.where(there, profile - average, 0)
    centred -= centred.mean(1, keepdims=True)
    axes, singular, _ = randomized_svd(centred.T, COMPONENTS, n_iter=7, random_state=0)
    components = axes * singular / np.sqrt(len(profile))
    components *= np.sign(components[np.abs(components).argmax(0), np.arange(COMPONENTS)])
    return np.stack([*columns, *components.T], 1)


def main() -> None:
    """Read the studies and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the studies, as scrna/NAME.h5ad and so on")
    options = parser.parse_args()
    began = time.perf_counter()
    vocabulary, batches = read_studies(options.folder, list(STUDIES))
    values = statistics(dict(zip(STUDIES, batches, strict=True)), len(vocabulary))
    known = np.flatnonzero(np.abs(values).sum(1) > 0)
    # Two to three digits, more than which a few studies do not tell; they take half the bytes.
    mantissa, exponent = np.frexp(values[known].astype(np.float32))
    matrix = sparse.csr_matrix(np.ldexp(np.rint(mantissa * 2**DIGITS) / 2**DIGITS, exponent))
    source = f"{sum(map(len, batches)):,} cells and mean profiles of {len(STUDIES)} files, the corpus of cells-mini"
    prior = cq.genes.Prior(
        "expression", tuple(vocabulary.ids[row] for row in known), matrix, STATISTICS, source, LICENCES
    )
    prior.save(FILE)
    print(f"{prior!r} in {time.perf_counter() - began:.0f} s, {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
