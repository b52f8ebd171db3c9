"""A progress bar that starts no thread and that R can draw."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from tqdm.auto import tqdm


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """tqdm without its monitor thread: output from that thread would call R from outside R's thread, which ends R."""

    monitor_interval = 0
    listener: ClassVar[Callable[[str, float, float, str], object] | None] = None
    """Function that shows the progress instead of tqdm, called with description, number done, total and figures."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        has_listener = type(self).listener is not None
        # A log file keeps every state of the bar, so it gets fewer.
        kwargs.setdefault("mininterval", 0.1 if has_listener or sys.stderr.isatty() else 1.0)
        super().__init__(*args, **kwargs | ({"file": io.StringIO()} if has_listener else {}))

    def display(self, *args: Any, **kwargs: Any) -> None:
        """Draw the bar, or call the listener."""
        listener = type(self).listener
        if listener is None:
            super().display(*args, **kwargs)
        else:
            listener(self.desc, float(self.n), float(self.total or self.n), str(self.postfix or ""))
