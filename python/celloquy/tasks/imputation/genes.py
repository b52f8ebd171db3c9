"""Genes that a panel and its reference share, and genes that the panel lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy.checks import check_names
from celloquy.data import CellSource
from celloquy.data.tables import unwritable
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.genes import GeneVocabulary, identify_genes, in_species
from celloquy.genes.species import detect_species

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class PanelGenes:
    """The genes of a panel, and those to be imputed."""

    vocabulary: GeneVocabulary
    """Genes of both, and no others unless a pretrained model brings them."""
    shared: list[str]
    """Ids of the genes that panel and reference have."""
    wanted: dict[str, str]
    """Name → id of the genes to impute."""
    of_reference: dict[str, str]
    """Name → id of the genes of the reference, in the panel's species unless the vocabulary is of both."""

    def narrow(self, reference: CellSource) -> AnnData:
        """Return the reference with the genes of the vocabulary alone, named by id; columns of one gene are summed."""
        from anndata import AnnData

        counts = reference.counts
        ids = pd.Series([self.of_reference.get(str(name), "") for name in counts.var_names])
        known = np.flatnonzero([gene in self.vocabulary for gene in ids])
        codes, genes = pd.factorize(ids[known])
        ones = np.ones(len(known), dtype=np.float32)
        summing = sparse.csr_matrix((ones, (known, codes)), shape=(counts.n_genes, len(genes)))
        narrow = AnnData(sparse.csr_matrix(counts.read(0, counts.n_cells) @ summing))
        narrow.var_names = genes.tolist()
        return narrow


def match_genes(
    spatial: CellSource,
    reference: CellSource,
    genes: Sequence[str] | None,
    *,
    vocabulary: GeneVocabulary | None,
    least: int,
) -> PanelGenes:
    """Find the genes of a panel in its reference, and what to impute.

    Parameters
    ----------
    spatial, reference
        The panel's cells and those of the reference; ``species="auto"`` maps the reference to the panel's species,
        which a vocabulary of both species has no need of.
    genes
        Genes to impute, as the reference or the panel would spell it; by default all that the panel lacks.
    vocabulary
        The genes of a pretrained model, to which all is confined.
    least
        Genes that must be shared.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If there are no counts, too few genes are shared, the species differ, or a gene can't or need not be imputed.
    """
    names, others, species = spatial.expressed_names(), reference.expressed_names(), spatial.columns.species
    # A gene that the reference measured and never saw can be asked for, and is then 0, but tells nothing of a cell.
    measured = list(dict.fromkeys(map(str, reference.var_names)))
    both = vocabulary is not None and vocabulary.pairs > 0
    of_reference = dict(zip(measured, _gene_ids(measured if both else _mapped(names, measured, species)), strict=True))

    def row(gene: str) -> str:
        """Return the id that stands for a gene and, if the vocabulary is of both species, its ortholog."""
        return vocabulary.ids[vocabulary.index(gene)] if vocabulary is not None and gene in vocabulary else gene

    ids = {name: row(gene) for name, gene in of_reference.items()}
    panel = dict.fromkeys(map(row, _gene_ids(names)))
    # The first of several names of a gene stands for it.
    available = {gene: name for name, gene in reversed(ids.items()) if vocabulary is None or gene in vocabulary}
    expressed = {ids[name] for name in others} & available.keys()
    shared = [gene for gene in panel if gene in expressed]
    if len(shared) < least:
        raise GenesError(
            "Panel and reference share too few genes.",
            found=f"{len(shared)} shared; spatial: {', '.join(names[:3])}; reference: {', '.join(others[:3])}",
            expected=f"at least {least}, better a hundred",
            remedy="check that both objects name genes of one species, and where their counts are.",
        )
    wanted = {name: gene for gene, name in reversed(available.items()) if gene in expressed and gene not in panel}
    if genes is not None:
        asked = check_names("genes", genes, "names of genes")
        wanted = {name: ids.get(name, row(gene)) for name, gene in zip(asked, _gene_ids(asked), strict=True)}
    _check(wanted, panel, available)
    if vocabulary is None:
        vocabulary = GeneVocabulary.from_names([*panel, *wanted.values()], keep_unknown=True)
    return PanelGenes(vocabulary, shared, wanted, of_reference)


def genes_at(vocabulary: GeneVocabulary, places: NDArray[np.int64]) -> Tensor:
    """Return ``(genes,)`` bool, true at some places of a vocabulary."""
    chosen = torch.zeros(len(vocabulary), dtype=torch.bool)
    chosen[torch.from_numpy(places)] = True
    return chosen


def _mapped(names: list[str], others: list[str], species: Literal["auto"] | None) -> list[str]:
    """Names of the reference in the panel's species."""
    own, guess = detect_species(names).species, detect_species(others)
    if {own, guess.species} != {"human", "mouse"}:
        return others
    if not guess.certain:
        # Capitals that both species know: more likely a way of spelling than another species.
        alike = identify_genes(others, species="human" if own == "human" else "mouse").ids
        return [gene or name for name, gene in zip(others, alike, strict=True)]
    if species != "auto":
        raise GenesError(
            "Panel and reference are of different species.",
            found=f"spatial object: {own}, reference: {guess.species}",
            expected="one species",
            remedy='pass species="auto" to have one-to-one orthologs taken, or another reference.',
            argument="species",
        )
    return in_species(others, "human" if own == "human" else "mouse")


def _check(wanted: dict[str, str], panel: dict[str, None], available: dict[str, str]) -> None:
    if not wanted:
        raise ArgumentError(
            "There is nothing to impute.",
            found="no gene that the panel lacks",
            expected="genes of the reference that are not in the panel",
            remedy="pass a reference with more genes, or name them as `genes`.",
            argument="genes",
        )
    if measured := [name for name, gene in wanted.items() if gene in panel]:
        raise ArgumentError(
            "Some of `genes` need no imputing.",
            found=f"{some(measured)} in the panel",
            expected="genes that the panel lacks",
            remedy="leave them out; to smooth measured genes use cq.denoise().",
            argument="genes",
        )
    if odd := unwritable(wanted):
        raise GenesError(
            "The reference has names of genes that no file can hold.",
            found=some(odd),
            expected="text without null characters, in Unicode",
            remedy="rename them, or leave them out of `genes`.",
            argument="genes",
        )
    if absent := [name for name, gene in wanted.items() if gene not in available]:
        shown = [name for gene, name in available.items() if gene not in panel][:3]
        raise GenesError(
            "Some of `genes` are not in the reference.",
            found=some(absent),
            expected=f"genes of the reference{', such as ' + ', '.join(shown) if shown else ''}",
            remedy="leave them out, or pass a reference that has them.",
            argument="genes",
        )


def _gene_ids(names: Iterable[str]) -> list[str]:
    """Ensembl ids of the genes; a name that is not known stands for itself."""
    given = list(map(str, names))
    return [gene or name for name, gene in zip(given, identify_genes(given).ids, strict=True)]
