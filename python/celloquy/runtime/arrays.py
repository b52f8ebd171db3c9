"""The rows of a long computation, in memory or in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from celloquy.errors import DiskError


class RowArray:
    """Rows ``(cells, width)`` in memory, or in a file of which only the rows in use are in memory.

    Parameters
    ----------
    shape
        Number of cells, and width.
    precision
        Type of the values.
    file
        File of the rows; by default they lie in memory. A file of the right size is kept as it is.
    device
        Device in whose memory the rows lie if there is no file.

    Raises
    ------
    DiskError
        If the disk has no room for the file.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        precision: torch.dtype = torch.float32,
        *,
        file: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.precision, self.file = shape, precision, file
        # NumPy has no bfloat16, so its bits are kept.
        self._bits = torch.int16 if precision == torch.bfloat16 else precision
        self.dtype = np.dtype(str(self._bits).removeprefix("torch."))
        self.new = True
        """True if the rows are new, and not those of an existing file."""
        if file is None:
            # NumPy's zeros take no memory before they are written; on a CPU the tensor shares their memory.
            self._rows = torch.from_numpy(np.zeros(shape, self.dtype)).to(device).view(precision)
        else:
            self.new = reserve(file, max(1, shape[0] * shape[1]) * self.dtype.itemsize)

    def open(self) -> np.ndarray:
        """Return all rows; those in a file are mapped anew, so that the memory is free when the array is deleted."""
        if self.file is None:
            return self._rows.view(self._bits).cpu().numpy()
        return np.memmap(self.file, self.dtype, "r+", shape=self.shape)

    def read(self, rows: slice) -> Tensor:
        """Return a run of rows."""
        if self.file is None:
            return self._rows[rows]
        # The file is read, not mapped, because every mapped page costs a page fault.
        first, last, _ = rows.indices(self.shape[0])
        width = self.shape[1]
        values = np.fromfile(self.file, self.dtype, (last - first) * width, offset=first * width * self.dtype.itemsize)
        return torch.from_numpy(values.reshape(-1, width)).view(self.precision)

    def write(self, rows: slice | np.ndarray, values: Tensor) -> None:
        """Replace some rows."""
        if self.file is None:
            place = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self._rows.device)
            self._rows[place] = values.to(self._rows)
            return
        new = values.to("cpu", self.precision).view(self._bits).numpy()
        if not isinstance(rows, slice):
            self.open()[rows] = new
            return
        with self.file.open("r+b") as file:
            file.seek(rows.indices(self.shape[0])[0] * self.shape[1] * self.dtype.itemsize)
            file.write(np.ascontiguousarray(new).data)


def reserve(file: Path, size: int) -> bool:
    """Make a file of a size unless it exists; return whether it was made.

    The room is reserved first, because a mapped file that grows on a full disk ends the process.

    Raises
    ------
    DiskError
        If the disk has no room for it.
    """
    if file.exists() and file.stat().st_size == size:
        return False
    try:
        with file.open("wb") as new:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(new.fileno(), 0, size)
            else:
                block = bytes(2**20)
                for start in range(0, size, len(block)):
                    new.write(block[: size - start])
    except OSError as error:
        file.unlink(missing_ok=True)
        raise DiskError.full(file, error, needed=size) from error
    return True


def runs(start: int, stop: int, step: int) -> Sequence[slice]:
    """Cut a range into runs."""
    return [slice(first, min(first + step, stop)) for first in range(start, stop, step)]
