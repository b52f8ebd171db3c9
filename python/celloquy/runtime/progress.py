"""A progress bar that starts no thread, and that R can draw."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from tqdm.auto import tqdm


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """tqdm without its monitor thread: output from a thread would call R from outside of R's own, which ends it."""

    monitor_interval = 0
    listener: ClassVar[Callable[[str, float, float, str], object] | None] = None
    """Shows the progress in tqdm's stead, at tqdm's pace: what is done, how much, of how much, figures beside it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        listened = type(self).listener is not None
        # A log file keeps every state of the bar.
        kwargs.setdefault("mininterval", 0.1 if listened or sys.stderr.isatty() else 1.0)
        super().__init__(*args, **kwargs | ({"file": io.StringIO()} if listened else {}))

    def display(self, *args: Any, **kwargs: Any) -> None:
        """Draw the bar, or have it drawn."""
        listener = type(self).listener
        if listener is None:
            super().display(*args, **kwargs)
        else:
            listener(self.desc, float(self.n), float(self.total or self.n), str(self.postfix or ""))
