"""Who is this gene? Ids, symbols, species, orthologs, vocabulary; no torch here."""

from celloquy.genes.alignment import Alignment
from celloquy.genes.coexpression import coexpression
from celloquy.genes.expression import expression
from celloquy.genes.families import gene_families
from celloquy.genes.identify import IdentifiedGenes, identify_genes
from celloquy.genes.orthology import Orthologs, in_species, orthologs
from celloquy.genes.priors import PRIORS, Prior, prior
from celloquy.genes.reports import AlignmentReport
from celloquy.genes.transcription_factors import transcription_factors
from celloquy.genes.vocabulary import GeneVocabulary

__all__ = [
    "PRIORS",
    "Alignment",
    "AlignmentReport",
    "GeneVocabulary",
    "IdentifiedGenes",
    "Orthologs",
    "Prior",
    "coexpression",
    "expression",
    "gene_families",
    "identify_genes",
    "in_species",
    "orthologs",
    "prior",
    "transcription_factors",
]
