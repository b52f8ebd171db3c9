"""Who is this gene? Ids, symbols, species, orthologs, vocabulary; no torch here."""

from celloquy.genes.alignment import Alignment, AlignmentReport
from celloquy.genes.identify import IdentifiedGenes, identify_genes
from celloquy.genes.orthology import Orthologs, in_species, orthologs
from celloquy.genes.vocabulary import GeneVocabulary

__all__ = [
    "Alignment",
    "AlignmentReport",
    "GeneVocabulary",
    "IdentifiedGenes",
    "Orthologs",
    "identify_genes",
    "in_species",
    "orthologs",
]
