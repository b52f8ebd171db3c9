"""Gene regulatory networks: from expression, from a gene model, from what is known of genes, and from all of these."""

from celloquy.tasks.networks.files import write_network
from celloquy.tasks.networks.scores import METHODS
from celloquy.tasks.networks.verb import infer_network

__all__ = ["METHODS", "infer_network", "write_network"]
