"""A progress bar that starts no thread."""

from __future__ import annotations

from tqdm.auto import tqdm


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """tqdm without its monitor thread: output from a thread would call R from outside of R's own, which ends it."""

    monitor_interval = 0
