"""The memory that a computation may take."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import torch

from celloquy.errors import ArgumentError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def memory_budget(max_memory: int | str | None, device: torch.device | None = None) -> int:
    """Return a number of bytes: what the user allows, or half of the free memory; at most half of that of a GPU.

    Parameters
    ----------
    max_memory
        Number of bytes, or text such as ``"4 GB"`` or ``"512MiB"``; None takes half of the free memory.
    device
        Device of the computation, in whose memory the results lie; by default the CPU.

    Raises
    ------
    ArgumentError
        If ``max_memory`` is no amount of memory.
    """
    if device is not None and device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] // 2
        return free if max_memory is None else min(free, memory_budget(max_memory))
    if max_memory is None:
        return min(psutil.virtual_memory().available, _container_limit()) // 2
    if isinstance(max_memory, str):
        found = re.fullmatch(r"([\d.]+)\s*([KMGT]?I?)B?", max_memory.strip().upper())
        try:
            if found and found[2] in UNITS:
                return int(float(found[1]) * UNITS[found[2]])
        except ValueError:
            pass
    elif isinstance(max_memory, int) and not isinstance(max_memory, bool) and max_memory > 0:
        return max_memory
    raise ArgumentError(
        "`max_memory` can't be used.",
        found=repr(max_memory),
        expected="bytes, or text such as '4 GB'",
        remedy="leave it out: then half of the free memory is used.",
        argument="max_memory",
    )


def _container_limit() -> int:
    """Return the bytes that a container may take, which the memory of the machine does not show."""
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return psutil.virtual_memory().total if text == "max" else int(text)
