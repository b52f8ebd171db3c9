"""AnnData of every kind, and a comparison of two that overlooks nothing, for the tests of R's conversions."""

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

OURS = {"seurat", "sce", "celloquy_conversion"}


def everything(seed: int) -> AnnData:
    """An AnnData with something of every type in every place, each drawn or not."""
    random = np.random.default_rng(seed)
    n, g = int(random.integers(2, 30)), int(random.integers(2, 25))

    def some() -> bool:
        return bool(random.random() < 0.7)

    counts = sp.random(n, g, 0.3, format="csr", random_state=seed, dtype=np.float32)
    counts.data[:] = random.integers(1, 9, counts.nnz)
    kinds = [counts, counts.tocsc(), counts.astype(np.int64), counts.toarray(), counts * 0.5, counts.toarray() - 1]
    adata = AnnData(X=kinds[seed % len(kinds)].copy() if seed % 7 else None, shape=None if seed % 7 else (n, g))
    adata.obs_names = [str(number) for number in range(n)]
    adata.var_names = [f"G_{number}" for number in range(g - 1)] + ["Gé|1"]
    times = pd.date_range("2020-02-28 23:59:59.123456", periods=n)
    columns = {
        "categories": pd.Categorical(random.choice(["a", "b"], n), categories=["unused", "b", "a"], ordered=True),
        "numbered": pd.Categorical(random.integers(0, 3, n)), "truth": random.random(n) > 0.5,
        "gaps": pd.Categorical([None, "NA"] * (n // 2) + ["NA"] * (n % 2)),
        "float32": random.random(n).astype(np.float32), "float64": np.where(random.random(n) > 0.8, np.nan, 0.1),
        "int8": random.integers(-5, 5, n).astype(np.int8), "int64": random.integers(0, 2**60, n),
        "uint16": random.integers(0, 5, n).astype(np.uint16), "text": [f"s{number}" for number in range(n)],
        "boolean": pd.array([True, None] * (n // 2) + [False] * (n % 2), dtype="boolean"),
        "Int64": pd.array([2**40, None] * (n // 2) + [1] * (n % 2), dtype="Int64"),
        "time": times, "zoned": times.tz_localize("Europe/Berlin"), "span": times - times[0],
    }  # fmt: skip
    for name, values in columns.items():
        if some():
            adata.obs[name] = values
    adata.var["highly_variable"] = random.random(g) > 0.5
    adata.var["weight"] = random.random(g)
    if some():
        adata.layers["counts"] = counts.copy().astype(np.int64)
    if some():
        adata.layers["dense"] = random.random((n, g)).astype(np.float32)
    if some():
        adata.obsm["X_pca"] = random.random((n, 2)).astype(np.float32)
        adata.varm["PCs"] = random.random((g, 2))
    members = {
        "X_umap": random.random((n, 2)), "spatial": random.random((n, 2)), "three": random.random((n, 2, 3)),
        "frame": pd.DataFrame({"q": random.random(n), "w": ["a"] * n}, index=adata.obs_names),
        "sparse": sp.csr_matrix(random.integers(0, 2, (n, 4)).astype(np.int32)),
    }  # fmt: skip
    for key, value in members.items():
        if some():
            adata.obsm[key] = value
    if some():
        adata.varm["odd"] = random.random((g, 3))
        adata.obsp["connectivities"] = sp.random(n, n, 0.2, format="csr", random_state=seed, dtype=np.float32)
        adata.obsp["dense"] = random.random((n, n))
        adata.varp["pairs"] = sp.random(g, g, 0.2, format="csr", random_state=seed)
    values = {
        "colors": np.array(["#fff", "#000"]), "text": "text", "empty": np.array([]), "int": 3, "float": 2.5,
        "bool": True, "big": 2**40, "int64": np.array([2**60, 1]), "int16": np.arange(6, dtype=np.int16).reshape(2, 3),
        "nested": {"params": {"n": 15, "x": np.float32(0.5)}, "empty": {}},
        "frame": pd.DataFrame({"a": [1, 2]}, ["x", "y"]),
        "records": np.rec.fromarrays([[1.5, 2.5], np.array(["a", "b"], object)], names=["x", "y"]).view(np.ndarray),
        "sparse": sp.random(3, 4, 0.5, format="csr", random_state=0),
    }  # fmt: skip
    for key, value in values.items():
        if some():
            adata.uns[key] = value
    if some():
        raw = AnnData(X=counts[:, ::-1].copy(), obs=adata.obs[[]], var=adata.var.iloc[::-1])
        adata.raw = raw
    adata.obs.index.name = "barcode" if some() else None
    return adata


def on_file(seed: int, path: str) -> AnnData:
    """What a file gives back of it; times are no part of h5ad."""
    adata = everything(seed)
    adata.obs = adata.obs.drop(columns=["time", "zoned", "span"], errors="ignore")
    adata.write_h5ad(path)
    return anndata.read_h5ad(path)


def read(path: str) -> AnnData:
    return anndata.read_h5ad(path)


def differences(one: AnnData, other: AnnData) -> list[str]:
    """Where two AnnData are not the same: value, type, shape or order."""
    found: list[str] = []
    for place in ("X", "obs", "var", "layers", "obsm", "varm", "obsp", "varp", "uns"):
        _compare(getattr(one, place), getattr(other, place), place, found)
    if (one.raw is None) != (other.raw is None):
        found.append("raw is in one only")
    elif one.raw is not None:
        _compare(one.raw.X, other.raw.X, "raw.X", found)
        _compare(one.raw.var, other.raw.var, "raw.var", found)
    return found


def _compare(one: object, other: object, path: str, found: list[str]) -> None:
    if isinstance(one, pd.DataFrame):
        try:
            pd.testing.assert_frame_equal(one, other, check_exact=True, check_column_type=False)
        except AssertionError as error:
            found.append(f"{path}: {error}")
    elif sp.issparse(one):
        same = type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
        if not same or one.nnz != other.nnz or (one != other).nnz:
            found.append(f"{path}: {one!r} and {other!r}")
    elif isinstance(one, np.ndarray):
        same = isinstance(other, np.ndarray) and one.dtype == other.dtype and one.shape == other.shape
        nan = one.dtype.kind == "f"
        if not same or not np.array_equal(one, other, equal_nan=nan):
            found.append(f"{path}: {one!r} and {other!r}")
    elif hasattr(one, "keys"):
        for key in (set(one.keys()) | set(other.keys())) - OURS:
            if key not in one or key not in other:
                found.append(f"{path}/{key} is in one only")
            else:
                _compare(one[key], other[key], f"{path}/{key}", found)
    elif type(one) is not type(other) or one != other:
        found.append(f"{path}: {one!r} and {other!r}")


def odd_names() -> AnnData:
    import warnings

    with warnings.catch_warnings(action="ignore"):
        adata = AnnData(X=sp.eye(3, 5, format="csr"))
        adata.obs_names = ["1", "1", "1"]
        adata.var_names = ["a_b", "a-b", "x|y", "dup", "dup"]
    return adata


def scanpys() -> AnnData:
    """What scanpy's tutorial leaves behind."""
    import scanpy as sc

    random = np.random.default_rng(0)
    adata = AnnData(X=sp.csr_matrix(random.poisson(1, (60, 100)).astype(np.float32)))
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    adata.raw = adata
    sc.pp.highly_variable_genes(adata, n_top_genes=50)
    adata = adata[:, adata.var.highly_variable].copy()
    sc.pp.pca(adata, n_comps=10)
    sc.pp.neighbors(adata)
    sc.tl.umap(adata)
    return adata


def visium() -> AnnData:
    random = np.random.default_rng(0)
    adata = AnnData(X=sp.csr_matrix(random.poisson(1, (40, 30)).astype(np.float32)))
    adata.var_names = [f"gene{number}" for number in range(30)]
    adata.obsm["spatial"] = random.random((40, 2)) * 1000
    pictures = {"lowres": random.random((20, 30, 3)).astype(np.float32), "hires": random.random((40, 60, 3))}
    scales = {
        "tissue_hires_scalef": 0.06, "tissue_lowres_scalef": 0.03,
        "spot_diameter_fullres": 89.5, "fiducial_diameter_fullres": 144.0,
    }  # fmt: skip
    adata.uns["spatial"] = {"slide 1": {"images": pictures, "scalefactors": scales, "metadata": {"chemistry": "v1"}}}
    return adata


def cellxgene(genes: int = 12) -> AnnData:
    """What CELLxGENE serves: normalised values, counts in raw, Ensembl ids, symbols in a column."""
    random = np.random.default_rng(0)
    counts = sp.csr_matrix(random.poisson(1, (30, 12)).astype(np.float32))
    whole = AnnData(counts)
    whole.var_names = [f"ENSG{number:011d}" for number in range(12)]
    whole.obs_names = [f"s{number % 2}_c{number}" for number in range(30)]
    whole.var["feature_name"] = pd.Categorical([f"SYM{number}" for number in range(11)] + ["SYM0"])
    adata = whole[:, ::-1][:, -genes:][:, ::-1].copy()
    adata.X = (adata.X * 0.5).tocsr()
    adata.raw = whole
    adata.var["feature_is_filtered"] = False
    adata.obs["leiden"] = pd.Categorical(["0", "1", "2"] * 10)
    adata.obsm["X_pca"] = random.random((30, 5))
    adata.varm["PCs"] = random.random((genes, 5))
    adata.uns["pca"] = {"variance": np.arange(5, 0, -1.0)}
    adata.obsm["spatial"] = random.random((30, 2))
    adata.uns["spatial"] = {"is_single": True}
    return adata


def slides(kinds: list[str]) -> AnnData:
    """Two slides of Visium, with pictures of these kinds."""
    random = np.random.default_rng(0)
    adata = AnnData(random.poisson(1, (20, 3)).astype(np.float32))
    adata.obsm["spatial"] = random.random((20, 2)) * 600
    adata.obs["library_id"] = pd.Categorical(["a b"] * 10 + ["c"] * 10)
    pictures = {"hires": random.random((60, 60, 3)), "lowres": (random.random((20, 20, 3)) * 255).astype(np.uint8)}
    scales = {"tissue_hires_scalef": 0.1, "tissue_lowres_scalef": 1 / 30, "spot_diameter_fullres": 20.0}
    slide = {"images": {kind: pictures[kind] for kind in kinds}, "scalefactors": scales}
    adata.uns["spatial"] = {"a b": slide, "c": slide}
    return adata


def without_like() -> AnnData:
    """Arrays and columns that R has nothing like, and columns without a name of their own."""
    adata = AnnData(sp.eye(4, 3, format="csr"))
    adata.obsm["ragged"] = np.array([["a", 1]] * 4, dtype=object)
    adata.uns["set"] = {1, 2}
    adata.obs["a"] = [1, 2, 3, 4]
    adata.obs.insert(1, "a", [5, 6, 7, 8], allow_duplicates=True)
    adata.obs[""] = 1
    adata.obs["period"] = pd.period_range("2020", periods=4, freq="M")
    adata.obs["sparse"] = pd.arrays.SparseArray([0.0, 0.0, 1.0, 0.0])
    return adata


def select(adata: AnnData) -> AnnData:
    adata = adata[[5, 3, 40, 79, 1], [10, 2, 100]].copy()
    adata.obs["added"] = np.arange(5, dtype=np.int64)
    adata.obsm["X_new"] = np.ones((5, 2))
    return adata


def scanpy_steps(path: str) -> None:
    import scanpy as sc

    adata = anndata.read_h5ad(path)
    sc.pp.calculate_qc_metrics(adata, inplace=True, percent_top=None)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=30)
    sc.pp.pca(adata, n_comps=5)
    sc.pp.neighbors(adata)
    sc.tl.umap(adata)
    sc.tl.leiden(adata, flavor="igraph", n_iterations=2)
    sc.tl.rank_genes_groups(adata, "half")
    adata.write_h5ad(path)


def squidpy_steps(path: str) -> None:
    import squidpy as sq

    adata = anndata.read_h5ad(path)
    sq.gr.spatial_neighbors(adata)
    adata.obs["half"] = pd.Categorical(adata.obs["half"])
    sq.gr.nhood_enrichment(adata, cluster_key="half", n_perms=10, show_progress_bar=False)
    sq.pl.spatial_scatter(adata, color="half", img_res_key="lowres")
    adata.write_h5ad(path)


def unlike_r() -> AnnData:
    """Columns of no one type, of cells and of genes, and a time finer than R's."""
    adata = AnnData(sp.eye(3, format="csr"))
    adata.obs["plain"] = [1, 2, 3]
    adata.obs["when"] = pd.to_datetime(["2026-01-01T00:00:00.123456789"] * 3)
    for frame in (adata.obs, adata.var):
        frame["mixed"] = ["text", 1, ("a", "tuple")]
    return adata


def too_large() -> AnnData:
    """A matrix that claims 2³¹ non-zeros, without having them."""

    class Claims(sp.csr_matrix):
        @property
        def nnz(self) -> int:
            return 2**31

    matrix = sp.csr_matrix((3, 4))
    adata = AnnData(X=matrix)
    matrix.__class__ = Claims
    return adata


def with_antibodies(counts: sp.csr_matrix, genes: list[str]) -> AnnData:
    """Counts of genes, with antibodies and guides among them that have the names of genes."""
    random = np.random.default_rng(0)
    n = counts.shape[0]
    beside = ["CD3E_prot", "MS4A1_prot", "CD4", "guide|1"]
    kinds = ["Antibody Capture"] * 3 + ["CRISPR Guide Capture"]
    others = sp.csr_matrix(random.poisson(30, (n, 4)).astype(np.float64))
    adata = AnnData(sp.hstack([counts[:, :100], others, counts[:, 100:]]).tocsr())
    adata.obs_names = [f"cell{number}" for number in range(n)]
    adata.var_names = genes[:100] + beside + genes[100:]
    kinds = ["Gene Expression"] * 100 + kinds + ["Gene Expression"] * (len(genes) - 100)
    adata.var["feature_types"] = pd.Categorical(kinds)
    adata.var["number"] = np.arange(adata.n_vars)
    adata.layers["ambient"] = random.random(adata.shape)
    adata.varm["PCs"], adata.obsm["X_pca"] = random.random((adata.n_vars, 2)), random.random((n, 2))
    return adata


def cell_ranger_file(adata: AnnData, path: str) -> None:
    """Write counts as Cell Ranger does."""
    import h5py

    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        columns = adata.X.tocsr()
        for name in ("data", "indices", "indptr"):
            values = getattr(columns, name)
            matrix[name] = values.astype(np.int32 if name == "data" else np.int64)
        matrix["shape"] = np.array(adata.shape[::-1], np.int32)
        matrix["barcodes"] = adata.obs_names.to_numpy(dtype="S")
        features = matrix.create_group("features")
        features["id"] = np.array([f"id{number}" for number in adata.var["number"]], dtype="S")
        features["name"] = adata.var_names.to_numpy(dtype="S")
        features["feature_type"] = adata.var["feature_types"].to_numpy(dtype="S")
        features["genome"] = np.array(["GRCh38"] * adata.n_vars, dtype="S")
