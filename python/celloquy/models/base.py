"""``Model``: all that the rest of the package knows of a model of any family, and the registry of families."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import pandas as pd
import torch
from torch import Tensor, nn

from celloquy.errors import ArgumentError, CelloquyError, CheckpointError, ModelError, some
from celloquy.genes import GeneVocabulary
from celloquy.models.card import model_card
from celloquy.models.checkpoint import Checkpoint, check_weights, damaged, read_checkpoint, save_files, write_checkpoint
from celloquy.models.config import ModelConfig
from celloquy.models.encoding import Embedding, EmbeddingOptions, Encoding
from celloquy.models.hub import Shareable, locate
from celloquy.models.losses import FillingLosses
from celloquy.nn.masking import BiLevelMask, Masking

if TYPE_CHECKING:
    from celloquy.data import CellBatch, CellReader


class Model(nn.Module, Shareable, ABC):
    """A language model of single cells, of any family.

    A family is a subclass with :meth:`embed_batch` and a configuration, made known by :func:`register_family`. Whatever
    else a family can do it says in :attr:`abilities`, and overrides the methods of that ability.

    Parameters
    ----------
    config
        Widths, depths and kinds of the parts.
    vocabulary
        The genes that the model knows, in the order of its tables.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.Model.from_pretrained("cells-mini")
    >>> model.describe()
    >>> model.save("copy/")
    """

    config_class: ClassVar[type[ModelConfig]]
    """Class of the family's configuration."""
    abilities: ClassVar[frozenset[str]] = frozenset({"embed"})
    """Abilities of the family: ``"embed"`` cells; ``"fill in"`` what a mask hid, and so be pretrained; ``"decode"``:
    predict counts from an embedding; ``"adapt"`` to the cells that are to be embedded, instead of being trained for a
    task; ``"describe genes"`` by vectors in cells; ``"embed genes"`` outside of cells; ``"correlate genes"`` as the
    cells did; ``"read changed counts"``, all else held; ``"weigh cells"``: tell what cells read of one another."""
    dropout: float = 0.0
    """Share of an embedding that is dropped where a task's own head is trained on it."""
    context: int | None = None
    """Expressed genes of a cell that are read, at most; all by default."""

    def __init__(self, config: ModelConfig, vocabulary: GeneVocabulary) -> None:
        super().__init__()
        if not len(vocabulary):
            raise ArgumentError(
                f"A {type(self).__name__} needs genes.",
                found="an empty vocabulary",
                remedy="build one with GeneVocabulary.from_names(adata.var_names).",
                argument="vocabulary",
            )
        self.config, self.vocabulary = config, vocabulary
        self.provenance: dict[str, str] = {}
        """Origin of the weights (data, training, results), for the model card; saved with the model."""
        self.history = pd.DataFrame()
        """Course of the training, one row an epoch; empty for a model that was read from a directory."""

    @classmethod
    def initialise(
        cls,
        config: ModelConfig,
        vocabulary: GeneVocabulary,
        cells: CellBatch,
        *,
        batches: int = 0,
        seed: int = 0,
        seen: CellBatch | None = None,
    ) -> Self:
        """Return a new model, ready to be trained on some cells; draws from torch's generator.

        Parameters
        ----------
        config, vocabulary
            As of the class.
        cells
            The cells to train on, from which a family may take what needs no training.
        batches
            Number of experimental batches that are told apart.
        seed
            Seed of draws of the initialisation itself.
        seen
            The cells as the model will see them, where that is not how they are.
        """
        return cls(config, vocabulary)

    def with_batches(self, batches: int) -> Self:
        """Return a copy to be fine-tuned on cells of so many batches; may draw from torch's generator."""
        return copy.deepcopy(self)

    @property
    def embedding_width(self) -> int:
        """Width of a cell's embedding."""
        return self.config.embedding_width

    @property
    def reads(self) -> frozenset[str]:
        """What an embedding reads of cells beside their counts, some of ``"tissue"`` and ``"positions"``."""
        return frozenset({"tissue", "positions"})

    @property
    def masking(self) -> Masking:
        """How counts are hidden from the model where it is trained."""
        return Masking()

    @property
    def pretraining_masking(self) -> Masking:
        """How they are hidden where it is pretrained; by default likewise."""
        return self.masking

    def survey(self, cells: Iterable[CellBatch]) -> None:
        """Take up what one pass over all cells of a pretraining tells; by default nothing is read."""

    @abstractmethod
    def embed_batch(self, batch: CellBatch) -> Tensor:
        """Return the embedding of some cells, ``(n, embedding_width)``; whole tissues must be in the batch."""

    def embed(self, cells: CellReader, options: EmbeddingOptions = EmbeddingOptions()) -> Embedding:  # noqa: B008 -- frozen
        """Return the embedding of any number of cells, in bounded memory.

        A family whose cells read each other overrides this.
        """
        return Encoding(self, cells, options).run()

    def adapted(self, cells: CellReader, width: int | None = None) -> Model:
        """Return the model that has learned from the cells that it is to embed; ability ``"adapt"``.

        It takes seconds, draws no random numbers, and does not depend on the order of the cells. ``width`` is that of
        the embedding, at most; by default what serves neighbours and clusters best.
        """
        raise self.lacks("adapt")

    def centred_on(self, cells: CellReader, among: Tensor | None = None) -> Model:
        """Return the model that embeds a cell as beside these, or as beside those ``among`` them, ``(cells,)`` bool.

        By default that is the model itself, as of a family in which cells of other tissues change nothing.
        """
        return self

    def bytes_to_embed(self, n_cells: int, precision: str) -> int:
        """Return the memory that embedding so many cells takes beside the model, if no files are used."""
        return 4 * n_cells * self.embedding_width

    def bytes_beside_weights(self, precision: str) -> int:
        """Return the memory that the model itself takes in a precision beside its weights."""
        return 0

    def learning_rate_factors(self, *, freeze: bool) -> dict[str, float]:
        """Return factors of the learning rate in fine-tuning, by the start of a parameter's name.

        Parameters
        ----------
        freeze
            Leave everything that makes the embedding as it is.
        """
        return {"": 0.0} if freeze else {}

    def fill_in(self, seen: CellBatch, batch: CellBatch, mask: BiLevelMask) -> FillingLosses:
        """Return the losses of counts that a mask hid; ability ``"fill in"``.

        Parameters
        ----------
        seen
            What the model sees of the cells.
        batch
            All their counts.
        mask
            What was hidden.
        """
        raise self.lacks("fill in")

    def expected_counts(self, embedding: Tensor, batch: Tensor, genes: Tensor | None = None) -> Tensor:
        """Return expected counts ``(n, genes)``, not yet scaled to the depth of a cell; ability ``"decode"``.

        Parameters
        ----------
        embedding
            ``(n, embedding_width)``.
        batch
            ``(n,)`` int64, codes of the experimental batch; -1 stands for the average of those known.
        genes
            Places in the vocabulary; all by default.
        """
        raise self.lacks("decode")

    def count_dispersion(self) -> Tensor:
        """Return the dispersion of every gene, ``(genes,)``: the variance of a count is ``mean + mean² / dispersion``.

        Ability ``"decode"``.
        """
        raise self.lacks("decode")

    @classmethod
    def require(cls, abilities: Iterable[str], purpose: str) -> None:
        """Check that models of this family have some abilities.

        Raises
        ------
        ModelError
            If one is missing.
        """
        for ability in abilities:
            if ability not in cls.abilities:
                raise cls.lacks(ability, purpose)

    @classmethod
    def lacks(cls, ability: str, purpose: str = "this") -> ModelError:
        """Return the error of an ability that this family does not have."""
        able = [family.__name__ for family in FAMILIES.values() if ability in family.abilities]
        return ModelError(
            f"A {cls.__name__} can't {ability}, which {purpose} needs.",
            found=f"a model of the family {cls.config_class.family!r}, which can {' and '.join(sorted(cls.abilities))}",
            expected=f"a model that can {ability}, such as a {', a '.join(able)}",
            remedy="pass another `model` or `config`, or leave both out.",
            argument="model",
        )

    def __repr__(self) -> str:
        facts = self.describe()
        return f"{type(self).__name__}({facts['genes']} genes, {facts['parameters']} parameters, {facts['embedding']})"

    def describe(self) -> dict[str, str]:
        """Return what the model is, for ``celloquy info`` and the model card; a family adds its own lines."""
        pairs = self.vocabulary.pairs
        return {
            "family": self.config.family,
            "genes": f"{len(self.vocabulary):,}",
            "species": ", ".join(self.vocabulary.species) or "unknown",
            **({"orthologs": f"{pairs:,} of the genes, shared by human and mouse"} if pairs else {}),
            "parameters": f"{sum(weight.numel() for weight in self.parameters()):,}",
            "embedding": f"{self.embedding_width} wide",
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the genes, the configuration and every weight: equal models have equal fingerprints."""
        digest = hashlib.sha256(f"{self.vocabulary.fingerprint}\n{self.config.to_json()}".encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def save(self, directory: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a directory: weights, configuration, genes and a model card, whole or not at all.

        Parameters
        ----------
        directory
            Target directory, new or empty; made if missing. What else comes to stand in it later stays.
        overwrite
            Replace a saved model or task that is there; by default that is an error.

        Raises
        ------
        CheckpointError, DiskError
            If something is there, a weight is not finite, or the directory can't be written to.
        """
        save_files(directory, self.write, overwrite=overwrite)

    def write(self, directory: Path) -> None:
        """Write the model's files into a directory that exists."""
        config, weights = self.config.to_json(), self.state_dict()
        checkpoint = Checkpoint(str(directory), self.config.family, config, self.vocabulary, weights, self.provenance)
        facts = self.describe() | {"fingerprint": f"`{self.fingerprint}`"}
        write_checkpoint(directory, checkpoint, model_card(type(self).__name__, facts, self.provenance))

    @classmethod
    def from_pretrained(cls, model: str | PathLike[str], revision: str | None = None) -> Self:
        """Read a saved model; ``Model.from_pretrained`` reads one of any family.

        Parameters
        ----------
        model
            As every ``model=`` takes it: ``"cells-mini"`` or ``"genes-mini"``, the models in the box; else a directory
            that :meth:`save` wrote; else, of the form ``"org/name"``, one on the Hugging Face hub, fetched once (extra
            ``hub``).
        revision
            Branch, tag or commit of a model on the hub; by default the newest.

        Raises
        ------
        ArgumentError, CheckpointError
            If a file is missing, or is not the one that was saved with the others, or the model is of another family,
            or the hub does not give it; it says which. If ``revision`` is given for a model that is here.
        """
        directory, origin = locate(model, revision)
        saved = read_checkpoint(directory)
        family = find_family(saved.family)
        if not issubclass(family, cls):
            raise CheckpointError(
                f"The model in {saved.name!r} is no {cls.__name__}.",
                found=f"a {family.__name__}",
                expected=f"a {cls.__name__}",
                remedy=f"read it with {family.__name__}.from_pretrained, or with Model.from_pretrained.",
                argument="model",
            )
        try:
            config = family.config_class.from_json(saved.config)
        except (CelloquyError, ValueError, TypeError) as error:
            raise damaged(saved.name, error) from error
        built = family.from_weights(config, saved.vocabulary, saved.weights, name=saved.name)
        built.provenance = {**saved.provenance, **origin}
        return built

    @classmethod
    def from_weights(
        cls, config: ModelConfig, vocabulary: GeneVocabulary, weights: Mapping[str, Tensor], *, name: str
    ) -> Self:
        """Build a model around weights, every one accounted for; those in half precision are computed with in full.

        Raises
        ------
        CheckpointError
            If a weight is missing, extra or misshapen.
        """
        # Built without memory of its own, then given the tensors as they are: no copy, no random numbers drawn.
        with torch.device("meta"):
            model = cls(config, vocabulary)
        expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        check_weights(expected, {key: tuple(tensor.shape) for key, tensor in weights.items()}, name=name)
        full = {key: one.float() if one.dtype == torch.float16 else one for key, one in weights.items()}
        model.load_state_dict(full, assign=True)
        model.requires_grad_(True)
        return model.eval()


Family = TypeVar("Family", bound="type[Model]")
FAMILIES: dict[str, type[Model]] = {}
"""Model classes by the name of their family."""


def register_family(model: Family) -> Family:
    """Make a family known, as a decorator of its model; ``model.config_class.family`` is its name.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.models.register_family(cq.FactorModel)  # what the decorator does
    """
    FAMILIES[model.config_class.family] = model
    return model


def find_family(name: str) -> type[Model]:
    """Return the model class of a family.

    Raises
    ------
    CheckpointError
        If no family has this name.
    """
    if name not in FAMILIES:
        # Other packages name the modules that register their families in their metadata.
        for entry in entry_points(group="celloquy.families"):
            entry.load()
    if name not in FAMILIES:
        raise CheckpointError(
            "The model is of a family that celloquy does not know.",
            found=repr(name),
            expected=some(map(repr, sorted(FAMILIES))),
            remedy="update celloquy, or install the package of this family and import it.",
            argument="model",
        )
    return FAMILIES[name]
