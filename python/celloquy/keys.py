"""Every name that celloquy reads from or writes to an AnnData, in one place."""

from typing import Final

COUNTS_LAYER: Final = "counts"
"""``layers`` key looked at first for raw counts."""

EMBEDDING: Final = "X_celloquy"
"""``obsm`` key of the embedding, ``(cells, latent)`` float32."""

PROVENANCE: Final = "celloquy"
"""``uns`` key of how the results were made: version, model, parameters, genes matched."""
