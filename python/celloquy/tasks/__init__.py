"""What a user asks for: one room a task, each with any model that can do what the task needs."""

from celloquy.tasks.attention import gene_attention
from celloquy.tasks.base import Task
from celloquy.tasks.embedding import embed
from celloquy.tasks.gene_vectors import gene_embeddings, similar_genes

__all__ = ["Task", "embed", "gene_attention", "gene_embeddings", "similar_genes"]
