"""The ``celloquy`` command: the verbs of the package on files, with the same names and defaults, one file each."""

# The order of the imports is that of the verbs in the help.
# ruff: noqa: I001
from celloquy.cli.app import app
from celloquy.cli import embed as embed
from celloquy.cli import pretrain as pretrain
from celloquy.cli import annotate as annotate
from celloquy.cli import integrate as integrate
from celloquy.cli import denoise as denoise
from celloquy.cli import impute as impute
from celloquy.cli import explain as explain
from celloquy.cli import niches as niches
from celloquy.cli import context as context
from celloquy.cli import samples as samples
from celloquy.cli import genes as genes
from celloquy.cli import network as network
from celloquy.cli import perturb as perturb
from celloquy.cli import respond as respond
from celloquy.cli import info as info
from celloquy.cli import convert as convert

__all__ = ["app"]
