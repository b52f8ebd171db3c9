"""Seurat objects in ``.rds`` files, read and written by the R package celloquy in this very process.

rpy2 runs R inside Python, and reticulate in that R finds the Python that it runs in. R's converters therefore make an
object of this process, which is handed over as it is, and both languages share one conversion.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celloquy.errors import ArgumentError, SeuratError

if TYPE_CHECKING:
    from anndata import AnnData

# Calls an R function and returns what it signalled: the error, "" for none or NA for an interrupt; then the warnings.
_CALL = """
function(verb, ...) {
  failure <- ""
  signalled <- character()
  tryCatch(
    withCallingHandlers(verb(...), warning = function(condition) {
      signalled <<- c(signalled, conditionMessage(condition))
      invokeRestart("muffleWarning")
    }),
    error = function(condition) failure <<- conditionMessage(condition),
    interrupt = function(condition) failure <<- NA_character_
  )
  trimws(cli::ansi_strip(c(failure, signalled)))
}
"""

_MISSING = """
function() {
  packages <- c("SeuratObject", "reticulate", "celloquy")
  packages[!vapply(packages, requireNamespace, NA, quietly = TRUE)]
}
"""

# Importing celloquy through reticulate would load torch, which nothing here needs.
_CROSSING = (
    """crossing <- reticulate::py_eval("__import__('sys').modules['celloquy.seurat']._crossing", convert = FALSE)"""
)

_READ = f"""
function(path, ...) {{
  adata <- celloquy::SeuratToAnnData(readRDS(path), ..., verbose = FALSE)
  {_CROSSING}
  reticulate::py_set_item(crossing, "adata", adata)
}}
"""

_WRITE = f"""
function(path) {{
  {_CROSSING}
  object <- celloquy::AnnDataToSeurat(reticulate::py_get_item(crossing, "adata"), verbose = FALSE)
  saveRDS(object, path)
}}
"""

# The object that crosses between the languages, for as long as one call takes.
_crossing: dict[str, Any] = {}


def read_seurat(path: str | os.PathLike[str], *, assay: str | None = None, layer: str | None = None) -> AnnData:
    """Read a Seurat object that R saved with ``saveRDS()``.

    The result is what ``SeuratToAnnData(readRDS(path))`` gives in R; ``uns["celloquy_conversion"]`` says what was kept,
    renamed and dropped.

    Parameters
    ----------
    path
        An ``.rds`` file.
    assay
        The assay to take; by default the object's own default.
    layer
        The layer that becomes ``X``; by default the one that R's ``SeuratToAnnData()`` takes, the counts.

    Raises
    ------
    ArgumentError
        If there is no such file.
    SeuratError
        If the file holds no Seurat object, or one without this assay or layer; or if rpy2, R or one of the R packages
        SeuratObject, reticulate and celloquy is missing.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.write_seurat(adata, "object.rds")
    >>> same = cq.read_seurat("object.rds")
    """
    file = Path(path)
    if not file.is_file():
        raise ArgumentError(
            f"There is no file {str(file)!r}.", found="no such file", remedy="check the path.", argument="path"
        )
    return _run_in_r(
        _READ,
        os.fspath(file),
        problem=f"{str(file)!r} can't be read as a Seurat object.",
        remedy="save the object in R with saveRDS(object, path), and name an assay and a layer that it has.",
        assay=assay,
        layer=layer,
    )


def write_seurat(adata: AnnData, path: str | os.PathLike[str]) -> None:
    """Write the cells as a Seurat object that R reads with ``readRDS()``.

    The object is what ``AnnDataToSeurat(adata)`` gives in R. An AnnData that came from Seurat returns as the object it
    was.

    Parameters
    ----------
    adata
        The cells; they are not changed.
    path
        The ``.rds`` file, replaced once the new one is whole.

    Raises
    ------
    SeuratError
        If the cells can't be made a Seurat object or the file can't be written; or if rpy2, R or one of the R packages
        SeuratObject, reticulate and celloquy is missing.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.write_seurat(adata, "object.rds")  # in R: readRDS("object.rds")
    """
    file = Path(path)
    if not file.parent.is_dir():
        raise ArgumentError(
            f"There is no folder {str(file.parent)!r}.", found="no such folder", remedy="make it, or check the path.",
            argument="path",
        )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        partial = Path(folder) / "object.rds"
        _run_in_r(
            _WRITE,
            os.fspath(partial),
            adata,
            problem=f"adata can't be written to {str(file)!r} as a Seurat object.",
            remedy="change or drop what is named above.",
        )
        partial.replace(file)


def _run_in_r(
    code: str, path: str, adata: AnnData | None = None, *, problem: str, remedy: str, **options: str | None
) -> Any:
    """Run an R function on what crosses and return what crosses back; R's error becomes ours, its warnings Python's."""
    robjects = _start_r()
    _crossing["adata"] = adata
    try:
        # The user may have switched other conversions on.
        with robjects.default_converter.context(), _interrupts_for_r():
            given = {name: value for name, value in options.items() if value is not None}
            failure, *signalled = robjects.r(_CALL)(robjects.r(code), path, **given)
        if failure is robjects.NA_Character:
            raise KeyboardInterrupt
        if failure:
            raise SeuratError(problem, found=failure, remedy=remedy)
        for message in signalled:
            warnings.warn(message, UserWarning, stacklevel=3)
        return _crossing["adata"]
    finally:
        _crossing.clear()


@contextmanager
def _interrupts_for_r() -> Iterator[None]:
    """Let Ctrl-C stop R: the exception that Python raises for it would be lost in the call that R makes to rpy2."""
    library = import_module("rpy2.rinterface_lib.openrlib").rlib

    def interrupt(*_: object) -> None:
        library.R_interrupts_pending = 1

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_r() -> Any:
    """Return rpy2's view of R, once R and its packages are known to be there."""
    if threading.current_thread() is not threading.main_thread():
        raise SeuratError(
            "R runs in the main thread of Python only.",
            found=f"thread {threading.current_thread().name!r}",
            remedy="call it from the main thread.",
        )
    try:
        robjects = import_module("rpy2.robjects")
    except ImportError as error:
        raise SeuratError(
            "This Python can't run R: it has no rpy2.", found=str(error), remedy="pip install 'celloquy[r]'"
        ) from error
    except (OSError, ValueError) as error:
        raise SeuratError(
            "No R was found.",
            found=str(error),
            expected="R ≥ 4.3 on the PATH, or its folder (what `R RHOME` prints) in the environment variable R_HOME",
            remedy="install R from https://cran.r-project.org; `python -m rpy2.situation` shows where it was sought.",
        ) from error
    with robjects.default_converter.context():
        missing = list(robjects.r(_MISSING)())
        libraries = ", ".join(robjects.r(".libPaths()"))
    if missing:
        from_cran = ", ".join(f'"{package}"' for package in missing if package != "celloquy")
        steps = [f"in R: install.packages(c({from_cran}))"] if from_cran else []
        steps += ["in a clone of celloquy: R CMD INSTALL ."] if "celloquy" in missing else []
        raise SeuratError(
            f"R lacks {' and '.join(missing)}.",
            found=f"R at {robjects.r('R.home()')[0]}, with the libraries {libraries}",
            remedy="; then ".join(steps),
        )
    return robjects
