"""How much is known of a gene: the number of its groups, terms, domains and relatives, which tells more than it should.

Genes that cause disease are studied more, so numbers of annotations alone predict many properties. They are a block of
their own, so that what they explain is seen.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from scipy import sparse

from celloquy.genes import GeneVocabulary, Prior, gene_families
from celloquy.genes.orthology import orthologs_of
from celloquy.genes.priors import PRIORS, shipped_prior

ANNOTATIONS: Final = "annotations"
COUNTED: Final = ("family size", "orthologs", "one-to-one ortholog")


@cache
def annotation_counts() -> Prior:
    """Return the numbers of annotations of all genes that a prior knows.

    Logarithms of one and the number of features of each prior, and of the genes of the family; the number of orthologs
    in the other species, up to 5, and whether there is one alone.
    """
    priors = [shipped_prior(name) for name in PRIORS]
    vocabulary = GeneVocabulary.both(sorted({gene for one in priors for gene in one.ids}))
    columns = [np.log1p(np.diff(one.over(vocabulary).matrix.indptr)) for one in priors]
    families = gene_families(vocabulary)
    columns.append(np.log1p(np.bincount(families)[families]))
    columns.append(np.array([min(5, len(orthologs_of(gene))) for gene in vocabulary.ids]))
    rows = zip(vocabulary.human_ids, vocabulary.mouse_ids, strict=True)
    columns.append(np.array([bool(human and mouse) for human, mouse in rows]))
    matrix = sparse.csr_matrix(np.stack(columns, 1).astype(np.float32))
    return Prior(ANNOTATIONS, vocabulary.ids, matrix, (*PRIORS, *COUNTED), "numbers of what the priors hold")
