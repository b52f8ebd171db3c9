"""``ResponsePredictor``: what a perturbation, a drug or a dose does to expression, also where it was not measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import pandas as pd

from celloquy.checks import check_choice, check_name, check_names, check_whole_number
from celloquy.data import CellColumns
from celloquy.data.columns import check_column
from celloquy.data.store import opened
from celloquy.errors import ArgumentError
from celloquy.genes import Prior, identify_genes
from celloquy.models import Model
from celloquy.runtime.hardware import choose_device
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.properties.features import Block
from celloquy.tasks.properties.sources import blocks_of
from celloquy.tasks.responses.answers import answered, said
from celloquy.tasks.responses.asked import asked_conditions, check_priors, refuse_unknown
from celloquy.tasks.responses.conditions import Condition, Naming, doses_of
from celloquy.tasks.responses.descriptions import TARGETS, Describer, check_table
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Profiles, read_profiles
from celloquy.tasks.responses.reading import VALUES, Values
from celloquy.tasks.responses.sampling import sampled_cells
from celloquy.tasks.responses.saved import read_predictor, write_predictor
from celloquy.tasks.responses.situations import SITUATIONS
from celloquy.tasks.responses.told import as_adata, frame_as_adata, held_out_as_adata, measured_as_adata
from celloquy.tasks.responses.trials import REPORTED, Trial, pearson, try_ways
from celloquy.tasks.saved import not_fitted
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData

Known = str | pd.DataFrame | Prior | Iterable["str | pd.DataFrame | Prior"]

PARAMETERS: Final = (
    "perturbation_key", "covariate_key", "dose_key", "replicate_key", "separator", "values", "layer", "counts", "seed",
)  # fmt: skip
"""Parameters that a saved predictor keeps, beside the names of the controls."""
MOSTLY: Final = 0.5
"""Share of perturbations with the name of a gene from which on perturbations are taken to be of genes."""


@dataclass(kw_only=True, eq=False, repr=False)
class ResponsePredictor:
    """Predict how expression answers to a perturbation, a drug or a dose, also where that was never measured.

    What was measured is reduced to mean expression under each condition and its change against the control of its
    context (cell type, line, patient). A condition that is asked for may be new in five ways: another perturbation, a
    combination of measured ones, another context, a pair of both, another dose. Each of these is imitated by hiding
    what was measured, every way of the field is tried on what was hidden (no change, means, sums, the linear model of
    Ahlmann-Eltze et al. 2025, regressions on what is known of genes and compounds, nearest perturbations, fold changes
    of other contexts, interpolated doses), and their blend predicts, unless a simpler way does better, or nothing does
    better than no change. :attr:`report_` says what was tried and chosen.

    Attributes
    ----------
    report_
        A row for each situation and way that was tried on hidden conditions: ``loss`` (squared error over that of no
        change; conditions count alike, whatever the size of their change), ``gain`` over no change and its standard
        error ``gain_error``, ``chosen``, and ``weight``.
    measured_
        An AnnData of the conditions that were measured: ``X`` their mean expression, the layers ``change`` and
        ``error`` (its standard error), ``obs`` with the number of cells.
    held_out_
        An AnnData of the conditions that were hidden: ``X`` their measured change, the layer ``predicted``, ``obs``
        with the situation and the correlation of the two.

    Examples
    --------
    >>> import celloquy as cq
    >>> predictor = cq.ResponsePredictor(perturbation_key="gene", control="control").fit(adata)
    >>> print(predictor.summary())
    >>> predictor.save("responses/")
    >>> predictor = cq.ResponsePredictor.load("responses/")
    >>> predictor.predict(["STAT2", "IRF7+STAT1"]).to_df("change")
    >>> predictor.sample_cells(adata[adata.obs["gene"] == "control"], "STAT2")
    """

    name: ClassVar[str] = "responses"

    perturbation_key: str
    """Column of ``obs`` with the perturbation: genes by symbol or id, compounds, ligands, or any condition."""
    control: str | Sequence[str] = "control"
    """Name, or names, of the controls in that column."""
    covariate_key: str | None = None
    """Column of ``obs`` with the context, such as a cell type, line or patient: changes are against its own control."""
    dose_key: str | None = None
    """Column of ``obs`` with the dose, a number above 0 in one unit; that of controls is not read."""
    replicate_key: str | None = None
    """Column of ``obs`` with replicates, such as batches or donors: changes are against controls of the same one."""
    separator: str = "+"
    """Text between the perturbations of a combination; ``""`` if a name is never split."""
    values: Values = "counts"
    """``"counts"``: raw counts of cells or of pseudobulks, scaled to one depth and logged; ``"expression"``: values
    that are logarithms already; ``"effects"``: changes, without controls; ``"ranks"``: ranks of genes in each row, 1
    the most up, 0 not ranked, which become normal scores."""
    described: pd.DataFrame | None = None
    """What is known of perturbations, a row for each by its name: ``smiles`` (read by RDKit, an extra), ``targets``
    (genes) and ``mechanism``, ";" between several, and any columns of numbers."""
    model: Model | str | PathLike[str] | None = None
    """Model whose vectors of genes describe perturbed genes; by default those in the box."""
    priors: Known = "auto"
    """What else describes perturbed genes and targets: as ``evidence`` of :class:`celloquy.GeneClassifier`, without
    ``"cells"``. ``"auto"`` is the priors that ship, and vectors of models."""
    layer: str | None = None
    """Place of the values: a layer, ``"X"`` or ``"raw"``; by default the first that holds counts, or ``X``."""
    counts: Literal["round"] | None = None
    """``"round"`` rounds estimated counts."""
    device: str = "auto"
    """Where a gene model computes its vectors."""
    seed: int = 0
    """Seed of the folds."""
    progress: bool = True
    """Show a progress bar, and then what was chosen."""

    profiles_: Profiles | None = field(default=None, init=False)
    describer_: Describer | None = field(default=None, init=False)
    trials_: dict[str, Trial] = field(default_factory=dict, init=False)

    def fit(self, adata: AnnData | pd.DataFrame | str | PathLike[str]) -> Self:
        """Learn from what was measured.

        Parameters
        ----------
        adata
            Cells, pseudobulks or tables, conditions × genes, of perturbations and controls, or the path of such a
            file, which is read a run of cells at a time. A context of which controls alone are there can be asked for.
            A DataFrame of effects or ranks has the names of perturbations as its index, or a MultiIndex with levels
            that are named like the columns.

        Raises
        ------
        ArgumentError, CountsError, GenesError
            If a column is missing, there is no control, a dose is no number, or values are not what ``values`` says.
        ModelError, CheckpointError
            If the model has no vectors of genes, or can't be read.

        Warns
        -----
        FewCellsWarning
            If conditions have fewer than ten cells; they count for less.
        """
        self._check()
        naming = self._naming
        table = check_table(self.described)
        if isinstance(adata, pd.DataFrame):
            adata = frame_as_adata(adata, self.perturbation_key)
        columns = CellColumns(layer=self.layer, counts=self.counts)
        with opened(adata) as read:
            profiles = read_profiles(read, naming, self.values, columns, progress=self.progress)
        describer = self._describer(profiles, table)
        kinship = _kinship(describer, profiles.conditions)
        trials = {}
        with ProgressBar(total=len(SITUATIONS), desc="Trying ways", disable=not self.progress) as bar:
            for situation in SITUATIONS:
                trials[situation] = try_ways(situation, profiles, kinship, self.seed)
                bar.update(1)
        self.profiles_, self.describer_, self.trials_ = profiles, describer, trials
        if self.progress:
            print(self.summary())
        return self

    def predict(
        self,
        perturbations: str | Iterable[str] | None = None,
        *,
        contexts: str | Iterable[str] | None = None,
        doses: float | Iterable[float] | None = None,
        controls: AnnData | str | PathLike[str] | None = None,
    ) -> AnnData:
        """Predict mean expression under conditions.

        Parameters
        ----------
        perturbations
            Names; combinations with the separator between them. By default all that were measured alone.
        contexts
            Names of contexts with controls, measured or in ``controls``; by default all of them.
        doses
            Doses; by default all that were measured.
        controls
            Control cells of contexts that were not there to be learned from, as ``fit`` takes them.

        Returns
        -------
        An AnnData of conditions × genes. ``X`` is the expected expression, a mean of logarithms where
        counts were given; the layers are ``change`` against the control, ``lower`` and ``upper``, between which nine
        tenths of the changes of hidden conditions lay (NaN where none could be hidden). ``obs`` has ``perturbation``,
        ``context``, ``dose``, ``situation`` (which of the five ways of being new, or ``"measured"``, which repeats
        what was measured), ``method`` (ways and weights) and ``reliability``: the correlation with the true change
        that hidden conditions let expect, from 0 to 1.

        Raises
        ------
        ArgumentError
            If nothing is fitted, a context has no control, a dose is none, or nothing is known of a perturbation.
        """
        profiles, describer = self._fitted
        naming = self._naming
        if controls is not None:
            columns = CellColumns(layer=self.layer, counts=self.counts)
            with opened(controls, "controls") as read:
                more = read_profiles(
                    read,
                    naming,
                    self.values,
                    columns,
                    all_control=True,
                    depth=profiles.depth or None,
                    progress=self.progress,
                    argument="controls",
                )
            profiles = profiles.with_controls(more)
        asked = asked_conditions(profiles, naming, perturbations, contexts, doses)
        profiles = profiles.with_contexts({one.context for one in asked})
        train = profiles.changes()
        kinship = _kinship(describer, (*train.conditions, *asked))
        refuse_unknown(asked, train, kinship, describer.table.index)
        answers = answered(asked, profiles, kinship, self.trials_)
        return as_adata(profiles, naming, asked, answers, self._record())

    def sample_cells(
        self, controls: AnnData | str | PathLike[str], perturbation: str, *, dose: float | None = None
    ) -> AnnData:
        """Draw cells under a perturbation: each control cell as it would be.

        Parameters
        ----------
        controls
            Control cells with raw counts, whose context is that of ``covariate_key``; they stay as they are.
        perturbation, dose
            What is done to them; by default the largest dose that was measured.

        Returns
        -------
        A copy of the cells with drawn counts in ``X``: a gene that falls keeps each of its counts with a probability,
        the share of its level that is left, one that rises gains counts of a Poisson distribution. Cells differ from
        one another as the controls do. The draws follow ``seed``.

        Raises
        ------
        ArgumentError, CountsError
            As :meth:`predict`; or if the predictor was not fitted to counts.
        """
        profiles, _ = self._fitted
        if self.values != "counts":
            raise ArgumentError(
                "Cells can't be drawn by a predictor that has seen no counts.",
                found=f"values={self.values!r}",
                expected='a predictor that was fitted with values="counts"',
                remedy="fit it to raw counts.",
                argument="controls",
            )
        if dose is None:
            dose = max(doses_of(profiles.conditions))
        with opened(controls, "controls") as read:
            told = self.predict(perturbation, doses=dose, controls=read)
            columns = CellColumns(layer=self.layer, counts=self.counts)
            return sampled_cells(read, told, self._naming, columns, profiles.depth, self.seed)

    @property
    def report_(self) -> pd.DataFrame:
        """See :class:`ResponsePredictor`."""
        self._fitted  # noqa: B018 -- raises if nothing is fitted
        tried = [trial.report for trial in self.trials_.values() if len(trial.report)]
        return pd.concat(tried, ignore_index=True) if tried else pd.DataFrame(columns=REPORTED)

    @property
    def measured_(self) -> AnnData:
        """See :class:`ResponsePredictor`."""
        return measured_as_adata(self._fitted[0], self._naming, self._record())

    @property
    def held_out_(self) -> AnnData:
        """See :class:`ResponsePredictor`."""
        return held_out_as_adata(self._fitted[0], self._naming, self.trials_, self._record())

    def summary(self) -> str:
        """Return a few lines that say what was learned from, and what was chosen for each situation."""
        profiles, _ = self._fitted
        names = {part for one in profiles.conditions for part in one.parts}
        lines = [
            f"{len(profiles.conditions):,} conditions of {len(names):,} perturbations and {len(profiles.contexts):,} "
            f"contexts, {len(profiles.genes):,} genes."
        ]
        for trial in self.trials_.values():
            if trial.conditions:
                correlation = float(pearson(trial.predicted, trial.observed).mean())
                lines.append(
                    f"{trial.situation.capitalize()}: {said(trial)}; correlation with the true change {correlation:.2f}"
                    f" ({len(trial.conditions):,} hidden)."
                )
        return "\n".join(lines)

    def save(self, directory: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted predictor to a directory, whole or not at all: JSON, safetensors and tables.

        Features that do not ship with the package are saved with it. What was predicted of hidden conditions is saved,
        too.

        Parameters
        ----------
        directory
            Target directory, new or empty; made if missing.
        overwrite
            Replace what is saved there; by default that is an error.

        Raises
        ------
        ArgumentError, CheckpointError, DiskError
            If nothing is fitted, something is there, or the directory can't be written to.
        """
        profiles, describer = self._fitted
        parameters = {one: getattr(self, one) for one in PARAMETERS} | {"control": list(self._naming.control)}
        write_predictor(directory, profiles, describer, self.trials_, parameters, overwrite=overwrite)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; it predicts the same.

        Raises
        ------
        CheckpointError
            If there is none, or it is damaged.
        """
        saved = read_predictor(directory)
        predictor = cls(**saved.parameters)
        predictor.profiles_, predictor.describer_, predictor.trials_ = saved.profiles, saved.describer, saved.trials
        return predictor

    def __repr__(self) -> str:
        if self.profiles_ is None:
            return f"{type(self).__name__}(perturbation_key={self.perturbation_key!r}, control={self.control!r})"
        return f"{type(self).__name__}: {self.summary()}"

    @property
    def _naming(self) -> Naming:
        control = check_names("control", self.control, "the name of the controls, or several")
        return Naming(
            self.perturbation_key, tuple(control), self.covariate_key, self.dose_key, self.replicate_key, self.separator
        )

    @property
    def _fitted(self) -> tuple[Profiles, Describer]:
        if self.profiles_ is None or self.describer_ is None:
            raise not_fitted(type(self))
        return self.profiles_, self.describer_

    def _check(self) -> None:
        check_choice("values", self.values, VALUES)
        check_choice("progress", self.progress, (True, False))
        check_name("separator", self.separator, 'text, such as "+", or "" if names are never split')
        check_whole_number("seed", self.seed, least=0, most=2**32 - 1)
        choose_device(self.device)
        check_column("perturbation_key", self.perturbation_key)

    def _describer(self, profiles: Profiles, table: pd.DataFrame) -> Describer:
        """What is known of perturbations; genes are described if perturbations, or their targets, are genes."""
        names = sorted({part for one in profiles.conditions for part in one.parts})
        of_genes = sum(map(bool, identify_genes(names).ids)) >= len(names) * MOSTLY
        priors, blocks = check_priors(self.priors), list[Block]()
        if of_genes or TARGETS in table:
            blocks = blocks_of(priors, self.model, None, CellColumns(), self.device, self.progress)
        return Describer(tuple(blocks), table, of_genes)

    def _record(self) -> dict[str, Any]:
        """How a result was made, in the types that an h5ad file holds."""
        given = {one: getattr(self, one) for one in PARAMETERS}
        parameters = {key: "" if value is None else value for key, value in given.items()}
        report = self.report_.to_dict("list") if len(self.report_) else {}
        return {
            "task": self.name,
            "version": VERSION,
            "parameters": parameters | {"control": "; ".join(self._naming.control)},
            "tried": json.dumps(report),
        }


def _kinship(describer: Describer, conditions: Iterable[Condition]) -> Kinship:
    names = tuple(sorted({part for one in conditions for part in one.parts}))
    return Kinship(names, describer.describe(names))
