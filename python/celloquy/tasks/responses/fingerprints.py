"""Structures of compounds as numbers: Morgan fingerprints of SMILES."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import sparse

from celloquy.errors import ArgumentError

RADIUS: Final = 2
"""Bonds around each atom, as in ECFP4."""
BITS: Final = 2048


def fingerprints(smiles: Sequence[str], names: Sequence[str]) -> sparse.csr_matrix:
    """Return the Morgan fingerprints of compounds, ``(compounds, bits)``; 0 where the text is empty.

    Parameters
    ----------
    smiles
        Structure of each compound.
    names
        Names, for messages.

    Raises
    ------
    ArgumentError
        If RDKit is missing, or can't read a structure.
    """
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdFingerprintGenerator
    except ImportError as error:
        raise ArgumentError(
            "Structures of compounds need RDKit.",
            found="no package rdkit",
            expected="RDKit, which reads SMILES",
            remedy='install it, pip install "celloquy[compounds]", or leave "smiles" out of `described`.',
            argument="described",
        ) from error
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    rows: list[int] = []
    bits: list[int] = []
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            if not text:
                continue
            molecule = Chem.MolFromSmiles(text)
            if molecule is None:
                raise ArgumentError(
                    "A structure is no valid SMILES.",
                    found=f"{text!r} of {names[row]!r}, row {row + 1:,}",
                    expected="SMILES that RDKit reads, or an empty text where the structure is not known",
                    remedy="correct it, or empty it.",
                    argument="described",
                )
            found = list(generator.GetFingerprint(molecule).GetOnBits())
            rows += [row] * len(found)
            bits += found
    return sparse.csr_matrix((np.ones(len(bits)), (rows, bits)), shape=(len(smiles), BITS))
