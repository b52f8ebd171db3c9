"""The device and the precision in which a model computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, get_args

import torch

from celloquy.checks import check_choice, refuse
from celloquy.errors import ArgumentError

Precision = Literal["auto", "float32", "bfloat16"]

PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Type of the matrix products in each precision."""

WIDE_ENOUGH = 512
"""Width of a model from which ``"auto"`` takes bfloat16; below, the products are too small to matter."""


def choose_device(device: str) -> torch.device:
    """Return the device to compute on; ``"auto"`` takes a GPU if there is one.

    Raises
    ------
    ArgumentError
        If the device does not exist.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if not isinstance(device, str | torch.device):
        refuse("device", device, "the name of a device", "pass device='auto'.")
    if device == "auto":
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in available:
        raise ArgumentError(
            f"Device {device!r} can't be used.",
            found=f"devices here: {', '.join(available)}",
            expected="'auto' or one of these",
            remedy="pass device='auto'; for a GPU, install a torch build that supports it.",
            argument="device",
        )
    return chosen


def choose_precision(precision: str, device: torch.device, width: int) -> Literal["float32", "bfloat16"]:
    """Return the precision to compute in; ``"auto"`` takes bfloat16 if the hardware has it and the model is wide.

    Raises
    ------
    ArgumentError
        If there is no such precision.
    """
    check_choice("precision", precision, get_args(Precision))
    if precision == "auto":
        return "bfloat16" if width >= WIDE_ENOUGH and _has_bfloat16(device) else "float32"
    return "bfloat16" if precision == "bfloat16" else "float32"


def autocast(precision: Literal["float32", "bfloat16"], device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which matrix products run in the precision; norms and normalisers stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # torch has no public function for this; without the file the answer is the safe one, no.
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(flag in flags.read_text() for flag in (" avx512_bf16", " amx_bf16"))
