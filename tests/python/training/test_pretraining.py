"""The same seed pretrains the same model, the loss falls, and unfit inputs are refused."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, CountsError, GenesError
from celloquy.nn.masking import BiLevelMask
from celloquy.training.masked_counts import MaskedCells, MaskedCounts

GENES = 40
IDS = np.array([f"ENSG{i:011d}" for i in range(1, GENES + 1)])
SMALL = cq.CellModelConfig(width=16, layers=1, feedforward=32, latent_width=8, decoder_width=16, decoder_rank=16)


def cells(n: int = 120, seed: int = 0, genes: np.ndarray = IDS) -> ad.AnnData:
    """Make cells of two types, each with genes of its own."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    rates = np.where((np.arange(len(genes)) % 2)[None, :] == kind[:, None], 4.0, 0.3)
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = genes
    adata.obs["sample"] = pd.Categorical([f"s{code}" for code in rng.integers(0, 3, n)])
    adata.obsm["spatial"] = rng.random((n, 2))
    return adata


def train(adatas, **options) -> cq.CellModel:
    return cq.pretrain(adatas, **{"config": SMALL, "epochs": 3, "progress": False} | options)


@pytest.mark.parametrize("latent", ["mixture", "gaussian"])
def test_a_seed_gives_the_same_model_bit_for_bit_and_another_seed_another(latent):
    config = SMALL.replace(latent=latent, dropout=0.1)
    torch.manual_seed(1)
    first = train(cells(), config=config, seed=3)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert train(cells(), config=config, seed=3).fingerprint == first.fingerprint
    assert train(cells(), config=config, seed=4).fingerprint != first.fingerprint
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "the state of torch's generator must not change"


def test_numbers_of_numpy_are_numbers(tmp_path):
    training = cq.TrainingOptions(learning_rate=np.float32(1e-3), batch_size=np.int32(60), patience=np.int64(5))
    numbers = {"epochs": np.int64(2), "seed": np.int64(3), "temperature": np.float32(1.5)}
    model = train(cells(), **numbers, training=training, out=tmp_path / "model", resume=True)
    plain = {name: number.item() for name, number in numbers.items()}
    assert model.fingerprint == train(cells(), **plain, training=training).fingerprint


def test_the_loss_falls_and_the_best_epoch_is_kept():
    model = train(cells(300), epochs=30)
    history = model.history
    assert history["validation"].iloc[-1] < history["validation"].iloc[0]
    assert list(history["epoch"]) == list(range(1, len(history) + 1))
    assert not model.training


def test_cell_types_lie_apart_in_the_embedding():
    adata = cells(300)
    cq.embed(adata, model=train(adata, epochs=60), progress=False)
    dense = adata.X.toarray()
    kind = dense[:, 1::2].sum(1) > dense[:, ::2].sum(1)
    z = adata.obsm["X_celloquy"]
    axis = z[kind].mean(0) - z[~kind].mean(0)
    scores = z @ axis
    assert ((scores > np.median(scores)) == kind).mean() > 0.9 or ((scores > scores.mean()) == kind).mean() > 0.9


def test_the_model_and_its_log_are_kept_on_disk(tmp_path):
    model = train(cells(), out=tmp_path / "model", epochs=4)
    saved = cq.CellModel.from_pretrained(tmp_path / "model")
    assert saved.fingerprint == model.fingerprint
    assert saved.provenance == model.provenance
    log = pd.read_csv(tmp_path / "model" / "history.csv")
    assert list(log["epoch"]) == [1, 2, 3, 4]
    assert {"loss", "validation", "learning_rate"} <= set(log)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_training_ends_when_validation_stops_improving():
    model = train(cells(), training=cq.TrainingOptions(epochs=200, patience=2, learning_rate=0.5), epochs=None)
    assert len(model.history) < 200


def test_an_interrupt_leaves_the_best_model_so_far(tmp_path, monkeypatch):
    forward, calls = MaskedCounts.forward, []

    def interrupted(self, batch, mask):
        calls.append(1)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return forward(self, batch, mask)

    monkeypatch.setattr(MaskedCounts, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(cells(), out=tmp_path / "model", training=cq.TrainingOptions(batch_size=60), epochs=50)
    assert len(cq.CellModel.from_pretrained(tmp_path / "model").vocabulary) == GENES


def test_several_inputs_share_the_union_of_their_genes_and_are_batches(tmp_path):
    one, other = cells(genes=IDS[:30]), cells(80, seed=1, genes=IDS[20:])
    other.write_h5ad(tmp_path / "other.h5ad")
    model = train([one, tmp_path / "other.h5ad"])
    assert set(model.vocabulary.ids) == set(IDS)
    assert model.config.covariates == (("batch", 2),)
    for adata in (one, other):
        cq.embed(adata, model=model, progress=False)


def test_tissues_positions_and_batches_are_read_and_the_input_unchanged():
    adata = cells()
    before = adata.copy()
    model = train(adata, tissue_key="sample", spatial_key="spatial", batch_key="sample")
    assert model.config.covariates == (("batch", 3),)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert (adata.X != before.X).nnz == 0
    assert not adata.uns


def test_a_masked_count_reaches_no_prediction():
    adata = cells(30)
    model = train(adata)
    batch = CellSource(adata).over(model.vocabulary).read(0, 30)
    mask = BiLevelMask.draw(30, model.masking, seed=0)
    hidden = mask.at(batch.cell_of_count, batch.indices)
    assert hidden.any()
    spoilt = batch.__class__(
        **{name: getattr(batch, name) for name in batch.__slots__}
        | {"values": torch.where(hidden, 999.0, batch.values)}
    )
    with torch.no_grad():
        one, other = (model.encode(mask.hide(each)) for each in (batch, spoilt))
    assert torch.equal(one, other)


def test_training_and_validation_cells_never_mix():
    adata = cells(50)
    model = train(adata)
    batch = CellSource(adata).over(model.vocabulary).read(0, 50)
    data = MaskedCells(batch, model, batch_size=20, held_out=0.2, seed=0)
    used, kept = set(data._used.tolist()), set(data._kept.tolist())
    assert len(kept) == 10
    assert not used & kept
    assert used | kept == set(range(50))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"config": "huge"}, "'mini', 'small', 'base'"),
        ({"config": 3}, "type int"),
        ({"tissue_key": "donor"}, "'donor'"),
        ({"batch_key": "donor"}, "'donor'"),
        ({"spatial_key": "X_space"}, "'X_space'"),
        ({"precision": "float8"}, "float8"),
        ({"device": "abacus"}, "abacus"),
        ({"training": {"epochs": 3}}, "`training` can't be used"),
        ({"seed": -1}, "`seed` can't be used"),
        ({"species": "yeti"}, "`species` can't be used"),
    ],
)
def test_unfit_arguments_are_refused_by_name(options, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        train(cells(), **options)
    assert caught.value.remedy
    assert caught.value.argument == next(iter(options))


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 0},
        {"epochs": 2.5},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"learning_rate": 0},
        {"validation": 1.5},
        {"patience": 0},
        {"weight_decay": True},
    ],
)
def test_unfit_training_options_are_refused_by_name(option):
    (name,) = option
    with pytest.raises(ArgumentError, match=f"`{name}` can't be used") as caught:
        cq.TrainingOptions(**option)
    assert caught.value.argument == name


def test_unfit_inputs_are_refused(tmp_path):
    for unfit, message in (
        ([], "nothing to train on"),
        (tmp_path / "nowhere.h5ad", "no such file"),
        ([np.ones((3, 3))], "Input 1"),
    ):
        with pytest.raises(ArgumentError, match=message) as caught:
            train(unfit)
        assert caught.value.argument == "corpus"
    with pytest.raises(CountsError, match="negative"):
        train(ad.AnnData(-cells().X.toarray()))
    strange = cells()
    strange.var_names = [f"nonsense_{i}" for i in range(GENES)]
    with pytest.raises(GenesError, match=r"[Nn]o gene"):
        train(strange)


def test_human_and_mouse_cells_meet_the_same_rows():
    names = {"human": ["CD8A", "CD4", "MS4A1", "NKG7", "HLA-A"], "mouse": ["Cd8a", "Cd4", "Ms4a1", "Nkg7", "H2-K1"]}
    human, mouse = (cells(genes=np.array(own)) for own in names.values())
    model = train([human, mouse])
    vocabulary = model.vocabulary
    assert vocabulary.species == ("human", "mouse")
    assert vocabulary.pairs >= 4
    read = [CellSource(adata).over(vocabulary).measured for adata in (human, mouse)]
    assert (read[0] & read[1]).sum() == 4
    assert train([mouse, human]).vocabulary == vocabulary
