"""The version of the package, on the ground floor, so that every room can name it."""

from typing import Final

VERSION: Final = "0.2.0"
