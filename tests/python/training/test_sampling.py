"""Every cell is used once an epoch, with cells of its own tissue only, in sentences within the limit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from celloquy.training.sampling import draw_sentences, gather
from strategies import cell_batches, dense_counts

TISSUES = st.lists(st.integers(0, 6), max_size=60).map(lambda codes: np.array(codes, dtype=np.int64))


@given(tissue=TISSUES, longest=st.integers(1, 70), more=st.integers(0, 70), seed=st.integers(0, 99))
def test_each_cell_is_used_once_in_a_sentence_of_its_tissue_within_the_limit(tissue, longest, more, seed):
    batches = draw_sentences(tissue, longest=longest, batch_size=longest + more, random=np.random.default_rng(seed))
    used = [cell for batch in batches for sentence in batch for cell in sentence]
    assert sorted(used) == list(range(len(tissue)))
    for batch in batches:
        assert 0 < sum(map(len, batch)) <= longest + more
        for sentence in batch:
            assert 0 < len(sentence) <= longest
            assert len(np.unique(tissue[sentence])) == 1


@given(tissue=TISSUES, longest=st.integers(1, 70))
def test_a_tissue_is_cut_into_as_few_sentences_of_like_size_as_possible(tissue, longest):
    batches = draw_sentences(tissue, longest=longest, batch_size=longest, random=np.random.default_rng(0))
    for one in np.unique(tissue):
        sizes = [len(s) for batch in batches for s in batch if tissue[s[0]] == one]
        assert len(sizes) == -(-sum(sizes) // longest)
        assert max(sizes) - min(sizes) <= 1


def test_epochs_differ_and_repeat_with_their_seed():
    tissue = np.zeros(50, dtype=np.int64)
    first, second, again = (
        draw_sentences(tissue, longest=20, batch_size=20, random=np.random.default_rng(seed)) for seed in (0, 1, 0)
    )

    def flat(batches):
        return [cell for batch in batches for sentence in batch for cell in sentence]

    assert flat(first) == flat(again)
    assert flat(first) != flat(second)


@given(batch=cell_batches(min_cells=1), longest=st.integers(1, 5))
def test_gathered_sentences_are_tissues_of_their_own(batch, longest):
    batches = draw_sentences(batch.tissue.numpy(), longest=longest, batch_size=longest, random=np.random.default_rng(0))
    for sentences in batches:
        gathered = gather(batch, sentences)
        assert np.bincount(gathered.tissue).tolist() == [len(sentence) for sentence in sentences]
        cells = np.concatenate(sentences)
        np.testing.assert_array_equal(dense_counts(gathered), dense_counts(batch)[cells])
        # Each cell has the panel that it had, and there are no others.
        np.testing.assert_array_equal(gathered.measured[gathered.panel], batch.measured[batch.panel[cells]])
        assert set(gathered.panel.tolist()) == set(range(len(gathered.measured)))
