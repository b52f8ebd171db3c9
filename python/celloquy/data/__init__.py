"""From AnnData to the input of a model: counts are found and checked, genes aligned, cells grouped into tissues."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celloquy.data.batch import CellBatch
    from celloquy.data.columns import CellColumns
    from celloquy.data.counts import Counts, choose_counts
    from celloquy.data.reader import CellReader, CellSource
    from celloquy.data.recover import recover_counts
    from celloquy.data.tables import get

# Some modules of this package are needed without torch, so each is imported when it is first used.
_HOME = {
    "CellBatch": "batch",
    "CellColumns": "columns",
    "CellReader": "reader",
    "CellSource": "reader",
    "Counts": "counts",
    "choose_counts": "counts",
    "get": "tables",
    "recover_counts": "recover",
}

__all__ = ["CellBatch", "CellColumns", "CellReader", "CellSource", "Counts", "choose_counts", "get", "recover_counts"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"celloquy.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celloquy.data' has no attribute {name!r}")
