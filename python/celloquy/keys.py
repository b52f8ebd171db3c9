"""Every name that celloquy reads from or writes to an AnnData, in one place."""

from typing import Final

COUNTS_LAYER: Final = "counts"
"""``layers`` key in which raw counts are looked for first."""

EMBEDDING: Final = "X_celloquy"
"""``obsm`` key of the embedding, ``(cells, latent)`` float32."""

CUT: Final = "celloquy_cut"
"""``obs`` key of the number of expressed genes of a cell that a gene model did not read, as they exceed its context."""

PROVENANCE: Final = "celloquy"
"""``uns`` key of the provenance of results: one record a result, under the key of the result."""

ANNOTATION: Final = "celloquy"
"""Prefix of the keys of an annotation; ``key_added`` replaces it."""

LABEL: Final = "celloquy_label"
"""``obs`` key of the predicted label, categorical; :data:`UNKNOWN` if it is none of the labels of the reference."""

CONFIDENCE: Final = "celloquy_confidence"
"""``obs`` key of the confidence: probability of the label among those of the reference, from 0 to 1."""

NOVELTY: Final = "celloquy_novelty"
"""``obs`` key of the novelty: how far a cell is from all labels of the reference, from 0 to 1; unknown above 0.5."""

PROBABILITY: Final = "celloquy_probability"
"""``obsm`` key of the probabilities of all labels, ``(cells, labels)``; :func:`celloquy.get` names them."""

TOP: Final = "celloquy_top"
"""``obsm`` key of the most probable labels, ``(cells, k)``, in order of probability; read by :func:`celloquy.get`."""

EVIDENCE: Final = "celloquy_evidence"
"""``obsm`` key of the nearest reference cells; :func:`celloquy.get` gives ``cell_1``, ``label_1``, ``cell_2``, …"""

UNKNOWN: Final = "unknown"
"""Label of cells that belong to no label of the reference."""

DENOISED: Final = "celloquy_denoised"
"""``layers`` key of denoised expression, ``(cells, genes)`` float32; for chosen genes, ``obsm`` key of a table."""

IMPUTED: Final = "celloquy_imputed"
"""``obsm`` key of imputed expression, ``(cells, genes)``; :func:`celloquy.get` names the genes."""

NICHE: Final = "niche"
"""``obs`` key of the niche, categorical; ``obsm`` has the embedding of neighbourhoods under ``"X_niche"``."""

CELLS_MINI: Final = "cells-mini"
"""Name of the model in the box that embeds cells where the user names none."""

GENES_MINI: Final = "genes-mini"
"""Name of the gene model in the box."""

SCRATCH: Final = "scratch"
"""Name that stands for a model trained from scratch on the cells themselves."""


def prefixed(key: str, prefix: str) -> str:
    """Return a key of an annotation with another prefix, e.g. ``"fine_label"`` for the prefix ``"fine"``."""
    return prefix + key.removeprefix(ANNOTATION)
