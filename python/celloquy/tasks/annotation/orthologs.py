"""Counts of cells of two species over the orthologs that both measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from celloquy.data import CellSource
from celloquy.data.reader import BLOCK
from celloquy.errors import GenesError
from celloquy.genes import GeneVocabulary
from celloquy.genes.orthology import ortholog_groups
from celloquy.genes.species import detect_species
from celloquy.genes.tables import PREFIX, SPECIES

LEAST_GROUPS = 10
"""Groups of orthologs that two objects must share."""


@dataclass(frozen=True, eq=False)
class SharedOrthologs:
    """Groups of orthologs, each with a gene of either species at least: ``k`` genes in ``g`` groups.

    Orthologs that are not one-to-one count, too: their counts are summed, as those of Ins1 and Ins2 are to meet INS.
    """

    numbers: Tensor
    """``(k,)`` int64: the digits of the Ensembl id of each gene."""
    species: Tensor
    """``(k,)`` int64: its species, a place in ``SPECIES``."""
    groups: Tensor
    """``(k,)`` int64: its group."""

    @classmethod
    def of(cls, reference: CellSource, query: CellSource, *, required: bool = True) -> Self | None:
        """Find the groups that two objects share; None if they are too few, and not required.

        Raises
        ------
        GenesError
            If they share less than ten.
        """
        ids = [[gene for gene in _genes(source)[0].ids if gene] for source in (reference, query)]
        group = ortholog_groups(*ids)
        if len(set(group.values())) < LEAST_GROUPS:
            if not required:
                return None
            raise GenesError(
                "The reference and the cells share too few orthologs.",
                found=f"{len(set(group.values()))} groups of orthologs, of {len(ids[0]):,} genes of the reference and "
                f"{len(ids[1]):,} of the cells",
                expected=f"{LEAST_GROUPS} at least",
                remedy="take a reference, or cells, in which more genes were measured; cq.orthologs(names, to=...) "
                "shows the orthologs of a list of genes.",
                argument="reference",
            )
        places = [SPECIES.index("human" if gene.startswith(PREFIX["human"]) else "mouse") for gene in group]
        return cls(
            torch.tensor([int(gene[-11:]) for gene in group]), torch.tensor(places), torch.tensor(list(group.values()))
        )

    def __len__(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1

    @property
    def one_to_one(self) -> int:
        """Number of groups of two genes."""
        return int((torch.bincount(self.groups) == 2).sum())

    def read(self, source: CellSource) -> sparse.csr_matrix:
        """Return the counts of all cells, ``(cells, groups)`` float32, those of a group summed."""
        genes, columns = _genes(source)
        species = SPECIES.index(genes.species[0])
        own = {int(number): int(group) for number, group in zip(
            self.numbers[self.species == species], self.groups[self.species == species], strict=True
        )}  # fmt: skip
        group = np.array([own.get(int(gene[-11:]), -1) for gene in genes.ids] + [-1])[columns]
        kept = np.flatnonzero(group >= 0)
        into = sparse.csr_matrix(
            (np.ones(len(kept), np.float32), (kept, group[kept])), shape=(len(columns), len(self))
        )  # fmt: skip
        starts = range(0, len(source), BLOCK)
        blocks = [source.counts.read(start, min(start + BLOCK, len(source))) @ into for start in starts]
        return sparse.csr_matrix(sparse.vstack(blocks)) if blocks else sparse.csr_matrix(into[:0])


def species_among(source: CellSource) -> str:
    """Return the species of some cells, or an empty string if it is not certain or there are two."""
    found = detect_species(source.counts.var_names[source.genes].tolist())
    return found.species if found.certain and found.species in SPECIES else ""


def _genes(source: CellSource) -> tuple[GeneVocabulary, np.ndarray]:
    """Genes of an object, and the place among them of each column, or -1."""
    names = source.counts.var_names[source.genes].tolist()
    genes = GeneVocabulary.from_names(names)
    columns = np.full(len(source.counts.var_names), -1)
    columns[source.genes] = genes.align(names, warn=False).columns
    return genes, columns
