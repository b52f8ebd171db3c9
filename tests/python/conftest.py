"""Fixtures and settings that all test files share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The machine is small and shared, so a slow example is no defect; the same examples are drawn in every run.
settings.register_profile("celloquy", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("celloquy")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory) -> Iterator[None]:
    """Keep the cache folder of whoever runs the tests out of them, and the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # huggingface_hub reads it when it is first imported.
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("HF_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data and reference outputs beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the data folder beside the checkout")
    return folder


@pytest.fixture(scope="session")
def r_library(tmp_path_factory) -> Path:
    """The R package celloquy, installed from the checkout into a library of its own."""
    folder = tmp_path_factory.mktemp("library")
    checkout = Path(__file__).resolve().parents[2]
    command = ["R", "CMD", "INSTALL", "--no-docs", "--no-byte-compile", f"--library={folder}", str(checkout)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(scope="session")
def r(r_library):
    """R in this process, which finds that library; its value is the function that runs R code."""
    from rpy2 import robjects

    robjects.r(f'.libPaths(c("{r_library}", .libPaths()))')
    return robjects.r
