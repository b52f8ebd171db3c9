"""Networks in files that other programs read: GraphML and SIF."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from celloquy.checks import check_path
from celloquy.errors import ArgumentError, DiskError

ENDINGS: Final = (".graphml", ".sif", ".csv")
"""Endings of the files that networks are written to."""

_KINDS = {1: "activates", -1: "represses", 0: "regulates"}
_TYPES = {"f": "double", "i": "long", "u": "long"}
_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"


def write_network(edges: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write edges to a file for Cytoscape, Gephi, igraph or networkx.

    Parameters
    ----------
    edges
        What :func:`celloquy.infer_network` returned, or some of its rows.
    path
        ``.graphml``: all columns are attributes of the edges; ``.sif``: regulator, ``activates``, ``represses`` or
        ``regulates``, and target; ``.csv``: the table.

    Raises
    ------
    ArgumentError
        If these are no edges, or the path has another ending.
    DiskError
        If it can't be written.

    Examples
    --------
    >>> import celloquy as cq
    >>> edges = cq.infer_network(adata, regulators=["SPI1", "IRF8"], method="ridge")
    >>> cq.write_network(edges, "network.graphml")
    """
    check_edges(edges)
    file = check_path("path", path, "the path of a file")
    ending = check_ending(file)
    try:
        if ending == ".csv":
            edges.to_csv(file, index=False)
        elif ending == ".sif":
            _write_sif(edges, file)
        else:
            _write_graphml(edges, file)
    except OSError as error:
        raise DiskError.of(file, error) from error


def check_ending(file: Path) -> str:
    """Return the ending of a file that a network can be written to.

    Raises
    ------
    ArgumentError
        If it has another one.
    """
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise ArgumentError(
            "Networks can't be written to a file of this kind.",
            found=repr(file.name),
            expected="a name that ends in .graphml, .sif or .csv",
            remedy="choose one of these endings.",
            argument="path",
        )
    return ending


def check_edges(edges: object) -> None:
    """Check that a table is one of edges.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    columns = list(edges.columns) if isinstance(edges, pd.DataFrame) else []
    if not {"regulator", "target", "score", "sign"} <= set(columns):
        raise ArgumentError(
            "These are no edges of a network.",
            found=f"columns {', '.join(map(str, columns))}" if columns else f"an object of type {type(edges).__name__}",
            expected="a table with the columns regulator, target, score and sign",
            remedy="pass what cq.infer_network returned, or some of its rows.",
            argument="edges",
        )


def _write_sif(edges: pd.DataFrame, file: Path) -> None:
    kinds = np.sign(edges["sign"].to_numpy(dtype=np.int64))
    lines = [
        f"{regulator}\t{_KINDS[int(kind)]}\t{target}\n"
        for regulator, kind, target in zip(edges["regulator"], kinds, edges["target"], strict=True)
    ]
    file.write_text("".join(dict.fromkeys(lines)), encoding="utf-8")


def _write_graphml(edges: pd.DataFrame, file: Path) -> None:
    root = ElementTree.Element("graphml", {"xmlns": _NAMESPACE})
    others = [str(name) for name in edges.columns if name not in ("regulator", "target")]
    for name in others:
        kind = _TYPES.get(edges[name].dtype.kind, "string")
        ElementTree.SubElement(root, "key", {"id": name, "for": "edge", "attr.name": name, "attr.type": kind})
    graph = ElementTree.SubElement(root, "graph", {"edgedefault": "directed"})
    for gene in dict.fromkeys([*edges["regulator"], *edges["target"]]):
        ElementTree.SubElement(graph, "node", {"id": str(gene)})
    columns: list[list[Any]] = [edges[name].astype(str).tolist() for name in others]
    for number, (source, target) in enumerate(zip(edges["regulator"], edges["target"], strict=True)):
        ends = {"source": str(source), "target": str(target)}
        edge = ElementTree.SubElement(graph, "edge", ends)
        for name, column in zip(others, columns, strict=True):
            ElementTree.SubElement(edge, "data", {"key": name}).text = column[number]
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
