"""A small gene model of human and mouse with random weights, and cells of either species that it can embed."""

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

import celloquy as cq

PAIRS, HUMAN_ALONE, MOUSE_ALONE = 20, 8, 6
HUMAN = [f"ENSG{i:011d}" for i in range(1, PAIRS + HUMAN_ALONE + 1)]
MOUSE = [f"ENSMUSG{i:011d}" for i in range(1, PAIRS + MOUSE_ALONE + 1)]
WIDTHS = {"regulation": 5, "family": 3}


def vocabulary() -> cq.GeneVocabulary:
    """The first genes of both species are pairs."""
    rows = [(HUMAN[i], "", MOUSE[i], "", "") for i in range(PAIRS)]
    rows += [(gene, "", "", "", "") for gene in HUMAN[PAIRS:]]
    rows += [("", "", gene, "", "") for gene in MOUSE[PAIRS:]]
    return cq.GeneVocabulary(*zip(*rows, strict=True))


def small_gene_model(seed: int = 0, **changes) -> cq.GeneModel:
    """Make a model with random weights, priors of two widths, and medians; of each one gene has none."""
    torch.manual_seed(seed)
    config = cq.GeneModelConfig(
        **{"width": 16, "layers": 2, "heads": 2, "feedforward": 24, "context": 64}
        | {"priors": tuple(WIDTHS.items())}
        | changes
    )
    model = cq.GeneModel(config, vocabulary())
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
        model.fusion.last_norm.weight.add_(1)
    genes = [*HUMAN[:PAIRS], *HUMAN[PAIRS + 1 :], *MOUSE]
    for name, width in config.priors:
        table = pd.DataFrame(np.random.default_rng(seed).normal(size=(len(genes), width)), index=genes)
        model.set_prior(name, table)
    model.median = torch.rand(len(model.median), dtype=torch.float64) * 2 + 0.5
    model.median[model.token[0]] = 0
    return model.eval()


def small_factor_model(seed: int = 0) -> cq.FactorModel:
    """Make a factor model of the same genes with random loadings."""
    torch.manual_seed(seed)
    model = cq.FactorModel(cq.FactorModelConfig(width=4), vocabulary())
    with torch.no_grad():
        model.loadings.copy_(torch.randn_like(model.loadings))
    return model.eval()


def gene_cells(n: int = 12, seed: int = 0, genes=HUMAN, empty: bool = False) -> ad.AnnData:
    """Make cells of one species; each expresses another number of genes, one a single gene."""
    random = np.random.default_rng(seed)
    counts = random.poisson(random.gamma(0.7, 3, size=(n, len(genes)))).astype(np.float32)
    counts[random.random(counts.shape) < random.random((n, 1)) * 0.8] = 0
    counts[-1] = 0
    counts[-1, 3] = 2
    if empty:
        counts[0] = 0
    adata = ad.AnnData(sparse.csr_matrix(counts), obs=pd.DataFrame(index=[f"cell{i}" for i in range(n)]))
    adata.var_names = list(genes)
    return adata
