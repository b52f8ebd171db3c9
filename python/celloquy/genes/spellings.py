"""Undo the changes that spreadsheets, R and Seurat make to gene names.

This module only proposes names. ``lookup`` accepts a proposal only if the tables know it, and only after it has looked
up the name as it stands, so that real names such as RP11-34P13.7 or NKX2-1 are never changed.
"""

from __future__ import annotations

import re
from typing import Final

from celloquy.genes.tables import Species

ENSEMBL_ID: Final = re.compile(r"(ENS[A-Z]*G\d{11})(\.\d+)?([_-]PAR[_-]Y)?", re.IGNORECASE)
"""Id, version, and the tag that old GENCODE releases gave to genes of the Y chromosome's pseudoautosomal regions."""

_OTHER_SPECIES: Final = {
    "other Ensembl species": re.compile(r"ENS(?!G\d|MUSG\d)[A-Z]+G\d{11}(\.\d+)?", re.IGNORECASE),
    "fly": re.compile(r"FBgn\d{7}|CG\d{2,5}"),
    "worm": re.compile(r"WBGene\d{8}"),
    "yeast": re.compile(r"Y[A-P][LR]\d{3}[WC](-[A-Z])?"),
    "thale cress": re.compile(r"AT[1-5CM]G\d{5}", re.IGNORECASE),
}
_ID_INSIDE = re.compile(r"(?<![A-Za-z0-9])ENS[A-Z]*G\d{11}(?![0-9])")
_GENOMES: Final[dict[str, Species]] = {
    "grch38": "human", "grch37": "human", "hg38": "human", "hg19": "human", "human": "human",
    "grcm39": "mouse", "grcm38": "mouse", "mm39": "mouse", "mm10": "mouse", "mm9": "mouse", "mouse": "mouse",
}  # fmt: skip
_GENOME_PREFIX = re.compile(rf"({'|'.join(_GENOMES)})[_-]+(?=.)", re.IGNORECASE)
_SUFFIX = re.compile(r"(.+?)(?:[.-]\d{1,3}|_loc\d+)")
# A gene without a symbol is named after the clone that holds it, a dot and a number: another number is another gene.
_CLONE = re.compile(
    r"[A-Z]{1,2}\d{5,6}|(RP\d+|CT[A-D]|XX[A-Z]*|KB|LL[A-Z\d]*|GS\d?|WI\d?|LA\d+[A-Z]?|YR)-\w+", re.IGNORECASE
)

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# Gene families whose symbols a spreadsheet reads as a month, beside its three letters.
_FAMILIES: Final = {"MAR": ("MARCH", "MARC"), "SEP": ("SEPT",)}
_MONTH = r"(?P<month>march|marc|sept|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_NAMED_DATES: Final = (
    re.compile(rf"X?(?P<day>\d{{1,2}})[-./ ]?{_MONTH}([-./ ]\d{{2,4}})?", re.IGNORECASE),
    re.compile(rf"{_MONTH}[-./ ](?P<day>\d{{1,2}})", re.IGNORECASE),
)
_ISO_DATE: Final = re.compile(r"X?\d{4}[-./](\d{2})[-./](\d{2})([ T.]00[:.]00[:.]00)?")
_SHORT_DATE: Final = re.compile(r"X?(\d{1,2})[-./](\d{1,2})[-./]\d{2,4}")


def other_species(name: str) -> str | None:
    """Return the species, neither human nor mouse, whose names alone are spelled like this one, or None."""
    return next((species for species, pattern in _OTHER_SPECIES.items() if pattern.fullmatch(name)), None)


def in_small_letters(name: str) -> bool:
    """Return whether a name is spelled as a symbol of zebrafish or frog; symbols of human and mouse have a capital."""
    return name[:1].isalpha() and name == name.lower()


def without_genome(name: str) -> tuple[Species, str] | None:
    """Return species and rest of a name that starts with its genome, as in data of two species (``mm10___Actb``)."""
    match = _GENOME_PREFIX.match(name)
    return (_GENOMES[match[1].lower()], name[match.end() :]) if match else None


def id_inside(name: str) -> str | None:
    """Return the only Ensembl id within a name such as ``TSPAN6_ENSG00000000003``."""
    found = _ID_INSIDE.findall(name)
    return found[0] if len(found) == 1 and found[0] != name else None


def from_date(name: str) -> tuple[str, ...]:
    """Return the symbols that a spreadsheet may have turned into this date: 1-Mar was MARCH1 or MARC1."""
    named = filter(None, (pattern.fullmatch(name) for pattern in _NAMED_DATES))
    days = [(match["month"].upper(), int(match["day"])) for match in named]
    if match := _ISO_DATE.fullmatch(name):
        days.extend(_day_of(match[1], match[2]))
    elif match := _SHORT_DATE.fullmatch(name):
        # 3/9 is the third of September or the ninth of March.
        days.extend((*_day_of(match[1], match[2]), *_day_of(match[2], match[1])))
    return tuple(dict.fromkeys(f"{word}{day}" for month, day in days for word in (*_FAMILIES.get(month, ()), month)))


def without_leading_x(name: str) -> str | None:
    """Return a name without the X that R's ``make.names`` put in front of a digit (``X7SK``), or None."""
    return name[1:] if len(name) > 1 and name[0] == "X" and name[1].isdigit() else None


def without_suffix(name: str) -> str | None:
    """Return a name without the number that makes it unique (``GENE.1``, ``GENE-1``, ``GENE_loc2``), or None."""
    match = _SUFFIX.fullmatch(name)
    return match[1] if match else None


def names_a_clone(name: str) -> bool:
    """Return whether a name is that of a clone, such as the front of ``RP11-34P13.7`` and ``AC012345.1``."""
    return _CLONE.fullmatch(name) is not None


def _day_of(month: str, day: str) -> list[tuple[str, int]]:
    return [(_MONTHS[int(month) - 1], int(day))] if 1 <= int(month) <= 12 and 1 <= int(day) <= 31 else []
