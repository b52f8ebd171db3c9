"""``impute``: an imputer fitted and applied in one call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal

from celloquy import keys
from celloquy.data.store import opened
from celloquy.models import Model, ModelConfig
from celloquy.runtime.hardware import Precision
from celloquy.tasks.imputation.imputer import Imputer
from celloquy.tasks.results import check_result
from celloquy.training.options import TrainingOptions

if TYPE_CHECKING:
    from anndata import AnnData


def impute(
    spatial: AnnData,
    *,
    reference: AnnData | str | PathLike[str],
    genes: Sequence[str] | None = None,
    model: Model | str | PathLike[str] | None = None,
    freeze_encoder: bool = False,
    config: ModelConfig | str = "mini",
    n_models: int = 4,
    batch_mixing: float = 0.0,
    layer: str | None = None,
    reference_layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = "spatial",
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
    training: TrainingOptions | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str = keys.IMPUTED,
    copy: bool = False,
) -> AnnData | None:
    """Impute genes that a spatial panel lacks: fit a :class:`celloquy.Imputer`, and apply it to the same cells.

    Parameters
    ----------
    spatial, reference, genes
        Objects and genes, see :meth:`celloquy.Imputer.fit`; ``reference`` may be the path of a file, too.
    model, freeze_encoder, config, n_models, batch_mixing
        Model to train, see :class:`celloquy.Imputer`.
    layer, tissue_key, spatial_key, species
        Reading options for the panel, see :class:`celloquy.CellColumns`; ``tissue_key`` names the slices.
    reference_layer
        Place of the raw counts of the reference; by default the first that holds counts.
    counts
        ``"round"`` rounds estimated or corrected counts of both objects; by default they are an error.
    epochs, training, precision, device, seed, progress
        Training and running options, as in :func:`celloquy.pretrain`.
    key_added, copy
        Key of the result, and whether to return a copy, see :meth:`celloquy.Imputer.predict`.

    Returns
    -------
    None, or the copy, see :meth:`celloquy.Imputer.predict`.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, ModelError
        If an input or an argument is unfit; ``spatial`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.impute(spatial, reference=reference, genes=["CD79A", "CD79B", "LYZ", "NKG7"])
    >>> cq.get(spatial, "celloquy_imputed")["LYZ"]
    >>> spatial.uns["celloquy"]["celloquy_imputed"]["reliability"]
    """
    began = time.perf_counter()
    imputer = Imputer(
        model=model, freeze_encoder=freeze_encoder, config=config, n_models=n_models, batch_mixing=batch_mixing,
        layer=layer, reference_layer=reference_layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key,
        species=species, epochs=epochs, training=training, precision=precision, device=device, seed=seed,
        progress=progress,
    )  # fmt: skip
    check_result(spatial, key_added, copy=copy)
    imputer._prepare()
    source = imputer._source(spatial, name="spatial")
    with opened(reference, "reference") as dissociated:
        imputer._fit(source, dissociated, genes)
    with imputer.kept():
        return imputer._predict(spatial, source, began, key_added, copy=copy)
