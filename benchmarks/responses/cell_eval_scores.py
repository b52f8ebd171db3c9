"""Predicted responses in the scores of `cell-eval` (Arc Institute): results/30-cell-eval.md and cell_eval.csv.

Usage: python benchmarks/responses/cell_eval_scores.py --data FOLDER [--only TEXT]

It needs `pip install cell-eval==0.8.2` beside celloquy.

The tasks are those of responses.py in which cells were measured. cell-eval compares cells, so every control cell that
was learned from becomes a cell under the perturbation, in two ways: `drawn`, counts as `ResponsePredictor.sample_cells`
draws them, for ours and for baselines alike, and `shifted`, its logarithms plus the predicted change, not below 0.
Predicted cells are compared with the controls that were learned from, measured cells with those that were kept: no
control is on both sides.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from response_tasks import Split, Task, combinations, contexts, dense, unseen_genes
from responses import CEILING, FOLDER, OURS, together, told_by_ways

import celloquy as cq
from celloquy.evaluate import score_responses
from celloquy.tasks.responses.sampling import sampled_cells

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

WAYS = (OURS, "no change", "mean", "mean of parts", "largest part", "additive", "linear", "nearest",
        "elsewhere", "like contexts", "fold change")  # fmt: skip
"""Ways whose cells are scored, where a task knows them."""
SCORES = {
    "pearson_delta": True, "mse": False, "mae": False, "discrimination_score_l1": True, "discrimination_score_l2": True,
    "discrimination_score_cosine": True, "overlap_at_N": True, "precision_at_N": True, "de_sig_genes_recall": True,
    "de_direction_match": True, "de_spearman_lfc_sig": True, "pr_auc": True,
}  # fmt: skip
"""Scores that are shown, and whether more is better; the table in CSV has the whole profile."""
CORRELATIONS = ("pearson_delta", "de_spearman_sig", "de_spearman_lfc_sig", "pearson_edistance")
"""Scores without a value for a prediction that is constant, which counts as 0, as in our own scores."""
OF_SEVERAL = ("discrimination_score_l1", "discrimination_score_l2", "discrimination_score_cosine", "de_spearman_sig",
              "pearson_edistance", "clustering_agreement")  # fmt: skip
"""Scores that say nothing of a single perturbation."""
CONTROL = "control"
NOTHING = 1e-9
"""Spread of a change below which it is rounding."""
GENES = 2000
"""Genes that are compared, at most: those most expressed in the controls that were learned from."""


def main() -> None:
    """Score all tasks and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="tasks whose names hold this text; nothing is written")
    parser.add_argument("--resume", type=Path, help="folder of tasks that are done; those that are not are added")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    found = []
    for task in chain(unseen_genes(options.data), combinations(options.data), contexts(options.data)):
        file = options.resume / f"{task.name.replace(' ', '_')}.csv" if options.resume else None
        if task.splits[0].truth is None:
            continue
        if file is not None and file.is_file():
            found.append(pd.read_csv(file))
        elif options.only in task.name:
            found.append(scores_of(task))
            print(found[-1].round(3).to_string(), flush=True)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                found[-1].to_csv(file, index=False)
    if not options.only:
        whole = pd.concat(found, ignore_index=True)
        whole.to_csv(FOLDER / "cell_eval.csv", index=False, float_format="%.4g")
        write(whole)


NAMES = {
    "pearson_delta": "pearson", "discrimination_score_l1": "discr. L1", "discrimination_score_l2": "discr. L2",
    "discrimination_score_cosine": "discr. cosine", "overlap_at_N": "overlap", "precision_at_N": "precision",
    "de_sig_genes_recall": "recall", "de_direction_match": "direction", "de_spearman_lfc_sig": "spearman of LFC",
    "pr_auc": "PR AUC",
}  # fmt: skip
SAME = {
    "pearson": "`pearson_delta`", "mae": "`mae_delta`", "l2": "√(`mse_delta` · genes)",
    "discrimination": "`discrimination_score_l2`, as a share of the others",
}  # fmt: skip
"""Our scores, and what says the same in cell-eval."""


@dataclass
class Cells:
    """What cell-eval compares: measured cells, and those that each way tells, with the controls of either side."""

    measured: ad.AnnData
    told: dict[tuple[str, str], ad.AnnData] = field(default_factory=dict)
    """By way and by how cells were made."""


def scores_of(task: Task) -> pd.DataFrame:
    """Return the mean scores of each way in a task, and how far our own scores differ at most from cell-eval's."""
    # Folds are learned at depths of their own; cells of all folds are compared at that of the first.
    depth = float(np.median(np.asarray(task.splits[0].train.X.sum(1))))
    parts = [part for split in task.splits for part in cells_of(task, split, depth)]
    # cell-eval knows one control, so contexts, each with a control of its own, are scored one by one.
    judged = parts if task.options.get("covariate_key") else [together_of(parts)]
    scored = [cell_eval(cells) for cells in judged]
    rows = []
    for key in judged[0].told:
        table = pd.concat([scores[key] for scores in scored])
        row: dict[str, Any] = {"task": task.name, "way": key[0], "cells": key[1], "conditions": len(table)}
        row |= table.mean().to_dict() | {f"{score}_error": table[score].sem() for score in SCORES if score in table}
        differ = pd.DataFrame(differences(cells.measured, cells.told[key], scores[key])
                              for cells, scores in zip(judged, scored, strict=True)).max()  # fmt: skip
        rows.append(row | differ.add_prefix("differs_").to_dict() | {"counted": not task.uncounted})
    return pd.DataFrame(rows)


def cells_of(task: Task, split: Split, depth: float) -> Iterator[Cells]:
    """Fit a split and yield the cells of each context that is asked for, at a depth."""
    predictor = cq.ResponsePredictor(**task.options, progress=False).fit(split.train)
    changes, conditions, _ = told_by_ways(predictor, split)
    profiles = predictor._fitted[0]
    level = profiles.changes()
    for context in sorted({one.context for one in conditions}):
        here = [place for place, one in enumerate(conditions) if one.context == context]
        names = [split.asked[place][0] for place in here]
        learned = controls_of(split.train, predictor, context)
        logged = logs(learned.X, depth)
        halves = [half_of(split.truth, predictor, names, context, turn, depth) for turn in (0, 1)]
        kept = labelled(logs(controls_of(split.truth, predictor, context).X, depth), CONTROL, learned.var)
        seen = labelled(logged, CONTROL, learned.var)
        genes = np.sort(np.argsort(-logged.mean(0), kind="stable")[:GENES])
        cells = Cells(stacked([kept, halves[0]])[:, genes].copy())
        cells.told[CEILING, "measured"] = stacked([seen, halves[1]])[:, genes].copy()
        for way in (one for one in WAYS if one in changes):
            for made in ("controls",) if way == "no change" else ("drawn", "shifted"):
                own = [seen]
                for place, name in zip(here, names, strict=True):
                    change = changes[way][place]
                    if made != "drawn":
                        values = (logged + change).clip(0)
                    else:
                        told = told_as_adata(name, context, level.control_of(context), change, learned.var)
                        drawn = sampled_cells(
                            learned, told, predictor._naming, cq.CellColumns(), profiles.depth, predictor.seed
                        )
                        values = logs(drawn.X, depth)
                    own.append(labelled(values, name, learned.var))
                cells.told[way, made] = stacked(own)[:, genes].copy()
        yield cells


def controls_of(adata: ad.AnnData, predictor: cq.ResponsePredictor, context: str) -> ad.AnnData:
    """Return the control cells of a context."""
    own = adata.obs[predictor.perturbation_key].astype(str).isin(predictor._naming.control)
    if predictor.covariate_key:
        own &= adata.obs[predictor.covariate_key].astype(str) == context
    return adata[own.to_numpy()].copy()


def half_of(
    truth: ad.AnnData, predictor: cq.ResponsePredictor, names: list[str], context: str, turn: int, depth: float
) -> ad.AnnData:
    """Return every second measured cell of perturbations in a context, from the first (0) or the second (1) on."""
    own = truth.obs[predictor.perturbation_key].astype(str)
    asked = own.isin(names)
    if predictor.covariate_key:
        asked &= truth.obs[predictor.covariate_key].astype(str) == context
    asked &= own[asked].groupby(own[asked]).cumcount().reindex(own.index, fill_value=-1) % 2 == turn
    return labelled(logs(truth[asked.to_numpy()].X, depth), own[asked].to_numpy(dtype=object), truth.var)


def told_as_adata(name: str, context: str, control: np.ndarray, change: np.ndarray, var: pd.DataFrame) -> ad.AnnData:
    """Return what is told of a condition, as `ResponsePredictor.predict` gives it and `sampled_cells` takes it."""
    obs = pd.DataFrame({"perturbation": [name], "context": [context]}, index=["0"])
    told = ad.AnnData((control + change)[None], obs=obs)
    told.var = var[[]]
    told.layers["change"] = change[None]
    return told


def labelled(values: np.ndarray, names: Any, var: pd.DataFrame) -> ad.AnnData:
    """Return logarithms of cells as cell-eval takes them."""
    obs = pd.DataFrame({"perturbation": np.broadcast_to(np.asarray(names, dtype=object), len(values))})
    return ad.AnnData(np.asarray(values), obs=obs.set_index(obs.index.astype(str)), var=var[[]])


def logs(counts: Any, depth: float) -> np.ndarray:
    """Return logarithms of counts at one depth."""
    counts = dense(counts)
    return np.log1p(counts * depth / counts.sum(1, keepdims=True).clip(1))


def together_of(parts: list[Cells]) -> Cells:
    """Return folds as one, since perturbations are told apart among all; the controls of all folds are the same."""
    whole = Cells(joined(part.measured for part in parts))
    for key in parts[0].told:
        whole.told[key] = joined(part.told[key] for part in parts)
    return whole


def joined(parts: Iterable[ad.AnnData]) -> ad.AnnData:
    """Return cells together, the controls of the first alone."""
    first, *others = parts
    return stacked([first, *(one[one.obs["perturbation"] != CONTROL] for one in others)])


def stacked(parts: list[ad.AnnData]) -> ad.AnnData:
    """Return cells one after another, with names of their own."""
    return ad.concat(parts, index_unique="-")


def cell_eval(cells: Cells) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the whole profile of cell-eval of all ways, a row for each perturbation."""
    from cell_eval import MetricsEvaluator

    found = {}
    with TemporaryDirectory() as folder:
        for key, told in cells.told.items():
            tested = Path(folder) / "real_de.csv"
            evaluator = MetricsEvaluator(
                adata_pred=told, adata_real=cells.measured, control_pert=CONTROL, pert_col="perturbation",
                de_real=str(tested) if tested.is_file() else None, num_threads=1, outdir=folder,
            )  # fmt: skip
            scores, _ = evaluator.compute(profile="full", write_csv=False)
            scores = scores.with_columns(scores[one].fill_nan(0.0) for one in CORRELATIONS if one in scores.columns)
            table = scores.to_pandas().set_index("perturbation").astype(np.float64)
            # Of no change there is rounding alone, which has a direction.
            flat = effects(told, list(table.index)).std(1) < NOTHING
            table.loc[flat, "pearson_delta"] = 0.0
            table.loc[flat, "discrimination_score_cosine"] = (len(table) + 1) / (2 * len(table))
            found[key] = table.drop(columns=[one for one in OF_SEVERAL if one in table and len(table) == 1])
    return found


def differences(measured: ad.AnnData, told: ad.AnnData, theirs: pd.DataFrame) -> dict[str, float]:
    """Return the largest difference of each of our scores from cell-eval's, where both say the same thing.

    cell-eval's discrimination, 1 - rank / n, has our share of the other perturbations that lie farther,
    1 - rank / (n - 1), within it. It leaves out the gene that is perturbed, and so do both here.
    """
    names = list(theirs.index)
    changes = [effects(one, names) for one in (told, measured)]
    ours = score_responses(*changes)
    told_something = changes[0].std(1) >= NOTHING
    found = {
        "pearson": np.abs(ours["pearson"].to_numpy() - theirs["pearson_delta"].to_numpy())[told_something],
        "mae": np.abs(ours["mae"].to_numpy() - theirs["mae_delta"].to_numpy()),
        "l2": np.abs(ours["l2"].to_numpy() - np.sqrt(theirs["mse_delta"].to_numpy() * measured.n_vars)),
    }
    if len(names) > 1:
        place = [measured.var_names.get_indexer([name])[0] for name in names]
        own = [one_left_out(changes, at, gene) for at, gene in enumerate(place)]
        found["discrimination"] = np.abs(own - rescaled(theirs["discrimination_score_l2"].to_numpy()))[told_something]
    return {name: float(values.max(initial=0)) for name, values in found.items()}


def effects(adata: ad.AnnData, names: list[str]) -> np.ndarray:
    """Return the mean changes of perturbations against the controls."""
    means = pd.DataFrame(adata.X).groupby(adata.obs["perturbation"].to_numpy(dtype=object)).mean()
    return (means.loc[names] - means.loc[CONTROL]).to_numpy()


def one_left_out(changes: list[np.ndarray], at: int, gene: int) -> float:
    """Return our discrimination of a perturbation without a gene, -1 for none."""
    kept = np.arange(changes[0].shape[1]) != gene
    return float(score_responses(*(one[:, kept] for one in changes))["discrimination"].iloc[at])


def rescaled(scores: np.ndarray) -> np.ndarray:
    """Return cell-eval's discrimination, 1 - rank / n, as ours, 1 - rank / (n - 1), from the rank 0 on."""
    return 1 - (1 - scores) * len(scores) / (len(scores) - 1)


INTRODUCTION = """The `full` profile of cell-eval 0.8.2, of which `cell_eval.csv` has all; means over perturbations.
Contexts are scored one by one, since cell-eval knows one control, and a single perturbation can't be told from others:
there is no discrimination of types and patients. At most 2,000 genes, those most expressed in controls.

cell-eval compares cells, so each control cell that was learned from becomes a cell under the perturbation: `drawn` as
`ResponsePredictor.sample_cells` draws counts, for every way alike, or `shifted`, its logarithms plus the predicted
change, not below 0. The ceiling is the second half of the treated cells. Predictions and ceiling are compared with the
controls that were learned from, measured cells with the others. In "Predicted responses" both halves of the treated
cells share one control, whose noise looks like an effect: there the ceiling of lines without any effect has a
correlation above .4, here that of noise.

### How these scores differ from ours

- Given the same cells and genes, correlation, distances and discrimination are the same, see the table. Our tables are
  of the 1,000 most expressed genes, these of all that are given.
- cell-eval has no correlation and no cosine of a prediction without any change; here that is 0, as in ours, and the
  discrimination of chance.
- `mse` and `mae` compare levels, not changes, so that the noise of controls counts: where they are few (50 of K562,
  A172 and T98G), the mean of other perturbations is nearer to the truth than the controls, without any knowledge.
- Its discrimination is 1 - rank / n, ours the share of the n - 1 others that lie farther: one follows from the other.
  Chance is (n + 1) / 2n, not .5 (.667 of three conditions), the worst 1 / n, not 0. Of ties the order of the names
  decides, while ours counts them half. It leaves out the gene of the perturbation's name, and ours does not.
- `overlap`, `precision`, `recall`, `direction`, `spearman of LFC` and `PR AUC` are of genes that a Wilcoxon test of
  cells calls (false discovery rate below .05; overlap and precision whatever the sign). Ours
  is of the 100 largest changes of means, with their signs, and needs no cells.
- So they say as much of how cells are made as of what is predicted: a shift turns every 0 of a gene into the same small
  number, and the test calls it. Read drawn cells with drawn ones, and shifted with shifted ones.
"""
"""What is compared, and how the scores differ from ours."""


SHOWN = """
### What they show

- The first ranks are of ways that one task alone knows. Where ours falls short it is mostly in genes that the test
  calls: it tells smaller changes, so that fewer genes of drawn cells pass. In patients these are 42, of the means and
  fold changes 97 to 117, of measured cells 177; its changes are half as long as the true ones (2.2 against 4.4), those
  of fold changes 3.2. Shifted, 148 genes are called.
- In lines without any effect ours tells none, and no gene is called. Nor is one of cells that are drawn by the mean of
  other perturbations, but about 200 of 500 genes are of shifted ones.
- The ceiling is no limit where cells are few: half of a blood cell type can be 14 cells, and ways that learn from ten
  other types have a higher correlation.
- Nothing of celloquy was changed in sight of these scores.
"""
"""What was found."""


def write(whole: pd.DataFrame) -> None:
    """Write the section."""
    parts = [INTRODUCTION, agreement(whole)]
    for name, table in whole.groupby("task", sort=False):
        shown = [score for score in SCORES if score in table and table[score].notna().any()]
        rows = [
            [row["way"], row["cells"], *(shown_as(score, row[score]) for score in shown)] for _, row in table.iterrows()
        ]
        parts.append(f"### {name}\n\n{report.table(['way', 'cells', *(NAMES.get(one, one) for one in shown)], rows)}\n")
        counts = table["de_nsig_counts_real"].iloc[0]
        called = "conditions; of measured cells the test calls on average"
        parts.append(f"{table['conditions'].iloc[0]} {called} {counts:.1f} genes.\n")
    drawn = whole[whole["cells"] != "shifted"]
    parts.append("### All tasks\n\nOf drawn cells. " + together(drawn, SCORES) + "\n" + SHOWN)
    report.write_section(
        "30-cell-eval", "The scores of cell-eval", "\n".join(parts),
        command="python benchmarks/responses/cell_eval_scores.py --data FOLDER", folder=FOLDER,
    )  # fmt: skip


def shown_as(score: str, value: float) -> str:
    """Return a score as text; squared errors are small."""
    return f"{value:.4f}" if score == "mse" else f"{value:.3f}"


def agreement(whole: pd.DataFrame) -> str:
    """Return how far our own scores differ from cell-eval's where both say the same thing."""
    rows = [[ours, theirs, f"{whole[f'differs_{ours}'].max():.0e}"] for ours, theirs in SAME.items()]
    return report.table(["celloquy.evaluate", "cell-eval", "largest difference"], rows) + "\n"


if __name__ == "__main__":
    main()
