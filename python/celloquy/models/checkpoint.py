"""A saved model as files: a directory that is written whole or not at all, and read with every file accounted for."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from celloquy.errors import CelloquyError, CheckpointError, DiskError, some
from celloquy.genes import GeneVocabulary
from celloquy.runtime.resume import current_umask, is_disk_full

WEIGHTS, CONFIG, GENES, CARD = "model.safetensors", "config.json", "genes.tsv", "README.md"


@dataclass(frozen=True)
class Checkpoint:
    """Contents of the files of a saved model."""

    name: str
    """Path of the directory, for messages."""
    family: str
    """Name of the model family."""
    config: str
    """The configuration as JSON text."""
    vocabulary: GeneVocabulary
    weights: Mapping[str, Tensor]
    provenance: Mapping[str, str]
    """Origin of the weights: data, training, results."""


def replace_directory(directory: str | PathLike[str], write: Callable[[Path], None]) -> None:
    """Write the directory of a saved model under a temporary name and rename it, so it is whole or not there at all.

    Parameters
    ----------
    directory
        New, empty, or that of a saved model, which is replaced.
    write
        Writes the files into a directory that exists.

    Raises
    ------
    CheckpointError
        If something else is there.
    """
    # A link stays, and the directory that it names is written.
    target = check_target(directory).resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            fresh = Path(scratch) / "model"
            fresh.mkdir()
            write(fresh)
            for file in fresh.iterdir():
                # safetensors lets nobody else read what it writes; the mode is that of any new file.
                file.chmod(0o666 & ~current_umask())
            # What stands beside the model, such as the log of its training, stays.
            if target.exists():
                for other in target.iterdir():
                    if not (fresh / other.name).exists():
                        shutil.move(other, fresh / other.name)
                target.rename(Path(scratch) / "old")
            fresh.rename(target)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise DiskError.full(target, error) from error
        raise


def check_target(directory: str | PathLike[str]) -> Path:
    """Return the path of a directory that a model can be saved to.

    Raises
    ------
    CheckpointError
        If something else than a saved model is there.
    """
    target = Path(directory)
    if target.exists() and not (target.is_dir() and ((target / CONFIG).exists() or not any(target.iterdir()))):
        raise CheckpointError(
            f"The model can't be saved to {str(target)!r}.",
            found="something there that is not a saved model",
            expected="a new or empty directory, or a saved model to replace",
            remedy="choose another directory.",
            argument="out",
        )
    return target


def write_checkpoint(directory: Path, checkpoint: Checkpoint, card: str) -> None:
    """Write the files of a model, and its card, into a directory that exists."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt", **checkpoint.provenance})
    (directory / CONFIG).write_text(checkpoint.config, encoding="utf-8")
    checkpoint.vocabulary.save(directory / GENES)
    (directory / CARD).write_text(card, encoding="utf-8")


def read_checkpoint(directory: str | PathLike[str]) -> Checkpoint:
    """Read the files of a model.

    Raises
    ------
    CheckpointError
        If one is missing or damaged.
    """
    source = Path(directory)
    missing = [name for name in (WEIGHTS, CONFIG, GENES) if not (source / name).is_file()]
    if missing:
        raise CheckpointError(
            f"There is no celloquy model in {str(source)!r}.",
            found=f"no {', no '.join(missing)}" if source.is_dir() else "no such directory",
            expected=f"a directory with {WEIGHTS}, {CONFIG} and {GENES}, as model.save() writes it",
            remedy="pass the directory of a saved model; read a released CellPLM with cq.read_cellplm(prefix).",
            argument="model",
        )
    try:
        config = (source / CONFIG).read_text(encoding="utf-8")
        family = str(json.loads(config)["family"])
        vocabulary = GeneVocabulary.load(source / GENES)
        with safe_open(source / WEIGHTS, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
            provenance = {key: value for key, value in (file.metadata() or {}).items() if key != "format"}
    except (SafetensorError, CelloquyError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise damaged(str(source), error) from error
    return Checkpoint(str(source), family, config, vocabulary, weights, provenance)


def damaged(name: str, error: Exception) -> CheckpointError:
    """Return the error of a saved model whose files can't be understood."""
    return CheckpointError(
        f"The model in {name!r} can't be read.",
        found=(str(error).splitlines() or [type(error).__name__])[0],
        remedy="copy it anew from where it came from; a file is damaged or from another version.",
        argument="model",
    )


def check_weights(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], *, name: str) -> None:
    """Compare names and shapes.

    Raises
    ------
    CheckpointError
        Naming the weights that differ.
    """
    if absent := sorted(expected.keys() - found.keys()):
        _refuse(name, "lacks weights", some(absent), "every weight of the model")
    if extra := sorted(found.keys() - expected.keys()):
        _refuse(name, "has weights that the model does not know", some(extra), "only weights of the model")
    for key, shape in expected.items():
        if found[key] != shape:
            _refuse(name, f"has a misshapen weight, {key}", str(found[key]), str(shape))


def _refuse(name: str, problem: str, found: str, expected: str) -> NoReturn:
    raise CheckpointError(
        f"The checkpoint {name!r} {problem}.",
        found=found,
        expected=expected,
        remedy="check that configuration, genes and weights come from the same model.",
    )
