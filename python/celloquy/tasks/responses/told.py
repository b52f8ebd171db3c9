"""Results as AnnData: conditions × genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy import keys
from celloquy.data.store import quiet_anndata
from celloquy.tasks.responses.answers import Answer
from celloquy.tasks.responses.conditions import Condition, Naming
from celloquy.tasks.responses.profiles import Profiles
from celloquy.tasks.responses.reading import no_numbers
from celloquy.tasks.responses.trials import Trial, pearson

if TYPE_CHECKING:
    from anndata import AnnData

Matrix = NDArray[np.float64]


def as_adata(
    profiles: Profiles, naming: Naming, asked: Sequence[Condition], answers: Sequence[Answer], record: dict[str, Any]
) -> AnnData:
    """Return answers as :meth:`celloquy.ResponsePredictor.predict` does."""
    change = np.stack([one.change for one in answers])
    width = np.stack([one.width for one in answers])
    control = _controls(profiles, asked)
    adata = _adata(profiles, naming, asked, control + change, record)
    for name, values in (("change", change), ("lower", change - width), ("upper", change + width)):
        adata.layers[name] = values.astype(np.float32)
    for name in ("situation", "method"):
        adata.obs[name] = pd.Categorical([getattr(one, name) for one in answers])
    adata.obs["reliability"] = [one.reliability for one in answers]
    return adata


def measured_as_adata(profiles: Profiles, naming: Naming, record: dict[str, Any]) -> AnnData:
    """Return what was measured, see :attr:`celloquy.ResponsePredictor.measured_`."""
    adata = _adata(profiles, naming, profiles.conditions, profiles.means, record)
    adata.layers["change"] = profiles.changes().values.astype(np.float32)
    adata.layers["error"] = profiles.errors.astype(np.float32)
    adata.obs["n_cells"] = profiles.n_cells
    return adata


def held_out_as_adata(
    profiles: Profiles, naming: Naming, trials: Mapping[str, Trial], record: dict[str, Any]
) -> AnnData:
    """Return what was hidden, and predicted, see :attr:`celloquy.ResponsePredictor.held_out_`."""
    tried = [trial for trial in trials.values() if trial.conditions]
    conditions = [one for trial in tried for one in trial.conditions]
    empty = [np.zeros((0, len(profiles.genes)))]
    observed, predicted = (
        np.concatenate([getattr(trial, name) for trial in tried] or empty) for name in ("observed", "predicted")
    )
    adata = _adata(profiles, naming, conditions, observed, record)
    adata.layers["predicted"] = predicted.astype(np.float32)
    adata.obs["situation"] = pd.Categorical([trial.situation for trial in tried for _ in trial.conditions])
    adata.obs["correlation"] = pearson(predicted, observed) if conditions else np.zeros(0)
    return adata


def frame_as_adata(frame: pd.DataFrame, perturbation_key: str) -> AnnData:
    """Return a table of perturbations × genes as AnnData; levels of its index become columns of ``obs``."""
    from anndata import AnnData

    values = _numbers(frame)
    if isinstance(frame.index, pd.MultiIndex):
        levels = frame.index.to_frame(index=False, allow_duplicates=True)
    else:
        levels = pd.DataFrame({perturbation_key: frame.index})
    levels.index = levels.index.map(str)
    levels.columns = levels.columns.map(str)
    # Names that are not unique are told of later.
    with quiet_anndata():
        return AnnData(values, obs=levels, var=pd.DataFrame(index=frame.columns.map(str)))


def _numbers(frame: pd.DataFrame) -> Matrix:
    """The values of a table, NaN where they are missing."""
    found = np.empty(frame.shape)
    for place, (name, values) in enumerate(frame.items()):
        # Dates and complex numbers would lose what they say.
        if values.dtype.kind not in "mMc":
            try:
                found[:, place] = values.to_numpy(dtype=np.float64, na_value=np.nan)
                continue
            except (TypeError, ValueError):
                pass
        row = next((at for at, one in enumerate(values) if not isinstance(one, Real)), 0)
        raise no_numbers(f"{values.iloc[row]!r} of {str(frame.index[row])!r}, {str(name)!r}", "adata")
    return found


def _adata(
    profiles: Profiles, naming: Naming, conditions: Sequence[Condition], values: Matrix, record: dict[str, Any]
) -> AnnData:
    from anndata import AnnData

    names = [naming.name(one.parts) for one in conditions]
    obs = pd.DataFrame({"perturbation": pd.Categorical(names)})
    obs["context"] = pd.Categorical([one.context for one in conditions])
    obs["dose"] = [one.dose for one in conditions]
    parts = [
        [name]
        + ([one.context] if naming.covariate_key is not None else [])
        + ([f"{one.dose:g}"] if naming.dose_key is not None else [])
        for name, one in zip(names, conditions, strict=True)
    ]
    labels = [" ".join(own) for own in parts]
    # A condition that was hidden in several situations is there several times.
    seen: dict[str, int] = {}
    unique = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        unique.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    obs.index = pd.Index(unique, dtype=object)
    adata = AnnData(values.astype(np.float32), obs=obs, var=pd.DataFrame(index=pd.Index(profiles.genes, dtype=object)))
    adata.uns[keys.PROVENANCE] = {"responses": record}
    return adata


def _controls(profiles: Profiles, conditions: Sequence[Condition]) -> Matrix:
    place = {context: at for at, context in enumerate(profiles.contexts)}
    return profiles.control[0, [place[one.context] for one in conditions]]
