"""The R process that Python runs in: torch loaded beside R, errors, warnings and progress handed over."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from celloquy.errors import CelloquyError
from celloquy.version import VERSION


def version() -> str:
    """Return the version of celloquy."""
    return VERSION


def is_torch_loaded() -> bool:
    """Whether torch is in this process."""
    return "torch" in sys.modules


def runs_r() -> bool:
    """Whether Python runs R in this process, by rpy2; otherwise R runs Python."""
    return "rpy2.rinterface" in sys.modules


def load_torch() -> None:
    """Import torch so that it computes on its own BLAS.

    On Linux the BLAS that R is linked to stands before torch's own in the search for symbols: matrix products would run
    on it, 16 times slower with the reference BLAS, and not to the same bit. RTLD_DEEPBIND turns the order round.
    """
    flags = sys.getdlopenflags() if hasattr(sys, "getdlopenflags") else None
    if flags is not None:
        sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        import torch
    finally:
        if flags is not None:
            sys.setdlopenflags(flags)
    torch.loaded_beside_r = True  # type: ignore[attr-defined]  # torch remembers how it was loaded


def torch_uses_own_blas() -> bool:
    """Whether the torch of this process was loaded by :func:`load_torch`, or on a system where that changes nothing."""
    return hasattr(sys.modules["torch"], "loaded_beside_r") or not hasattr(os, "RTLD_DEEPBIND")


def stop_threads() -> None:
    """Keep tqdm from redrawing stalled bars from a thread of its own.

    Where reticulate sends Python's output to the R console (as in RStudio), that thread would call R, which only the
    main thread may.
    """
    from tqdm import tqdm

    tqdm.monitor_interval = 0


def listen(listener: Callable[[str, float, float, str], object] | None) -> None:
    """Have progress shown by ``listener(task, done, total, figures)``, or by tqdm again if None."""
    from celloquy.runtime.progress import ProgressBar

    ProgressBar.listener = listener


class WarningRecorder:
    """Records the warnings of Python, of which those of celloquy are for R's user."""

    def __init__(self) -> None:
        self._catcher = warnings.catch_warnings(record=True)
        self._recorded = self._catcher.__enter__()
        warnings.simplefilter("always")

    def stop(self) -> list[str]:
        """Stop recording and return the messages of celloquy's warnings; the libraries below warn its authors only."""
        self._catcher.__exit__(None, None, None)
        recorded = self._recorded or []
        own = [str(one.message) for one in recorded if one.category.__module__.startswith("celloquy")]
        # What a fit and a prediction both say is said once.
        return list(dict.fromkeys(own))


def record_warnings() -> WarningRecorder:
    """Start to record warnings."""
    return WarningRecorder()


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return the class of an error, whether celloquy raised it, and what it says, part by part."""
    described = {"class": type(error).__name__, "ours": isinstance(error, CelloquyError), "text": str(error)}
    parts = ("problem", "found", "expected", "remedy", "argument")
    return described | {part: str(getattr(error, part, "") or "") for part in parts}
