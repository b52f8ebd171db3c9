"""Properties of genes: any label or number, learned from some genes and told of others."""

from celloquy.tasks.properties.classifier import GeneClassifier
from celloquy.tasks.properties.verb import classify_genes

__all__ = ["GeneClassifier", "classify_genes"]
