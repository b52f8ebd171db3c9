"""Fixtures and settings that all test files share."""

from pathlib import Path

import pytest
from hypothesis import settings

# The machine is small and shared, so a slow example is no defect; the same examples are drawn in every run.
settings.register_profile("celloquy", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("celloquy")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data and reference outputs beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the data folder beside the checkout")
    return folder
