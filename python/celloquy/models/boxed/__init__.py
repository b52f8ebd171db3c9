"""The models in the box: they come with the package and need no network. ``scripts/make_models.py`` makes them."""

from __future__ import annotations

from pathlib import Path

from celloquy import keys

BOXED = (keys.CELLS_MINI, keys.GENES_MINI)
"""Names of the models in the box."""

BOX = Path(__file__).parent
"""Folder with their directories."""
