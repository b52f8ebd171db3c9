"""A saved model: a directory of plain files, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from celloquy.errors import CelloquyError, CheckpointError
from celloquy.genes import GeneVocabulary
from celloquy.models.config import CellModelConfig

if TYPE_CHECKING:
    from celloquy.models.cell_model import CellModel

Model = TypeVar("Model", bound="CellModel")

WEIGHTS, CONFIG, GENES, CARD = "model.safetensors", "config.json", "genes.tsv", "README.md"


def save_model(model: CellModel, directory: str | PathLike[str]) -> None:
    """See :meth:`celloquy.CellModel.save`."""
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
    target = Path(directory)
    if target.exists() and not (target.is_dir() and ((target / CONFIG).exists() or not any(target.iterdir()))):
        raise CheckpointError(
            f"The model can't be saved to {str(target)!r}.",
            found="something there that is not a saved model",
            expected="a new or empty directory, or a saved model to replace",
            remedy="choose another directory.",
        )
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


def write_model(model: CellModel, directory: Path) -> None:
    """Write the files of a model into a directory that exists."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt", **model.provenance})
    (directory / CONFIG).write_text(model.config.to_json(), encoding="utf-8")
    model.vocabulary.save(directory / GENES)
    (directory / CARD).write_text(_card(model), encoding="utf-8")


def load_model(kind: type[Model], directory: str | PathLike[str]) -> Model:
    """See :meth:`celloquy.CellModel.from_pretrained`."""
    source = Path(directory)
    missing = [name for name in (WEIGHTS, CONFIG, GENES) if not (source / name).is_file()]
    if missing:
        raise CheckpointError(
            f"There is no celloquy model in {str(source)!r}.",
            found=f"no {', no '.join(missing)}" if source.is_dir() else "no such directory",
            expected=f"a directory with {WEIGHTS}, {CONFIG} and {GENES}, as CellModel.save() writes it",
            remedy="pass the directory of a saved model; read a released CellPLM with CellModel.from_cellplm(prefix).",
        )
    try:
        config = CellModelConfig.from_json((source / CONFIG).read_text(encoding="utf-8"))
        vocabulary = GeneVocabulary.load(source / GENES)
        with safe_open(source / WEIGHTS, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
            provenance = {key: value for key, value in (file.metadata() or {}).items() if key != "format"}
    except (SafetensorError, CelloquyError, ValueError, TypeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"The model in {str(source)!r} can't be read.",
            found=str(error).splitlines()[0],
            remedy="copy it anew from where it came from; a file is damaged or from another version.",
        ) from error
    model = fill_model(kind, config, vocabulary, weights, name=str(source))
    model.provenance = provenance
    return model


def fill_model(
    kind: type[Model], config: CellModelConfig, vocabulary: GeneVocabulary, weights: dict[str, Tensor], *, name: str
) -> Model:
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
        _refuse(name, "lacks weights", _some(absent), "every weight of the model")
    if extra := sorted(found.keys() - expected.keys()):
        _refuse(name, "has weights that the model does not know", _some(extra), "only weights of the model")
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


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _card(model: CellModel) -> str:
    config = model.config
    species = ", ".join(sorted({s for s in model.vocabulary.species if s})) or "unknown"
    parameters = sum(p.numel() for p in model.parameters())
    card = f"""# A celloquy cell model

| | |
|---|---|
| genes | {len(model.vocabulary):,} ({species}) |
| parameters | {parameters:,} |
| width, layers, latent | {config.width}, {config.layers}, {config.latent} {config.latent_width} |
| fingerprint | `{model.fingerprint}` |

```python
import celloquy as cq

model = cq.CellModel.from_pretrained("path/to/this/directory")
cq.embed(adata, model=model)
```
"""
    if model.provenance:
        lines = "\n".join(f"| {key} | {value} |" for key, value in model.provenance.items())
        card += f"\n## How it was made\n\n| | |\n|---|---|\n{lines}\n"
    return card
