"""What R and Python hand each other: Seurat's and AnnData's parts as plain arrays, columns and lists.

R drives: it decides where everything goes and asks for one piece at a time, so that no piece lies in memory twice.
"""

from celloquy.exchange.files import read_h5ad, write_h5ad
from celloquy.exchange.matrices import copy_into, matrix_to_r
from celloquy.exchange.objects import columns_to_r, holds_counts, itself, make_anndata, overview
from celloquy.exchange.values import frame_from_r, value_to_r

__all__ = [
    "columns_to_r",
    "copy_into",
    "frame_from_r",
    "holds_counts",
    "itself",
    "make_anndata",
    "matrix_to_r",
    "overview",
    "read_h5ad",
    "value_to_r",
    "write_h5ad",
]
