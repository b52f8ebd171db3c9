"""The released GeneCompass checkpoints: the same numbers from the same weights, and a clear word on what is none."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from celloquy.errors import CheckpointError, ModelError
from celloquy.models.genecompass.gene_tables import read_table
from celloquy.models.genecompass.objective import masked_losses
from gene_examples import gene_cells

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def folder(shared) -> Path:
    return shared / "fixtures" / "genecompass"


@pytest.fixture(scope="module")
def model(folder) -> cq.GeneModel:
    return cq.read_genecompass(folder, tokens=folder / "tokens.tsv")


@pytest.fixture(scope="module")
def reference(folder) -> dict[str, torch.Tensor]:
    arrays = np.load(folder / "reference.npz")
    found = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays}
    found["species"] = found["species"][:, 0]
    return found


@pytest.fixture
def copied(folder, tmp_path) -> Path:
    """A copy of the checkpoint that may be damaged."""
    for name in ("config.json", "pytorch_model.bin", "tokens.tsv"):
        shutil.copyfile(folder / name, tmp_path / name)
    return tmp_path


def inputs(reference, prefix=""):
    return reference[f"{prefix}input_ids"], reference[f"{prefix}values"], reference["species"]


def test_every_layer_equals_the_released_one_padding_included(model, reference):
    ids, values, species = inputs(reference)
    with torch.no_grad():
        layer = model.embedded(ids, values, species)
        torch.testing.assert_close(layer, reference["embedded"], **CLOSE)
        mask = functional.pad(reference["attention_mask"].bool(), (1, 0), value=True)
        for number, one in enumerate(model.encoder.layers, 1):
            layer = one(layer, mask[:, None, None])
            torch.testing.assert_close(layer, reference[f"hidden_{number}"], **CLOSE)


def test_cells_and_genes_equal_the_released_vectors_and_predictions(model, reference):
    with torch.no_grad():
        cells, genes = model.encode(*inputs(reference))
        torch.testing.assert_close(cells, reference["cls_embedding"], **CLOSE)
        torch.testing.assert_close(genes, reference["hidden_2"][:, 1:], **CLOSE)
        torch.testing.assert_close(model.predict_genes(genes), reference["gene_logits"], **CLOSE)
        torch.testing.assert_close(model.predict_values(genes), reference["value_predictions"], **CLOSE)
        _, masked = model.encode(*inputs(reference, "masked_"))
        torch.testing.assert_close(model.predict_genes(masked), reference["masked_gene_logits"], **CLOSE)


def test_attention_equals_the_released_weights(model, reference):
    ids, values, species = (one[:2] for one in inputs(reference))
    with torch.no_grad():
        mask = functional.pad(ids > 0, (1, 0), value=True)[:, None, None]
        first, last = model.encoder.layers
        read = first(model.embedded(ids, values, species), mask)
        queries = torch.arange(read.shape[1]).expand(2, -1)
        expected = reference["attention_last"].mean(1)
        torch.testing.assert_close(last.attention(read, mask, queries), expected, **CLOSE)
        some = torch.tensor([[3, 0], [7, 1]])
        chosen = expected[torch.arange(2)[:, None], some]
        torch.testing.assert_close(last.attention(read, mask, some), chosen, **CLOSE)


def test_without_species_or_mask_it_computes_what_the_released_tasks_compute(model, reference):
    ids, values, species = inputs(reference)
    with torch.no_grad():
        cells, genes = model.encode(ids, values)
        torch.testing.assert_close(torch.cat([cells[:, None], genes], 1), reference["hidden_no_species"], **CLOSE)
        attended = model.encoder(model.embedded(ids, values, species))
        torch.testing.assert_close(attended, reference["hidden_unpadded_mask"], **CLOSE)
        pooled = functional.linear(cells, reference["pooler_weight"], reference["pooler_bias"]).tanh()
        classes = functional.linear(pooled, reference["classifier_weight"], reference["classifier_bias"])
        torch.testing.assert_close(classes, reference["class_logits"], **CLOSE)


def test_the_embedding_of_tokens_equals_the_released_one_whatever_is_read_together(model, reference):
    from celloquy.models.genecompass.tokens import GeneTokens

    ids, values, species = inputs(reference)
    lengths = (ids > 0).sum(1)
    indptr = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    tokens = GeneTokens(indptr, ids[ids > 0], values[ids > 0], species, torch.zeros_like(lengths))
    with torch.no_grad():
        for tables in (None, {0: model.table(0)}):
            for most in (1, 60, None):
                found = model.embed_tokens(tokens, tables, most)
                torch.testing.assert_close(found, reference["cls_embedding"], **CLOSE)


def test_a_cell_of_one_gene_and_one_that_fills_the_context_are_among_them(reference):
    lengths = (reference["input_ids"] > 0).sum(1).tolist()
    assert lengths[4] == 1
    assert lengths[5] == reference["input_ids"].shape[1] == 64


def test_losses_and_gradients_equal_the_released_ones(folder, reference):
    model = cq.read_genecompass(folder, tokens=folder / "tokens.tsv")
    labels = reference["labels"]
    targets = torch.where(labels == -100, torch.nan, reference["values"])
    found = masked_losses(model, model.encode(*inputs(reference, "masked_"))[1], labels, targets)
    assert float(found.loss.detach()) == pytest.approx(float(reference["loss"]), rel=1e-5)
    assert float(found.genes.detach()) == pytest.approx(float(reference["id_loss"]), rel=1e-5)
    assert float(found.values.detach()) == pytest.approx(float(reference["value_loss"]), rel=1e-5)
    found.loss.backward()
    width = model.config.width
    for gradient, name in (
        (model.fusion.fuse.weight.grad, "grad_cat_fc"),
        (model.fusion.word.grad, "grad_word_embeddings"),
        (model.encoder.layers[0].qkv.weight.grad[:width], "grad_query_0"),
        (model.value_weight.grad, "grad_value_head"),
    ):
        torch.testing.assert_close(gradient, reference[name], rtol=1e-4, atol=1e-6)


def test_nothing_but_the_masked_places_is_in_the_loss(model, reference):
    labels = reference["labels"]
    targets = torch.where(labels == -100, torch.nan, reference["values"])
    with torch.no_grad():
        vectors = model.encode(*inputs(reference, "masked_"))[1]
        expected = masked_losses(model, vectors, labels, targets)
        spoilt = torch.where((labels == -100)[..., None], 1e6, vectors)
        assert torch.equal(masked_losses(model, spoilt, labels, targets).loss, expected.loss)
        nothing = masked_losses(model, vectors, torch.full_like(labels, -100), torch.full_like(targets, torch.nan))
        assert float(nothing.loss) == 0


def test_priors_of_any_width_are_read(copied, folder):
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    start = "bert.embeddings."
    weights[f"{start}co_exp_knowledge"] = torch.randn(202, 7)
    weights[f"{start}co_exp_embeddings.linear1.weight"] = torch.randn(32, 7)
    for name in ("peca_grn_knowledge", "peca_grn_embeddings.linear1.weight", "peca_grn_embeddings.linear1.bias"):
        del weights[start + name]
    fuse = weights[f"{start}concat_embeddings.cat_fc.weight"]
    weights[f"{start}concat_embeddings.cat_fc.weight"] = fuse[:, : 4 * 32 + 1].clone()
    torch.save(weights, copied / "pytorch_model.bin")
    config = json.loads((copied / "config.json").read_text()) | {"use_peca_grn": False}
    (copied / "config.json").write_text(json.dumps(config))
    model = cq.read_genecompass(copied, tokens=copied / "tokens.tsv")
    assert model.config.priors == (("promoter", 24), ("co_exp", 7), ("gene_family", 24))
    assert model.encode(torch.tensor([[2, 3]]), torch.ones(1, 2))[0].isfinite().all()


def test_homologues_share_a_row_of_the_vocabulary_and_mouse_genes_keep_their_knowledge(model, folder):
    table = pd.read_csv(folder / "tokens.tsv", sep="\t", keep_default_na=False)
    pairs = {row.gene: int(row.homologue_token) for row in table.itertuples() if row.homologue_token}
    assert model.vocabulary.pairs == len(pairs) == 50
    for gene, human in pairs.items():
        row = model.vocabulary.index(gene)
        assert int(model.token[row]) == human
        assert table["gene"][int(model.partner[human])] == gene
    assert model.vocabulary.symbols[0] == "HUM0"


@pytest.mark.parametrize("form", ["tsv", "csv", "parquet", "pickle", "frame", "dictionary", "shuffled"])
def test_the_table_of_tokens_may_have_many_forms(folder, tmp_path, model, form):
    table = pd.read_csv(folder / "tokens.tsv", sep="\t", keep_default_na=False)
    plain = dict(zip(table["gene"], table["token"].tolist(), strict=True))
    path = tmp_path / f"tokens.{form}"
    if form in ("tsv", "csv"):
        table.to_csv(path, sep="\t" if form == "tsv" else ",", index=False)
    elif form == "parquet":
        table.to_parquet(path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(plain))
    given = {"frame": table, "dictionary": plain, "shuffled": table.sample(frac=1, random_state=0)}.get(form, path)
    found = cq.read_genecompass(folder, tokens=given)
    assert found.vocabulary == model.vocabulary
    assert found.fingerprint == model.fingerprint


def test_a_converted_checkpoint_is_one_of_our_directories(folder, tmp_path, model):
    arguments = ["convert", str(folder), "-o", str(tmp_path / "model")]
    missing = CliRunner().invoke(app, arguments)
    assert missing.exit_code == 1
    assert "--tokens" in missing.output
    done = CliRunner().invoke(app, [*arguments, "--tokens", str(folder / "tokens.tsv")])
    assert done.exit_code == 0, done.output
    assert cq.Model.from_pretrained(tmp_path / "model").fingerprint == model.fingerprint
    assert "Example:" in CliRunner().invoke(app, ["convert", "--help"]).output


def test_counts_are_read_by_the_medians_and_not_without(folder, model):
    genes = [gene for gene in model.vocabulary.human_ids if gene][:28]
    adata = gene_cells(genes=genes)
    with pytest.raises(ModelError, match="no median of any gene") as caught:
        cq.embed(adata, model=model, progress=False)
    assert caught.value.argument == "medians"
    medians = dict.fromkeys(genes[1:], 2.0)
    whole = cq.read_genecompass(folder, tokens=folder / "tokens.tsv", medians=medians)
    assert whole.provenance["medians"] == "of 27 of 200 genes"
    cq.embed(adata, model=whole, progress=False)
    assert np.isfinite(adata.obsm["X_celloquy"]).all()
    table = pd.read_csv(folder / "tokens.tsv", sep="\t", keep_default_na=False)
    table["median"] = table["gene"].map(medians)
    assert cq.read_genecompass(folder, tokens=table).fingerprint == whole.fingerprint
    # A gene without a median counts as one of median 1.
    one = cq.read_genecompass(folder, tokens=folder / "tokens.tsv", medians=medians | {genes[0]: 1.0})
    np.testing.assert_allclose(
        cq.embed(adata, model=one, progress=False, copy=True).obsm["X_celloquy"], adata.obsm["X_celloquy"]
    )


def test_fewer_genes_may_be_read_than_there_are_positions_but_not_more(folder):
    short = cq.read_genecompass(folder, tokens=folder / "tokens.tsv", context=10)
    assert short.config.context == 10 == len(short.fusion.position)
    with pytest.raises(CheckpointError, match=r"too few positions[\s\S]*65[\s\S]*at most 64") as caught:
        cq.read_genecompass(folder, tokens=folder / "tokens.tsv", context=65)
    assert caught.value.argument == "context"


def changed(table: pd.DataFrame, how: str) -> pd.DataFrame:
    if how == "short":
        return table[:-1]
    if how == "long":
        return pd.concat([table, table[-1:].assign(token=len(table))])
    if how == "repeats":
        return table.assign(token=table["token"].replace(5, 6))
    if how == "a gene twice":
        return table.assign(gene=table["gene"].replace(table["gene"][7], table["gene"][8]))
    if how == "words":
        return table.assign(token="three")
    if how == "no padding":
        return table.assign(gene=table["gene"].replace("<pad>", "<cls>"))
    if how == "homologues":
        return table.assign(homologue_token=table["homologue_token"].where(table["token"] != 122, ""))
    # Another table of as many tokens: species and homologues lie elsewhere.
    genes = table["gene"].tolist()
    return table.drop(columns="homologue_token").assign(gene=[*genes[:2], *genes[:1:-1]])


@pytest.mark.parametrize(
    "how", ["short", "long", "repeats", "words", "a gene twice", "no padding", "homologues", "reversed"]
)
def test_a_table_that_is_not_that_of_the_checkpoint_is_refused(folder, how):
    table = pd.read_csv(folder / "tokens.tsv", sep="\t", keep_default_na=False)
    with pytest.raises(CheckpointError, match="not that of the checkpoint") as caught:
        cq.read_genecompass(folder, tokens=changed(table, how))
    assert caught.value.argument == "tokens"
    assert "prior_knowledge" in caught.value.remedy


class Code:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", [Code(), {"ENSG00000000001": Code()}, np.float64(1), print])
def test_a_pickle_with_more_than_a_table_is_refused_by_name_and_not_executed(
    folder, tmp_path, capsys, content, protocol
):
    (tmp_path / "tokens.pickle").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(CheckpointError, match=r"holds more than a table[\s\S]*(print|numpy)") as caught:
        cq.read_genecompass(folder, tokens=tmp_path / "tokens.pickle")
    assert caught.value.argument == "tokens"
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_containers_text_and_numbers_is_read(tmp_path, protocol):
    plain = {"<pad>": 0, "a": 1, "b": 2.5, "c": (1, [2, {3}], None, True, 10**30, frozenset([1]))}
    (tmp_path / "table.pkl").write_bytes(pickle.dumps(plain, protocol=protocol))
    table = read_table(tmp_path / "table.pkl", ("gene", "token"), "tokens")
    assert dict(zip(table["gene"], table["token"], strict=True)) == plain


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"not a pickle"])
@pytest.mark.parametrize("ending", ["pickle", "parquet", "tsv"])
def test_a_damaged_table_is_refused(folder, tmp_path, content, ending):
    (tmp_path / f"tokens.{ending}").write_bytes(content)
    with pytest.raises(CheckpointError, match="can't be read") as caught:
        cq.read_genecompass(folder, tokens=tmp_path / f"tokens.{ending}")
    assert caught.value.argument == "tokens"


@pytest.mark.parametrize("medians", [{"ENSG00000004011": 0.0}, {"ENSG00000004011": "many"}, {"GFP": 1.0}])
def test_medians_that_are_none_are_refused(folder, medians):
    with pytest.raises(CheckpointError, match=r"(medians can't be used|No gene of these medians)") as caught:
        cq.read_genecompass(folder, tokens=folder / "tokens.tsv", medians=medians)
    assert caught.value.argument == "medians"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "config.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(copied, name, share):
    whole = (copied / name).read_bytes()
    (copied / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="can't be read"):
        cq.read_genecompass(copied, tokens=copied / "tokens.tsv")
    (copied / name).unlink()
    with pytest.raises(CheckpointError, match=f"no released GeneCompass[\\s\\S]*no file {name}"):
        cq.read_genecompass(copied, tokens=copied / "tokens.tsv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("bert.cls_embedding.weight"), "lacks weights[\\s\\S]*cell"),
        (
            lambda weights: weights.pop("bert.encoder.layer.1.attention.self.key.bias"),
            "lacks a weight[\\s\\S]*key.bias",
        ),
        (lambda weights: weights.update(classifier=torch.ones(3)), "does not know[\\s\\S]*classifier"),
        (lambda weights: weights.update({"cls4value.predictions.bias": torch.ones(2)}), "(misshapen|tied)"),
        (lambda weights: weights["cls.predictions.decoder.weight"].add_(1), "tied"),
        (lambda weights: weights["bert.embeddings.homologous_index"].add_(150), "does not fit its words"),
        (
            lambda weights: weights["bert.embeddings.homologous_index"].fill_(150),
            "(not that of the checkpoint|several)",
        ),
    ],
)
def test_every_weight_is_accounted_for(copied, change, message):
    weights = dict(torch.load(copied / "pytorch_model.bin", weights_only=True))
    weights = {name: weight.clone() for name, weight in weights.items()}
    change(weights)
    torch.save(weights, copied / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=message):
        cq.read_genecompass(copied, tokens=copied / "tokens.tsv")


def test_weights_with_code_in_them_are_refused(copied, capsys):
    torch.save({"bert.embeddings.word_embeddings.weight": Code()}, copied / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="can't be read"):
        cq.read_genecompass(copied, tokens=copied / "tokens.tsv")
    assert "executed" not in capsys.readouterr().out


def test_the_factor_of_the_priors_is_part_of_their_projections(copied, model):
    weights = dict(torch.load(copied / "pytorch_model.bin", weights_only=True))
    weights["emb_warmup.alpha"] = torch.tensor(0.5)
    torch.save(weights, copied / "pytorch_model.bin")
    half = cq.read_genecompass(copied, tokens=copied / "tokens.tsv")
    name = "of_promoter"
    torch.testing.assert_close(half.fusion.projections[name].weight, model.fusion.projections[name].weight / 2)
    torch.testing.assert_close(half.fusion.projections[name].bias, model.fusion.projections[name].bias / 2)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize(("positions", "version"), [(2048, "V1"), (4096, "V2")])
def test_a_geneformer_is_told_apart(tmp_path, folder, file, positions, version):
    weights = {"bert.embeddings.word_embeddings.weight": torch.zeros(9, 4), "cls.predictions.bias": torch.zeros(9)}
    save = torch.save if file.endswith(".bin") else save_file
    save(weights, tmp_path / file)
    config = {"vocab_size": 9, "max_position_embeddings": positions, "hidden_size": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"looks like a Geneformer[\\s\\S]*{version}"):
        cq.read_genecompass(tmp_path, tokens=folder / "tokens.tsv")


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"layer_norm_eps": 1e-5}, {"hidden_size": None}])
def test_another_architecture_is_refused(copied, change):
    config = json.loads((copied / "config.json").read_text()) | change
    (copied / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(CheckpointError, match=r"(does not read|can't be read)"):
        cq.read_genecompass(copied, tokens=copied / "tokens.tsv")
