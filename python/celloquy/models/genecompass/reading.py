"""Tokens that a user brings: whether a gene model can read them."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from celloquy.errors import ArgumentError
from celloquy.models.genecompass.tokens import HUMAN, MOUSE


def checked(
    like: Tensor, ids: Tensor, values: Tensor, species: Tensor | None, words: int, positions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens with the device and, as for values, the type of a model's weight; see :meth:`GeneModel.encode`."""
    device = like.device
    ids, values = torch.as_tensor(ids, device=device), torch.as_tensor(values, device=device)
    if species is None:
        species = torch.full(ids.shape[:1], HUMAN)
    species = torch.as_tensor(species, device=device)
    if ids.ndim != 2 or ids.is_floating_point() or values.shape != ids.shape:
        _refuse("ids", f"{_shape(ids)} ids and {_shape(values)} values", "both cells × length, the ids whole numbers")
    if species.shape != ids.shape[:1] or not bool(((species == HUMAN) | (species == MOUSE)).all()):
        found = f"shape {_shape(species)}" if species.shape != ids.shape[:1] else f"{species.unique().tolist()}"
        _refuse("species", found, f"{len(ids)} numbers, 0 for human and 1 for mouse")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < words:
        _refuse("ids", f"{int(ids.min())} to {int(ids.max())}", f"0 to {words - 1}")
    if positions is not None and ids.shape[1] > len(positions):
        _refuse("ids", f"{ids.shape[1]:,} genes of a cell", f"at most {len(positions):,}, its positions")
    return ids.long(), values.to(like.dtype), species.long()


def _shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape))


def _refuse(name: str, found: str, expected: str) -> NoReturn:
    raise ArgumentError(
        f"The model can't read these `{name}`.",
        found=found,
        expected=expected,
        remedy="pass padded tensors of tokens, values and species, as GeneModel.tokenise(batch) makes them.",
        argument=name,
    )
