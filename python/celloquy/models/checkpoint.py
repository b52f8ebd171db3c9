"""A saved model as files that are bound to each other: the configuration has the hash of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from celloquy.checks import check_path
from celloquy.errors import CelloquyError, CheckpointError, some
from celloquy.genes import GeneVocabulary
from celloquy.models.directory import CONFIG, finish_interrupted, replace_directory

WEIGHTS, GENES, CARD = "model.safetensors", "genes.tsv", "README.md"

FILES, SEAL = "files", "sha256"
"""Fields of ``config.json`` beside the configuration: the hash of every other file, and that of all of its own."""


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


def save_files(
    directory: str | PathLike[str], write: Callable[[Path], None], *, overwrite: bool = False, finished: bool = True
) -> None:
    """Write the files of a model or a task to a directory, and bind them to each other.

    Parameters
    ----------
    directory, overwrite, finished
        See :func:`~celloquy.models.directory.replace_directory`.
    write
        Writes the files into a directory that exists, with :func:`write_checkpoint` and what comes beside.
    """

    def write_bound(folder: Path) -> None:
        write(folder)
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        # The card is for readers, who may change it.
        bound = sorted(file.name for file in folder.iterdir() if file.name not in (CONFIG, CARD))
        config[FILES] = {name: _hash(folder / name) for name in bound}
        config[SEAL] = _seal(config)
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")

    replace_directory(directory, write_bound, overwrite=overwrite, finished=finished)


def write_checkpoint(directory: Path, checkpoint: Checkpoint, card: str) -> None:
    """Write the files of a model, and its card, into a directory that exists.

    Raises
    ------
    CheckpointError
        If a weight is not finite.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    _check_finite(weights, "the model to be saved")
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt", **checkpoint.provenance})
    (directory / CONFIG).write_text(checkpoint.config, encoding="utf-8")
    checkpoint.vocabulary.save(directory / GENES)
    (directory / CARD).write_text(card, encoding="utf-8")


def read_checkpoint(directory: str | PathLike[str]) -> Checkpoint:
    """Read the files of a model.

    Raises
    ------
    CheckpointError
        If one is missing or damaged, or is not the one that was saved with the others.
    """
    source = check_path("directory", directory, "the path of a directory")
    # Where it can't be finished, the hashes say so.
    with suppress(OSError):
        finish_interrupted(source)
    missing = [name for name in (WEIGHTS, CONFIG, GENES) if not (source / name).is_file()]
    if missing:
        raise CheckpointError(
            f"There is no celloquy model in {str(source)!r}.",
            found=f"no {', no '.join(missing)}" if source.is_dir() else "no such directory",
            expected=f"a directory with {WEIGHTS}, {CONFIG} and {GENES}, as model.save() writes it",
            remedy="pass the directory of a saved model, or the org/name of one on the hub; "
            "`celloquy convert` makes one of a released CellPLM or GeneCompass.",
            argument="model",
        )
    config = check_files(source, (WEIGHTS, GENES))
    try:
        family = str(config.pop("family"))
        vocabulary = GeneVocabulary.load(source / GENES)
        with safe_open(source / WEIGHTS, framework="pt") as file:
            # Copied to where torch aligns them: a sum may differ in its last bit if its numbers start elsewhere.
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 -- not a dict
            provenance = {key: value for key, value in (file.metadata() or {}).items() if key != "format"}
    except (SafetensorError, CelloquyError, OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(str(source), error) from error
    _check_finite(weights, repr(str(source / WEIGHTS)))
    settings = json.dumps({"family": family, **{name: config[name] for name in config if name not in (FILES, SEAL)}})
    return Checkpoint(str(source), family, settings, vocabulary, weights, provenance)


def check_files(directory: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Check that files are those that were saved together, and return the configuration.

    Parameters
    ----------
    directory
        Directory of a saved model.
    names
        Names of files in it; the configuration is checked in any case.

    Raises
    ------
    CheckpointError
        If a file is missing or is another than it was; it names the file.
    """
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        files = dict(config[FILES])
        if config[SEAL] != _seal(config):
            changed = [CONFIG]
        else:
            changed = [name for name in names if files.get(name) != _hash(directory / name)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(str(directory), error) from error
    if changed:
        raise CheckpointError(
            f"The files in {str(directory)!r} do not belong together.",
            found=f"{', '.join(changed)} other than when it was saved",
            expected=f"the files whose hashes stand in {CONFIG}",
            remedy="copy the directory anew from where it came from; its files can't be edited or exchanged.",
            argument="model",
        )
    return dict(config)


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _seal(config: dict[str, Any]) -> str:
    """Hash of all fields of the configuration but that of the hash itself."""
    kept = {name: value for name, value in config.items() if name != SEAL}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _check_finite(weights: Mapping[str, Tensor], where: str) -> None:
    odd = [name for name, one in weights.items() if one.is_floating_point() and not one.isfinite().all()]
    if odd:
        raise CheckpointError(
            f"The weights of {where} are not all finite.",
            found=f"NaN or infinite values in {some(odd)}",
            expected="the weights of a training that ended well",
            remedy="train the model anew, with a smaller learning rate.",
        )


def damaged(name: str, error: Exception) -> CheckpointError:
    """Return the error of a saved model whose files can't be understood."""
    return CheckpointError(
        f"The model in {name!r} can't be read.",
        found="no " * isinstance(error, KeyError) + (str(error).splitlines() or [type(error).__name__])[0],
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
