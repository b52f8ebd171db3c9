"""Refuse, or warn of, names of genes that a vocabulary can't take: other species, mixtures, too few of its genes."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from celloquy.errors import GeneCoverageWarning, GenesError, MixedSpeciesWarning
from celloquy.genes.identify import IdentifiedGenes
from celloquy.genes.orthology import orthologs
from celloquy.genes.reports import AlignmentReport, Genes, examples
from celloquy.genes.species import names_of_other_species
from celloquy.genes.spellings import other_species

REFUSED_BELOW: Final = 0.05
WARNED_BELOW: Final = 0.5


def refuse_other_species(names: tuple[str, ...]) -> NoReturn:
    """Refuse genes of neither human nor mouse."""
    foreign = names_of_other_species(list(names))
    spelled = Counter(other_species(name) or "zebrafish or another species with small letters" for name in foreign)
    raise GenesError(
        "These are genes of neither human nor mouse.",
        found=f"{len(foreign):,} of {len(names):,} names spelled as in {spelled.most_common(1)[0][0]}, such as "
        + examples(foreign),
        expected="Ensembl ids or symbols of human or mouse genes",
        remedy="name human or mouse orthologs in `adata.var_names`; if these are human symbols in small letters, "
        "adata.var_names = adata.var_names.str.upper().",
        argument="species",
    )


def refuse_mixture(identified: IdentifiedGenes, weights: NDArray[np.float64] | None) -> NoReturn:
    """Refuse genes of both species: the counts of orthologs would be summed, which are of different cells."""
    shares = identified.shares(weights)
    raise GenesError(
        "These are genes of human and mouse together.",
        found=" and ".join(f"{share:.1%} in {one} genes" for one, share in shares.items())
        + f" of the {'names' if weights is None else 'counts'}",
        expected="cells of one species at a time: to this vocabulary orthologs are one gene",
        remedy="split the object: `cq.identify_genes(adata.var_names).frame['species']` tells the columns apart, and "
        "the share of a cell's counts in each species' columns tells the cells; pass each species' cells with its own "
        "columns.",
    )


def check_species_agree(vocabulary: Genes, names: tuple[str, ...], report: AlignmentReport) -> None:
    """Refuse genes of the other species than the vocabulary's."""
    if report.species not in ("human", "mouse") or not vocabulary.species or report.species in vocabulary.species:
        return
    if report.share >= WARNED_BELOW:
        return
    (other,) = vocabulary.species
    known = set(vocabulary.ids)
    mapped = sum(pair.ortholog_id in known for pair in orthologs(names, to=other).pairs)
    if mapped < REFUSED_BELOW * len(names):
        raise GenesError(
            f"These are {report.species} genes, and the vocabulary is of {other}.",
            found=f"{len(names):,} {report.species} names, of which {mapped:,} have a one-to-one ortholog in it",
            expected=f"{other} genes, or genes with orthologs among the {len(vocabulary):,} of the vocabulary",
            remedy=f"take a model of {report.species} genes, or cells in which more genes were measured.",
            argument="species",
        )
    raise GenesError(
        f"These are {report.species} genes, and the vocabulary is of {other}.",
        found=f"{report.names:,} names, {report.species} by their spelling or ids",
        expected=f"{other} genes; genes are mapped to another species only on request",
        remedy='pass species="auto" to map them through one-to-one orthologs, or map the genes yourself with '
        f'`cq.orthologs(adata.var_names, to="{other}")`.',
        argument="species",
    )


def warn_of_mixture(vocabulary: Genes, identified: IdentifiedGenes, weights: NDArray[np.float64] | None) -> None:
    """Say how much is of each species where both are in one object, as in barnyard experiments and xenografts."""
    shares = " and ".join(f"{share:.1%} {one}" for one, share in identified.shares(weights).items())
    read = f"Only those of {vocabulary.species[0]} are" if len(vocabulary.species) == 1 else "Both are"
    warnings.warn(
        f"These are genes of both human and mouse: {shares} by their {'names' if weights is None else 'counts'}.\n"
        f"{read} read: keep the cells of one species and its genes, unless that is meant.",
        MixedSpeciesWarning,
        stacklevel=4,
    )


def check_coverage(vocabulary: Genes, names: tuple[str, ...], report: AlignmentReport, *, warn: bool) -> None:
    """Check that the genes of the vocabulary hold enough of the counts, or of the names."""
    if report.share < REFUSED_BELOW:
        expected = [symbol or gene for gene, symbol in zip(vocabulary.ids, vocabulary.symbols, strict=True)]
        raise GenesError(
            f"Only {report.share:.1%} of the {report.weighed_by} belong to genes of the vocabulary.",
            found=f"{len(names):,} names such as {examples(names)}",
            expected=f"Ensembl ids or symbols of {len(vocabulary):,} genes such as {vocabulary.ids[0]} ({expected[0]})"
            if len(vocabulary)
            else "a vocabulary with genes; this one is empty",
            remedy="put Ensembl ids or gene symbols into `adata.var_names`; `cq.identify_genes(adata.var_names)` shows "
            "what each name became.",
        )
    if report.share < WARNED_BELOW and warn:
        warnings.warn(
            f"Only {report.share:.1%} of the {report.weighed_by} belong to genes of the vocabulary; the rest is left "
            f"out.\n{report!r}",
            GeneCoverageWarning,
            stacklevel=4,
        )


def check_presence(vocabulary: Genes, names: tuple[str, ...], report: AlignmentReport, *, warn: bool) -> None:
    """Check that most genes of a selection are among the names, however small their share of the counts is."""
    share = report.genes / max(1, len(vocabulary))
    if share < REFUSED_BELOW:
        raise GenesError(
            f"Only {report.genes:,} of the {len(vocabulary):,} genes that the model reads are among the names.",
            found=f"{len(names):,} names such as {examples(names)}",
            expected=f"Ensembl ids or symbols of genes such as {examples(vocabulary.ids)}",
            remedy="put Ensembl ids or gene symbols into `adata.var_names`; `cq.identify_genes(adata.var_names)` shows "
            "what each name became.",
        )
    if share < WARNED_BELOW and warn:
        warnings.warn(
            f"Only {report.genes:,} of the {len(vocabulary):,} genes that the model reads are among the names.\n"
            f"{report!r}",
            GeneCoverageWarning,
            stacklevel=4,
        )
