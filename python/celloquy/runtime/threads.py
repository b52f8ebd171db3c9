"""How threads wait for each other, which OpenMP settles when torch is loaded."""

import os
import time
from pathlib import Path
from typing import Final

BUSY: Final = 0.5
"""Other threads that run, by core, from which ours sleep while they wait."""
LOOKS: Final = 3
"""Times that it is looked at, five milliseconds apart: what runs for a moment is no program at work."""
RUNNING: Final = Path("/proc/loadavg")


def let_threads_sleep() -> None:
    """Let threads sleep while they wait for each other if other programs are at work on the machine (Linux).

    By default they spin, which is a quarter faster on idle cores, but takes the cores from whatever runs beside, and
    then from each other: training a small model beside one busy process on two cores takes half the time asleep. What
    the user has set as ``OMP_WAIT_POLICY`` stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ and others_running() >= BUSY * (os.cpu_count() or 1):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def others_running() -> int:
    """Return how many other threads run or wait for a core; 0 where the system does not tell."""
    least = None
    for look in range(LOOKS):
        if look:
            time.sleep(0.005)
        try:
            # "0.20 0.18 0.12 3/80 11206": three run of 80, this one among them.
            running = int(RUNNING.read_text(encoding="ascii").split()[3].split("/")[0]) - 1
        except (OSError, ValueError, IndexError):
            return 0
        least = running if least is None else min(least, running)
    return max(0, least or 0)
