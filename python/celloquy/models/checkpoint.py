"""A saved model: a directory of plain files, written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from celloquy.errors import CelloquyError, CheckpointError, some
from celloquy.genes import GeneVocabulary
from celloquy.models.families import find_family

if TYPE_CHECKING:
    from celloquy.models.base import Model
    from celloquy.models.config import ModelConfig

Kind = TypeVar("Kind", bound="Model")

WEIGHTS, CONFIG, GENES, CARD = "model.safetensors", "config.json", "genes.tsv", "README.md"


def save_model(model: Model, directory: str | PathLike[str]) -> None:
    """See :meth:`celloquy.Model.save`."""
    replace_directory(directory, partial(write_model, model))


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
    target = check_target(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        write(fresh)
        # What stands beside the model, such as the log of its training, stays.
        if target.exists():
            for other in target.iterdir():
                if not (fresh / other.name).exists():
                    shutil.move(other, fresh / other.name)
            target.rename(Path(scratch) / "old")
        fresh.rename(target)


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


def write_model(model: Model, directory: Path) -> None:
    """Write the files of a model into a directory that exists."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt", **model.provenance})
    (directory / CONFIG).write_text(model.config.to_json(), encoding="utf-8")
    model.vocabulary.save(directory / GENES)
    (directory / CARD).write_text(_card(model), encoding="utf-8")


def load_model(kind: type[Kind], directory: str | PathLike[str]) -> Kind:
    """See :meth:`celloquy.Model.from_pretrained`."""
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
        text = (source / CONFIG).read_text(encoding="utf-8")
        family = find_family(str(json.loads(text)["family"]))
        config = family.config_class.from_json(text)
        vocabulary = GeneVocabulary.load(source / GENES)
        with safe_open(source / WEIGHTS, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
            provenance = {key: value for key, value in (file.metadata() or {}).items() if key != "format"}
    except (SafetensorError, CelloquyError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"The model in {str(source)!r} can't be read.",
            found=str(error).splitlines()[0],
            remedy="copy it anew from where it came from; a file is damaged or from another version.",
            argument="model",
        ) from error
    if not issubclass(family, kind):
        raise CheckpointError(
            f"The model in {str(source)!r} is no {kind.__name__}.",
            found=f"a {family.__name__}",
            expected=f"a {kind.__name__}",
            remedy=f"read it with {family.__name__}.from_pretrained, or with Model.from_pretrained.",
            argument="model",
        )
    model = fill_model(family, config, vocabulary, weights, name=str(source))
    model.provenance = provenance
    return model


def fill_model(
    kind: type[Kind], config: ModelConfig, vocabulary: GeneVocabulary, weights: dict[str, Tensor], *, name: str
) -> Kind:
    """Build a model around weights, every one accounted for.

    Raises
    ------
    CheckpointError
        If a weight is missing, extra or misshapen.
    """
    # Built without memory of its own, then given the tensors as they are: no copy, no random numbers drawn.
    with torch.device("meta"):
        model = kind(config, vocabulary)
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    check_weights(expected, {key: tuple(tensor.shape) for key, tensor in weights.items()}, name=name)
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(True)
    return model.eval()


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


def _card(model: Model) -> str:
    def table(rows: Mapping[str, str]) -> str:
        return "| | |\n|---|---|\n" + "".join(f"| {key} | {value} |\n" for key, value in rows.items())

    facts = model.describe() | {"fingerprint": f"`{model.fingerprint}`"}
    card = f"""# A celloquy model

{table(facts)}
```python
import celloquy as cq

model = cq.{type(model).__name__}.from_pretrained("path/to/this/directory")
cq.embed(adata, model=model)
```
"""
    return card + (f"\n## How it was made\n\n{table(model.provenance)}" if model.provenance else "")
