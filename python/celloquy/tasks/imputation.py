"""Impute: the genes that a spatial panel lacks, from dissociated cells of the same tissue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy import keys
from celloquy.data import Cells
from celloquy.errors import ArgumentError, GenesError
from celloquy.genes import GeneVocabulary
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.checkpoint import fill_model
from celloquy.models.compute import Precision
from celloquy.tasks.expression import ALL_CELLS, as_csr
from celloquy.tasks.members import REFERENCE, SPATIAL, WAYS, Member, PanelCells
from celloquy.tasks.neighbours import neighbour_means
from celloquy.tasks.panel_genes import match_genes
from celloquy.tasks.reliability import Weighing, describe, moments, predict_reliability, weigh
from celloquy.tasks.task import Task, concatenate, deliver
from celloquy.training.fitting import Fitting
from celloquy.training.panel import PanelCounts, PanelExamples, only, see
from celloquy.training.start import start_at_the_components

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.data import CellBatch

TISSUE_NEIGHBOURS = 8
"""Nearest cells in the tissue that smoothing averages over."""

BLOCK_ENTRIES = 2**24
"""Entries (cells × genes) that are predicted at a time."""


@dataclass(kw_only=True)
class Imputer(Task):
    """Predicts genes that a spatial panel lacks from a reference, and how far each can be trusted.

    Some models are trained on panel and reference together; from each another part of the panel's genes is held out. A
    model has three ways from a cell's latent to a gene: its decoder, the nearest cells of the reference, and a linear
    regression in the reference. How these are weighed, and how much a cell's neighbours in the tissue say, is chosen by
    the held-out genes of the panel; so is what reliability to predict for a gene that the panel lacks. A prediction is
    the mean over the models.

    Parameters are those of :class:`celloquy.tasks.Task`, and the following; ``tissue_key`` names the slices. The
    encoder is told positions only by a ``config`` that says so.

    Examples
    --------
    >>> import celloquy as cq
    >>> imputer = cq.Imputer(tissue_key="slice").fit(spatial, reference, genes=["Pvalb", "Sst"])
    >>> imputer.predict(spatial)
    >>> imputer.reliability_
    """

    name: ClassVar[str] = "impute"

    spatial_key: str | None = "spatial"
    """Key of ``obsm`` with positions, ``(cells, 2)`` in any unit; None predicts without them."""
    reference_layer: str | None = None
    """Where the raw counts of the reference are, if not in the first place that holds counts."""
    members: int = 4
    """Models, from each of which another part of the panel's genes is held out."""
    mixing: float = 0.0
    """How strongly panel and reference are drawn together in the latent, in nats a cell."""
    fitting: Fitting = ALL_CELLS
    """How to train, see :class:`celloquy.Fitting`; by default genes are held out, not cells."""

    def __post_init__(self) -> None:
        if isinstance(self.config, str):
            # Cells of the reference have no position, so the encoder would tell the sources apart by it.
            self.config = CellModelConfig.of(self.config).with_(positions=False)
        super().__post_init__()
        if self.batch_key is not None:
            raise ArgumentError(
                "An Imputer has no use for `batch_key`.",
                found=repr(self.batch_key),
                expected="None: panel and reference are its batches",
                remedy="name the slices as `tissue_key`.",
            )
        if self.members < 2 or not self.mixing >= 0:
            raise ArgumentError(
                "An Imputer can't be made like this.",
                found=f"members={self.members!r}, mixing={self.mixing!r}",
                expected="at least 2 members, mixing of at least 0",
                remedy="leave them out.",
            )
        self.members_: list[Member] = []
        self.genes_: dict[str, str] = {}
        self.weighing_ = Weighing((1.0, 0.0, 0.0), 0.0)
        self.reliability_ = pd.Series(dtype=float)
        self.panel_ = pd.Series(dtype=float)

    def fit(self, spatial: AnnData, reference: AnnData, *, genes: Sequence[str] | None = None) -> Self:
        """Train on a panel and its reference.

        Parameters
        ----------
        spatial
            Cells (or spots) × genes of the panel, with raw counts, which are only read.
        reference
            Dissociated cells × genes, with raw counts, which are only read.
        genes
            What to impute, as the reference spells it; by default everything that it has and the panel lacks.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If there are no raw counts, positions or columns are missing, the species differ, the objects share fewer
            genes than there are members, or a gene is not in the reference, or in the panel already.
        """
        known_genes = self.model.vocabulary if isinstance(self.model, CellModel) else None
        matched = match_genes(
            spatial, reference, genes, layer=self.layer, reference_layer=self.reference_layer,
            species=self.species, vocabulary=known_genes, least=self.members,
        )  # fmt: skip
        vocabulary, self.genes_ = matched.vocabulary, matched.wanted
        panel = self._cells(spatial, vocabulary)
        narrow = matched.narrow(reference, self.reference_layer)
        others = Cells(narrow, vocabulary, layer="X")
        seen_places = np.array([vocabulary.index(gene) for gene in matched.shared])
        counts, known = panel.read_all(), others.read_all()
        counts = replace(counts, batch=torch.full_like(counts.batch, SPATIAL))
        known = replace(known, batch=torch.full_like(known.batch, REFERENCE))
        depths = only(counts, _at(vocabulary, seen_places)).library_size()
        self.depth_ = float(depths.clamp(min=1).median())
        self._expression = _log_normalised(known, seen_places, self.depth_)
        part = np.random.default_rng(self.fitting.seed).permutation(len(seen_places)) % self.members
        self.members_ = [
            self._train(number, vocabulary, seen_places, np.sort(seen_places[part == number]), counts, known, narrow)
            for number in range(self.members)
        ]
        self._judge(spatial, vocabulary, counts)
        self.model_ = self.members_[0].model
        return self

    def predict(self, spatial: AnnData, *, key_added: str = keys.IMPUTED, copy: bool = False) -> AnnData | None:
        """Impute the genes for cells of the panel, those fitted or others, with genes in any order.

        Returns
        -------
        None, or the copy. Written are ``obsm["celloquy_imputed"]``, a DataFrame cells × genes of log1p of counts scaled
        to the median depth of the panel in training, and ``uns["celloquy"]``, in which ``"reliability"`` has the
        predicted correlation of each gene, and ``"panel"`` those that the panel's own genes reached when held out.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts, a gene of the fitted panel is missing, or positions or
            columns are missing; ``spatial`` is then as it was.
        """
        began = time.perf_counter()
        model = self._trained
        cells = self._cells(spatial, model.vocabulary)
        seen = np.any([member.seen for member in self.members_], axis=0)
        if missing := np.flatnonzero(seen & ~cells.read(0, 0).measured[0].numpy()).tolist():
            raise GenesError(
                "The cells lack genes of the panel that this Imputer was fitted on.",
                found=f"{len(missing):,} of {int(seen.sum()):,} missing, such as "
                + ", ".join(model.vocabulary.symbols[place] or model.vocabulary.ids[place] for place in missing[:3]),
                expected="every gene that panel and reference shared",
                remedy="fit an Imputer on this panel.",
            )
        latents = [self._look(spatial, member) for member in self.members_]
        wanted = np.array([model.vocabulary.index(gene) for gene in self.genes_.values()])
        nearest = self._tissue_means(cells)
        values = np.empty((len(cells), len(wanted)), dtype=np.float32)
        for block in _blocks(len(cells), len(wanted)):
            ways = self._ways(latents, wanted[block])
            values[:, block] = self.weighing_.apply(ways, _smooth(nearest, ways))
        imputed = pd.DataFrame(values, index=spatial.obs_names, columns=pd.Index(list(self.genes_)))
        uns = self._provenance(cells, began)
        uns["reliability"] = {"gene": np.array(list(self.genes_), dtype=str), "predicted": self.reliability_.to_numpy()}
        uns["panel"] = {"gene": self.panel_.index.to_numpy(dtype=str), "reached": self.panel_.to_numpy()}
        uns["weights"] = dict(zip(WAYS, self.weighing_.weights, strict=True)) | {"smoothing": self.weighing_.smoothing}
        return deliver(spatial, obsm={key_added: imputed}, uns=uns, copy=copy)

    def _train(
        self, number: int, vocabulary: GeneVocabulary, shared: NDArray[np.int64], held_out: NDArray[np.int64],
        counts: CellBatch, known: CellBatch, reference: AnnData,
    ) -> Member:  # fmt: skip
        """Train one model, from which some genes of the panel are held out."""
        fitting = replace(self.fitting, seed=self.fitting.seed + number)
        seen = _at(vocabulary, np.setdiff1d(shared, held_out))
        cells = concatenate([only(counts, ~_at(vocabulary, held_out)), known])
        with fitting.drawing():
            model = self._start(vocabulary, cells, 2)
            if self.model is None:
                # Seen as the encoder sees them; in the raw counts the sources differ more than the cells do.
                start_at_the_components(model, see(cells, seen), fitting.seed)
            _, precision = fitting.hardware(model.config.width)
            examples = PanelExamples(
                cells, model, batch_size=fitting.cells_a_step(len(cells)), held_out=fitting.validation,
                seed=fitting.seed,
            )  # fmt: skip
            training = fitting.training(len(cells), model.config.width, self._slower())
            if fitting.epochs is None:
                # Half as many as for one model, to spare time: several are trained, and averaged.
                training = replace(training, epochs=max(10, training.epochs // 2))
            self._fitted(
                model, fitting.run(PanelCounts(model, seen, precision, mixing=self.mixing), examples, training)
            )
        member = Member(model, seen.numpy(), held_out, np.empty(0, np.float32), np.empty(0, np.float32))
        cells_seen = PanelCells(reference, vocabulary, layer="X")
        cells_seen.genes = seen
        member.latent = self._embed(cells_seen, model)
        return member

    def _look(self, spatial: AnnData, member: Member) -> NDArray[np.float32]:
        """The latent of the panel's cells, as a member sees them."""
        cells = PanelCells(
            spatial, member.model.vocabulary, layer=self.layer, tissue_key=self.tissue_key,
            spatial_key=self.spatial_key, species=self.species,
        )  # fmt: skip
        cells.genes = torch.from_numpy(member.seen)
        return self._embed(cells, member.model)

    def _judge(self, spatial: AnnData, vocabulary: GeneVocabulary, counts: CellBatch) -> None:
        """Choose the weighing and predict reliabilities, by the genes of the panel that each member had not seen."""
        truth = as_csr(counts)
        depth = np.maximum(np.asarray(truth.sum(axis=1), dtype=np.float64).ravel(), 1)
        truth = (sparse.diags(np.median(depth) / depth) @ truth).log1p().tocsc()
        nearest = self._tissue_means(self._cells(spatial, vocabulary))
        wanted = np.array([vocabulary.index(gene) for gene in self.genes_.values()])
        products, known, about, genes = [], [], [np.zeros((len(wanted), 5))], []
        for member in self.members_:
            latent = self._look(spatial, member)
            member.centre = latent.mean(axis=0)
            for places, asked in ((member.held_out, False), (wanted, True)):
                for block in _blocks(len(latent), len(places)):
                    chosen = places[block]
                    expression = self._expression[:, chosen]
                    ways = member.ways(latent, expression, chosen, self.depth_)
                    described = describe(ways, member.fitted_in_reference(expression))
                    if asked:
                        about[0][block] += described / self.members
                    else:
                        true = truth[:, chosen].toarray().astype(np.float32)
                        products.append(moments(true, ways, _smooth(nearest, ways)))
                        known.append(described)
                        genes.append(chosen)
        self.weighing_, reached = weigh(np.concatenate(products))
        names = [vocabulary.symbols[place] or vocabulary.ids[place] for place in np.concatenate(genes)]
        self.panel_ = pd.Series(reached, index=pd.Index(names, name="gene"), name="reached")
        predicted = predict_reliability(np.concatenate(known), reached, about[0])
        self.reliability_ = pd.Series(predicted, index=pd.Index(list(self.genes_), name="gene"), name="predicted")

    def _ways(self, latents: Sequence[NDArray[np.float32]], genes: NDArray[np.int64]) -> NDArray[np.float32]:
        """The ways ``(3, cells, genes)`` as means over the members."""
        expression = self._expression[:, genes]
        pairs = zip(self.members_, latents, strict=True)
        total = sum(member.ways(latent, expression, genes, self.depth_) for member, latent in pairs)
        return np.asarray(total / len(self.members_), dtype=np.float32)

    def _tissue_means(self, cells: Cells) -> sparse.csr_matrix:
        return neighbour_means(cells.position, cells.tissue, TISSUE_NEIGHBOURS)

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        tensors = {
            "expression.data": torch.from_numpy(self._expression.data.astype(np.float32)),
            "expression.indices": torch.from_numpy(self._expression.indices.astype(np.int64)),
            "expression.indptr": torch.from_numpy(self._expression.indptr.astype(np.int64)),
        }
        for number, member in enumerate(self.members_):
            tensors |= {
                f"{number}.{name}": torch.from_numpy(np.ascontiguousarray(getattr(member, name)))
                for name in ("seen", "held_out", "latent", "centre")
            }
            tensors |= {f"{number}.model.{name}": weight for name, weight in member.model.state_dict().items()}
        values = {
            "genes": self.genes_,
            "depth": self.depth_,
            "weights": self.weighing_.weights,
            "smoothing": self.weighing_.smoothing,
            "reliability": self.reliability_.tolist(),
            "panel": {"gene": self.panel_.index.tolist(), "reached": self.panel_.tolist()},
        }
        return values, tensors

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        model = self._trained
        parts = tuple(tensors[f"expression.{name}"].numpy() for name in ("data", "indices", "indptr"))
        self._expression = sparse.csr_matrix(parts, shape=(len(parts[2]) - 1, len(model.vocabulary)))
        self.members_ = []
        for number in range(self.members):
            start = f"{number}.model."
            weights = {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}
            filled = fill_model(CellModel, model.config, model.vocabulary, weights, name=f"member {number}")
            arrays = (tensors[f"{number}.{name}"].numpy() for name in ("seen", "held_out", "latent", "centre"))
            self.members_.append(Member(filled, *arrays))
        self.genes_, self.depth_ = dict(values["genes"]), float(values["depth"])
        self.weighing_ = Weighing(tuple(values["weights"]), values["smoothing"])
        self.reliability_ = pd.Series(
            values["reliability"], index=pd.Index(list(self.genes_), name="gene"), name="predicted"
        )
        self.panel_ = pd.Series(
            values["panel"]["reached"], index=pd.Index(values["panel"]["gene"], name="gene"), name="reached"
        )


def impute(
    spatial: AnnData,
    *,
    reference: AnnData,
    genes: Sequence[str] | None = None,
    model: CellModel | str | PathLike[str] | None = None,
    frozen: bool = False,
    config: CellModelConfig | str = "mini",
    layer: str | None = None,
    reference_layer: str | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = "spatial",
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
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
        What to impute, and from what, see :meth:`celloquy.Imputer.fit`.
    model, frozen, config, layer, tissue_key, spatial_key, species
        What to train, and on what, see :class:`celloquy.tasks.Task`; ``tissue_key`` names the slices.
    reference_layer
        Where the raw counts of the reference are, if not in the first place that holds counts.
    epochs, precision, device, seed, progress
        How to train, see :class:`celloquy.Fitting`.
    key_added, copy
        Where to, see :meth:`celloquy.Imputer.predict`.

    Returns
    -------
    None, or the copy, see :meth:`celloquy.Imputer.predict`.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If an input or an argument is unfit; ``spatial`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.impute(spatial, reference=cortex, genes=["Pvalb", "Sst"], tissue_key="slice")
    >>> spatial.obsm["celloquy_imputed"]["Pvalb"]
    >>> spatial.uns["celloquy"]["reliability"]
    """
    fitting = replace(ALL_CELLS, epochs=epochs, precision=precision, device=device, seed=seed, progress=progress)
    imputer = Imputer(
        model=model, frozen=frozen, config=config, layer=layer, reference_layer=reference_layer,
        tissue_key=tissue_key, spatial_key=spatial_key, species=species, fitting=fitting,
    )  # fmt: skip
    return imputer.fit(spatial, reference, genes=genes).predict(spatial, key_added=key_added, copy=copy)


def _at(vocabulary: GeneVocabulary, places: NDArray[np.int64]) -> Tensor:
    """``(genes,)`` bool, true at some places."""
    chosen = torch.zeros(len(vocabulary), dtype=torch.bool)
    chosen[torch.from_numpy(places)] = True
    return chosen


def _log_normalised(cells: CellBatch, genes: NDArray[np.int64], depth: float) -> sparse.csr_matrix:
    """log1p of counts ``(cells, vocabulary)``, scaled such that some genes have a depth together."""
    counts = as_csr(cells)
    total = np.maximum(np.asarray(counts[:, genes].sum(axis=1), dtype=np.float64).ravel(), 1)
    return sparse.csr_matrix(sparse.diags(depth / total) @ counts).log1p().astype(np.float32)


def _smooth(nearest: sparse.csr_matrix, ways: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of the ways ``(3, cells, genes)`` over each cell's neighbours; a cell without any keeps its own."""
    alone = np.diff(nearest.indptr) == 0
    smoothed = np.stack([nearest @ way for way in ways]).astype(np.float32)
    smoothed[:, alone] = ways[:, alone]
    return smoothed


def _blocks(cells: int, genes: int) -> Iterator[slice]:
    step = max(1, BLOCK_ENTRIES // max(1, cells))
    for start in range(0, genes, step):
        yield slice(start, min(start + step, genes))
