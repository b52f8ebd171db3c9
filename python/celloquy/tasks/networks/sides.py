"""The two sides of a network, regulators and targets, found among the genes of an object by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from celloquy.checks import check_names, refuse
from celloquy.errors import AbsentGenesWarning, GenesError, some
from celloquy.genes import identify_genes, transcription_factors
from celloquy.genes.orthology import ortholog_of
from celloquy.genes.tables import SPECIES
from celloquy.tasks.networks.cells import Expression

_NEAREST, _SHOWN = 3, 3


def find_regulators(cells: Expression, regulators: Iterable[str] | None) -> NDArray[np.int64]:
    """Return the places of the regulators among the genes, rising; by default all transcription factors.

    Raises
    ------
    GenesError
        If there is none.
    """
    if regulators is not None:
        return find_genes(cells, regulators, "regulators")
    if cells.species not in SPECIES:
        raise GenesError(
            "Transcription factors are known of human and mouse alone.",
            found=f"genes of {cells.species} species, such as {some(cells.names, 3)}",
            expected="symbols or Ensembl ids of human or mouse",
            remedy="name the `regulators`.",
            argument="regulators",
        )
    factors = set(transcription_factors(cells.species))
    places = np.flatnonzero([gene in factors for gene in cells.ids])
    if not len(places):
        raise GenesError(
            "None of the genes is a transcription factor.",
            found=f"{len(cells.names):,} genes, such as {some(cells.names, 3)}",
            expected=f"some of the {len(factors):,} of {cells.species}",
            remedy="name the `regulators`, or keep transcription factors when genes are selected.",
            argument="regulators",
        )
    return places


def find_genes(cells: Expression, genes: Iterable[str], argument: str) -> NDArray[np.int64]:
    """Return the places of named genes, rising, by the name in the object, the Ensembl id or the ortholog's.

    Raises
    ------
    GenesError
        If none is there; the error has the nearest names.

    Warns
    -----
    AbsentGenesWarning
        If some are not.
    """
    names = check_names(argument, genes, "names of genes")
    if not names:
        refuse(argument, names, "the name of at least one gene")
    by_name = {name: place for place, name in enumerate(cells.names)}
    by_id = {gene: place for place, gene in enumerate(cells.ids) if gene}
    found = []
    for name, gene in zip(names, identify_genes(names).ids, strict=True):
        place = by_name.get(name, by_id.get(gene, by_id.get(ortholog_of(gene), -1) if gene else -1))
        found.append(place)
    missing = [name for name, place in zip(names, found, strict=True) if place < 0]
    if len(missing) == len(names):
        raise GenesError(
            f"None of the `{argument}` is among the genes of the object.",
            found=some(missing),
            expected=f"names of its {len(cells.names):,} genes" + _nearest(missing, cells.names),
            remedy=f"name others, or leave `{argument}` out.",
            argument=argument,
        )
    if missing:
        warnings.warn(
            f"Some of the `{argument}` are not among the genes of the object, and are left out: {some(missing)}.",
            AbsentGenesWarning,
            stacklevel=4,
        )
    return np.unique([place for place in found if place >= 0])


def _nearest(missing: list[str], names: tuple[str, ...]) -> str:
    """Return in words the names that are most like the first ones that are missing."""
    capitals = {name.upper(): name for name in names}
    near = [
        capitals[one]
        for name in missing[:_SHOWN]
        for one in get_close_matches(name.upper(), capitals, n=_NEAREST, cutoff=0.7)
    ]
    return f"; the nearest are {', '.join(dict.fromkeys(near))}" if near else f", such as {some(names, 3)}"
