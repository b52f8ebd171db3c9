"""Send cells to a GPU: in the fewest bytes that hold them exactly, from memory that the GPU reads by itself."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from celloquy.data.batch import CellBatch

LARGEST = 2**16
"""Number of values that two bytes can hold."""


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
        """Pack cells.

        Parameters
        ----------
        batch
            The cells, on the CPU, with counts as values.
        pinned
            Put the cells into pinned memory, from which a GPU copies while the CPU goes on; needs a GPU.
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
        return replace(
            self.batch.to(device), indices=_unsigned(indices).to(torch.int32), values=_unsigned(values).float()
        )


class DeviceSender:
    """Sends batches to a device, from a thread of its own, while the device computes.

    Parameters
    ----------
    device
        Target device; a CPU needs no sending.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: CellBatch) -> CellBatch:
        """Return the batch on the device."""
        if self._device.type == "cpu":
            return batch
        packed = PackedCells.pack(batch, pinned=self._stream is not None)
        if self._stream is None:
            return packed.unpack(self._device)
        with torch.cuda.stream(self._stream):
            moved = packed.unpack(self._device)
        self._stream.synchronize()
        for field in fields(moved):
            # Memory that the computation still reads must not be reused for the next batch.
            getattr(moved, field.name).record_stream(torch.cuda.default_stream(self._device))
        return moved


def _unsigned(packed: Tensor) -> Tensor:
    """Return packed numbers as positive ones: int16 reads the upper half of uint16 as negative."""
    return packed.to(torch.int32).bitwise_and_(LARGEST - 1) if packed.dtype == torch.int16 else packed
