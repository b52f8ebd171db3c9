"""Every name that celloquy reads from or writes to an AnnData, in one place."""

from typing import Final

COUNTS_LAYER: Final = "counts"
"""``layers`` key in which raw counts are looked for first."""

EMBEDDING: Final = "X_celloquy"
"""``obsm`` key of the embedding, ``(cells, latent)`` float32."""

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
"""``obsm`` key of the probabilities of all labels, a DataFrame ``(cells, labels)``."""

TOP: Final = "celloquy_top"
"""``obsm`` key of the most probable labels, a DataFrame ``(cells, k)``, the most probable first."""

EVIDENCE: Final = "celloquy_evidence"
"""``obsm`` key of the nearest reference cells, a DataFrame with ``cell_1``, ``label_1``, ``cell_2`` and so on."""

UNKNOWN: Final = "unknown"
"""Label of cells that belong to no label of the reference."""

DENOISED: Final = "celloquy_denoised"
"""``layers`` key of denoised expression, ``(cells, genes)`` float32; for chosen genes, ``obsm`` key of a DataFrame."""

IMPUTED: Final = "celloquy_imputed"
"""``obsm`` key of imputed expression, a DataFrame ``(cells, genes)``."""


def prefixed(key: str, prefix: str) -> str:
    """Return a key of an annotation with another prefix, e.g. ``"fine_label"`` for the prefix ``"fine"``."""
    return prefix + key.removeprefix(ANNOTATION)
