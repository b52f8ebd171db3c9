"""The tasks of responses.py: what is learned from, what is asked for, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

FOLDS = 5
LEAST_CELLS = 20
"""Cells of a condition from which on it is scored."""


@dataclass
class Split:
    """One fit: what is learned from, and what was kept back of the conditions that are asked for."""

    train: Any
    asked: list[tuple[str, str, float]]
    """Perturbation, context and dose."""
    truth: Any
    """Cells or rows of the asked conditions, and controls, that no fit has seen; their even and their odd halves are
    the truth and the ceiling. None of tables of effects, of which `rows` has the truth."""
    rows: pd.DataFrame | None = None
    described: pd.DataFrame | None = None


@dataclass
class Task:
    """A task: its splits and how they are read."""

    name: str
    options: dict[str, Any]
    splits: list[Split]
    notes: str = ""
    uncounted: bool = field(default=False)
    """True of null sets, whose scores are those of noise."""


def halves_of_controls(obs: pd.DataFrame, control: np.ndarray, groups: pd.Series | None) -> np.ndarray:
    """Return which controls are kept for the truth: every second one of each group."""
    kept = np.zeros(len(obs), dtype=bool)
    key = pd.Series("", index=obs.index) if groups is None else groups.astype(str)
    for _, own in pd.Series(np.arange(len(obs)), index=obs.index)[control].groupby(key[control]):
        kept[own.to_numpy()[1::2]] = True
    return kept


def cells_task(
    name: str, adata: ad.AnnData, folds: list[list[Any]], *, by: str, options: dict[str, Any], control: str,
    context: str | None = None, hide: Any = None,
) -> Task:  # fmt: skip
    """Return a task on cells: each fold hides the cells of some values of a column, and asks for their conditions.

    Controls are halved: the ways learn against one half, and are judged against the other.
    """
    key = options["perturbation_key"]
    is_control = (adata.obs[key].astype(str) == control).to_numpy()
    kept = halves_of_controls(adata.obs, is_control, adata.obs[context] if context else None)
    splits = []
    for fold in folds:
        hidden = hide(adata.obs, fold) if hide else adata.obs[by].astype(str).isin(fold).to_numpy()
        hidden = hidden & ~is_control
        asked = adata.obs[hidden]
        if hide:
            asked = asked[asked[by].astype(str).isin(fold)]
        names = pd.DataFrame({"name": asked[key].astype(str), "context": asked[context].astype(str) if context else ""})
        sizes = names.value_counts()
        wanted = [(*one, 1.0) for one, size in sizes.items() if size >= LEAST_CELLS]
        if wanted:
            splits.append(Split(adata[~hidden & ~kept].copy(), sorted(wanted), adata[hidden | kept].copy()))
    return Task(name, options, splits)


def some_folds(values: list[str], number: int = FOLDS, seed: int = 0) -> list[list[str]]:
    """Return values in folds."""
    shuffled = np.random.default_rng(seed).permutation(sorted(values))
    return [list(part) for part in np.array_split(shuffled, number)]


def tasks(data: Path) -> Iterator[Task]:
    """Yield the tasks."""
    yield from unseen_genes(data)
    yield from combinations(data)
    yield from contexts(data)
    yield from drugs(data)
    yield from profiling(data)
    yield ligands(data)


def unseen_genes(data: Path) -> Iterator[Task]:
    """Genes that were never perturbed."""
    norman = ad.read_h5ad(data / "perturb/norman_mcfaline_500.h5ad")
    for line in ("k562", "A172", "T98G"):
        own = norman[norman.obs["cell_line"].astype(str) == line].copy()
        singles = own[~own.obs["perturbation"].astype(str).str.contains("+", regex=False)].copy()
        names = sorted(set(singles.obs["perturbation"].astype(str)) - {"control"})
        task = cells_task(
            f"unseen gene, {line}" + ("" if line == "k562" else " (no effect)"), singles, some_folds(names),
            by="perturbation", options={"perturbation_key": "perturbation"}, control="control",
        )  # fmt: skip
        task.uncounted = line != "k562"
        yield task
    thp1 = ad.read_h5ad(data / "perturb/thp1_papalexi_299.h5ad")
    thp1 = thp1[thp1.obs["perturbation"].astype(str) != "ambiguous"].copy()
    names = sorted(set(thp1.obs["perturbation"].astype(str)) - {"non-targeting"})
    yield cells_task(
        "unseen gene, THP-1", thp1, some_folds(names), by="perturbation",
        options={"perturbation_key": "perturbation", "control": "non-targeting"}, control="non-targeting",
    )  # fmt: skip
    knocked = ad.read_h5ad(data / "perturb/l1000_knockdown_374.h5ad")
    knocked = knocked[(knocked.obs["pert_type"].astype(str) == "trt_sh")].copy()
    knocked = knocked[~knocked.obs["pert_mfc_desc"].astype(str).isin(["-666", "GFP", "EMPTY_VECTOR"])].copy()
    frame = pd.DataFrame(dense(knocked.X), index=knocked.obs["pert_mfc_desc"].astype(str), columns=knocked.var_names)
    frame = frame.groupby(level=0).mean()
    # Some names are of no gene that is known, and are told the mean.
    yield table_task("unseen gene, L1000 knock-down", frame, "effects", described=pd.DataFrame(index=frame.index))


def combinations(data: Path) -> Iterator[Task]:
    """Doubles, of which the singles were measured, or not all."""
    norman = ad.read_h5ad(data / "perturb/norman_mcfaline_500.h5ad")
    own = norman[norman.obs["cell_line"].astype(str) == "k562"].copy()
    names = sorted(set(own.obs["perturbation"].astype(str)))
    singles = {name for name in names if "+" not in name}
    doubles = [name for name in names if "+" in name]
    whole = [name for name in doubles if set(name.split("+")) <= singles]
    options = {"perturbation_key": "perturbation"}
    yield cells_task(
        "combination, both parts measured", own, [whole], by="perturbation", options=options, control="control",
        hide=lambda obs, _: obs["perturbation"].astype(str).isin(doubles).to_numpy(),
    )  # fmt: skip


def contexts(data: Path) -> Iterator[Task]:
    """Cell types and patients whose treated cells were never seen."""
    blood = ad.read_h5ad(data / "perturb/pbmc_ifnb_labelled.h5ad")
    types = sorted(set(blood.obs["cell_type"].astype(str)))
    yield cells_task(
        "unseen cell type, IFN-β", blood, [[one] for one in types], by="cell_type", context="cell_type",
        options={"perturbation_key": "condition", "control": "CTRL", "covariate_key": "cell_type"}, control="CTRL",
    )  # fmt: skip
    tumour = ad.read_h5ad(data / "perturb/glioblastoma_panobinostat.h5ad")
    patients = sorted(set(tumour.obs["patient_id"].astype(str)))
    yield cells_task(
        "unseen patient, panobinostat", tumour, [[one] for one in patients], by="patient_id", context="patient_id",
        options={"perturbation_key": "condition", "control": "ctrl", "covariate_key": "patient_id"}, control="ctrl",
    )  # fmt: skip


RANKED = {
    "sci-Plex A549": "sciplex_a549", "sci-Plex K562": "sciplex_k562", "NeurIPS B cells": "neurips2023_b",
    "NeurIPS T cells": "neurips2023_t", "DrugMatrix liver": "drugmatrix_liver", "Tahoe A498": "tahoe_a498",
    "Tahoe HCT15": "tahoe_hct15", "Tahoe SW48": "tahoe_sw48",
}  # fmt: skip
GROUPS = {
    "sci-Plex": ("sci-Plex A549", "sci-Plex K562"), "NeurIPS": ("NeurIPS B cells", "NeurIPS T cells"),
    "Tahoe": ("Tahoe A498", "Tahoe HCT15", "Tahoe SW48"),
}  # fmt: skip


def drugs(data: Path) -> Iterator[Task]:
    """Drugs that were never measured, by scaffold; and lines, by line."""
    read = {name: ranks(data, file) for name, file in RANKED.items()}
    for name, frame in read.items():
        known = compounds(data, list(frame.index))
        folds = scaffold_folds(known, list(frame.index))
        yield table_task(f"unseen drug, {name}", frame, "ranks", folds=folds, described=known)
    for group, names in GROUPS.items():
        genes = sorted(set.intersection(*(set(read[name].columns) for name in names)))
        whole = pd.concat({name: read[name][genes] for name in names}, names=["line", "drug"]).swaplevel()
        yield table_task(
            f"unseen line, {group}", whole, "ranks", folds=[[name] for name in names], by="line",
            described=compounds(data, sorted(set(whole.index.get_level_values("drug")))),
        )  # fmt: skip


def profiling(data: Path) -> Iterator[Task]:
    """L1000 profiles of compounds that were never measured (the DeepCE task), and doses."""
    plates = ad.read_h5ad(data / "drug/l1000_ht115_681.h5ad")
    obs = plates.obs.assign(drug=plates.obs["pert_iname"].astype(str))
    values = pd.DataFrame(dense(plates.X), index=plates.obs_names, columns=plates.var_names)
    vehicle = values[(obs["drug"] == "DMSO").to_numpy()]
    effects = values - vehicle.mean()
    effects.index = pd.MultiIndex.from_arrays([obs["drug"], obs["dose"].astype(float)], names=["drug", "dose"])
    effects = effects[effects.index.get_level_values("drug") != "DMSO"].groupby(level=[0, 1]).mean()
    smiles = obs[obs["drug"] != "DMSO"].drop_duplicates("drug").set_index("drug")["canonical_smiles"].astype(str)
    known = compounds(data, list(smiles.index)).drop(columns="smiles", errors="ignore")
    known = known.reindex(smiles.index).assign(smiles=smiles)
    names = list(smiles.index)
    yield table_task(
        "expression profiling, L1000 HT115", effects, "effects", folds=scaffold_folds(known, names), by="drug",
        described=known,
    )  # fmt: skip
    few = ad.read_h5ad(data / "drug/lincs_signatures_100.h5ad")
    frame = pd.DataFrame(dense(few.X), index=few.obs["pert_iname"].astype(str), columns=few.var_names)
    known = compounds(data, list(frame.index))
    yield table_task(
        "expression profiling, LINCS SKB", frame, "effects", folds=scaffold_folds(known, list(frame.index)),
        described=known,
    )  # fmt: skip
    modz = ad.read_h5ad(data / "drug/l1000_modz_272.h5ad")
    own = modz.obs
    frame = pd.DataFrame(dense(modz.X), columns=modz.var_names)
    frame.index = pd.MultiIndex.from_arrays([own["pert_iname"].astype(str), own["cell_id"].astype(str)],
                                            names=["drug", "line"])  # fmt: skip
    lines = sorted(set(frame.index.get_level_values("line")))
    means = frame.groupby(level=[0, 1]).mean()
    yield table_task("unseen line, L1000 of three drugs", means, "effects", folds=some_folds(lines), by="line")
    amount = own["pert_idose"].astype(str).str.extract(r"([\d.]+)")[0].astype(float)
    micromolar = np.where(own["pert_idose"].astype(str).str.endswith("nM"), amount / 1000, amount)
    frame["dose"] = micromolar
    frame = frame.set_index("dose", append=True).groupby(level=[0, 1, 2]).mean()
    frame = frame.xs("vemurafenib", level="drug", drop_level=False)
    times = frame.groupby(level="line").size()
    frame = frame[frame.index.get_level_values("line").isin(times.index[times > 2])]
    for name, dose in (("largest", 10.0), ("middle", 1.0)):
        yield table_task(f"held-out dose, {name}", frame, "effects", folds=[[dose]], by="dose")


def ligands(data: Path) -> Task:
    """Ligands that were never measured: a setting of one ligand at a time."""
    table = pd.read_parquet(data / "perturb/ligand_effects.parquet")
    table = table[~table["ligand"].str.contains("+", regex=False)]
    frame = table.groupby(["ligand", "gene"])["lfc"].mean().unstack("gene").dropna(axis=1)
    return table_task("unseen ligand", frame, "effects", folds=[[one] for one in frame.index])


def table_task(
    name: str, frame: pd.DataFrame, values: str, *, folds: list[list[Any]] | None = None, by: str | None = None,
    described: pd.DataFrame | None = None,
) -> Task:  # fmt: skip
    """Return a task on a table of effects or ranks."""
    levels = list(frame.index.names) if isinstance(frame.index, pd.MultiIndex) else ["drug"]
    frame = frame if isinstance(frame.index, pd.MultiIndex) else frame.rename_axis("drug")
    options: dict[str, Any] = {"perturbation_key": "drug", "values": values, "separator": ""}
    options |= {"covariate_key": "line"} if "line" in levels else {}
    options |= {"dose_key": "dose"} if "dose" in levels else {}
    flat = frame.index.to_frame(index=False)
    folds = some_folds(sorted(set(flat["drug"]))) if folds is None else folds
    masks = [flat[by or "drug"].isin(fold).to_numpy() for fold in folds]
    splits = []
    for hidden in masks:
        if hidden.any() and not hidden.all():
            measured_too = flat["drug"].isin(flat["drug"][~hidden]).to_numpy() if by not in (None, "drug") else hidden
            own = flat[hidden & measured_too]
            asked = [
                (str(row["drug"]), str(row["line"]) if "line" in levels else "", float(row.get("dose", 1.0)))
                for _, row in own.iterrows()
            ]
            splits.append(Split(frame[~hidden], asked, None, frame[hidden & measured_too], described))
    return Task(name, options, splits)


def ranks(data: Path, file: str) -> pd.DataFrame:
    """Return a table of ranks, drugs × genes."""
    table = pd.read_parquet(data / f"drug/effect_ranks_{file}.parquet").drop_duplicates("gene").set_index("gene")
    return table.T.astype(np.float64).rename_axis("drug").rename(index=str)


def compounds(data: Path, names: list[str]) -> pd.DataFrame:
    """Return structure, target and mechanism of drugs, joined on lower-cased names without what is in brackets."""
    from rdkit import Chem, rdBase

    table = pd.read_parquet(data / "drug/compounds.parquet")
    table["key"] = table["name"].astype(str).str.lower()
    table = table.dropna(subset=["smiles"]).drop_duplicates("key").set_index("key")
    keys = pd.Series(names, index=names).str.lower()
    short = keys.str.replace(r"\s*\(.*\)", "", regex=True)
    inner = keys.str.extract(r"\((.*)\)")[0]
    rows = []
    with rdBase.BlockLogs():
        for name in names:
            found = next((one for one in (keys[name], short[name], inner[name]) if one in table.index), None)
            row = table.loc[found] if found is not None else None
            smiles = "" if row is None else str(row["smiles"])
            rows.append({
                "smiles": smiles if smiles and Chem.MolFromSmiles(smiles) else "",
                "targets": "" if row is None or pd.isna(row["target"]) else str(row["target"]),
                "mechanism": "" if row is None or pd.isna(row["moa"]) else str(row["moa"]),
            })  # fmt: skip
    known = pd.DataFrame(rows, index=pd.Index(names, dtype=object))
    return known[[column for column in known if (known[column] != "").any()]]


def scaffold_folds(known: pd.DataFrame, names: list[str]) -> list[list[str]]:
    """Return drugs in folds by Murcko scaffold; a drug without a structure, or without a ring, is its own group."""
    from rdkit.Chem.Scaffolds import MurckoScaffold

    groups: dict[str, list[str]] = {}
    for name in names:
        smiles = known["smiles"].get(name, "") if "smiles" in known else ""
        scaffold = MurckoScaffold.MurckoScaffoldSmiles(smiles) if smiles else ""
        groups.setdefault(scaffold or f"alone: {name}", []).append(name)
    order = sorted(groups, key=lambda one: (-len(groups[one]), one))
    folds: list[list[str]] = [[] for _ in range(FOLDS)]
    for one in order:
        min(folds, key=len).extend(groups[one])
    return folds


def dense(values: Any) -> np.ndarray:
    """Return a matrix as a dense one."""
    return np.asarray(values.todense() if sparse.issparse(values) else values, dtype=np.float64)
