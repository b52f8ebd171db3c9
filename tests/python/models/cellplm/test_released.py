"""The released CellPLM checkpoints: the same numbers from the same weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import CheckpointError

KINDS = ("gmvae", "vae")


@pytest.fixture(scope="module")
def released(shared) -> Path:
    return shared / "fixtures" / "cellplm"


def reference(released: Path, kind: str) -> tuple[dict[str, np.ndarray], AnnData]:
    """The released code's numbers, and the cells that it read: genes a permuted subset of the model's."""
    numbers = dict(np.load(released / f"reference_{kind}.npz"))
    counts = sparse.csr_matrix((numbers["data"], numbers["indices"], numbers["indptr"]), shape=tuple(numbers["shape"]))
    adata = AnnData(counts)
    adata.var_names = numbers["genes"]
    return numbers, adata


def assert_close(found: torch.Tensor, expected: np.ndarray) -> None:
    """Within 1e-5 of the largest value of the cell; single numbers near zero have no relative precision in float32."""
    scale = np.abs(expected).max(axis=-1, keepdims=True).clip(min=1e-12)
    assert np.abs((found.detach().numpy() - expected) / scale).max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_equals_the_released_code(released, kind):
    numbers, adata = reference(released, kind)
    model = cq.read_cellplm(released / f"tiny_{kind}")
    batch = CellSource(adata).over(model.vocabulary).read(0, adata.n_obs)
    with torch.no_grad():
        embedded = model.embed_expression(batch)
        encoded = model.encoder(embedded, batch.tissue)
        normed = model.norm(encoded)
        latent = model.latent(normed)
        assert_close(embedded, numbers["embedded"])
        assert_close(encoded, numbers["encoded"])
        assert_close(normed, numbers["normed"])
        sure = np.ones(len(batch), dtype=bool)
        if kind == "gmvae":
            assert_close(model.latent.component(normed), numbers["mixture_logits"])
            sure = numbers["deterministic_cells"]
        assert sure.sum() > 40
        assert_close(latent.mean[sure], numbers["latent"][sure])
        # The decoder by itself, from the released latent: the released code drew noise for the other cells.
        codes = {name: torch.from_numpy(numbers[name]) for name in ("batch", "dataset")}
        hidden = model.decoder(torch.from_numpy(numbers["latent"]), codes)
        np.testing.assert_allclose(model.decoder.mean(hidden), numbers["decoded_mean"], rtol=1e-5)
        dispersion = model.decoder.dispersion().expand(len(batch), -1)
        np.testing.assert_allclose(dispersion, numbers["decoded_dispersion"], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_embed_gives_the_released_latent(released, kind, batch_size):
    numbers, adata = reference(released, kind)
    cq.embed(adata, model=cq.read_cellplm(released / f"tiny_{kind}"), batch_size=batch_size, progress=False)
    sure = numbers.get("deterministic_cells", np.ones(adata.n_obs, dtype=bool))
    assert_close(torch.from_numpy(adata.obsm["X_celloquy"][sure]), numbers["latent"][sure])


@pytest.fixture
def tampered(released, tmp_path):
    """Write a copy of a checkpoint with changed weights, or a changed configuration."""

    def write(change_weights=None, **change_config) -> Path:
        config = json.loads((released / "tiny_vae.config.json").read_text())
        weights = torch.load(released / "tiny_vae.best.ckpt", weights_only=True)
        if change_weights:
            change_weights(weights["model_state_dict"])
        (tmp_path / "model.config.json").write_text(json.dumps(config | change_config))
        torch.save(weights, tmp_path / "model.best.ckpt")
        return tmp_path / "model"

    return write


def test_a_missing_weight_is_named(tampered):
    prefix = tampered(lambda weights: weights.pop("pre_latent_norm.norm.bias"))
    with pytest.raises(CheckpointError, match=r"lacks weights(.|\n)*norm\.bias"):
        cq.read_cellplm(prefix)


def test_an_extra_weight_is_named(tampered):
    prefix = tampered(lambda weights: weights.update({"head.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match=r"does not know(.|\n)*head\.weight"):
        cq.read_cellplm(prefix)


def test_a_misshapen_weight_is_named(tampered):
    prefix = tampered(lambda weights: weights.update({"decoder.out_layer.dec_1.bias": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"misshapen weight(.|\n)*\(3,\)"):
        cq.read_cellplm(prefix)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"enc_mod": "performer"}, "enc_mod"), ({"latent_mod": "split"}, "latent_mod"), ({"norm": "batchnorm"}, "norm")],
)
def test_a_kind_of_model_that_is_not_read_is_named(tampered, change, named):
    with pytest.raises(CheckpointError, match=named):
        cq.read_cellplm(tampered(**change))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.config\.json"):
        cq.read_cellplm(tmp_path / "model")


def test_a_damaged_file_is_said_to_be(released, tmp_path):
    shutil.copy(released / "tiny_vae.config.json", tmp_path / "model.config.json")
    (tmp_path / "model.best.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="can't be read"):
        cq.read_cellplm(tmp_path / "model")


def test_no_pickled_code_is_executed(released, tmp_path):
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return Path.touch, (marker,)

    shutil.copy(released / "tiny_vae.config.json", tmp_path / "model.config.json")
    torch.save({"model_state_dict": Payload()}, tmp_path / "model.best.ckpt")
    with pytest.raises(CheckpointError, match="can't be read"):
        cq.read_cellplm(tmp_path / "model")
    assert not marker.exists()


def test_a_read_model_saves_to_our_form_bit_for_bit(released, tmp_path):
    model = cq.read_cellplm(released / "tiny_gmvae")
    model.save(tmp_path / "saved")
    again = cq.CellModel.from_pretrained(tmp_path / "saved")
    assert again.fingerprint == model.fingerprint
    assert again.config == model.config
