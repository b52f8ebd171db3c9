"""The transcription factors of a species, from which regulation is looked for by default."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from celloquy.genes.identify import check_species
from celloquy.genes.orthology import orthologs_of
from celloquy.genes.tables import Species

_FILE = Path(__file__).parent / "tables" / "regulators" / "transcription_factors.txt"


@cache
def transcription_factors(species: Species) -> tuple[str, ...]:
    """Return the Ensembl ids of the transcription factors of a species, sorted.

    Parameters
    ----------
    species
        ``"human"``: genes with the term GO:0003700 of the Gene Ontology (DNA-binding transcription factor activity,
        release of 2022-07-01, CC BY 4.0), or a term below it. ``"mouse"``: all orthologs of these.

    Raises
    ------
    GenesError
        If it is another species.

    Examples
    --------
    >>> import celloquy as cq
    >>> factors = cq.genes.transcription_factors("human")
    >>> len(factors) > 1000, cq.identify_genes(["GATA1"]).ids[0] in factors
    (True, True)
    """
    human = tuple(_FILE.read_text(encoding="utf-8").split())
    if check_species(str(species)) == "human":
        return human
    return tuple(sorted({other for gene in human for other in orthologs_of(gene)}))
