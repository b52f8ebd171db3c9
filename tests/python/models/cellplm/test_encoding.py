"""The shares of several processes: every cell in one, tissues whole or spread evenly, none idle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celloquy.models.cellplm.encoding import TissueEncoding
from celloquy.models.encoding import EmbeddingOptions
from examples import small_model

MODELS = {attention: small_model(attention=attention) for attention in ("flow", "softmax", "none")}


class Tissues:
    """Cells of which only the tissue is known."""

    def __init__(self, tissue):
        self.tissue = np.array(tissue)

    def __len__(self):
        return len(self.tissue)


def owners(attention, tissue, batch_size, processes):
    encoding = TissueEncoding.__new__(TissueEncoding)
    encoding.model, encoding.room = MODELS[attention], 2**62
    encoding.options = EmbeddingOptions(batch_size=batch_size)
    return encoding.share(Tissues(tissue), processes)


@pytest.mark.parametrize("attention", MODELS)
@given(
    tissue=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    batch_size=st.integers(1, 40),
    processes=st.integers(2, 5),
)
def test_tissues_are_whole_or_spread_evenly_and_no_process_has_much_more(attention, tissue, batch_size, processes):
    owner, tissue = owners(attention, tissue, batch_size, processes), np.array(tissue)
    assert owner.min() >= 0
    assert owner.max() < processes
    largest = min(batch_size, max(1, len(tissue) // (2 * processes))) if attention == "flow" else len(tissue)
    loads, uneven, whole = np.zeros(processes), 0, 1
    for one in np.unique(tissue):
        counts = np.bincount(owner[tissue == one], minlength=processes)
        loads += counts
        if attention == "none":
            continue
        if counts.sum() > largest:
            assert counts.max() - counts.min() <= 1
            uneven += 1
        else:
            assert counts.max() == counts.sum()
            whole = max(whole, counts.sum())
    assert loads.max() <= np.ceil(len(tissue) / processes) + uneven + whole
