"""How threads wait for each other, which OpenMP settles when torch is loaded."""

import os
from typing import Final

BUSY: Final = 0.5
"""Programs that run, by core, from which threads sleep while they wait."""


def let_threads_sleep() -> None:
    """Let threads sleep while they wait for each other if other programs are at work on the machine.

    By default they spin, which is a quarter faster on idle cores, but takes the cores from whatever runs beside, and
    then from each other: training a small model beside one busy process on two cores takes half the time asleep. What
    the user has set as ``OMP_WAIT_POLICY`` stays.
    """
    if hasattr(os, "getloadavg") and os.getloadavg()[0] >= BUSY * (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
