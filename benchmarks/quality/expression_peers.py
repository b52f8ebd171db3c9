"""The methods that denoising and imputation are measured against; runs in the peers' own environment.

Usage: python expression_peers.py METHOD TASK.npz RESULT.npz

The task holds sparse counts, the result a dense array. Every method runs as its documentation shows it, at its
defaults; what has no package that installs (DCA, SpaGE, kNN smoothing) is written after its paper.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse

warnings.filterwarnings("ignore")


def main() -> None:
    """Run one method on one task."""
    import torch

    method, task, result = sys.argv[1], np.load(sys.argv[2], allow_pickle=False), Path(sys.argv[3])
    torch.set_num_threads(int(task["threads"]))
    seed = int(task["seed"])
    np.random.seed(seed)  # noqa: NPY002 -- where Tangram starts from; its own random_state takes 0 for none
    torch.manual_seed(seed)
    if method in DENOISERS:
        values = DENOISERS[method](read(task, "counts"), seed)
    else:
        values = IMPUTERS[method](read(task, "spatial"), read(task, "reference"), read(task, "wanted"), seed)
    np.savez(result, values=np.asarray(values, dtype=np.float32))


def read(task: np.lib.npyio.NpzFile, name: str) -> sparse.csr_matrix:
    """A sparse matrix of the task."""
    parts = (task[f"{name}_data"], task[f"{name}_indices"], task[f"{name}_indptr"])
    return sparse.csr_matrix(parts, shape=tuple(task[f"{name}_shape"])).astype(np.float32)


def depth(counts: sparse.csr_matrix | np.ndarray) -> np.ndarray:
    """Counts of every cell, ``(n, 1)``, at least 1."""
    return np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).reshape(-1, 1), 1)


def at_depth(profile: np.ndarray, counts: sparse.csr_matrix) -> np.ndarray:
    """Expression in any unit, as counts at each cell's depth."""
    profile = np.maximum(np.asarray(profile, dtype=np.float64), 0)
    return profile / np.maximum(profile.sum(axis=1, keepdims=True), 1e-12) * depth(counts)


# Denoising: counts (n, g) to counts (n, g).


def gene_means(counts: sparse.csr_matrix, _seed: int) -> np.ndarray:
    """The same profile for every cell: what knowing nothing of a cell gives."""
    return at_depth(np.repeat(np.asarray(counts.sum(axis=0)), counts.shape[0], axis=0), counts)


def scvi_denoise(counts: sparse.csr_matrix, seed: int) -> np.ndarray:
    """scVI (Lopez et al. 2018), scvi-tools, defaults."""
    import anndata
    import scvi

    scvi.settings.seed = seed
    adata = anndata.AnnData(counts)
    scvi.model.SCVI.setup_anndata(adata)
    model = scvi.model.SCVI(adata)
    model.train(accelerator="cpu", enable_progress_bar=False)
    return at_depth(np.asarray(model.get_normalized_expression(return_numpy=True)), counts)


def magic_denoise(counts: sparse.csr_matrix, seed: int) -> np.ndarray:
    """MAGIC (van Dijk et al. 2018) on square roots of normalised counts, as its tutorial does."""
    import magic

    size = depth(counts)
    roots = np.sqrt(np.asarray(counts.todense()) / size * np.median(size))
    smooth = magic.MAGIC(random_state=seed, verbose=0, n_jobs=1).fit_transform(roots, genes="all_genes")
    return at_depth(np.maximum(np.asarray(smooth), 0) ** 2, counts)


def knn_smoothing(counts: sparse.csr_matrix, seed: int, k: int = 15, components: int = 10) -> np.ndarray:
    """kNN-smoothing 2 (Wagner, Yan, Yanai 2018): counts summed over ever more neighbours, in steps."""
    from sklearn.decomposition import PCA
    from sklearn.metrics import pairwise_distances

    raw = np.asarray(counts.todense(), dtype=np.float64)
    summed = raw.copy()
    steps = int(np.ceil(np.log2(k + 1)))
    for step in range(1, steps + 1):
        neighbours = min(2**step - 1, k)
        size = np.maximum(summed.sum(axis=1, keepdims=True), 1)
        scaled = summed / size * np.median(size)
        transformed = np.sqrt(scaled) + np.sqrt(scaled + 1)
        scores = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(transformed)
        nearest = np.argsort(pairwise_distances(scores), axis=1, kind="stable")[:, : neighbours + 1]
        summed = np.stack([raw[cells].sum(axis=0) for cells in nearest])
    return at_depth(summed, counts)


def dca_like(counts: sparse.csr_matrix, _seed: int) -> np.ndarray:
    """A count autoencoder as DCA (Eraslan et al. 2019): 64-32-64, batch norm, NB, RMSprop, its defaults throughout."""
    import torch
    from torch import nn

    raw = np.asarray(counts.todense(), dtype=np.float32)
    size = (depth(counts) / np.median(depth(counts))).astype(np.float32)
    logged = np.log1p(raw / size)
    inputs = torch.from_numpy((logged - logged.mean(axis=0)) / (logged.std(axis=0) + 1e-6))
    targets, sizes = torch.from_numpy(raw), torch.from_numpy(size)
    genes = raw.shape[1]
    layers: list[nn.Module] = []
    for before, after in ((genes, 64), (64, 32), (32, 64)):
        # Keras: momentum 0.99 is torch's 0.01, and no scale.
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after, momentum=0.01, eps=1e-3), nn.ReLU()]
    body = nn.Sequential(*layers)
    mean_head, dispersion_head = nn.Linear(64, genes), nn.Linear(64, genes)
    for module in (*body, mean_head, dispersion_head):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    parameters = [*body.parameters(), *mean_head.parameters(), *dispersion_head.parameters()]
    optimizer = torch.optim.RMSprop(parameters, lr=1e-3, alpha=0.9, eps=1e-7)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        hidden = body(inputs[rows])
        mean = mean_head(hidden).exp().clamp(1e-5, 1e6) * sizes[rows]
        theta = nn.functional.softplus(dispersion_head(hidden)).clamp(1e-4, 1e4)
        x = targets[rows]
        likelihood = torch.lgamma(theta) + torch.lgamma(x + 1) - torch.lgamma(x + theta)
        likelihood += (theta + x) * torch.log1p(mean / theta) + x * (torch.log(theta) - torch.log(mean))
        return likelihood.mean()

    order = torch.randperm(len(raw))
    held, used = order[: len(raw) // 10], order[len(raw) // 10 :]
    best, waited, waited_rate, weights = np.inf, 0, 0, None
    modules = nn.ModuleList([body, mean_head, dispersion_head])
    for _ in range(300):
        modules.train()
        for rows in used[torch.randperm(len(used))].split(32):
            if len(rows) < 2:
                continue
            optimizer.zero_grad()
            loss(rows).backward()
            nn.utils.clip_grad_value_(parameters, 5.0)
            optimizer.step()
        modules.eval()
        with torch.no_grad():
            score = float(loss(held))
        waited, waited_rate = waited + 1, waited_rate + 1
        if score < best:
            best, waited, waited_rate = score, 0, 0
            weights = {name: tensor.clone() for name, tensor in modules.state_dict().items()}
        if waited_rate >= 10:
            waited_rate = 0
            optimizer.param_groups[0]["lr"] *= 0.1
        if waited >= 15:
            break
    assert weights is not None
    modules.load_state_dict(weights)
    with torch.no_grad():
        return np.asarray((mean_head(body(inputs)).exp().clamp(1e-5, 1e6) * sizes).numpy())


# Imputation: panel counts (n, p), reference counts (m, p) of the same genes and (m, h) of those wanted,
# to log1p (n, h) of counts scaled to the panel's median depth.


def normalised(counts: sparse.csr_matrix, size: np.ndarray, target: float) -> np.ndarray:
    """log1p of counts scaled to a depth."""
    return np.log1p(np.asarray(counts.todense(), dtype=np.float64) / size * target)


def standardised(values: np.ndarray) -> np.ndarray:
    """Every gene with mean 0 and deviation 1."""
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)


def knn_impute(
    spatial: sparse.csr_matrix, reference: sparse.csr_matrix, wanted: sparse.csr_matrix, _seed: int
) -> np.ndarray:
    """The mean of the 50 reference cells that are most like a cell, by cosine of standardised expression."""
    from sklearn.neighbors import NearestNeighbors

    target = float(np.median(depth(spatial)))
    panel = standardised(normalised(spatial, depth(spatial), target))
    cells = standardised(normalised(reference, depth(reference), target))
    nearest = NearestNeighbors(n_neighbors=min(50, len(cells)), metric="cosine").fit(cells)
    return normalised(wanted, depth(reference), target)[nearest.kneighbors(panel)[1]].mean(axis=1)


def spage(
    spatial: sparse.csr_matrix, reference: sparse.csr_matrix, wanted: sparse.csr_matrix, _seed: int
) -> np.ndarray:
    """SpaGE (Abdelaal et al. 2020): principal vectors of both data, then 50 neighbours weighted by their distance."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    target = float(np.median(depth(spatial)))
    panel = standardised(normalised(spatial, depth(spatial), target))
    cells = standardised(normalised(reference, depth(reference), target))
    number = min(50, panel.shape[1] // 2, len(panel) - 1, len(cells) - 1)
    axes = [PCA(number, random_state=0).fit(values).components_ for values in (cells, panel)]
    left, similarity, _ = np.linalg.svd(axes[0] @ axes[1].T)
    vectors = (left.T @ axes[0])[similarity > 0.3].T
    nearest = NearestNeighbors(n_neighbors=min(50, len(cells)), metric="cosine").fit(cells @ vectors)
    distances, neighbours = nearest.kneighbors(panel @ vectors)
    used = distances < 1
    weights = np.where(used, 1 - distances / np.maximum((distances * used).sum(axis=1, keepdims=True), 1e-12), 0)
    weights /= np.maximum(used.sum(axis=1, keepdims=True) - 1, 1)
    expression = normalised(wanted, depth(reference), target)
    return np.maximum(np.einsum("nk,nkh->nh", weights, expression[neighbours]), 0)


def tangram(
    spatial: sparse.csr_matrix, reference: sparse.csr_matrix, wanted: sparse.csr_matrix, seed: int
) -> np.ndarray:
    """Tangram (Biancalani et al. 2021), mode "cells", its defaults."""
    import anndata
    import scanpy as sc
    import tangram as tg

    names = [f"g{number}" for number in range(spatial.shape[1])]
    hidden = [f"h{number}" for number in range(wanted.shape[1])]
    cells = anndata.AnnData(sparse.hstack([reference, wanted]).tocsr())
    cells.var_names = names + hidden
    spots = anndata.AnnData(spatial.copy())
    spots.var_names = names
    sc.pp.normalize_total(cells)
    tg.pp_adatas(cells, spots)
    mapped = tg.map_cells_to_space(cells, spots, device="cpu", random_state=seed, verbose=False)
    weights = np.asarray(mapped.X).T
    projected = weights @ np.asarray(cells.X.todense() if sparse.issparse(cells.X) else cells.X)
    frame = dict(zip(cells.var_names, projected.T, strict=True))
    shown = sum(frame[name] for name in names if name in frame)
    nothing = np.zeros(spatial.shape[0])
    values = np.stack([frame.get(name, nothing) for name in hidden], axis=1) / np.maximum(shown, 1e-12)[:, None]
    return np.log1p(values * np.median(depth(spatial)))


def gimvi(spatial: sparse.csr_matrix, reference: sparse.csr_matrix, wanted: sparse.csr_matrix, seed: int) -> np.ndarray:
    """gimVI (Lopez et al. 2019), scvi-tools, defaults; cells without counts are left out of training, as it asks."""
    import anndata
    import scvi

    scvi.settings.seed = seed
    names = [f"g{number}" for number in range(spatial.shape[1])]
    hidden = [f"h{number}" for number in range(wanted.shape[1])]
    filled = np.asarray(spatial.sum(axis=1)).ravel() > 0
    cells = anndata.AnnData(sparse.hstack([reference, wanted]).tocsr())
    cells.var_names = names + hidden
    cells = cells[np.asarray(cells.X.sum(axis=1)).ravel() > 0].copy()
    spots = anndata.AnnData(spatial[filled])
    spots.var_names = names
    for adata in (cells, spots):
        scvi.external.GIMVI.setup_anndata(adata)
    model = scvi.external.GIMVI(cells, spots)
    model.train(accelerator="cpu", enable_progress_bar=False)
    _, imputed = model.get_imputed_values(normalized=True)
    share = np.asarray(imputed)
    relative = share[:, len(names) :] / np.maximum(share[:, : len(names)].sum(axis=1, keepdims=True), 1e-12)
    values = np.repeat(relative.mean(axis=0, keepdims=True), spatial.shape[0], axis=0)
    values[filled] = relative
    return np.log1p(values * np.median(depth(spatial)))


DENOISERS = {
    "gene means": gene_means,
    "scVI": scvi_denoise,
    "MAGIC": magic_denoise,
    "DCA-like": dca_like,
    "kNN smoothing": knn_smoothing,
}
IMPUTERS = {"kNN": knn_impute, "SpaGE": spage, "Tangram": tangram, "gimVI": gimvi}

if __name__ == "__main__":
    main()
