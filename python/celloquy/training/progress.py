"""A progress bar that starts no thread."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """tqdm without its monitor thread: output from a thread would call R from outside of R's own, which ends it."""

    monitor_interval = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A log file keeps every state of the bar.
        kwargs.setdefault("mininterval", 0.1 if sys.stderr.isatty() else 1.0)
        super().__init__(*args, **kwargs)
