"""Options that verbs share: one record a topic, from which a verb's options, their help and the calls are made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from celloquy.cli.app import CONTEXT, option_name
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from celloquy.tasks import Task
    from celloquy.training import TrainingOptions

    AnyTask = TypeVar("AnyTask", bound=Task)

Input = Annotated[
    Path, typer.Argument(help="h5ad, h5mu, zarr or Cell Ranger matrix with raw counts.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write, .h5ad or .zarr.", show_default=False)]
KeyAdded = Annotated[str | None, typer.Option(help="Key of the result, or prefix of its keys.", show_default=False)]
Reference = Annotated[
    Path | None,
    typer.Option("--reference", "-r", help="Cells to learn from: h5ad, h5mu, zarr or Cell Ranger.", show_default=False),
]
Overwrite = Annotated[bool, typer.Option("--force", help="Replace a saved model or task that is there.")]

Devices = Annotated[
    int | None, typer.Option(help="Processes on each machine; by default those of torchrun or SLURM, or 1.")
]
NumNodes = Annotated[int | None, typer.Option(help="Machines; by default likewise.")]


@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    layer: Annotated[
        str | None,
        typer.Option(help="Place of the raw counts: a layer, X or raw. By default the first that holds counts."),
    ] = None
    counts: Annotated[
        str | None,
        typer.Option(help="round: round estimated or corrected counts (RSEM, SoupX). By default an error."),
    ] = None
    tissue_key: Annotated[
        str | None,
        typer.Option(help="Column of obs with the tissue (a sample, a slice), which is read together. By default all."),
    ] = None
    spatial_key: Annotated[str | None, typer.Option(help="Key of obsm with positions. By default none.")] = None
    batch_key: Annotated[
        str | None, typer.Option("--batch-key", "-b", help="Column of obs with the experimental batch.")
    ] = None
    species: Annotated[
        str | None, typer.Option(help="auto: map genes of the other species through orthologs. By default an error.")
    ] = None

    def arguments(self, *, without: Collection[str] = ()) -> dict[str, Any]:
        """Return what the functions call them, by name."""
        return {name: value for name, value in asdict(self).items() if name not in without}


@dataclass(frozen=True)
class Modelling:
    """The model that a task starts from."""

    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Pretrained model to fine-tune: a directory, or org/name on the hub."),
    ] = None
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Leave the pretrained model's embedding as it is.")
    ] = False
    config: Annotated[
        str | None, typer.Option(help="mini, small or base: size of a model that is trained from scratch.")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return what the functions call them, but for what is left to the task."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Training:
    """How a model is trained."""

    epochs: Annotated[int | None, typer.Option(help="Passes over the cells; by default by their number.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Cells of an optimisation step.")] = None
    cells_per_sentence: Annotated[
        int | None, typer.Option(help="Cells of a tissue that are read together, at most.")
    ] = None
    parts: Annotated[
        int | None, typer.Option(help="Parts that a step is computed in; by default one for each process.")
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of AdamW.")] = None
    validation: Annotated[float | None, typer.Option(help="Share of the cells that is held out.")] = None
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better validation after which training ends; 0: never.")
    ] = None

    def options(self, usual: TrainingOptions) -> TrainingOptions | None:
        """Return the training options, or None where nothing is asked for beside the epochs.

        Parameters
        ----------
        usual
            The options of the task where the user gives none.
        """
        asked = {name: value for name, value in asdict(self).items() if value is not None and name != "epochs"}
        if asked.get("patience") == 0:
            asked["patience"] = None
        return replace(usual, **asked) if asked else None


@dataclass(frozen=True)
class Running:
    """Where and how a verb computes."""

    precision: Annotated[str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where the hardware has it.")] = (
        "auto"
    )
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: a GPU where there is one.")] = "auto"
    seed: Annotated[int, typer.Option(help="Seed: the same one gives the same result on one machine.")] = 0
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False

    def arguments(self, *, without: Collection[str] = ()) -> dict[str, Any]:
        """Return what the functions call them, by name."""
        named = {"precision": self.precision, "device": self.device, "seed": self.seed, "progress": not self.quiet}
        return {name: value for name, value in named.items() if name not in without}


def verb(app: typer.Typer, *, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a verb of the command line, with the fields of the records that it takes as options.

    Parameters
    ----------
    app
        The command.
    without
        Fields of the records that this verb has no use for; they keep their defaults.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        records: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name not in records:
                parameters.append(parameter.replace(annotation=hints[parameter.name]))
                continue
            record = records[parameter.name]
            types = get_type_hints(record, include_extras=True)
            parameters += [
                inspect.Parameter(
                    one.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=one.default, annotation=types[one.name]
                )
                for one in fields(record)
                if one.name not in without
            ]
        # Arguments first: a parameter without a default can't follow one with it.
        parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)

        # The context comes first; typer recognises it by its type.
        parameters.insert(0, inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        ))  # fmt: skip

        def command(context: typer.Context, **given: Any) -> None:
            CONTEXT.set(context)
            for name, record in records.items():
                own = {one.name: given.pop(one.name) for one in fields(record) if one.name not in without}
                given[name] = record(**own)
            function(**given)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        app.command()(command)
        return command

    return register


def fit_or_load(
    make: Callable[[], AnyTask],
    fit: Callable[[AnyTask], object],
    *,
    kind: type[AnyTask],
    saved: Path | None,
    overwrite: bool,
    load: bool,
    reading: Reading,
    running: Running,
    used: Collection[str] = (),
    unused: Collection[str] = (),
) -> AnyTask:
    """Return a fitted task: read from a directory, or fitted, and then kept there.

    Parameters
    ----------
    make, fit
        Functions that make the task, and fit it.
    kind
        Class of the task.
    saved
        Directory of the task, if one was named.
    overwrite
        Leave to replace a saved model or task in it.
    load
        True if the task is there already, so that it is read.
    reading, running
        Options of the call that a task that is read takes up, too.
    used
        Names of the verb's own options that a task that is read has a use for.
    unused
        Names of options of reading that it has no use for.

    Raises
    ------
    ArgumentError
        If an option has no effect on a task that is fitted already.
    CheckpointError, DiskError
        If the task can't be kept in the directory, which is told before it is fitted.
    """
    if not load:
        check_kept(saved, f"--{kind.__name__.lower()}", overwrite=overwrite)
        task = make()
        fit(task)
        if saved is not None:
            with task.kept():
                task.save(saved, overwrite=overwrite)
        return task
    assert saved is not None
    taken = {one.name for record in (Reading, Running) for one in fields(record)} - {"seed", *unused}
    directory = f"{kind.__name__.lower()}"
    refuse_idle(
        taken | {"key_added", directory, *used},
        f"The task in {str(saved)!r} is fitted already.",
        "leave these options out, or name another directory to fit anew.",
    )
    task, asked = kind.load(saved), given_options()
    for name, value in {**reading.arguments(), **running.arguments(without=("seed",))}.items():
        # What is left out is as the task was fitted; the machine is that of this call.
        if name in asked or name in ("device", "progress"):
            setattr(task, name, value)
    return task


def refuse_idle(used: Collection[str], why: str, remedy: str) -> None:
    """Refuse options that have no effect, beside those named.

    Raises
    ------
    ArgumentError
        If one stands on the command line.
    """
    if idle := given_options() - {"file", "out", *used}:
        raise ArgumentError(
            why,
            found=", ".join(map(option_name, sorted(idle))),
            expected="options of how cells are read and computed",
            remedy=remedy,
        )


def given_options() -> set[str]:
    """Return the names of the options that stand on the command line."""
    context = CONTEXT.get()
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def names_in(text: str | None) -> list[str] | None:
    """Return the names of a list with commas."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def check_kept(directory: Path | None, option: str, *, overwrite: bool) -> None:
    """Check, before the work, that what is fitted can be kept in a directory, which an option names.

    Raises
    ------
    ArgumentError, CheckpointError, DiskError
        If something is there, it can't be written to, or there is none to be replaced.
    """
    from celloquy.models.directory import check_directory

    if directory is not None:
        check_directory(directory, overwrite=overwrite)
    elif overwrite:
        raise ArgumentError(
            "There is nothing to replace.",
            found=f"{option_name('overwrite')} without {option}",
            expected="the directory of a fitted task",
            remedy=f"name one with {option}, or leave {option_name('overwrite')} out.",
        )
