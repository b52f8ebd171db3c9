"""Where a model is: in the box, in a directory, or on the Hugging Face hub, which the extra ``hub`` asks."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from celloquy.checks import check_name, check_path, refuse
from celloquy.errors import ArgumentError, CheckpointError
from celloquy.models.boxed import BOX, BOXED
from celloquy.models.card import PLACE
from celloquy.models.checkpoint import CARD, GENES, WEIGHTS
from celloquy.models.directory import CONFIG
from celloquy.version import VERSION

NAME = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}")
"""What a name on the hub looks like: owner and model."""

SMALL = [CONFIG, GENES]
"""Files that tell whether there is a celloquy model, before its weights are fetched."""

ALL = [*SMALL, WEIGHTS, CARD, "task.json", "task.safetensors"]

ABOUT = "---\nlibrary_name: celloquy\ntags:\n- biology\n- single-cell\n---\n"
"""What the hub wants to know, at the head of the card."""

LOG_IN = "log in with hf auth login, or set HF_TOKEN"


def locate(model: str | PathLike[str], revision: str | None = None) -> tuple[Path, dict[str, str]]:
    """Return the directory of a model, and its origin for the model's provenance if it came from the hub.

    Parameters
    ----------
    model
        In this order: the name of one in the box, an existing directory, a name on the hub. A path that is no text is
        always a directory.
    revision
        Branch, tag or commit on the hub.

    Raises
    ------
    ArgumentError, CheckpointError
        If there is no use for ``revision``, or the hub does not give the model; it says why.
    """
    boxed = isinstance(model, str) and model in BOXED
    if not boxed and isinstance(model, str) and NAME.fullmatch(model) and not Path(model).exists():
        folder = _fetch(model, revision)
        return folder, {"hub": f"{model}@{folder.name}"}
    if revision is not None:
        raise ArgumentError(
            "`revision` has no use with this model.",
            found=f"{str(model)!r}, {'the model in the box' if boxed else 'a directory'}",
            expected="a name on the hub, such as 'org/name'",
            remedy="leave `revision` out.",
            argument="revision",
        )
    return BOX / str(model) if boxed else check_path("model", model, "a name, or the path of a directory"), {}


class Shareable(ABC):
    """What can be pushed to the Hugging Face hub."""

    @abstractmethod
    def save(self, directory: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a directory."""

    def push_to_hub(
        self, name: str, *, private: bool = False, message: str | None = None, token: str | None = None
    ) -> str:
        """Push the model to the Hugging Face hub, in one commit; ``Model.from_pretrained(name)`` reads it from there.

        Needs the extra ``hub``, ``pip install "celloquy[hub]"``.

        Parameters
        ----------
        name
            Name on the hub, ``"org/name"``; made if it is not there. Files of ours that are there, the card among
            them, are replaced; the hub keeps the older revisions.
        private
            Whether a model that is not there yet shall be seen by its owner alone.
        message
            Message of the commit.
        token
            Token that may write; by default that of ``hf auth login``, or ``HF_TOKEN``.

        Returns
        -------
        The commit, which ``revision`` of ``Model.from_pretrained`` takes.

        Raises
        ------
        ArgumentError, CheckpointError
            If ``name`` is none, the extra is missing, a weight is not finite, or the hub does not take the model.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name):
            refuse("name", name, "a name on the hub, such as 'org/name'", "pass owner and name with a slash between.")
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise _missing(name) from error
        with TemporaryDirectory(prefix="celloquy-") as folder:
            self.save(folder)
            card = Path(folder, CARD)
            card.write_text(ABOUT + card.read_text(encoding="utf-8").replace(PLACE, name), encoding="utf-8")
            try:
                hub = HfApi(token=token, library_name="celloquy", library_version=VERSION)
                hub.create_repo(name, private=private, exist_ok=True)
                done = hub.upload_folder(
                    repo_id=name, folder_path=folder, commit_message=message or "Push a celloquy model"
                )
            except Exception as error:  # Its versions use several HTTP clients, each with errors of its own.
                raise CheckpointError(
                    f"The model can't be pushed to {name!r}.",
                    found=_first_line(error),
                    remedy=f"{LOG_IN}, of a token that may write there; check the name and the network.",
                    argument="name",
                ) from error
        return done.oid


def _fetch(name: str, revision: str | None) -> Path:
    """The directory in the hub's cache that has the files of a model, fetched if they are not there."""
    if revision is not None:
        check_name("revision", revision, "a branch, a tag or a commit of the model on the hub")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise _missing(name) from error
    asked = revision
    for files in (SMALL, ALL):
        try:
            folder = Path(
                snapshot_download(
                    name, revision=asked, allow_patterns=files, library_name="celloquy", library_version=VERSION
                )
            )
        except Exception as error:  # Likewise.
            raise _not_found(name, revision, error) from error
        if missing := [file for file in SMALL if not (folder / file).is_file()]:
            raise CheckpointError(
                f"There is no celloquy model in {name!r}.",
                found=f"no {', no '.join(missing)} on the hub",
                expected="a model that model.push_to_hub() put there",
                remedy="check the name, and the revision.",
                argument="model",
            )
        # The commit: all files are of one, whatever is pushed meanwhile.
        asked = folder.name
    return folder


def _not_found(name: str, revision: str | None, error: Exception) -> CheckpointError:
    """The error of a model that the hub does not give."""
    from huggingface_hub import constants, errors

    site, remedy = constants.ENDPOINT, "check the name and the network, or pass the directory of a saved model."
    if isinstance(error, errors.GatedRepoError):
        found, remedy = f"{site}/{name} gives access on request", f"ask for it on that page, and {LOG_IN}."
    elif isinstance(error, errors.RepositoryNotFoundError):
        found = f"no model of that name on {site}, or a private one"
        remedy = f"check the name; for a private one {LOG_IN}."
    elif isinstance(error, errors.RevisionNotFoundError):
        found = f"no revision {revision!r} of it on {site}"
        remedy = "pass a branch, a tag or a commit of the model as `revision`, or leave it out."
    elif isinstance(error, errors.LocalEntryNotFoundError):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{site} can't be reached"
        found = f"no copy of it in {constants.HF_HUB_CACHE!r}, and {why}"
        remedy = "call once with a network, after which the copy is used; or pass the directory of a saved model."
    else:
        found = _first_line(error)
    return _unavailable(name, found, remedy)


def _missing(name: str) -> CheckpointError:
    return _unavailable(
        name,
        "no huggingface_hub, which fetches and pushes models of the hub",
        'pip install "celloquy[hub]", or pass the directory of a saved model.',
    )


def _unavailable(name: str, found: str, remedy: str) -> CheckpointError:
    here = "" if Path(name).exists() else "no directory of that name, and "
    return CheckpointError(
        f"The model {name!r} can't be fetched.",
        found=here + found,
        remedy=remedy,
        argument="model",
    )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
