"""Predicted responses beside every simple way: results/10-responses.md.

Usage: python benchmarks/responses/responses.py --data FOLDER [--only TEXT] [--gears PYTHON]

PYTHON is that of an environment with `cell-gears`; GEARS is then trained for K562, at most 100 cells of a
perturbation. It would download GO terms, and gets those of FOLDER/genes instead.

Each task hides perturbations, contexts or doses and predicts them (response_tasks.py). Of cells, controls are halved:
the ways learn against one half and are judged against the other, since a control that both share looks like an effect;
hidden cells are halved, too, and the second half is the ceiling. Baselines learn from the changes as they were
measured. Scores are those of `celloquy.evaluate.score_responses`, means over conditions; the distance is relative to no
change.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from response_tasks import Split, Task, tasks
from scipy import sparse

import celloquy as cq
from celloquy.evaluate import score_responses
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Profiles, read_profiles
from celloquy.tasks.responses.situations import NEW_PERTURBATION, situation_of, ways_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

OURS, CEILING = "ours", "second half of the cells"
SCORES = {"pearson": True, "spearman": True, "l2": False, "mae": False, "overlap": True, "discrimination": True}
"""Scores, and whether more is better."""
FOLDER = Path(__file__).parent / "results"
MOST_CELLS = 100
"""Cells of a perturbation that GEARS learns from, at most."""


def main() -> None:
    """Measure all tasks and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="tasks whose names hold this text; nothing is written")
    parser.add_argument("--gears", type=Path, help="Python of an environment with cell-gears")
    parser.add_argument("--resume", type=Path, help="folder of tasks that are done; those that are not are added")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = []
    for task in tasks(options.data):
        file = options.resume / f"{task.name.replace(' ', '_')}.csv" if options.resume else None
        if file is not None and file.is_file():
            found.append(pd.read_csv(file, keep_default_na=False))
        elif options.only in task.name:
            began = time.perf_counter()
            gears = Gears(options.gears, options.data) if options.gears and task.name in TRAINED else None
            table = scores_of(task, gears)
            table.insert(0, "task", task.name)
            table["counted"] = not task.uncounted
            found.append(table)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                table.to_csv(file, index=False)
            print(table.to_string(), f"{time.perf_counter() - began:.0f} s", flush=True)
    if not options.only:
        whole = pd.concat(found, ignore_index=True)
        FOLDER.mkdir(exist_ok=True)
        whole.to_csv(FOLDER / "responses.csv", index=False, float_format="%.4f")
        write(whole)


TRAINED = ("unseen gene, k562",)
"""Tasks for which GEARS is trained, five times each."""


class Gears:
    """Trains GEARS in an environment of its own."""

    def __init__(self, python: Path, data: Path) -> None:
        self.python = python
        terms = pd.read_parquet(data / "genes/go_sets_human.parquet")
        self.terms = terms.groupby("symbol")["go_id"].agg(set).to_dict()

    def __call__(self, predictor: cq.ResponsePredictor, split: Split, conditions: list[Any]) -> np.ndarray:
        """Return the changes that it predicts."""
        train = split.train
        names = train.obs[predictor.perturbation_key].astype(str)
        control = names.isin(predictor._naming.control)
        some = control | (names.groupby(names).cumcount() < MOST_CELLS)
        cells = train[some].copy()
        counts = np.asarray(cells.X.todense(), dtype=np.float64)
        depth = predictor._fitted[0].depth
        logs = np.log1p(counts * depth / counts.sum(1, keepdims=True).clip(1))
        own = ad.AnnData(sparse.csr_matrix(logs.astype(np.float32)))
        own.obs["condition"] = ["ctrl" if is_control else f"{name}+ctrl"
                                for name, is_control in zip(names[some], control[some], strict=True)]  # fmt: skip
        own.obs["cell_type"] = "all"
        own.var_names = train.var_names
        own.var["gene_name"] = own.var_names
        with TemporaryDirectory() as folder:
            own.write_h5ad(Path(folder) / "train.h5ad")
            (Path(folder) / "asked.json").write_text(json.dumps([list(one.parts) for one in conditions]))
            (Path(folder) / "gene2go_all.pkl").write_bytes(pickle.dumps(self.terms))
            worker = Path(__file__).with_name("gears_worker.py")
            subprocess.run([self.python, worker, folder], check=True, stdout=subprocess.DEVNULL)
            return np.load(Path(folder) / "predicted.npz")["changes"]


def scores_of(task: Task, gears: Gears | None = None) -> pd.DataFrame:
    """Return the scores of each way in a task, a mean over conditions, with standard errors of pearson and l2."""
    told: dict[str, list[np.ndarray]] = {}
    observed, levels, chosen = [], [], []
    for split in task.splits:
        answers, truth, level, what = predicted(task, split, gears)
        for name, values in answers.items():
            told.setdefault(name, []).append(values)
        observed.append(truth)
        levels.append(level)
        chosen.append(what)
    true, level = np.concatenate(observed), np.concatenate(levels)
    # A way that some folds could not try is left out.
    told = {name: parts for name, parts in told.items() if len(parts) == len(task.splits)}
    rows = []
    none = None
    for name, parts in told.items():
        scored = score_responses(np.concatenate(parts), true, level if level.any() else None)
        none = scored["l2"] if name == "no change" else none
        rows.append((name, scored))
    assert none is not None
    listed = []
    for name, scored in rows:
        scored["l2"] = scored["l2"] / np.sqrt((none**2).mean())
        row: dict[str, Any] = {"way": name, "conditions": len(scored)}
        row |= {score: scored[score].mean() for score in SCORES}
        row |= {f"{score}_error": scored[score].sem() for score in SCORES}
        listed.append(row)
    table = pd.DataFrame(listed)
    table["chosen"] = [" / ".join(dict.fromkeys(chosen)) if name == OURS else "" for name in table["way"]]
    return table


def predicted(
    task: Task, split: Split, gears: Gears | None
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, str]:
    """Return what each way tells, the truth, the level of controls, and what ours chose."""
    predictor = cq.ResponsePredictor(**task.options, described=split.described, progress=False).fit(split.train)
    answers, conditions, situation = told_by_ways(predictor, split)
    if gears is not None:
        answers["GEARS"] = gears(predictor, split, conditions)
    if split.rows is not None:
        told = cq.ResponsePredictor(**task.options, progress=False, priors=["signalling"])
        truth = table_of(told, split, conditions)
        return answers, truth, np.zeros_like(truth), chosen_of(predictor, situation)
    first, second, level = halves(predictor, split, conditions)
    answers[CEILING] = second
    return answers, first, level, chosen_of(predictor, situation)


def told_by_ways(
    predictor: cq.ResponsePredictor, split: Split
) -> tuple[dict[str, np.ndarray], list[Any], str]:  # fmt: skip
    """Return the changes that ours and the simple ways tell, the conditions, and in which way these are new."""
    profiles, describer = predictor._fitted
    train = profiles.with_contexts({context for _, context, _ in split.asked}).changes()
    naming = predictor._naming
    conditions = [
        type(train.conditions[0])(naming.parts(name) if naming.separator else (name,), context, dose)
        for name, context, dose in split.asked
    ]
    names = tuple(sorted({part for one in (*train.conditions, *conditions) for part in one.parts}))
    kinship = Kinship(names, describer.describe(names))
    answers = {OURS: ours(predictor, split.asked)}
    situations = {situation_of(one, train) for one in conditions}
    assert len(situations) == 1, situations
    situation = situations.pop()
    simple = any(not one.single for one in conditions) and situation == NEW_PERTURBATION
    if not simple:
        for name, way in ways_of(situation, kinship, train).items():
            answers[name] = way(train, conditions, kinship)
    return answers, conditions, situation


def ours(predictor: cq.ResponsePredictor, asked: list[tuple[str, str, float]]) -> np.ndarray:
    """Return the predicted changes of conditions."""
    found = {}
    for context, dose in {(context, dose) for _, context, dose in asked}:
        names = [name for name, *where in asked if where == [context, dose]]
        told = predictor.predict(names, contexts=context, doses=dose)
        changes = np.asarray(told.layers["change"], dtype=np.float64)
        found |= {(name, context, dose): change for name, change in zip(names, changes, strict=True)}
    return np.stack([found[one] for one in asked])


def chosen_of(predictor: cq.ResponsePredictor, situation: str) -> str:
    """Return what was chosen for a situation."""
    trial = predictor.trials_[situation]
    return trial.chosen if trial.conditions else f"{trial.chosen} (nothing to hide)"


def halves(predictor: cq.ResponsePredictor, split: Split, conditions: list[Any]) -> tuple[np.ndarray, ...]:
    """Return the changes of the even and of the odd cells against kept controls, and the level of these."""
    found = []
    obs = split.truth.obs
    key = [one for one in (predictor.perturbation_key, predictor.covariate_key) if one]
    turn = obs.groupby(key, observed=True).cumcount().to_numpy() % 2
    control = (obs[predictor.perturbation_key].astype(str) == str(predictor._naming.control[0])).to_numpy()
    for half in (0, 1):
        own: Profiles = read_profiles(
            split.truth[control | (turn == half)], predictor._naming, predictor.values, cq.CellColumns(),
            depth=predictor._fitted[0].depth, progress=False,
        )  # fmt: skip
        changes = own.changes()
        found.append(np.stack([changes.values[changes.conditions.index(one)] for one in conditions]))
        level = np.stack([changes.control_of(one.context) for one in conditions])
    return found[0], found[1], level


def table_of(predictor: cq.ResponsePredictor, split: Split, conditions: list[Any]) -> np.ndarray:
    """Return the true effects of a table, on the scale that was learned."""
    from celloquy.tasks.responses.told import frame_as_adata

    adata = frame_as_adata(split.rows, predictor.perturbation_key)
    own = read_profiles(adata, predictor._naming, predictor.values, cq.CellColumns(), progress=False).changes()
    return np.stack([own.values[own.conditions.index(one)] for one in conditions])


TRIED = """### What was tried

- Changes drawn to 0 by their standard error (``d · d² / (d² + e²)``): on simulated screens (20 perturbations of 5 to 80
  cells, 8 pairs) the loss of sums of parts falls by a quarter to a half, that of the blend by 4 to 13 %.
- Conditions that count alike where ways are tried: on simulated screens whose perturbations differ much in size, the
  blend has a correlation of .56 instead of .38 (24 perturbations) and .80 instead of .76 (80); the one-standard-error
  rule for the simplest way does worse than either. It was tried after first figures, in which THP-1 was below the
  perturbed gene alone (.04 and .17), and decided on the simulations.
- A gain must exceed the noise of the controls that all conditions share, twice: of 24 simulated screens without any
  effect 5 chose a way before, and none with it.
- Three more choices were made in sight of the tables: a change whose reach nothing could be tried on is halved (two
  lines of drugs, where it was worse than no change by distance), blends are tried from two folds on and fold changes
  left out where there are no controls (three lines of Tahoe).
- GEARS learns from 100 cells of a perturbation, ten epochs, with GO terms of another release; its row is of an
  earlier run on the same splits. scGen, and what became of CPA and STATE, is in "Trained peers"; the scores of
  cell-eval are in a section of their own.
- A decoder as in CPA (a perturbation on a curve of its dose is added to a context, the sum is decoded; mean profiles,
  three small networks) was tried on hidden conditions of the first split's training part, loss over that of no
  change: sci-Plex A549, K562 and both .51, .60, .64, where the best other way had .52, .64, .68; NeurIPS B cells .92
  and Tahoe A498 .93, where the mean had .89 and .67; a new line of Tahoe .82 (the mean .91). A smooth regression that
  starts from no change has .48, .57, .61, .88, .68 and .82 in a hundredth of the time, and stands in its place; in
  the same sight of these losses the one that started from the mean was dropped (.53, .65, .69, .91, .70). For new
  lines and patients it is better than the other ways alone, but the blend is as good without it (Tahoe .706, with it
  .708), so it is left out.
- The graph of like perturbations, as in GEARS: .78 on DrugMatrix (best ridge .79), .88 on NeurIPS (mean .89), no gain
  on genes.
- A cell model that reads controls in perturbed company is below the arithmetic of components, see the next section.
"""
"""What was tried, and which choices were not blind."""


def write(whole: pd.DataFrame) -> None:
    """Write the section."""
    parts = [
        """Means over conditions; "l2" is the distance over the root mean square of no change's. Ways that learn
from nothing known of a perturbation can't tell one from another: their discrimination is .5.\n"""
    ]
    for name, table in whole.groupby("task", sort=False):
        rows = [
            [row["way"], *(f"{row[score]:.3f}" for score in SCORES)] for _, row in table.iterrows()
        ]  # fmt: skip
        own = table[table["way"] == OURS].iloc[0]
        parts.append(f"### {name}\n\n{report.table(['way', *SCORES], rows)}\n")
        parts.append(f"{own['conditions']} conditions. Chosen: {own['chosen']}.\n")
    parts.append("### All tasks\n\n" + together(whole))
    parts.append(TRIED)
    report.write_section(
        "10-responses", "Predicted responses", "\n".join(parts),
        command="python benchmarks/responses/responses.py --data FOLDER", folder=FOLDER,
    )  # fmt: skip


def together(whole: pd.DataFrame, scores: dict[str, bool] = SCORES) -> str:
    """Return the mean rank of ways over tasks and scores, and where ours falls short of the best baseline."""
    counted = whole[whole["counted"] & (whole["way"] != CEILING)]
    ranks, short = [], []
    for name, table in counted.groupby("task", sort=False):
        for score, more in scores.items():
            values = table.set_index("way")[score]
            if values.isna().any():
                continue
            place = values.rank(ascending=not more) if not more else values.rank(ascending=False)
            ranks.append(pd.DataFrame({"way": place.index, "rank": (place / len(place)).to_numpy(), "task": name}))
            others = table[table["way"] != OURS].set_index("way")
            best = others[score].idxmax() if more else others[score].idxmin()
            gap = (others.loc[best, score] - values[OURS]) * (1 if more else -1)
            error = float(others.loc[best, f"{score}_error"])
            if gap > error:
                short.append(
                    [name, score, f"{values[OURS]:.3f}", best, f"{others.loc[best, score]:.3f}", f"{error:.3f}"]
                )
    mean = pd.concat(ranks).groupby("way")["rank"].agg(["mean", "size"])
    # Ways that every kind of task knows, and those of some.
    mean = mean[mean["size"] >= 6].sort_values("mean")
    rows = [[way, f"{row['mean']:.3f}", int(row["size"])] for way, row in mean.iterrows()]
    text = "Rank over the number of ways, a mean over the scores and tasks in which a way can be tried.\n\n"
    text += report.table(["way", "rank / ways", "scores"], rows)
    if short:
        text += "\n\nWhere ours is below the best baseline by more than its standard error:\n\n"
        text += report.table(["task", "score", "ours", "best baseline", "its score", "its error"], short)
    return text


if __name__ == "__main__":
    main()
