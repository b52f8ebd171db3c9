"""How genes are expressed in the corpus of the models in the box: level, share of cells, breadth, specificity."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from celloquy.genes.priors import Prior
from celloquy.genes.vocabulary import GeneVocabulary

FILE: Final = Path(__file__).parent / "tables" / "expression.npz"
"""The table; ``scripts/build_gene_expression.py`` makes it."""

SUMMARIES: Final = (
    "mean", "share of cells", "deviation", "highest mean of a study",
    "mean of cell types", "highest of a cell type", "breadth", "specificity",
)  # fmt: skip
"""Statistics of a gene's expression."""
STATISTICS: Final = (*SUMMARIES, *(f"profile {number}" for number in range(1, 17)))
"""Features of the table."""


def expression(vocabulary: GeneVocabulary) -> Prior:
    """Return how the genes of a vocabulary are expressed in the corpus of the models in the box.

    Parameters
    ----------
    vocabulary
        The genes; human, mouse or both. A gene that the corpus lacks has the values of its orthologs.

    Returns
    -------
    Prior
        Its features, of log-normalised expression (counts per 10,000): ``"mean"``, ``"share of cells"`` that express
        the gene and ``"deviation"`` between cells, each averaged over the studies that measured the gene;
        ``"highest mean of a study"``; and over mean profiles of 542 cell types ``"mean of cell types"``,
        ``"highest of a cell type"``, ``"breadth"``, the share of types that express the gene, ``"specificity"``, the τ
        of Yanai et al. 2005, and ``"profile 1"`` to ``"profile 16"``, principal components of the profiles over types.

    Notes
    -----
    Some of the profiles lack genes that every cell expresses, such as GAPDH, and count them as 0; the statistics of
    studies do not.

    Raises
    ------
    GenesError
        If the corpus has no gene of the vocabulary.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.genes.expression(cq.GeneVocabulary.from_names(["ACTB", "INS"]))
    >>> table.matrix[:, table.features.index("share of cells")].toarray().ravel().round(2)
    array([0.91, 0.08], dtype=float32)
    """
    return expression_table().over(vocabulary)


@cache
def expression_table() -> Prior:
    """Return the table of all genes that the corpus expresses; not to be changed."""
    return Prior.load(FILE)
