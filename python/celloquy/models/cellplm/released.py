"""The reader of the released CellPLM checkpoints: their names to ours, every weight accounted for."""

from __future__ import annotations

import json
import pickle
import re
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from celloquy.errors import CheckpointError
from celloquy.genes import GeneVocabulary
from celloquy.models.cellplm.config import CellModelConfig, Latent
from celloquy.models.cellplm.model import CellModel
from celloquy.models.renaming import rename, rules

# In the file, but never used by the released forward pass.
UNUSED = re.compile(r"embedder\.(norm0|pe_enc)\.")

# Released name -> ours; the part after the match is kept.
NAMES = rules(
    (
        (r"embedder\.feat_enc\.emb$", "embedder.gene"),
        (r"embedder\.extra_linear\.0\.", "embedder.mix."),
        (r"embedder\.extra_linear\.3\.", "embedder.norm."),
        (r"encoder\.layers\.(\d+)\.self_attn\.(query|key|value|out)_projection\.", r"encoder.layers.\1.attention.\2."),
        (r"encoder\.layers\.(\d+)\._ff_block\.", r"encoder.layers.\1.feedforward."),
        (r"encoder\.layers\.(\d+)\.norm1\.", r"encoder.layers.\1.norm_attention."),
        (r"encoder\.layers\.(\d+)\.norm2\.", r"encoder.layers.\1.norm_feedforward."),
        (r"pre_latent_norm\.norm\.", "norm."),
        (r"latent\.layers\.1\.inference\.inference_qyx\.0\.logits\.", "latent.component."),
        (r"latent\.layers\.1\.inference\.inference_qzyx\.0\.", "latent.hidden."),
        (r"latent\.layers\.1\.inference\.inference_qzyx\.2\.mu\.", "latent.mean."),
        (r"latent\.layers\.1\.inference\.inference_qzyx\.2\.var\.", "latent.variance."),
        (r"latent\.layers\.1\.inference\.y_mu\.", "latent.prior_mean."),
        (r"latent\.layers\.1\.inference\.y_var\.", "latent.prior_variance."),
        (r"latent\.layers\.1\.hid_2mu\.", "latent.mean."),
        (r"latent\.layers\.1\.hid_2sigma\.", "latent.log_variance."),
        (r"decoder\.layers\.(\d+)\.0\.", r"decoder.layers.\1.linear."),
        (r"decoder\.layers\.(\d+)\.1\.", r"decoder.layers.\1.activation."),
        (r"decoder\.layers\.(\d+)\.3\.", r"decoder.layers.\1.norm."),
        (r"decoder\.covariate_layers\.(\d+)\.(\w+)\.0\.", r"decoder.layers.\1.covariates.\2.embedding."),
        (r"decoder\.covariate_layers\.(\d+)\.(\w+)\.1\.", r"decoder.layers.\1.covariates.\2.activation."),
        (r"decoder\.covariate_layers\.(\d+)\.(\w+)\.2\.", r"decoder.layers.\1.covariates.\2.norm."),
        (r"decoder\.out_layer\.dec_1\.", "decoder.hidden."),
        (r"decoder\.out_layer\.dec_mean\.0\.", "decoder.log_mean."),
        (r"decoder\.out_layer\.dec_disp$", "decoder.log_dispersion"),
    )
)

COVARIATE = re.compile(r"decoder\.covariate_layers\.0\.(\w+)\.0\.weight$")


def read_cellplm(prefix: str | PathLike[str]) -> CellModel:
    """Read a checkpoint of the released CellPLM.

    Parameters
    ----------
    prefix
        Path without ending: ``PREFIX.config.json`` and ``PREFIX.best.ckpt`` are read. No pickled code is executed.

    Raises
    ------
    CheckpointError
        If a file is missing, or a weight is missing, extra or misshapen; it names the weight.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.read_cellplm("checkpoint/cellplm")
    >>> model.save("cellplm/")  # from now on a directory of ours
    """
    config_file, weights_file = Path(f"{prefix}.config.json"), Path(f"{prefix}.best.ckpt")
    for file in (config_file, weights_file):
        if not file.is_file():
            raise CheckpointError(
                f"There is no released CellPLM checkpoint at {str(prefix)!r}.",
                found=f"no file {file.name}",
                expected=f"{config_file.name} and {weights_file.name}",
                remedy="pass the path of the two files without their endings.",
            )
    try:
        released = json.loads(config_file.read_text(encoding="utf-8"))
        weights = torch.load(weights_file, map_location="cpu", weights_only=True)
    except (json.JSONDecodeError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        _refuse(prefix, "can't be read", str(error).splitlines()[0], "download the two files again.")
    weights = weights.get("model_state_dict", weights)
    vocabulary = GeneVocabulary.from_ids(released["gene_list"])
    renamed = {rename(name, NAMES): tensor for name, tensor in weights.items() if not UNUSED.match(name)}
    covariates = tuple((m[1], len(tensor)) for name, tensor in weights.items() if (m := COVARIATE.match(name)))
    config = _config(prefix, released, renamed, covariates)
    model = CellModel.from_weights(config, vocabulary, renamed, name=str(prefix))
    model.provenance = {"source": f"released CellPLM checkpoint {Path(prefix).name}"}
    return model


def _config(
    prefix: str | PathLike[str],
    released: dict[str, Any],
    weights: dict[str, Tensor],
    covariates: tuple[tuple[str, int], ...],
) -> CellModelConfig:
    latents: dict[str, Latent] = {"gmvae": "mixture", "vae": "gaussian", "none": "none"}
    for key, known in (("enc_mod", ["flowformer"]), ("latent_mod", list(latents)), ("dec_mod", ["nbmlp"])):
        if released.get(key) not in known:
            _refuse(
                prefix, f"is of a kind that celloquy does not read: {key}", repr(released.get(key)), f"use {known}."
            )
    if released.get("norm") != "groupnorm" or released.get("cat_pe") or released.get("dsbn"):
        _refuse(prefix, "is of a kind that celloquy does not read", "another norm", "use one with group norms.")
    hidden = weights.get("latent.hidden.bias")
    components = weights.get("latent.component.bias")
    return CellModelConfig(
        width=released["enc_hid"],
        layers=released["enc_layers"],
        heads=released.get("enc_head", 8),
        feedforward=2 * released["enc_hid"],
        positions=False,
        dropout=released["model_dropout"],
        latent=latents[released["latent_mod"]],
        latent_width=released["post_latent_dim"],
        latent_hidden=512 if hidden is None else len(hidden),
        components=released.get("num_clusters", 16) if components is None else len(components),
        decoder_width=released["dec_hid"],
        decoder_layers=released["dec_layers"] - 1,
        covariates=covariates,
        mask_cells=released.get("mask_node_rate", 0.75),
        # A Beta distribution whose mode is the rate.
        mask_beta=(5.0, 4 / (released.get("mask_feature_rate") or 0.25) - 3),
        kl_weight=released.get("w_li", 1.0),
        free_bits=released.get("lamda", 5.0),
    )


def _refuse(prefix: str | PathLike[str], problem: str, found: str, remedy: str) -> NoReturn:
    raise CheckpointError(f"The CellPLM checkpoint {str(prefix)!r} {problem}.", found=found, remedy=remedy)
