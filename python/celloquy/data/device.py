"""Cells on their way to a GPU: in as few bytes as hold them exactly, from memory that the GPU reads by itself."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from celloquy.data.batch import CellBatch

LARGEST = 2**16
"""What two bytes tell apart."""


@dataclass(frozen=True, slots=True)
class PackedCells:
    """A batch of cells whose indices and values are packed."""

    batch: CellBatch
    """The cells, without their indices and values."""
    indices: Tensor
    """``(z,)``: int32, or the bits of uint16 as int16, which every device can read."""
    values: Tensor
    """``(z,)``: uint8, the bits of uint16 as int16, or float32."""

    @staticmethod
    def pack(batch: CellBatch, *, pinned: bool) -> PackedCells:
        """Pack cells; ``pinned`` puts them where a GPU copies from while the processor goes on.

        Parameters
        ----------
        batch
            On the CPU, with counts as values.
        pinned
            Needs a GPU.
        """
        indices, values = batch.indices, batch.values
        if batch.n_genes <= LARGEST:
            indices = indices.to(torch.int16)
        most = float(values.max()) if len(values) else 0.0
        if most < LARGEST and torch.equal(values, values.round()):
            values = values.to(torch.uint8) if most < 2**8 else values.to(torch.int32).to(torch.int16)
        rest = replace(batch, indices=batch.indices[:0], values=batch.values[:0])
        if pinned:
            indices, values = indices.pin_memory(), values.pin_memory()
        return PackedCells(rest, indices, values)

    def unpack(self, device: torch.device) -> CellBatch:
        """Return the cells on a device."""
        indices, values = (packed.to(device, non_blocking=True) for packed in (self.indices, self.values))
        return replace(self.batch.to(device), indices=_whole(indices).to(torch.int32), values=_whole(values).float())


class DeviceSender:
    """Sends batches to a device; from a thread of its own, while the device computes.

    Parameters
    ----------
    device
        Where to; on a CPU nothing is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: CellBatch) -> CellBatch:
        """Return the batch on the device."""
        if self._device.type == "cpu":
            return batch
        parcel = PackedCells.pack(batch, pinned=self._stream is not None)
        if self._stream is None:
            return parcel.unpack(self._device)
        with torch.cuda.stream(self._stream):
            moved = parcel.unpack(self._device)
        self._stream.synchronize()
        for field in fields(moved):
            # What the computation still reads must not be given to the next batch.
            getattr(moved, field.name).record_stream(torch.cuda.default_stream(self._device))
        return moved


def _whole(packed: Tensor) -> Tensor:
    """Undo that the upper half of what two bytes hold reads as negative."""
    return packed.to(torch.int32).bitwise_and_(LARGEST - 1) if packed.dtype == torch.int16 else packed
