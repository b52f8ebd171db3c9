"""Oddities of real objects, by stage: each changes a specimen, and says what a call may then end with.

One that returns nothing leaves the result as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

import celloquy as cq
from specimens import SYMBOLS, End, Specimen

HOSTILE = [
    "", " ", "nan", "NA", "None", "a/b", "/", "..", ".", "_index", "__categories", "index", "é — 细胞", "x" * 300,
    "a\nb", "a\tb", "\u200b", "-1", "1", "1.0", "True", "'", '"', "{x}", "%s", "$HOME", "`a`", "a,b", "CD3E", "counts",
    "X", "obs", "spatial", "celloquy", "X_celloquy", "\U0001f9ec", "a" + "\u0301", "<b>", "\\", "C:\\x", "#", "NaN",
]  # fmt: skip
"""Names that break parsers, paths, tables and messages."""


def some_names(s: Specimen, n: int) -> list[str]:
    return [str(s.random.choice(HOSTILE)) for _ in range(n)]


def ids_of(names: list[str]) -> list[str]:
    """Ids of hostile names, of which some are a gene's, by its symbol (CD3E) or by an older one (obs, spatial)."""
    return [
        cq.identify_genes([name], species="human").ids[0] if name in ("CD3E", "obs", "spatial") else ""
        for name in names
    ]


# --- shape -----------------------------------------------------------------------------------------------------------
def one_cell(s: Specimen) -> None:
    s.take(slice(0, 1))


def two_cells(s: Specimen) -> None:
    s.take(slice(0, 2))


def no_cells(s: Specimen) -> End:
    s.take(slice(0, 0))
    return End.EITHER


def no_columns(s: Specimen) -> End:
    s.take_columns(slice(0, 0))
    return End.EITHER


def one_gene(s: Specimen) -> End:
    s.take_columns(slice(0, 1))
    return End.EITHER


def few_genes(s: Specimen) -> End:
    s.take_columns(s.random.permutation(s.shape[1])[: s.random.integers(2, 12)])
    return End.EITHER


def shuffled_genes(s: Specimen) -> None:
    s.take_columns(s.random.permutation(s.shape[1]))


def empty_cells(s: Specimen) -> None:
    keep = s.random.random(s.shape[0]) < 0.5
    s.counts = sparse.csr_matrix(sparse.diags(keep.astype(float)) @ s.counts)


def all_zero(s: Specimen) -> End:
    s.counts = sparse.csr_matrix(s.shape)
    return End.EITHER


# --- names of genes --------------------------------------------------------------------------------------------------
def symbols(s: Specimen) -> None:
    s.name_columns(symbols_of(s))


def symbols_of(s: Specimen) -> list[str]:
    names = dict(zip(cq.identify_genes(SYMBOLS).ids, SYMBOLS, strict=True))
    return [names.get(one, name) for one, name in zip(s.columns, s.var.index, strict=True)]


def versions(s: Specimen) -> None:
    s.name_columns([f"{name}.{s.random.integers(1, 20)}" for name in s.var.index])


def small_letters(s: Specimen) -> None:
    s.name_columns([name.lower() for name in symbols_of(s)])


def mixed_spellings(s: Specimen) -> None:
    pairs = zip(s.var.index, symbols_of(s), strict=True)
    s.name_columns([[a, b, f"{a}.3", b.lower(), f" {b} ", f"{b}_{a}"][s.random.integers(6)] for a, b in pairs])


def split_gene(s: Specimen) -> None:
    """Counts of one gene in two columns, of the id and of the symbol."""
    if not s.shape[1]:
        return
    one = int(s.random.integers(s.shape[1]))
    half = np.floor(s.counts[:, [one]].toarray() * 0.4)
    s.counts = sparse.csr_matrix(s.counts - sparse.csr_matrix((half.ravel(), (range(len(half)), [one] * len(half))),
                                                              shape=s.shape))  # fmt: skip
    s.counts.eliminate_zeros()
    s.add_columns(half, [s.columns[one]], [symbols_of(s)[one]])


def repeated_name(s: Specimen) -> None:
    if s.shape[1]:
        one = int(s.random.integers(s.shape[1]))
        s.add_columns(s.random.poisson(1.0, (s.shape[0], 1)), [s.columns[one]], [str(s.var.index[one])])


def unknown_genes(s: Specimen) -> End:
    n = int(s.random.integers(1, 40))
    s.add_columns(s.random.poisson(0.3, (s.shape[0], n)), [""] * n, [f"{name}?{k}" for k, name in enumerate(
        some_names(s, n))])  # fmt: skip
    return End.EITHER


def hostile_genes(s: Specimen) -> End:
    names = some_names(s, int(s.random.integers(1, 12)))
    s.add_columns(s.random.poisson(0.2, (s.shape[0], len(names))), ids_of(names), names)
    return End.EITHER


def only_hostile_genes(s: Specimen) -> End:
    names = some_names(s, s.shape[1])
    s.columns = ids_of(names)
    s.name_columns(names)
    return End.EITHER if any(s.columns) else End.REFUSAL


def numbered_genes(s: Specimen) -> End:
    s.columns = [""] * s.shape[1]
    s.name_columns([str(number) for number in range(s.shape[1])])
    return End.REFUSAL


def mouse_genes(s: Specimen) -> End:
    s.name_columns([name.capitalize() for name in symbols_of(s)])
    if s.random.random() < 0.5:
        s.options["species"] = "auto"
    s.comparable = False
    return End.EITHER


def other_species(s: Specimen) -> End:
    kind = s.random.integers(4)
    names = [f"ENSDARG{k:011d}" for k in range(s.shape[1])], [f"FBgn{k:07d}" for k in range(s.shape[1])]
    more = [f"ENSRNOG{k:011d}" for k in range(s.shape[1])], [f"YAL{k:03d}W" for k in range(s.shape[1])]
    s.name_columns([*names, *more][kind])
    s.columns = [""] * s.shape[1]
    return End.REFUSAL if s.shape[1] else End.EITHER


def barnyard(s: Specimen) -> End:
    s.name_columns([f"{'GRCh38' if k % 2 else 'mm10'}_{name}" for k, name in enumerate(symbols_of(s))])
    s.comparable = False
    return End.EITHER


def proteins(s: Specimen) -> None:
    """Antibodies among the genes, which ``feature_types`` tells from them."""
    s.var["feature_types"] = "Gene Expression"
    n = int(s.random.integers(1, 10))
    names = [str(s.random.choice(SYMBOLS)) for _ in range(n)]
    s.add_columns(s.random.poisson(30.0, (s.shape[0], n)), [""] * n, names)
    kinds = ["Antibody Capture", "CRISPR Guide Capture", "Peaks", "Multiplexing Capture", "Custom"]
    values = s.var["feature_types"].astype(object).to_numpy()
    values[len(values) - n :] = s.random.choice(kinds)
    s.var["feature_types"] = pd.Categorical(values) if s.random.random() < 0.5 else values


def odd_gene_table(s: Specimen) -> None:
    n = s.shape[1]
    for name in some_names(s, 3):
        s.var[name] = s.random.choice([None, "a", 1.5], n) if s.random.random() < 0.3 else s.random.random(n)
    s.var["gene_symbols"] = symbols_of(s)
    s.var["highly_variable"] = s.random.random(n) < 0.5


# --- names of cells, tissues, positions ------------------------------------------------------------------------------
def hostile_cells(s: Specimen) -> None:
    s.obs.index = pd.Index(some_names(s, s.shape[0]), dtype=object)


def repeated_cells(s: Specimen) -> None:
    s.obs.index = pd.Index(["AAACCC-1"] * s.shape[0])


def named_index(s: Specimen) -> None:
    s.obs.index.name = str(s.random.choice(["barcode", "batch", "index", "_index", "a/b", ""]))


def categorical_index(s: Specimen) -> None:
    s.obs.index = pd.CategoricalIndex([f"c{k}" for k in range(s.shape[0])])


def odd_cell_table(s: Specimen) -> None:
    n = s.shape[0]
    makers = [
        lambda: s.random.choice(["a", "b", ""], n),
        lambda: pd.Categorical(s.random.choice(["x/y", "nan", ""], n), categories=["unused", "nan", "", "x/y"]),
        lambda: pd.Categorical([None] * n, categories=["never"]),
        lambda: pd.Categorical(s.random.integers(0, 3, n), ordered=True),
        lambda: s.random.choice([np.nan, np.inf, -np.inf, 0.0], n),
        lambda: pd.array(s.random.choice([1, 2, None], n), dtype="Int64"),
        lambda: pd.array(s.random.choice([True, None], n), dtype="boolean"),
        lambda: pd.array(s.random.choice(["a", None], n), dtype="string"),
        lambda: pd.date_range("2020-01-01", periods=n),
        lambda: s.random.integers(0, 2**63 - 1, n).astype(np.uint64),
        lambda: [{"a": 1}] * n,
        lambda: np.full(n, None, dtype=object),
        lambda: s.random.random(n).astype(np.float16),
    ]
    for name in some_names(s, int(s.random.integers(1, 5))):
        s.obs[name] = makers[s.random.integers(len(makers))]()


def repeated_columns(s: Specimen) -> None:
    s.obs = pd.concat([s.obs, s.obs[["donor"]]], axis=1)


def tissues(s: Specimen) -> None:
    s.tissue = s.random.integers(0, 4, s.shape[0]).tolist()
    makers = [
        lambda codes: pd.Categorical([f"t{one}" for one in codes], categories=["gone", "t3", "t2", "t1", "t0"]),
        lambda codes: codes,
        lambda codes: [float(one) for one in codes],
        lambda codes: pd.to_datetime([f"2020-01-0{one + 1}" for one in codes]),
        lambda codes: pd.array([f"t{one}" for one in codes], dtype="string"),
        lambda codes: pd.array(codes, dtype="Int64"),
        lambda codes: [HOSTILE[one] for one in codes],
        lambda codes: pd.Categorical(codes, ordered=True),
    ]
    key = str(s.random.choice(["sample", "a b", "é", "slide/1"]))
    s.obs[key] = makers[s.random.integers(len(makers))](s.tissue)
    s.options["tissue_key"] = key


def tissue_each_cell(s: Specimen) -> None:
    s.tissue = list(range(s.shape[0]))
    s.obs["sample"] = [f"s{k}" for k in s.tissue]
    s.options["tissue_key"] = "sample"


def tissue_missing(s: Specimen) -> End:
    s.obs["sample"] = s.random.choice(["a", None], s.shape[0])
    s.options["tissue_key"] = "sample"
    return End.REFUSAL if s.obs["sample"].isna().any() else End.EITHER


def tissue_twice(s: Specimen) -> End:
    s.obs["sample"] = "a"
    s.obs = pd.concat([s.obs, s.obs[["sample"]]], axis=1)
    s.options["tissue_key"] = "sample"
    return End.EITHER


def tissue_unknown(s: Specimen) -> End:
    s.options["tissue_key"] = [None, "nowhere", 5, ["batch", "donor"], "no such column", b"x", ("a",)][
        s.random.integers(1, 7)
    ]
    return End.REFUSAL


def positions(s: Specimen) -> None:
    s.position = s.random.random((s.shape[0], 2)) * s.random.choice([1e-9, 1.0, 1e6])
    if s.random.random() < 0.4:
        s.position[s.random.random(s.shape[0]) < 0.4] = np.nan
    kind = s.random.integers(4)
    frame = pd.DataFrame(s.position, index=s.obs.index, columns=["x", "y"])
    stored = [s.position, frame, np.asfortranarray(s.position), s.position.astype(object)][kind]
    s.obsm["spatial"] = stored
    s.options["spatial_key"] = "spatial"


def positions_far_off(s: Specimen) -> End:
    s.obsm["spatial"] = s.random.random((s.shape[0], 2)) * 10.0 ** s.random.integers(30, 308)
    s.options["spatial_key"] = "spatial"
    s.comparable = False
    return End.EITHER


def positions_refused(s: Specimen) -> End:
    n = s.shape[0]
    odd = [
        np.full((n, 2), np.inf), np.zeros((n, 3)), np.zeros((n, 1)), np.full((n, 2), "x", dtype=object),
        np.zeros((n, 2, 2)), pd.DataFrame({"x": ["a"] * n, "y": ["b"] * n}, index=s.obs.index),
        sparse.csr_matrix((n, 3)),
    ]  # fmt: skip
    s.obsm["spatial"] = odd[s.random.integers(len(odd))]
    s.options["spatial_key"] = "spatial"
    return End.REFUSAL if n else End.EITHER


def positions_unknown(s: Specimen) -> End:
    s.options["spatial_key"] = ["nowhere", 5, ["a"], "", b"spatial"][s.random.integers(5)]
    return End.REFUSAL


STAGES: list[list[Any]] = [
    [one_cell, two_cells, no_cells, no_columns, one_gene, few_genes, shuffled_genes, empty_cells, all_zero],
    [
        symbols, versions, small_letters, mixed_spellings, split_gene, repeated_name, unknown_genes, hostile_genes,
        only_hostile_genes, numbered_genes, mouse_genes, other_species, barnyard, proteins, odd_gene_table,
    ],
    [hostile_cells, repeated_cells, named_index, categorical_index],
    [odd_cell_table, repeated_columns],
    [tissues, tissues, tissue_each_cell, tissue_missing, tissue_twice, tissue_unknown],
    [positions, positions, positions_far_off, positions_refused, positions_unknown],
]  # fmt: skip
