"""The type in which matrix products are computed."""

from __future__ import annotations

import torch


def product_type(device: torch.device, otherwise: torch.dtype = torch.float32) -> torch.dtype:
    """Return the type that autocast gives to matrix products, or ``otherwise`` if autocast is off."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else otherwise
