"""``annotate``: an annotator fitted and applied in one call, or the types in the box."""

from __future__ import annotations

import inspect
import time
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from celloquy.data import CellColumns
from celloquy.data.store import opened
from celloquy.errors import ArgumentError
from celloquy.models import Model, ModelConfig
from celloquy.runtime.hardware import Precision
from celloquy.tasks.annotation.annotator import SHAPE, Annotator
from celloquy.tasks.annotation.known import annotate_known
from celloquy.training.options import TrainingOptions

NEED_REFERENCE = (
    "label_key", "model", "freeze_encoder", "config", "drop_missing", "drop_rare", "return_evidence", "reference_layer",
    "tissue_key", "spatial_key", "batch_key", "epochs", "training", "seed",
)  # fmt: skip
"""Arguments that have no use without a reference."""

if TYPE_CHECKING:
    from anndata import AnnData


def annotate(
    adata: AnnData,
    *,
    reference: AnnData | str | PathLike[str] | None = None,
    label_key: str | None = None,
    model: Model | str | PathLike[str] | None = None,
    freeze_encoder: bool = False,
    config: ModelConfig | str = SHAPE,
    false_unknown_rate: float = 0.02,
    drop_missing: bool = True,
    drop_rare: int | None = None,
    top_k: int | None = None,
    return_evidence: bool = False,
    layer: str | None = None,
    reference_layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    batch_key: str | None = None,
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
    training: TrainingOptions | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Annotate cells with the cell types of a labelled reference, or with coarse ones without a reference.

    Without a reference, some sixty coarse types of human and mouse that come with the package are told apart
    (:func:`celloquy.known_types`), each cell for itself, in a second. Where none has a probability of .4 the cell is
    unknown. They were learned from mean profiles of cell types; a reference knows more.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, human or mouse.
    reference
        Labelled cells, with raw counts, or the path of a file, as of :func:`celloquy.embed`. They may be of the other
        species, human or mouse: orthologs of any relation are then read, and the cells to annotate take part, without
        labels, see :mod:`celloquy.tasks.annotation.across`. Without one, arguments that are about it or about learning
        from it have no use.
    label_key
        Column of the reference's ``obs`` with the labels.
    model
        Pretrained model to fine-tune, its directory or its name on the hub; by default one is trained on the reference,
        or, if that is of the other species, the model in the box adapts to it.
    freeze_encoder
        Leave the pretrained model's embedding as it is.
    config
        ``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch.
    false_unknown_rate
        Share of held-out reference cells that may be called unknown; 0 never calls a cell unknown. Of cells of another
        laboratory, or treated ones, it will be more: then try 0.005.
    drop_missing
        Leave out, with a warning, reference cells without a label, or whose label says no more: ``""``, ``"nan"``,
        ``"None"``, ``"Unknown"``, ``"unassigned"`` and so on, in any case. False learns such words as labels.
    drop_rare
        Smallest number of reference cells of a label; cells of rarer labels are left out. By default a label of one
        cell is an error.
    top_k, return_evidence
        Give the most probable labels, and the nearest reference cells, too; see :meth:`Annotator.predict`.
    layer, counts, tissue_key, spatial_key, species
        Reading options, for both objects but for ``layer``, see :class:`celloquy.CellColumns`.
    reference_layer
        Place of the raw counts of the reference; by default the first that holds counts.
    batch_key
        Column of the reference's ``obs`` with the experimental batch: the same share of each is held out.
    epochs, training, precision, device, seed, progress
        Training and running options, as in :func:`celloquy.pretrain`.
    key_added
        Prefix of the keys of the results; by default ``"celloquy"``, see :meth:`Annotator.predict`.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with the keys that :meth:`Annotator.predict` names.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, ModelError
        As :meth:`Annotator.fit` and :meth:`Annotator.predict`; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.annotate(adata, reference=reference, label_key="cell_type")
    >>> adata.obs[["celloquy_label", "celloquy_confidence"]]

    Without a reference:

    >>> cq.annotate(adata, key_added="known")
    """
    given = dict(locals())
    began = time.perf_counter()
    if reference is None:
        _refuse_without_reference(given)
        columns = CellColumns(layer=layer, counts=counts, species=species)
        unknown = false_unknown_rate > 0
        return annotate_known(adata, columns, unknown=unknown, top_k=top_k, key_added=key_added, copy=copy)
    if label_key is None:
        raise ArgumentError(
            "`label_key` is missing.",
            found="a `reference` without it",
            expected="the column of the reference's obs with the labels",
            remedy="pass it, or leave `reference` out to have coarse types named.",
            argument="label_key",
        )
    annotator = Annotator(
        label_key=label_key, model=model, freeze_encoder=freeze_encoder, config=config,
        false_unknown_rate=false_unknown_rate, drop_missing=drop_missing, drop_rare=drop_rare, layer=layer,
        reference_layer=reference_layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key,
        batch_key=batch_key, species=species, epochs=epochs, training=training, precision=precision, device=device,
        seed=seed, progress=progress,
    )  # fmt: skip
    annotator._prepare()
    query = annotator._query(adata)
    with opened(reference, "reference") as labelled:
        labels = annotator._labels(labelled)
        # Before the training, not after it.
        key_added = annotator._check_result(adata, top_k, len(labels.names), key_added, copy=copy)
        annotator._fit(annotator._reference(labelled), labels, query)
    with annotator.kept():
        return annotator._predict(adata, query, began, top_k, return_evidence, key_added, copy=copy)


def _refuse_without_reference(given: dict[str, Any]) -> None:
    """Refuse arguments of :func:`annotate` that have no use without a reference."""
    usual = {name: one.default for name, one in inspect.signature(annotate).parameters.items()}
    changed = [name for name in NEED_REFERENCE if given[name] is not usual[name] and given[name] != usual[name]]
    if given["false_unknown_rate"] not in (0, usual["false_unknown_rate"]):
        changed.append("false_unknown_rate")
    if changed:
        raise ArgumentError(
            f"`{changed[0]}` has no use without a reference.",
            found=f"{', '.join(f'`{name}`' for name in changed)}, and no `reference`",
            expected="a labelled reference, or none of these",
            remedy="pass `reference` and `label_key`, or leave them out.",
            argument=changed[0],
        )
