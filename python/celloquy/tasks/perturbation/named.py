"""The genes that a user names, among those that the cells express."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.errors import GenesError, some
from celloquy.genes.nearest import said_nearest
from celloquy.tasks.gene_reading import find_genes
from celloquy.tasks.perturbation.sample import SampledCells


def named_genes(
    cells: SampledCells, genes: Iterable[str], argument: str = "genes", *, least_one: bool = False
) -> NDArray[np.int64]:
    """Return the places of genes among those that cells measure, each once.

    A row of the vocabulary that is a pair of orthologs stands for the gene of the cells' species, whichever was named.

    Parameters
    ----------
    cells
        The cells.
    genes
        Symbols or ids.
    argument
        Argument that names them, for messages.
    least_one
        True if one that is measured and expressed is enough, as of a long list: those that are not measured are then
        left out.

    Raises
    ------
    ArgumentError, GenesError
        If these are no names, or one is of no gene of the model, is not measured, or expressed in no cell. The error
        tells the names that are spelled most alike.
    """
    wanted = find_genes(cells.known, genes, argument)
    place_of = {row: place for place, row in enumerate(cells.rows.tolist())}
    rows = list(dict.fromkeys(cells.known["row"].to_numpy()[wanted].tolist()))
    # Of a pair the symbol in the cells' own species comes last.
    own = cells.known["species"].isin(cells.genes["species"])
    symbol = dict(pd.concat([cells.known[~own], cells.known[own]])[["row", "symbol"]].to_numpy())
    expressed = np.asarray(cells.means.any(axis=0))
    for problem, missing in (
        ("The cells do not measure these genes.", [row for row in rows if row not in place_of]),
        ("No cell expresses these genes.", [row for row in rows if row in place_of and not expressed[place_of[row]]]),
    ):
        if missing and not (least_one and len(missing) < len(rows)):
            names = [str(symbol.get(row) or row) for row in missing]
            raise GenesError(
                problem,
                found=some(names),
                expected=f"genes with a count in one of the {len(cells.batch):,} cells that are read; "
                + said_nearest(names, cells.genes["symbol"][expressed]),
                remedy="leave them out, or read more cells with `n_cells`.",
                argument=argument,
            )
    return np.array([place_of[row] for row in rows if row in place_of], dtype=np.int64)
