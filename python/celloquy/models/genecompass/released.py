"""The reader of the released GeneCompass checkpoints: their names to ours, every weight accounted for."""

from __future__ import annotations

import json
import pickle
import re
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from celloquy.errors import CheckpointError, some
from celloquy.genes import GeneVocabulary
from celloquy.genes.identify import species_of, symbol_of
from celloquy.models.genecompass.config import GeneModelConfig
from celloquy.models.genecompass.gene_tables import GeneTable, read_table
from celloquy.models.genecompass.model import GeneModel
from celloquy.models.genecompass.tokens import SPECIAL
from celloquy.models.renaming import rename, rules

CONFIG, WEIGHTS, SAFE_WEIGHTS = "config.json", "pytorch_model.bin", "model.safetensors"

PRIORS = ("promoter", "co_exp", "gene_family", "peca_grn")
"""Priors in the order in which they are fused."""

# In the file, but never used by the released forward pass.
UNUSED = re.compile(r"bert\.embeddings\.position_ids$|emb_warmup\.steps$")

# Released name -> ours; the part after the match is kept. Names that are missing here are put together below.
NAMES = rules(
    (
        (r"bert\.embeddings\.word_embeddings\.weight$", "fusion.word"),
        (r"bert\.embeddings\.(\w+)_knowledge$", r"fusion.known_\1"),
        (r"bert\.embeddings\.(\w+)_embeddings\.linear1\.", r"fusion.projections.of_\1."),
        (r"bert\.embeddings\.concat_embeddings\.cat_fc\.", "fusion.fuse."),
        (r"bert\.embeddings\.concat_embeddings\.cat_ln\.", "fusion.norm."),
        (r"bert\.embeddings\.concat_embeddings\.cat_proj\.", "fusion.proj."),
        (r"bert\.embeddings\.position_embeddings\.weight$", "fusion.position"),
        (r"bert\.embeddings\.LayerNorm\.", "fusion.last_norm."),
        (r"bert\.embeddings\.homologous_index$", "partner"),
        (r"bert\.cls_embedding\.weight$", "cell"),
        (r"bert\.encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"encoder.layers.\1.out."),
        (r"bert\.encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"encoder.layers.\1.norm_attention."),
        (r"bert\.encoder\.layer\.(\d+)\.intermediate\.dense\.", r"encoder.layers.\1.expand."),
        (r"bert\.encoder\.layer\.(\d+)\.output\.dense\.", r"encoder.layers.\1.contract."),
        (r"bert\.encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"encoder.layers.\1.norm_feedforward."),
        (r"cls\.predictions\.transform\.dense\.", "gene_head.transform."),
        (r"cls\.predictions\.transform\.LayerNorm\.", "gene_head.norm."),
        (r"cls\.predictions\.bias$", "gene_head.bias"),
        (r"cls4value\.predictions\.transform\.dense\.", "value_head.transform."),
        (r"cls4value\.predictions\.transform\.LayerNorm\.", "value_head.norm."),
        (r"cls4value\.predictions\.bias$", "value_head.bias"),
        (r"cls4value\.predictions\.decoder\.weight$", "value_weight"),
    )
)

COPIES = (
    ("cls.predictions.decoder.weight", "fusion.word"),
    ("cls.predictions.decoder.bias", "gene_head.bias"),
    ("cls4value.predictions.decoder.bias", "value_head.bias"),
)
"""Weights that are in the file twice."""

QUERY = re.compile(r"bert\.encoder\.layer\.(\d+)\.attention\.self\.query\.(weight|bias)$")

ARCHITECTURE = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "use_cls_token": True,
}
"""What the configuration of a checkpoint that can be read says, where it says it."""


def read_genecompass(
    directory: str | PathLike[str],
    *,
    tokens: GeneTable,
    medians: GeneTable | None = None,
    context: int | None = None,
) -> GeneModel:
    """Read a checkpoint of the released GeneCompass.

    A row of the model's vocabulary is a gene, or a human gene and the mouse gene that the checkpoint names as its
    homologue: cells of both species carry the token of the human gene.

    Parameters
    ----------
    directory
        Directory with ``config.json`` and ``pytorch_model.bin``. No pickled code is executed.
    tokens
        Token of each gene: a table with the columns ``gene`` and ``token``, and ``symbol`` if it is known, as TSV, CSV,
        parquet or DataFrame; or the released pickle, a dictionary, of which nothing is executed. There are three tables
        of the name ``human_mouse_tokens.pickle``; the one that belongs to the checkpoint has as many tokens.
    medians
        Median of each gene, by which counts are divided: a table with the columns ``gene`` and ``median``, or a
        dictionary likewise; by default that column of ``tokens``, if it has one. A gene without a median counts as one
        of median 1. Without any, the model reads tokens with values, by :meth:`GeneModel.encode`, but no counts.
    context
        Genes of a cell that are read, at most; by default as many as the checkpoint has positions.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, the table is not that of the checkpoint, or a weight is missing, extra or
        misshapen; it names it. If it is a Geneformer.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.read_genecompass("checkpoint/", tokens="checkpoint/tokens.tsv")
    >>> model.save("genecompass/")  # from now on a directory of ours
    """
    folder = Path(directory)
    released, weights = _read(folder)
    name = str(folder)
    table = _token_table(tokens, len(_weight(name, weights, "bert.embeddings.word_embeddings.weight")))
    vocabulary, token = _vocabulary(name, table, _weight(name, weights, "bert.embeddings.homologous_index").numpy())
    config = _config(name, released, weights)
    renamed = _renamed(name, weights)
    if context is not None:
        if not 0 < context <= config.context:
            _refuse(
                name, "has too few positions for this `context`", f"{context:,}", f"at most {config.context:,}",
                "leave `context` out.", "context",
            )  # fmt: skip
        config = config.replace(context=context)
        renamed["fusion.position"] = renamed["fusion.position"][:context].clone()
    renamed["token"] = torch.from_numpy(token)
    if medians is None and "median" in table.columns:
        medians = table[["gene", "median"]][pd.to_numeric(table["median"], errors="coerce").notna()]
    median, known = _medians(medians, table["gene"].tolist())
    renamed["median"] = torch.from_numpy(median)
    model = GeneModel.from_weights(config, vocabulary, renamed, name=name)
    model.provenance = {
        "source": f"released GeneCompass checkpoint {folder.resolve().name}",
        "medians": f"of {known:,} of {len(table) - SPECIAL:,} genes" if known else "none",
    }
    return model


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights, which are those of a GeneCompass."""
    config_file, weights_file = folder / CONFIG, folder / WEIGHTS
    if (folder / SAFE_WEIGHTS).is_file() and config_file.is_file() and not weights_file.is_file():
        # No released GeneCompass has such a file, but newer Geneformers do.
        with suppress(SafetensorError, OSError, json.JSONDecodeError):
            with safe_open(folder / SAFE_WEIGHTS, framework="pt") as file:
                names = set(file.keys())
            _check_kind(folder, _json(config_file), names)
    for file in (config_file, weights_file):
        if not file.is_file():
            raise CheckpointError(
                f"There is no released GeneCompass checkpoint in {str(folder)!r}.",
                found=f"no file {file.name}",
                expected=f"{CONFIG} and {WEIGHTS}",
                remedy="pass the directory that holds them, such as GeneCompass_Base.",
                argument="directory",
            )
    try:
        released = _json(config_file)
        weights = torch.load(weights_file, map_location="cpu", weights_only=True)
    except (ValueError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        found = (str(error).splitlines() or [type(error).__name__])[0]
        _refuse(folder, "can't be read", found, "files that are whole", "download the two files again.")
    if not isinstance(weights, dict) or not all(isinstance(one, Tensor) for one in weights.values()):
        _refuse(folder, "can't be read", f"a {type(weights).__name__}", "weights by name", "download it again.")
    _check_kind(folder, released, set(weights))
    return released, weights


def _json(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise json.JSONDecodeError("no configuration", file.name, 0)
    return found


def _check_kind(folder: Path, released: dict[str, Any], names: set[str]) -> None:
    if any("concat_embeddings" in name for name in names):
        return
    if any(name.endswith("word_embeddings.weight") for name in names):
        version = "V2" if released.get("max_position_embeddings", 0) > 2048 else "V1"
        _refuse(
            folder, "is no GeneCompass, but looks like a Geneformer", f"a plain BERT of {version}'s shape, with "
            f"{released.get('vocab_size', '?')} tokens, without values, priors and species",
            "weights of a GeneCompass, concat_embeddings among them", "pass a GeneCompass.",
        )  # fmt: skip
    _refuse(
        folder, "is of a kind that celloquy does not know", some(sorted(names), 3) or "no weights",
        "weights of a GeneCompass, concat_embeddings among them", "pass the directory of a released GeneCompass.",
    )  # fmt: skip


def _token_table(tokens: GeneTable, size: int) -> pd.DataFrame:
    """The table in the order of its tokens, checked against the number of words of the checkpoint."""
    table = read_table(tokens, ("gene", "token"), "tokens")
    try:
        numbers = pd.to_numeric(table["token"]).to_numpy().astype(np.int64)
    except (ValueError, TypeError) as error:
        _wrong_table(f"tokens that are no numbers: {(str(error).splitlines() or [''])[0]}", "whole numbers")
    if len(table) != size:
        _wrong_table(f"{len(table):,} tokens", f"{size:,}, as many as the checkpoint has words")
    if not np.array_equal(np.sort(numbers), np.arange(size)):
        _wrong_table("tokens that repeat or leave numbers out", f"0 to {size - 1:,}, each once")
    table = table.iloc[np.argsort(numbers)].reset_index(drop=True)
    table["gene"] = table["gene"].astype(str)
    if table["gene"][:SPECIAL].tolist() != ["<pad>", "<mask>"]:
        _wrong_table(f"{some(table['gene'][:SPECIAL])} as the first", "<pad> and <mask> as tokens 0 and 1")
    if table["gene"].duplicated().any():
        _wrong_table(f"{some(table['gene'][table['gene'].duplicated()], 3)} more than once", "each gene once")
    return table


def _vocabulary(name: str, table: pd.DataFrame, partner: NDArray[np.int64]) -> tuple[GeneVocabulary, NDArray[np.int64]]:
    """The vocabulary in which homologues share a row, and the token of each row."""
    genes = table["gene"].tolist()
    given = table["symbol"].fillna("").astype(str).tolist() if "symbol" in table.columns else [""] * len(genes)
    kind = [species_of(gene) for gene in genes]
    if len(partner) != len(genes) or not ((partner >= 0) & (partner < len(genes))).all():
        _refuse(
            name, "has an index of homologues that does not fit its words", f"{len(partner):,} up to {partner.max():,}",
            f"{len(genes):,} tokens", "download it again.",
        )  # fmt: skip
    linked = np.flatnonzero(partner != np.arange(len(partner)))
    wrong = [genes[one] for one in linked if kind[one] != "human" or kind[int(partner[one])] != "mouse"]
    if wrong:
        _wrong_table(
            f"{len(wrong):,} homologues that are not a human and a mouse gene, such as {wrong[0]}",
            "the table whose ids the checkpoint was trained with",
        )
    if len(set(partner[linked].tolist())) < len(linked):
        _refuse(
            name, "names one mouse gene as the homologue of several human genes", "an index of homologues with repeats",
            "each mouse gene once", "download it again.",
        )  # fmt: skip
    if "homologue_token" in table.columns:
        stated = pd.to_numeric(table["homologue_token"], errors="coerce").to_numpy(dtype=np.float64)
        mouse = np.flatnonzero(~np.isnan(stated))
        pairs = set(zip(linked.tolist(), partner[linked].tolist(), strict=True))
        if set(zip(stated[mouse].tolist(), mouse.tolist(), strict=True)) != pairs:
            _wrong_table("other homologues than the checkpoint has", "the table of the checkpoint")
    taken = set(partner[linked].tolist())
    rows = [one for one in range(SPECIAL, len(genes)) if one not in taken]
    columns: list[tuple[str, str, str, str, str]] = []
    for one in rows:
        own, symbol = genes[one], given[one] or symbol_of(genes[one])
        other = int(partner[one])
        if kind[one] == "human":
            mouse_gene = (genes[other], given[other] or symbol_of(genes[other])) if other != one else ("", "")
            columns.append((own, symbol, *mouse_gene, ""))
        else:
            columns.append(("", "", own, symbol, "") if kind[one] == "mouse" else ("", "", "", "", own))
    return GeneVocabulary(*zip(*columns, strict=True)), np.array(rows, dtype=np.int64)


def _config(name: str, released: dict[str, Any], weights: dict[str, Tensor]) -> GeneModelConfig:
    for key, expected in ARCHITECTURE.items():
        if released.get(key, expected) != expected:
            _refuse(
                name, f"is of a kind that celloquy does not read: {key}", repr(released[key]), repr(expected),
                "pass a checkpoint of the released shape.",
            )  # fmt: skip
    try:
        return GeneModelConfig(
            width=released["hidden_size"],
            layers=released["num_hidden_layers"],
            heads=released["num_attention_heads"],
            feedforward=released["intermediate_size"],
            context=released["max_position_embeddings"],
            positions="rank",
            depth="raw",
            values=bool(released.get("use_values", True)),
            priors=tuple(
                (one, _weight(name, weights, f"bert.embeddings.{one}_knowledge").shape[1])
                for one in PRIORS
                if released.get(f"use_{one}", True)
            ),
            words="own",
            asked="together",
            cell_weight=0.0,
            dropout=released.get("hidden_dropout_prob", 0.0),
        )
    except KeyError as error:
        _refuse(name, "can't be read", f"no {error} in {CONFIG}", "the configuration of a BERT", "download it again.")


def _renamed(name: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """All weights under our names."""
    left = {key: weight for key, weight in weights.items() if not UNUSED.match(key)}
    renamed: dict[str, Tensor] = {}
    for key in [key for key in left if QUERY.match(key)]:
        parts = [key.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        together = [_weight(name, left, part) for part in parts]
        layer, kind = QUERY.match(key).groups()  # type: ignore[union-attr]
        renamed[f"encoder.layers.{layer}.qkv.{kind}"] = torch.cat(together)
        for part in parts:
            del left[part]
    # Added to every token, and so the same as a part of the bias before it; the second kind is of no token.
    kinds = left.pop("bert.embeddings.token_type_embeddings.weight", None)
    factor = left.pop("emb_warmup.alpha", None)
    copies = {key: left.pop(key, None) for key, _ in COPIES}
    renamed |= {rename(key, NAMES): weight for key, weight in left.items()}
    if kinds is not None and "fusion.proj.bias" in renamed:
        renamed["fusion.proj.bias"] = renamed["fusion.proj.bias"] + kinds[0]
    for key, ours in COPIES:
        copy, own = copies[key], renamed.get(ours)
        if copy is not None and own is not None and not torch.equal(copy, own):
            _refuse(name, f"has another {key} than it is tied to", "two tables", "one", "celloquy can't read it.")
    if factor is not None and float(factor) != 1:
        for key in renamed:
            if key.startswith("fusion.projections."):
                renamed[key] = renamed[key] * factor
    return {
        key: (weight.float() if weight.is_floating_point() else weight).contiguous() for key, weight in renamed.items()
    }


def _medians(medians: GeneTable | None, genes: list[str]) -> tuple[NDArray[np.float64], int]:
    """The median of each token, 0 where it is not known, and the number of those that are."""
    found = np.zeros(len(genes))
    if medians is None:
        return found, 0
    table = read_table(medians, ("gene", "median"), "medians")
    values = pd.to_numeric(table["median"], errors="coerce").to_numpy(dtype=np.float64)
    by_gene = dict(zip(table["gene"].astype(str), values, strict=True))
    unfit = [gene for gene, value in by_gene.items() if not np.isfinite(value) or value <= 0]
    if unfit:
        raise CheckpointError(
            "These medians can't be used.",
            found=f"{len(unfit):,} that are no numbers above 0, such as that of {unfit[0]}",
            expected="the median of each gene's counts where it is expressed",
            remedy="leave these genes out: they then count as genes of median 1.",
            argument="medians",
        )
    found[:] = [by_gene.get(gene, 0.0) for gene in genes]
    if not found.any():
        raise CheckpointError(
            "No gene of these medians has a token.",
            found=some(by_gene, 3),
            expected=f"genes such as {some(genes[SPECIAL:], 3)}",
            remedy="name the genes as the table of tokens does.",
            argument="medians",
        )
    return found, int((found > 0).sum())


def _weight(name: str, weights: dict[str, Tensor], key: str) -> Tensor:
    if key not in weights:
        _refuse(name, "lacks a weight", key, "every weight of the model", "download it again.")
    return weights[key]


def _wrong_table(found: str, expected: str) -> NoReturn:
    raise CheckpointError(
        "The table of tokens is not that of the checkpoint.",
        found=found,
        expected=expected,
        remedy="three released tables have nearly the same name; take the one in prior_knowledge/, not that in "
        "downstream_tasks/, nor the one of 1000W cells.",
        argument="tokens",
    )


def _refuse(
    name: str | Path, problem: str, found: str, expected: str, remedy: str, argument: str = "directory"
) -> NoReturn:
    raise CheckpointError(
        f"The GeneCompass checkpoint {str(name)!r} {problem}.",
        found=found,
        expected=expected,
        remedy=remedy,
        argument=argument,
    )
