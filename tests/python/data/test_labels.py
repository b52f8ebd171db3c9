"""Words that stand for a missing label are no labels, and rare ones can be left out."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celloquy.data.labels import read_labels
from celloquy.errors import ArgumentError, MissingLabelWarning

TYPES = ("B cell", "T cell", "NK", "unknown progenitor", "Noneosinophil")
NOTHING = ("", " ", "nan", "NaN", None, np.nan, "None", "NA", "n/a", "Unknown", "UNKNOWN", "unassigned", "Unassigned ")


def labelled(labels, *, categorical=False):
    values = pd.Series(labels, dtype=object)
    names = [f"c{i}" for i in range(len(labels))]
    return ad.AnnData(
        obs=pd.DataFrame({"type": (values.astype("category") if categorical else values).to_numpy()}, index=names)
    )


def read(labels, *, categorical=False, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingLabelWarning)
        return read_labels(labelled(labels, categorical=categorical), "type", reserved="unknown", **options)


@given(
    st.lists(st.sampled_from(TYPES), min_size=4, max_size=20).filter(lambda one: len(set(one)) > 1),
    st.lists(st.sampled_from(NOTHING), max_size=6),
    st.randoms(),
    st.booleans(),
)
def test_words_for_nothing_are_not_learned_whatever_their_case(types, nothing, random, categorical):
    types = [*types, *types]
    given_labels = [*types, *nothing]
    random.shuffle(given_labels)
    found = read(given_labels, categorical=categorical)
    assert set(found.names) == set(types)
    for label, code in zip(given_labels, found.codes, strict=True):
        assert (found.names[code] if code >= 0 else None) == (label if label in TYPES else None)


def test_cells_without_a_label_are_told_once_with_the_words_that_were_found():
    reference = labelled(["B", "B", "T", "T", "nan", "Unassigned", None])
    with pytest.warns(
        MissingLabelWarning, match=r"3 of 7 reference cells have no label in 'type'.*'', 'Unassigned', 'nan'"
    ):
        read_labels(reference, "type", reserved="unknown")


def test_words_for_nothing_are_learned_when_asked_for():
    found = read_labels(labelled(["B", "B", "nan", "nan"]), "type", reserved="unknown", drop_missing=False)
    assert found.names == ("B", "nan")
    with pytest.raises(ArgumentError, match="1 of 5 cells"):
        read_labels(labelled(["B", "B", "T", "T", None]), "type", reserved="unknown", drop_missing=False)
    with pytest.raises(ArgumentError, match="has the label 'unknown'"):
        read_labels(labelled(["B", "B", "unknown", "unknown"]), "type", reserved="unknown", drop_missing=False)


def test_labels_of_few_cells_are_left_out_when_asked_for():
    labels = ["B"] * 5 + ["T"] * 3 + ["NK"] * 2 + ["pDC"]
    with pytest.raises(ArgumentError, match=r"labels of one cell[\s\S]*pDC[\s\S]*`drop_rare`"):
        read(labels)
    assert read(labels, drop_rare=2).names == ("B", "NK", "T")
    found = read(labels, drop_rare=3)
    assert found.names == ("B", "T")
    assert found.codes.tolist() == [0] * 5 + [1] * 3 + [-1] * 3
    with pytest.raises(ArgumentError, match=r"has one label[\s\S]*smaller `drop_rare`"):
        read(labels, drop_rare=4)
    with pytest.raises(ArgumentError, match="has no label"):
        read(labels, drop_rare=9)


@pytest.mark.parametrize("least", [1, 0, 2.5, "3", True])
def test_a_least_number_of_cells_that_is_none_is_refused(least):
    with pytest.raises(ArgumentError, match="`drop_rare` can't be used"):
        read(["B", "B", "T", "T"], drop_rare=least)
