"""Run the five-minute tour with an installed celloquy, without a network: python -I scripts/smoke.py."""

import runpy
import socket
import sys
from pathlib import Path
from typing import NoReturn

import matplotlib as mpl

import celloquy as cq


def refuse(*_: object) -> NoReturn:
    """End where a connection is opened."""
    sys.exit("Something asked for the network.")


mpl.use("agg")
socket.socket.connect = refuse  # type: ignore[method-assign]
assert cq.__file__.startswith(sys.prefix), cq.__file__
scripts = Path(__file__).resolve().parent
tour = scripts.parent / "docs" / "tutorials" / "tour.md"
made = runpy.run_path(str(scripts / "tutorials.py"))["run"](tour)
assert made["pbmc"].obsm["X_umap"].shape == (700, 2)
assert made["right"] > 0.75, made["right"]
assert made["shifts"]["gene"].tolist() == ["SPI1", "LYZ"]
named = made["pbmc"].obs["celloquy_label"].value_counts()
print(f"Python {cq.__version__}: the tour, {made['right']:.2f} right by a reference, named {named.head(4).to_dict()}")
