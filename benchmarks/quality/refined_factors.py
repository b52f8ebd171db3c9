"""What networks on top of the factors are worth: results/refined_factors.md.

Usage: python benchmarks/quality/refined_factors.py --data FOLDER [--seeds 1] [--steps 300]

FOLDER holds the corpus of scripts/make_models.py. Blood, lymph node, lung tumours and hippocampus are held out, with
every file of the same study; factors are fitted to the others. A small network then refines the posterior means of the
factors, z + f(z), and is trained on views of the same cells: a share of the genes, and of the counts, drawn anew in
each step (both between a tenth and all).

- hidden genes: f predicts the genes that the view does not see, through the factors' loadings;
- hidden genes, by the cells of a study together: the same, f a cell encoder in which cells read each other;
- full view: f predicts the posterior mean that all genes and counts give;
- two views: two views of a cell are drawn together, their dimensions kept apart (VICReg; Bardes et al. 2022).

Measured on the held-out studies, without adaptation: macro F1 of nearest neighbours and ARI of k-means with the true
number of types, for 300 cells and for all; macro F1 of labels carried from the full panel to a fifth of the genes.
Last, the factors' adapted embedding, and the same with the network's vectors beside it.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad
import more_studies
import numpy as np
import pandas as pd
import peers
import report
import torch
from make_models import STUDIES, read_studies
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

import celloquy as cq
from celloquy.data import CellBatch
from celloquy.models.factors import FactorModel, FactorModelConfig
from celloquy.nn.encoder import CellEncoder
from celloquy.nn.factors import posterior_map

KINDS = ("none", "hidden genes", "hidden genes, cells together", "full view", "two views")
CELLS = 256
MOST = 400
HIDDEN = 1500
LEAST_SHARE = 0.1


class Study:
    """The counts of some cells over the genes that the factors know, and views of them."""

    def __init__(self, batch: CellBatch, model: FactorModel) -> None:
        self.genes = np.flatnonzero((batch.measured.all(0) & (model.noise > 0)).numpy())
        shape = len(batch), batch.n_genes
        parts = batch.values.numpy(), batch.indices.numpy(), batch.indptr.numpy()
        self.counts = sparse.csr_matrix(parts, shape=shape)[:, self.genes].astype(np.float32)
        self.loadings, self.noise = model.loadings[self.genes], model.noise[self.genes]
        self.scale = model.scale

    def values(self, rows: np.ndarray, counts: float, random: np.random.Generator) -> Tensor:
        """Return centred log expression ``(cells, genes)`` with a share of the counts."""
        chosen = self.counts[rows]
        if counts < 1:
            chosen.data = random.binomial(chosen.data.astype(int), counts).astype(np.float32)
        depth = np.maximum(np.asarray(chosen.sum(1)), 1)
        logged = torch.from_numpy(chosen.multiply(1e4 / depth).tocsr().log1p().toarray().astype(np.float32))
        return logged - logged.mean(0)

    def factors(self, values: Tensor, genes: np.ndarray | None = None) -> Tensor:
        """Return the posterior mean of the factors, in their sizes, given some of the genes."""
        seen = torch.arange(len(self.genes)) if genes is None else torch.from_numpy(genes)
        everything = torch.ones(len(seen), dtype=torch.bool)
        return values[:, seen] @ posterior_map(self.loadings[seen], self.noise[seen], everything) * self.scale


class Refiner(nn.Module):
    """z + f(z)."""

    def __init__(self, width: int, *, together: bool) -> None:
        super().__init__()
        self.together = together
        self.encoder = CellEncoder(
            width, layers=2, heads=4, feedforward=2 * width, dropout=0.1, attention="flow" if together else "none"
        )
        self.last = nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, factors: Tensor) -> Tensor:
        """Return the refined factors of cells of one study."""
        size = factors.std().clamp(min=1e-6)
        read = self.encoder(factors / size, torch.zeros(len(factors), dtype=torch.int64))
        refined: Tensor = factors + size * self.last(read)
        return refined


@torch.no_grad()
def view(study: Study, rows: np.ndarray, random: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """Return the factors of a view of some cells, and the genes that it does not see."""
    shares = np.exp(random.uniform(np.log(LEAST_SHARE), 0, 2))
    order = random.permutation(len(study.genes))
    seen = max(20, int(shares[0] * 0.9 * len(order)))
    return study.factors(study.values(rows, shares[1], random), order[:seen]), order[seen:]


def trained(kind: str, studies: list[Study], width: int, steps: int, seed: int) -> Refiner:
    """Return a network that was trained on views of the studies' cells."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = Refiner(width, together=kind == "hidden genes, cells together").train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(steps):
        study = studies[random.integers(len(studies))]
        rows = random.permutation(study.counts.shape[0])[:CELLS]
        factors, unseen = view(study, rows, random)
        refined = network(factors)
        if kind.startswith("hidden genes"):
            hidden = random.permutation(unseen)[:HIDDEN]
            with torch.no_grad():
                target = study.values(rows, 1.0, random)[:, hidden]
            expected = (refined / study.scale) @ study.loadings[hidden].T
            loss = ((expected - target).square() / study.noise[hidden]).mean()
        elif kind == "full view":
            with torch.no_grad():
                target = study.factors(study.values(rows, 1.0, random))
            loss = (refined - target).square().mean() / target.square().mean()
        else:
            loss = vicreg(refined, network(view(study, rows, random)[0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
        optimizer.step()
    return network.eval()


def vicreg(one: Tensor, other: Tensor) -> Tensor:
    """Return the loss of Bardes et al. 2022 with its usual weights, in units of the vectors' size."""
    size = one.detach().std().clamp(min=1e-6)
    one, other = one / size, other / size
    loss = 25 * (one - other).square().mean()
    for vectors in (one, other):
        centred = vectors - vectors.mean(0)
        covariance = centred.T @ centred / (len(vectors) - 1)
        spread = covariance.diagonal()
        loss = loss + 25 * (1 - (spread + 1e-4).sqrt()).clamp(min=0).mean()
        loss = loss + (covariance.square().sum() - spread.square().sum()) / len(spread)
    return loss


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    held_out = list(more_studies.HELD_OUT)
    learned = [name for name in STUDIES if name not in held_out and name not in more_studies.SAME_STUDY]
    vocabulary, batches = read_studies(options.data, [*learned, *held_out])
    model = FactorModel.fit(batches[: len(learned)], vocabulary, FactorModelConfig()).requires_grad_(False)
    studies = [Study(some(batch), model) for batch in batches[: len(learned)]]
    cells = [ad.read_h5ad(options.data / f"{name}.h5ad") for name in held_out]
    rows = []
    for kind in KINDS:
        for seed in range(options.seeds if kind != "none" else 1):
            network = None if kind == "none" else trained(kind, studies, model.config.width, options.steps, seed)
            for one, batch in zip(cells, batches[len(learned) :], strict=True):
                rows.append({"network": kind, **scores(one, Study(batch, model), network, model)})
            print(pd.DataFrame(rows[-len(cells) :]).mean(numeric_only=True).round(3).to_dict(), kind, seed, flush=True)
    found = pd.DataFrame(rows).groupby("network", sort=False).mean().reset_index()
    lines = [[row[0], *(f"{value:.3f}" for value in row[1:])] for row in found.itertuples(index=False)]
    report.write_section(
        "refined_factors", "Networks on top of the factors", report.table(["network", *found.columns[1:]], lines),
        command=f"python benchmarks/quality/refined_factors.py --data FOLDER --seeds {options.seeds} --steps "
        f"{options.steps}",
        folder=peers.HERE / "results", caption="mean over blood, lymph node, lung tumour and hippocampus, held out",
    )  # fmt: skip


def some(batch: CellBatch) -> CellBatch:
    """Return at most so many cells."""
    return batch.select(torch.from_numpy(np.random.default_rng(0).permutation(len(batch))[:MOST].copy()))


@torch.no_grad()
def scores(cells: ad.AnnData, study: Study, network: Refiner | None, model: FactorModel) -> dict[str, float]:
    """Return the scores of a held-out study."""
    random = np.random.default_rng(0)
    label = cells.obs["cell_type"].astype(str).to_numpy()
    refine = network or (lambda factors: factors)
    found: dict[str, float] = {}
    for size in (300, len(label)):
        rows = np.sort(random.permutation(len(label))[:size])
        sizes = pd.Series(label[rows]).value_counts()
        rows = rows[np.isin(label[rows], sizes.index[sizes >= 5])]
        vectors = refine(study.factors(study.values(rows, 1.0, random)))
        adapted = cq.embed(cells[rows].copy(), model=model, progress=False, copy=True).obsm["X_celloquy"]
        # Beside the adapted embedding, at half of its size.
        beside = np.hstack([adapted, vectors.numpy() * (0.5 * np.linalg.norm(adapted) / np.linalg.norm(vectors))])
        name = "all" if size == len(label) else str(size)
        for kind, embedding in (("", vectors.numpy()), ("adapted ", adapted if network is None else beside)):
            found[f"{kind}F1, {name}"], found[f"{kind}ARI, {name}"] = neighbours(embedding, label[rows])
    everything = np.arange(len(label))
    full = study.values(everything, 1.0, random)
    fifth = random.permutation(len(study.genes))[: len(study.genes) // 5]
    carried = KNeighborsClassifier(15).fit(refine(study.factors(full)), label)
    there = carried.predict(refine(study.factors(full, fifth)))
    return found | {"F1, ⅕ of the genes": float(f1_score(label, there, average="macro"))}


def neighbours(embedding: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Return the macro F1 of nearest neighbours, five folds, and the ARI of k-means."""
    classifier = KNeighborsClassifier(min(15, max(3, len(label) // 20)))
    found = cross_val_predict(classifier, embedding, label, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    clusters = KMeans(len(set(label)), n_init=5, random_state=0).fit_predict(embedding)
    return float(f1_score(label, found, average="macro")), float(adjusted_rand_score(label, clusters))


if __name__ == "__main__":
    main()
