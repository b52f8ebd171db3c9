"""What every task shares, on the smallest task there is: one that counts."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, GenesError, OtherSpeciesWarning
from celloquy.models.cellplm.model import GENE_VECTORS_RATE
from celloquy.tasks.results import deliver
from examples import IDS, cells, small_model

TINY = cq.CellModelConfig(width=16, layers=1, feedforward=16, latent_width=8, decoder_width=16, decoder_rank=16)
QUICK = {"epochs": 2, "progress": False}


class Example(cq.Task):
    """Fits a model to counts, and remembers two things beside it."""

    name = "example"

    def fit(self, adata: ad.AnnData) -> "Example":
        self._prepare()
        source = self._source(adata)
        vocabulary = self._vocabulary(source)
        counts = self._over(source, vocabulary).read_all()
        with self.trainer.seeded():
            model = self._start(vocabulary, counts, len(source.batches))
            self._fit_counts(model, counts)
        self.levels_, self.mean_ = source.batches, torch.from_numpy(self.embedding(adata).mean(0))
        return self

    def embedding(self, adata: ad.AnnData) -> np.ndarray:
        return self._embed(self._over(self._source(adata), self._trained.vocabulary))

    def _state(self):
        return {"levels": self.levels_}, {"mean": self.mean_}

    def _restore(self, values, tensors):
        self.levels_, self.mean_ = values["levels"], tensors["mean"]


class Other(Example):
    name = "other"


def fitted(**options) -> Example:
    shape = {} if "model" in options else {"config": TINY}
    return Example(**{"batch_key": "sample"} | shape | QUICK | options).fit(cells(60))


def test_a_seed_gives_the_same_fit_bit_for_bit_and_leaves_torch_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = fitted()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert fitted().model_.fingerprint == first.model_.fingerprint
    assert fitted(seed=1).model_.fingerprint != first.model_.fingerprint


def test_a_saved_task_is_the_same_for_cells_with_genes_in_another_order(tmp_path):
    task = fitted()
    task.save(tmp_path / "task")
    loaded = Example.load(tmp_path / "task")
    adata = cells(20, seed=1)
    order = np.random.default_rng(0).permutation(len(IDS))
    np.testing.assert_allclose(loaded.embedding(adata[:, order].copy()), task.embedding(adata), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(loaded.embedding(adata), task.embedding(adata))
    assert loaded.levels_ == task.levels_
    assert torch.equal(loaded.mean_, task.mean_)
    assert loaded.batch_key == "sample"
    assert loaded.trainer.options == task.trainer.options
    assert loaded.history_.equals(task.history_)
    assert cq.CellModel.from_pretrained(tmp_path / "task").fingerprint == task.model_.fingerprint
    assert sorted(path.suffix for path in (tmp_path / "task").iterdir()) == [
        ".json", ".json", ".md", ".safetensors", ".safetensors", ".tsv"
    ]  # fmt: skip


def test_what_can_not_be_loaded_or_saved_is_said_to_be(tmp_path):
    with pytest.raises(ArgumentError, match=r"This Example has not been fitted"):
        Example().save(tmp_path / "task")
    with pytest.raises(CheckpointError, match="no celloquy model"):
        Example.load(tmp_path / "nowhere")
    task = fitted()
    task.save(tmp_path / "task")
    with pytest.raises(CheckpointError, match=r"There is no Other in .*\n.*'example'"):
        Other.load(tmp_path / "task")
    (tmp_path / "task" / "task.json").unlink()
    with pytest.raises(CheckpointError, match="There is no Example in"):
        Example.load(tmp_path / "task")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="something there that is not a saved model"):
        task.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_configuration_beside_a_pretrained_model_is_refused():
    with pytest.raises(ArgumentError, match="`config` has no use with a pretrained model"):
        fitted(model=small_model(), config="base")


@pytest.mark.parametrize("file", ["task.json", "task.safetensors"])
def test_parts_of_another_task_are_refused_by_name(tmp_path, file):
    fitted().save(tmp_path / "one")
    fitted(seed=1).save(tmp_path / "two")
    (tmp_path / "one" / file).write_bytes((tmp_path / "two" / file).read_bytes() + b"\n" * (file == "task.json"))
    with pytest.raises(CheckpointError, match=rf"belong together(.|\n)*Found: {file} other"):
        Example.load(tmp_path / "one")
    (tmp_path / "one" / file).unlink()
    with pytest.raises(CheckpointError, match=file):
        Example.load(tmp_path / "one")


def test_a_fitted_task_is_replaced_only_if_that_is_asked_for(tmp_path):
    first, second = fitted(), fitted(seed=1)
    first.save(tmp_path / "task")
    for other in (second, second.model_):
        with pytest.raises(CheckpointError, match="There is a saved model in") as caught:
            other.save(tmp_path / "task")
        assert caught.value.argument == "overwrite"
    assert Example.load(tmp_path / "task").model_.fingerprint == first.model_.fingerprint
    (tmp_path / "task" / "notes.txt").write_text("mine")
    second.save(tmp_path / "task", overwrite=True)
    assert Example.load(tmp_path / "task").model_.fingerprint == second.model_.fingerprint
    # Of the task nothing is left beside a model alone.
    second.model_.save(tmp_path / "task", overwrite=True)
    assert sorted(one.name for one in (tmp_path / "task").iterdir()) == [
        "README.md", "config.json", "genes.tsv", "model.safetensors", "notes.txt"
    ]  # fmt: skip


def test_a_pretrained_model_is_tuned_slowly_or_left_as_it_is():
    model = small_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    frozen = fitted(model=model, freeze_encoder=True).model_
    tuned = fitted(model=model).model_
    assert frozen.config.covariates == (("batch", 3),)
    for name, weight in frozen.state_dict().items():
        if not name.startswith("decoder."):
            assert torch.equal(weight, before[name]), name
    assert not torch.equal(frozen.decoder.log_mean.bias, before["decoder.log_mean.bias"])
    moved = (tuned.embedder.gene - before["embedder.gene"]).abs().max()
    assert 0 < moved < 1.1 * GENE_VECTORS_RATE * 5e-4 * 8**0.5 * 2
    assert not torch.equal(tuned.embedder.mix.weight, before["embedder.mix.weight"])
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), "the model that was given stays as it was"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"freeze_encoder": True}, "no model to leave as it is"),
        ({"freeze_encoder": np.array([1, 2])}, "`freeze_encoder` can't be used"),
        ({"species": "yeti"}, "`species` can't be used"),
        ({"config": "huge"}, "no such preset"),
        ({"config": 3}, "`config` can't be used"),
        ({"model": "nowhere"}, "no celloquy model in 'nowhere'"),
        ({"model": 7}, "`model` can't be used"),
        ({"training": "long"}, "`training` can't be used"),
        ({"seed": 0.5}, "`seed` can't be used"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_parameters_that_can_not_be_used_are_named(parameters, message):
    task = Example(**parameters)
    with pytest.raises(cq.errors.CelloquyError, match=message):
        task.fit(cells())


def test_missing_columns_are_named():
    for key in ("tissue_key", "batch_key"):
        with pytest.raises(ArgumentError, match=rf"no column 'donor'[\s\S]*`{key}`"):
            Example(**{key: "donor"}, **QUICK).fit(cells())
    with pytest.raises(ArgumentError, match=r"no 'place' in adata\.obsm"):
        Example(spatial_key="place", **QUICK).fit(cells())


HUMAN = ["CD3D", "CD3E", "CD8A", "MS4A1", "CD19", "NKG7", "GNLY", "LYZ", "CD14", "FCGR3A"]
MOUSE = ["Cd3d", "Cd3e", "Cd8a", "Ms4a1", "Cd19", "Nkg7", "Lyz2", "Cd14", "Fcgr3", "Xist"]


def test_another_species_is_refused_or_mapped_when_asked_to():
    human, mouse = (ad.AnnData(np.ones((30, 10), dtype=np.float32)) for _ in range(2))
    human.var_names, mouse.var_names = HUMAN, MOUSE
    task = Example(config=TINY, **QUICK).fit(human)
    with pytest.raises(GenesError, match='species="auto"'):
        task.embedding(mouse)
    mapping = Example(config=TINY, **QUICK, species="auto").fit(human)
    with pytest.warns(OtherSpeciesWarning, match="mouse were mapped to human through one-to-one orthologs: "):
        found = mapping.embedding(mouse)
    same = human[:, ["CD3D", "CD3E", "CD8A", "MS4A1", "CD19", "NKG7", "CD14"]].copy()
    np.testing.assert_allclose(found, mapping.embedding(same), atol=1e-5)
    assert list(mouse.var_names) == MOUSE


def test_results_go_to_the_object_or_to_a_copy():
    adata = cells()
    results = {"obs": {"a": np.arange(20)}, "obsm": {"b": np.ones((20, 2))}}
    copied = deliver(adata, **results, record={"task": "t"}, key="b", copy=True)
    assert "a" in copied.obs
    assert "b" in copied.obsm
    assert copied.uns["celloquy"] == {"b": {"task": "t"}}
    assert "a" not in adata.obs
    assert not adata.uns
    assert deliver(adata, obs={"a": np.arange(20)}, record={}, key="a", copy=False) is None
    assert "a" in adata.obs


def test_every_result_keeps_its_provenance():
    adata = cells()
    adata.uns["celloquy"] = "somebody else's"
    deliver(adata, record={"task": "one"}, key="X_one", copy=False)
    deliver(adata, record={"task": "two"}, key="two", copy=False)
    deliver(adata, record={"task": "two, again"}, key="two", copy=False)
    assert adata.uns["celloquy"] == {"X_one": {"task": "one"}, "two": {"task": "two, again"}}


def test_a_constructor_only_stores_and_its_repr_shows_what_differs_from_the_default():
    assert repr(Example()) == "Example()"
    assert repr(Example(model="nowhere", seed=3)) == "Example(model='nowhere', seed=3)"
    assert repr(Example(model=small_model())) == "Example(model=<CellModel>)"
    task = Example()
    assert {task: 1}[task] == 1, "a task is hashable"


def test_a_fit_finds_the_counts_of_an_object_once(monkeypatch):
    from celloquy.data import reader

    found, choose = [], reader.choose_counts
    monkeypatch.setattr(
        reader, "choose_counts", lambda adata, **options: found.append(adata) or choose(adata, **options)
    )
    adata, reference = cells(60), cells(60, seed=1)
    reference.obs["kind"] = np.arange(60) % 2
    reference.obs["kind"] = reference.obs["kind"].astype(str)
    cq.annotate(adata, reference=reference, label_key="kind", **QUICK)
    assert sorted(map(id, found)) == sorted(map(id, [adata, reference]))
    for call in (cq.denoise, lambda adata, **options: cq.integrate(adata, batch_key="sample", **options)):
        found.clear()
        call(adata, **QUICK)
        assert found == [adata]


def test_loading_draws_no_random_number(tmp_path):
    cq.Annotator(label_key="sample", config=TINY, **QUICK).fit(cells(60)).save(tmp_path / "annotator")
    before = torch.get_rng_state()
    cq.Annotator.load(tmp_path / "annotator")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("thing", [None, "cells.h5ad", [1], cells().X, Example()], ids=lambda one: type(one).__name__)
def test_what_is_no_anndata_is_said_to_be_none(thing):
    for call in (
        lambda: cq.annotate(cells(), reference=thing if thing is not None else 3, label_key="sample", **QUICK),
        lambda: cq.Annotator(label_key="sample", **QUICK).fit(thing),
        lambda: cq.Denoiser(**QUICK).fit(thing),
        lambda: cq.denoise(thing, **QUICK),
        lambda: cq.integrate(thing, batch_key="sample", **QUICK),
    ):
        with pytest.raises(ArgumentError, match=r"This is not an AnnData|`out` is missing|There is no file"):
            call()


@pytest.mark.parametrize(
    "model", [5, (1, 2), [small_model()], cells(), pd.DataFrame({"a": [1, 2]})], ids=lambda one: type(one).__name__
)
def test_what_is_no_model_is_said_to_be_none(model):
    for call in (lambda: cq.embed(cells(), model=model), lambda: cq.denoise(cells(), model=model, **QUICK)):
        with pytest.raises(ArgumentError, match="`model` can't be used"):
            call()


def test_a_seed_that_a_generator_does_not_take_and_a_vocabulary_that_is_none_are_refused():
    for name, value in (("seed", 10**20), ("seed", -1), ("vocabulary", ["CD3E"])):
        with pytest.raises(ArgumentError, match=f"`{name}` can't be used"):
            cq.pretrain(cells(), config=TINY, **{name: value}, **QUICK)


@pytest.mark.parametrize("value", [5, b"cpu", np.array([1, 2]), [], {}], ids=str)
def test_devices_and_precisions_that_are_no_names_are_refused(value):
    for name in ("device", "precision"):
        with pytest.raises(ArgumentError, match=f"`{name}` can't be used"):
            cq.embed(cells(), model=small_model(), progress=False, **{name: value})


@pytest.mark.parametrize("genes", [5, True, 10**20, b"CD3E", [5], [None], {"CD3E": 1}], ids=str)
def test_genes_that_are_no_names_are_refused(genes):
    panel = cells()[:, :20].copy()
    for call in (
        lambda: cq.denoise(cells(), genes=genes, **QUICK),
        lambda: cq.impute(panel, reference=cells(), genes=genes, n_models=2, spatial_key=None, **QUICK),
    ):
        with pytest.raises(ArgumentError, match="`genes` can't be used"):
            call()
