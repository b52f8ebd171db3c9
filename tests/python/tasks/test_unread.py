"""What a pretrained model does not read of cells can't be named: it would change nothing."""

import pytest

import celloquy as cq
from celloquy.errors import ArgumentError
from tasks.annotation.test_adapting_model import FACTORS
from tasks.annotation.test_annotator import cells


@pytest.mark.parametrize("given", [{"tissue_key": "donor"}, {"spatial_key": "spatial"}])
def test_a_key_that_the_model_does_not_read_is_refused(given):
    adata = cells()
    adata.obsm["spatial"] = adata.X[:, :2].toarray()
    with pytest.raises(ArgumentError, match=f"`{next(iter(given))}` has no use with this model"):
        cq.annotate(adata, reference=adata.copy(), label_key="cell_type", model=FACTORS, **given)
    with pytest.raises(ArgumentError, match=f"`{next(iter(given))}` has no use with this model"):
        cq.embed(adata, model=FACTORS, **given)
