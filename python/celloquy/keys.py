"""Every name that celloquy reads from or writes to an AnnData, in one place."""

from typing import Final

COUNTS_LAYER: Final = "counts"
"""``layers`` key looked at first for raw counts."""

EMBEDDING: Final = "X_celloquy"
"""``obsm`` key of the embedding, ``(cells, latent)`` float32."""

PROVENANCE: Final = "celloquy"
"""``uns`` key of how the results were made: one record a result, by the key of the result."""

ANNOTATION: Final = "celloquy"
"""Prefix of the keys of an annotation, which ``key_added`` replaces."""

LABEL: Final = "celloquy_label"
"""``obs`` key of the cell type found, categorical; :data:`UNKNOWN` where it is none of the reference's."""

CONFIDENCE: Final = "celloquy_confidence"
"""``obs`` key of how probable that cell type is among those of the reference, from 0 to 1."""

NOVELTY: Final = "celloquy_novelty"
"""``obs`` key of how unlike all cell types of the reference a cell is, from 0 to 1; unknown above one half."""

PROBABILITY: Final = "celloquy_probability"
"""``obsm`` key of the probabilities of all cell types, a DataFrame ``(cells, types)``."""

TOP: Final = "celloquy_top"
"""``obsm`` key of the most probable cell types, a DataFrame ``(cells, k)``, the most probable first."""

EVIDENCE: Final = "celloquy_evidence"
"""``obsm`` key of the nearest reference cells, a DataFrame with ``cell_1``, ``label_1``, ``cell_2`` and so on."""

UNKNOWN: Final = "unknown"
"""Label of cells of no cell type of the reference."""

DENOISED: Final = "celloquy_denoised"
"""``layers`` key of denoised expression, ``(cells, genes)`` float32; of some genes, ``obsm`` key of a DataFrame."""

IMPUTED: Final = "celloquy_imputed"
"""``obsm`` key of imputed expression, a DataFrame cells × genes."""


def prefixed(key: str, prefix: str) -> str:
    """Return the key of an annotation's result under another prefix, e.g. ``"fine_label"``."""
    return prefix + key.removeprefix(ANNOTATION)
