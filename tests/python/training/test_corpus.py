"""A corpus reads the same cells from memory and from disk, in any container, and trains the same model."""

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.data import CellColumns
from celloquy.errors import ArgumentError, BadFileWarning, CelloquyError, CountsError
from celloquy.training import checked, pools
from celloquy.training.checked import check_input
from celloquy.training.corpus import Corpus, CorpusOptions, open_corpus
from celloquy.training.inputs import list_inputs
from celloquy.training.masked_counts import MaskedCells
from strategies import dense_counts

GENES = 30
IDS = np.array([f"ENSG{i:011d}" for i in range(1, GENES + 1)])
SMALL = cq.CellModelConfig(width=16, layers=1, feedforward=32, latent_width=8, decoder_width=16, decoder_rank=16)
SPACIOUS, TIGHT = 2**30, 40_000
CONTAINERS = ("csr.h5ad", "csc.h5ad", "dense.h5ad", "csr.zarr", "csc.zarr", "dense.zarr")


def cells(n, seed=0, genes=IDS, kind=sparse.csr_matrix):
    rng = np.random.default_rng(seed)
    adata = ad.AnnData(kind(rng.poisson(rng.gamma(0.5, 2, (n, len(genes)))).astype(np.float32)))
    adata.var_names = genes
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.obs["sample"] = pd.Categorical([f"s{code}" for code in rng.integers(0, 3, n)])
    adata.obs["type"] = pd.Categorical([f"t{code}" for code in rng.integers(0, 2, n)])
    adata.obsm["spatial"] = rng.random((n, 2))
    return adata


def write(adata, path):
    kind = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": lambda x: x.toarray()}[path.name.split(".")[0]]
    stored = adata.copy()
    stored.X = kind(adata.X)
    with warnings.catch_warnings(action="ignore"):  # anndata tells which version of zarr it writes
        (stored.write_zarr if path.suffix == ".zarr" else stored.write_h5ad)(path)
    return path


def opened(corpus, memory=SPACIOUS, temperature=1.0, columns=CellColumns(), **options):  # noqa: B008 -- frozen
    vocabulary = cq.GeneVocabulary.from_ids(IDS.tolist())
    return open_corpus(list_inputs(corpus, columns), vocabulary, CorpusOptions(memory, temperature, 0), **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Files of every container, each of 700 cells or so and of genes of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    return [
        write(cells(700 + 10 * number, seed=number, genes=IDS[number:]), folder / name)
        for number, name in enumerate(CONTAINERS)
    ]


def test_all_containers_give_the_counts_of_their_cells_and_say_what_was_measured(files):
    corpus = opened(files, columns=CellColumns(tissue_key="sample", batch_key="sample", spatial_key="spatial"))
    whole = corpus.read(np.arange(len(corpus)))
    assert len(corpus) == sum(700 + 10 * number for number in range(6))
    first = 0
    for number in range(6):
        adata = cells(700 + 10 * number, seed=number, genes=IDS[number:])
        there = whole[first : first + adata.n_obs]
        np.testing.assert_array_equal(dense_counts(there)[:, number:], adata.X.toarray())
        assert there.measured[there.panel].all(0).tolist() == [False] * number + [True] * (GENES - number)
        same = there.tissue[:, None] == there.tissue[None]
        codes = adata.obs["sample"].cat.codes.to_numpy()
        np.testing.assert_array_equal(same, codes[:, None] == codes[None])
        np.testing.assert_array_equal(there.batch, 3 * number + codes)
        assert not there.position.isnan().any()
        first += adata.n_obs
    assert len(corpus.batches) == 18
    assert len(np.unique(corpus.tissue)) == 18


@given(data=st.data())
def test_any_cells_are_read_alike_from_disk_and_from_memory(data, files):
    corpus = opened(files, memory=TIGHT)
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(corpus) - 1), min_size=1, max_size=60))))
    part, whole = corpus.read(chosen), opened(files).sample().select(torch.from_numpy(chosen))
    for name in ("indptr", "indices", "values", "tissue", "batch", "panel"):
        assert torch.equal(getattr(part, name), getattr(whole, name)), name
    corpus.close()


def minibatches(corpus, epoch=0, **options):
    model = cq.CellModel(SMALL, corpus.vocabulary)
    data = MaskedCells(corpus, model, batch_size=300, held_out=0.1, seed=1, **options)
    return data, parts(data.epoch(epoch))


def parts(steps):
    return [inputs for step in steps for inputs in step.parts]


def described(batch):
    """Cells of a minibatch, by their counts, and with whom they are read."""
    return [(int(t), tuple(row)) for t, row in zip(batch.tissue, dense_counts(batch).tolist(), strict=True)]


@pytest.mark.parametrize("memory", [SPACIOUS, TIGHT])
def test_every_cell_is_trained_on_or_held_out(files, memory):
    corpus = opened(files, memory)
    assert corpus.in_memory == (memory == SPACIOUS)
    data, found = minibatches(corpus)
    used = [row for batch, _ in found for _, row in described(batch)]
    kept = [row for batch, _ in data.validation() for _, row in described(batch)]
    everything = dense_counts(corpus.read(np.arange(len(corpus)))).tolist()
    assert sorted(used + kept) == sorted(map(tuple, everything))
    assert len(kept) == data.held_out > 0
    assert all(len(batch) <= 300 for batch, _ in found)


def test_what_does_not_fit_the_memory_is_read_in_pools_within_it(files, monkeypatch):
    corpus, whole = opened(files, TIGHT), opened(files).sample()
    sizes, read = [], Corpus.read
    monkeypatch.setattr(Corpus, "read", lambda self, chosen: sizes.append(len(chosen)) or read(self, chosen))
    minibatches(corpus)
    bytes_a_cell = (8 * len(whole.values) + 64 * len(whole)) / len(whole)
    assert len(sizes) > 5
    # A pool is a block at least.
    assert max(sizes) < max(pools.BLOCK_CELLS, TIGHT / bytes_a_cell / 4) + pools.BLOCK_CELLS


def test_an_epoch_can_begin_in_its_middle_and_reads_only_the_rest(files, monkeypatch):
    corpus = opened(files, TIGHT)
    data, found = minibatches(corpus)
    for first in (1, len(found) // 2, len(found) - 1, len(found)):
        rest = parts(data.epoch(0, first=first))
        assert len(rest) == len(found) - first
        for (batch, mask), (same, same_mask) in zip(rest, found[first:], strict=True):
            assert described(batch) == described(same)
            assert torch.equal(mask.key, same_mask.key)
    read, calls = Corpus.read, []
    monkeypatch.setattr(Corpus, "read", lambda self, chosen: calls.append(1) or read(self, chosen))
    list(data.epoch(0, first=len(found) - 1))
    assert len(calls) == 1


def test_sentences_are_of_one_tissue_and_no_longer_than_asked(files):
    corpus = opened(files, columns=CellColumns(tissue_key="sample"))
    _, found = minibatches(corpus, cells_per_sentence=40)
    for batch, _ in found:
        assert np.bincount(batch.tissue).max() <= 40
        assert len(np.unique(batch.tissue)) > 1


def test_copies_of_a_cell_never_read_each_other(tmp_path):
    write(cells(30, seed=0), tmp_path / "csr.small.h5ad")
    write(cells(3000, seed=1), tmp_path / "csr.large.h5ad")
    corpus = opened(tmp_path, temperature=1e9)
    _, found = minibatches(corpus)
    assert sum(len(batch) for batch, _ in found) > 2000
    repeated = 0
    for batch, _ in found:
        rows = described(batch)
        assert len(set(rows)) == len(rows)
        repeated += len(rows) - len({row for _, row in rows})
    assert repeated > 0


def test_the_same_share_of_every_label_of_a_manifest_is_held_out(tmp_path):
    write(cells(400), tmp_path / "csr.a.h5ad")
    write(cells(400, seed=1), tmp_path / "csr.b.h5ad")
    (tmp_path / "files.tsv").write_text("path\tlabel_key\ncsr.a.h5ad\ttype\ncsr.b.h5ad\t\n")
    corpus = opened(tmp_path / "files.tsv")
    assert corpus.label[:400].tolist() == cells(400).obs["type"].cat.codes.tolist()
    assert set(corpus.label[400:].tolist()) == {-1}
    data, _ = minibatches(corpus, labels=corpus.label)
    labels = torch.cat([found[2] for found in data.validation()])
    for one in (0, 1, -1):
        share = (labels == one).sum() / (corpus.label == one).sum()
        assert share == pytest.approx(0.1, abs=0.01)


def test_training_does_not_depend_on_the_container_or_on_how_often_it_is_read(tmp_path):
    one, other = (write(cells(900), tmp_path / name) for name in ("csr.h5ad", "csc.zarr"))
    options = {"config": SMALL, "epochs": 2, "progress": False}
    for memory in (SPACIOUS, TIGHT):
        models = [cq.pretrain(path, max_memory=memory, **options) for path in (one, other, one)]
        assert len({model.fingerprint for model in models}) == 1
    assert cq.pretrain(cells(900), **options).fingerprint == cq.pretrain(one, **options).fingerprint
    assert "waited" in models[0].history


def test_a_file_is_checked_once_as_long_as_it_stays_as_it_is(tmp_path, monkeypatch):
    path = write(cells(50), tmp_path / "csr.h5ad")
    (given,) = list_inputs(path, CellColumns())
    calls, check = [], checked._check
    monkeypatch.setattr(checked, "_check", lambda one: calls.append(one) or check(one))
    first, second = check_input(given).facts, check_input(given).facts
    assert len(calls) == 1
    for name in ("var_names", "column_totals", "tissue", "batch", "batches", "label", "labels", "position"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.place, first.n_counts, first.digest) == (second.place, second.n_counts, second.digest)
    # Another option is another question, and a changed file has another answer.
    check_input(list_inputs(path, CellColumns(tissue_key="sample"))[0])
    assert len(calls) == 2
    write(cells(51), path)
    assert len(check_input(given).facts) == 51
    assert len(calls) == 3


def test_a_damaged_record_of_a_check_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (given,) = list_inputs(write(cells(50), tmp_path / "csr.h5ad"), CellColumns())
    digest = check_input(given).facts.digest
    (record,) = (tmp_path / "cache").rglob("*.npz")
    record.write_bytes(record.read_bytes()[:100])
    assert check_input(given).facts.digest == digest
    assert len(record.read_bytes()) > 100


def test_a_check_works_without_a_cache_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (given,) = list_inputs(write(cells(50), tmp_path / "csr.h5ad"), CellColumns())
    assert len(check_input(given).facts) == 50


def bad_files(folder):
    negative = cells(20)
    negative.X.data[:] *= -1
    negative.write_h5ad(folder / "negative.h5ad")
    (folder / "torn.h5ad").write_bytes(b"\x89HDF nothing")
    return ["negative", "torn"]


def test_a_bad_file_is_named_and_left_out_only_if_asked(tmp_path):
    write(cells(200), tmp_path / "csr.good.h5ad")
    for name in bad_files(tmp_path):
        corpus = [tmp_path / "csr.good.h5ad", tmp_path / f"{name}.h5ad"]
        # The second time the answer comes from the cache.
        for _ in range(2):
            with pytest.raises(CelloquyError, match=f"{name}.h5ad") as caught:
                cq.pretrain(corpus, config=SMALL, epochs=1, progress=False)
            assert caught.value.remedy
        with pytest.warns(BadFileWarning, match=f"{name}.h5ad"):
            model = cq.pretrain(corpus, config=SMALL, epochs=1, progress=False, skip_bad_files=True)
        assert model.provenance["cells"] == "200"


def test_a_corpus_of_bad_files_alone_is_an_error(tmp_path):
    bad_files(tmp_path)
    with pytest.warns(BadFileWarning, match="negative"), pytest.raises(CelloquyError, match="torn"):
        cq.pretrain(tmp_path, config=SMALL, epochs=1, progress=False, skip_bad_files=True)


def test_a_value_that_is_no_count_is_found_anywhere_in_a_file(tmp_path):
    adata = cells(300)
    adata.X.data[-1] = 0.5
    adata.write_h5ad(tmp_path / "late.h5ad")
    with pytest.raises(CountsError, match=r"late\.h5ad.*\n.*0\.5 in cell 'cell299'"):
        cq.pretrain(tmp_path / "late.h5ad", config=SMALL, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"temperature": 0.5}, "temperature"), ({"max_memory": "lots"}, "max_memory"), ({"tissue_key": "no"}, "'no'")],
)
def test_unfit_options_are_refused_by_name(tmp_path, option, message):
    path = write(cells(20), tmp_path / "csr.h5ad")
    with pytest.raises(ArgumentError, match=message) as caught:
        cq.pretrain(path, config=SMALL, epochs=1, progress=False, **option)
    assert caught.value.argument == next(iter(option))


def test_the_caller_s_object_stays_as_it_was_also_in_little_memory():
    adata = cells(900)
    before = adata.copy()
    cq.pretrain([adata, cells(900, seed=1)], config=SMALL, epochs=1, progress=False, max_memory=TIGHT)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert (adata.X != before.X).nnz == 0
    assert not adata.uns
