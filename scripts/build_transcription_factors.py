#!/usr/bin/env python3
"""Build the list of transcription factors in python/celloquy/genes/tables/regulators from a published package.

Run ``python scripts/build_transcription_factors.py`` with the package's own environment on Debian 12 (``apt-get``
fetches the package). A factor is a human gene with the term GO:0003700, DNA-binding transcription factor activity, or a
term below it. SOURCES.json beside the list records source, version, licence and checksum. Genes are identified as the
package does; a name that it does not know is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import pandas as pd
from build_gene_priors import GENE_ONTOLOGY, database, unpacked
from gene_sources import Source, fetch

from celloquy.genes import identify_genes

FOLDER = Path(__file__).resolve().parents[1] / "python" / "celloquy" / "genes" / "tables" / "regulators"
FILE = "transcription_factors.txt"
TERM = "GO:0003700"
SOURCE = Source(
    "r-bioc-org.hs.eg.db",
    "3.16.0-1",
    "Artistic-2.0; Gene Ontology CC BY 4.0",
    f"human genes of {TERM}, DNA-binding transcription factor activity, {GENE_ONTOLOGY}",
    "debian",
)


def build(downloads: Path, scratch: Path) -> None:
    """Download, identify, write."""
    package = fetch(SOURCE, downloads)
    query = (
        "SELECT DISTINCT symbol FROM go_mf_all JOIN gene_info USING (_id) "
        f"WHERE go_id = '{TERM}' AND evidence != 'ND' ORDER BY symbol"
    )
    symbols = pd.read_sql(query, database(unpacked(package, scratch)))["symbol"]
    genes = sorted({gene for gene in identify_genes(symbols, species="human").ids if gene})
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / FILE).write_text("\n".join(genes) + "\n")
    record = {
        "built_by": "scripts/build_transcription_factors.py",
        "sources": [{**vars(SOURCE), "file": package.name, "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}],
        "tables": {FILE: {"genes": len(genes), "bytes": (FOLDER / FILE).stat().st_size}},
    }
    (FOLDER / "SOURCES.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{len(genes)} of {len(symbols)} genes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the list of transcription factors from a published package.")
    parser.add_argument("--downloads", type=Path, help="keep the downloaded package here and reuse it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept = arguments.downloads.resolve() if arguments.downloads else Path(temporary) / "downloads"
        build(kept, Path(temporary))
