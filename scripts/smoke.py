"""Embed and name real cells with an installed celloquy, without a network: python -I scripts/smoke.py."""

import socket
import sys
from typing import NoReturn

import scanpy as sc

import celloquy as cq


def refuse(*_: object) -> NoReturn:
    """End where a connection is opened."""
    sys.exit("Something asked for the network.")


socket.socket.connect = refuse  # type: ignore[method-assign]
assert cq.__file__.startswith(sys.prefix), cq.__file__
adata = cq.recover_counts(sc.datasets.pbmc68k_reduced())
cq.embed(adata, progress=False)
cq.annotate(adata)
assert adata.obsm["X_celloquy"].shape[0] == 700
named = adata.obs["celloquy_label"].value_counts()
print(f"Python {cq.__version__}: embedded {adata.obsm['X_celloquy'].shape}, named {named.head(4).to_dict()}")
