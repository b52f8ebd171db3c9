"""Denoise: the expression that a cell's counts are a noisy draw of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
import pandas as pd
from torch import Tensor

from celloquy import keys
from celloquy.data import Cells
from celloquy.data.store import open_store, write_store
from celloquy.data.work import work_for
from celloquy.errors import ArgumentError
from celloquy.genes import GeneVocabulary
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.compute import Precision
from celloquy.tasks.expression import ALL_CELLS, DenoisedRows, Unit, expressed_names, vocabulary_of
from celloquy.tasks.memory import memory_budget
from celloquy.tasks.task import Task, deliver
from celloquy.training.fitting import STEPS, Fitting

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True)
class Denoiser(Task):
    """Tells the expression of a cell from the noise of its counts.

    The model fills in masked counts, so it predicts a gene from what else the cell expresses and from the cells of its
    tissue. The result is the mean of what its decoder expects and of the counts of the nearest cells in the latent,
    both at the depth of the cell. Equal weights, 30 neighbours and the length of training (twice as long for two
    thousand cells as for hundreds) were chosen once, on cells that are in no reported figure.

    Parameters are those of :class:`celloquy.tasks.Task`, and the following.

    Examples
    --------
    >>> import celloquy as cq
    >>> denoiser = cq.Denoiser().fit(adata)
    >>> denoiser.predict(adata, genes=["CD3E", "MS4A1"], uncertainty=True)
    >>> denoiser.save("denoiser/")
    """

    name: ClassVar[str] = "denoise"

    fitting: Fitting = ALL_CELLS
    """How to train, see :class:`celloquy.Fitting`; by default no cell is held out, for each is to be denoised."""
    neighbours: int = 30
    """Nearest cells of the same batch that the decoder is averaged with; 0 takes the decoder alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 0:
            raise ArgumentError(
                "`neighbours` can't be used.",
                found=repr(self.neighbours),
                expected="a whole number of at least 0",
                remedy="leave it out: 30 are usual.",
            )
        self.batches_: list[str] = []

    def fit(self, adata: AnnData) -> Self:
        """Train on cells; every gene that they express is learned, whether or not its name is known.

        Parameters
        ----------
        adata
            Cells × genes with raw counts, which are only read.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If there are no raw counts, no gene is expressed, or a column is missing.
        """
        vocabulary = self._vocabulary(adata)
        cells = self._cells(adata, vocabulary)
        counts = cells.read_all()
        with self.fitting.drawing():
            model = self._start(vocabulary, counts, len(cells.batches))
            # By then hundreds of cells are not yet learned by heart, and of thousands more is learned.
            self._fit_counts(model, counts, steps=round(STEPS * min(max(len(counts) / 900, 1), 2)))
        self.batches_ = cells.batches
        return self

    def predict(
        self,
        adata: AnnData,
        *,
        unit: Unit = "counts",
        genes: Sequence[str] | None = None,
        uncertainty: bool = False,
        out: str | PathLike[str] | None = None,
        key_added: str = keys.DENOISED,
        copy: bool = False,
    ) -> AnnData | None:
        """Denoise cells, those fitted or others, with genes in any order.

        Parameters
        ----------
        adata
            Cells × genes with raw counts.
        unit
            ``"counts"``: expected counts at the cell's own depth; ``"lognorm"``: log1p of counts per 10,000.
        genes
            Names in ``adata.var_names``, if not all of them.
        uncertainty
            Write the standard deviation of a count, too: that of the negative binomial, which holds the noise of
            counting and the variation that the model cannot explain.
        out
            File to write, ``.h5ad`` or ``.zarr``, by blocks of cells: ``obs``, ``var`` and the result as layers.
        key_added
            Key of the result.
        copy
            Return a copy with the result, and leave ``adata`` as it is.

        Returns
        -------
        None, or the copy. Written are ``layers["celloquy_denoised"]``, ``(cells, genes)`` float32, for some genes
        ``obsm["celloquy_denoised"]`` as a DataFrame; standard deviations under ``"celloquy_denoised_sd"``; and
        ``uns["celloquy"]``. A gene that the model does not know keeps its counts, and is named in
        ``uns["celloquy"]["genes"]["unknown"]``.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts, too few known genes, or the result does not fit the memory.
            ``adata`` is then as it was.
        """
        began = time.perf_counter()
        model = self._trained
        names = check_request(adata, unit, genes, uncertainty=uncertainty, out=out)
        with ExitStack() as stack:
            work = None if out is None else stack.enter_context(work_for(Path(out)))
            cells = self._cells(adata, model.vocabulary, batches=self.batches_ or None)
            rows = DenoisedRows(
                model, cells, self._embed(cells), neighbours=self.neighbours, columns=_columns(cells, names),
                unit=unit, progress=self.fitting.progress,
            )  # fmt: skip
            results = {key_added: rows}
            if uncertainty:
                results[f"{key_added}_sd"] = rows.deviations()
            uns = self._provenance(cells, began)
            uns["parameters"] |= {"unit": unit}
            if work is not None:
                var = adata.var if genes is None else adata.var.loc[names]
                write_store(work.result, adata.obs, var=var, layers=results, uns={keys.PROVENANCE: uns})
                return None
            values = {key: one.read(slice(0, adata.n_obs)).numpy() for key, one in results.items()}
        uns["seconds"] = round(time.perf_counter() - began, 3)
        if genes is None:
            return deliver(adata, layers=values, uns=uns, copy=copy)
        frames = {key: pd.DataFrame(one, index=adata.obs_names, columns=names) for key, one in values.items()}
        return deliver(adata, obsm=frames, uns=uns, copy=copy)

    def _vocabulary(self, *adatas: AnnData) -> GeneVocabulary:
        # A gene without a known name has counts all the same.
        if isinstance(self.model, CellModel):
            return self.model.vocabulary
        return vocabulary_of(expressed_names(adatas[0], self.layer))

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"batches": self.batches_}, {}

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.batches_ = list(values["batches"])


def denoise(
    adata: AnnData | str | PathLike[str],
    *,
    unit: Unit = "counts",
    genes: Sequence[str] | None = None,
    uncertainty: bool = False,
    out: str | PathLike[str] | None = None,
    model: CellModel | str | PathLike[str] | None = None,
    frozen: bool = False,
    config: CellModelConfig | str = "mini",
    layer: str | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    batch_key: str | None = None,
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str = keys.DENOISED,
    copy: bool = False,
) -> AnnData | None:
    """Denoise cells: train a :class:`celloquy.Denoiser` on them, and apply it to them.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, or the path of an h5ad file or a zarr directory; then ``out`` is needed.
    unit, genes, uncertainty, out, key_added, copy
        What to return and where, see :meth:`celloquy.Denoiser.predict`.
    model, frozen, config, layer, tissue_key, spatial_key, batch_key, species
        What to train, and on what, see :class:`celloquy.tasks.Task`.
    epochs, precision, device, seed, progress
        How to train, see :class:`celloquy.Fitting`.

    Returns
    -------
    None, or the copy, see :meth:`celloquy.Denoiser.predict`.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If an input or an argument is unfit; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.denoise(adata)
    >>> adata.layers["celloquy_denoised"]
    """
    fitting = replace(ALL_CELLS, epochs=epochs, precision=precision, device=device, seed=seed, progress=progress)
    denoiser = Denoiser(
        model=model, frozen=frozen, config=config, layer=layer, tissue_key=tissue_key, spatial_key=spatial_key,
        batch_key=batch_key, species=species, fitting=fitting,
    )  # fmt: skip
    source = Path(adata) if isinstance(adata, str | PathLike) else None
    if source is not None and out is None:
        raise ArgumentError(
            "There is no place for the denoised expression.",
            found=f"`adata` is a path, {str(source)!r}, and `out` is not given",
            expected="the path of a new file",
            remedy=f"pass out={f'{source.stem}_denoised{source.suffix}'!r}, or read the file first.",
        )
    with ExitStack() as stack:
        opened = stack.enter_context(open_store(source)) if source else cast("AnnData", adata)
        # Before the training, not after it.
        check_request(opened, unit, genes, uncertainty=uncertainty, out=out)
        return denoiser.fit(opened).predict(
            opened, unit=unit, genes=genes, uncertainty=uncertainty, out=out, key_added=key_added, copy=copy
        )


def check_request(
    adata: AnnData,
    unit: str,
    genes: Sequence[str] | None,
    *,
    uncertainty: bool = False,
    out: str | PathLike[str] | None = None,
) -> pd.Index[str]:
    """Return the names of the genes that :meth:`Denoiser.predict` is asked for.

    Raises
    ------
    ArgumentError
        If there is no such unit or gene, or the result does not fit the memory.
    """
    if unit not in ("counts", "lognorm"):
        raise ArgumentError(
            "`unit` can't be used.", found=repr(unit), expected="'counts' or 'lognorm'", remedy="pass one of these."
        )
    names = adata.var_names if genes is None else _names(adata, genes)
    if out is None:
        _check_memory(adata.n_obs, len(names), 2 if uncertainty else 1)
    return names


def _names(adata: AnnData, genes: Sequence[str]) -> pd.Index[str]:
    """The genes asked for, each once."""
    wanted = pd.Index([genes] if isinstance(genes, str) else genes).unique()
    missing = wanted[~wanted.isin(adata.var_names)]
    if not len(wanted) or len(missing) or adata.var_names[adata.var_names.isin(wanted)].has_duplicates:
        raise ArgumentError(
            "Some of `genes` can't be denoised.",
            found=f"{', '.join(missing[:5])} not in adata.var_names"
            if len(missing)
            else "no gene, or a name of several",
            expected=f"names in adata.var_names, such as {', '.join(adata.var_names[:3])}",
            remedy="pass names as the object spells them, or leave `genes` out.",
        )
    return wanted


def _columns(cells: Cells, names: pd.Index[str]) -> np.ndarray:
    """Columns of the counts that have these names."""
    if cells.var_names.equals(names):
        return np.arange(len(names))
    columns = cells.var_names.get_indexer_for(names)
    if len(columns) != len(names) or (columns < 0).any():
        raise ArgumentError(
            f"The counts in {cells.source} are not those of adata.var_names.",
            found=f"{int((columns < 0).sum()):,} names that the counts lack, or names of several columns",
            expected="a column of counts for every gene of the object",
            remedy="pass `layer` with counts of the object's genes, or `genes`.",
        )
    return columns


def _check_memory(cells: int, genes: int, results: int) -> None:
    needed, free = 4 * cells * genes * results, memory_budget(None)
    if needed > free:
        raise ArgumentError(
            "The denoised expression does not fit the memory.",
            found=f"{cells:,} cells × {genes:,} genes, {needed / 1e9:,.1f} GB",
            expected=f"at most {free / 1e9:,.1f} GB, half of what is free",
            remedy="pass `genes` for some of them, or out='denoised.h5ad' to write them by blocks.",
        )
