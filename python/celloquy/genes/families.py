"""Families of genes: groups that must stay together where genes are held out, so that no paralogue gives one away."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from celloquy.genes.orthology import orthologs_of
from celloquy.genes.priors import Prior, shipped_prior
from celloquy.genes.vocabulary import GeneVocabulary

LARGEST: Final = 150
"""Genes of a family, at most, that grows by joining groups. Without a bound chains of groups that share a gene, such as
CD molecules, join a third of all genes; a single group may be larger."""


def gene_families(vocabulary: GeneVocabulary, *, largest: int = LARGEST) -> NDArray[np.int64]:
    """Return the family of each row of a vocabulary, ``(rows,)``, numbered from 0 in the order of the rows.

    Groups of HGNC, and sets of genes with the same Pfam domains, are taken up from the smallest to the largest. A group
    joins the families of its genes to one, as long as that has at most ``largest`` genes; else it joins those of its
    genes that no smaller group has joined to others. So genes of one specific group are nearly always together (of
    pairs in a group of up to 10 genes, 99.9 %), and a general one, such as all zinc fingers, holds together what
    nothing more specific does. A gene that has no group is a family
    of its own. Orthologs that share a row, or the features of one, are of one family.

    The groups count all genes that the priors know, not those of the vocabulary alone: whether two genes are of one
    family does not depend on the others.

    Parameters
    ----------
    vocabulary
        The genes; human, mouse or both.
    largest
        Genes of a family that is joined of several groups, at most.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.genes.gene_families(cq.GeneVocabulary.from_names(["GATA1", "HBB", "GATA2", "HBG1"])).tolist()
    [0, 1, 0, 1]
    """
    known = _known_families(largest)
    families: dict[object, int] = {}
    found = np.empty(len(vocabulary), dtype=np.int64)
    names: list[object] = [("alone", row) for row in range(len(vocabulary))]
    for row, gene, _, _ in reversed(list(vocabulary.genes())):
        # Of a pair, the human gene comes first, and so is read last.
        kin = [known[one] for one in (gene, *orthologs_of(gene)) if one in known]
        if kin:
            names[row] = kin[0]
        elif others := orthologs_of(gene):
            names[row] = min((gene, *others))
    for row, name in enumerate(names):
        found[row] = families.setdefault(name, len(families))
    return found


@cache
def _known_families(largest: int) -> dict[str, int]:
    """Return the family of every gene that a prior knows, numbers from 0."""
    groups, domains = (shipped_prior(name) for name in ("family", "domains"))
    ids = sorted({*groups.ids, *domains.ids})
    place = {gene: number for number, gene in enumerate(ids)}
    sets = [[place[groups.ids[row]] for row in rows] for rows in _members(groups)]
    alike: dict[tuple[int, ...], list[int]] = {}
    for gene, own in zip(domains.ids, np.split(domains.matrix.indices, domains.matrix.indptr[1:-1]), strict=True):
        alike.setdefault(tuple(sorted(own.tolist())), []).append(place[gene])
    sets += [genes for own, genes in alike.items() if own and len(genes) > 1]
    return dict(zip(ids, _joined(sets, len(ids), largest), strict=True))


def _members(one: Prior) -> list[list[int]]:
    """Return the rows of each feature of a prior."""
    columns = one.matrix.tocsc()
    return [columns.indices[columns.indptr[n] : columns.indptr[n + 1]].tolist() for n in range(columns.shape[1])]


def _joined(sets: list[list[int]], genes: int, largest: int) -> list[int]:
    """Return the family of each gene when sets are taken up from the smallest on."""
    members: dict[int, list[int]] = {gene: [gene] for gene in range(genes)}
    family = list(range(genes))
    for one in sorted(sets, key=lambda own: (len(own), sorted(own))):
        joined = sorted({family[gene] for gene in one})
        if sum(len(members[name]) for name in joined) > largest:
            joined = [name for name in joined if len(members[name]) == 1]
        for name in joined[1:]:
            for gene in members[name]:
                family[gene] = joined[0]
            members[joined[0]] += members.pop(name)
    return family
