"""The division into training and held-out rows is fixed, disjoint, complete and stratified."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.split import stratified


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=80), data=st.data())
def test_the_division_is_disjoint_complete_and_stratified(labels: list[int], data: st.DataObject) -> None:
    heldout = data.draw(st.integers(1, len(labels) - 1))
    array = np.array(labels)
    train, validation = stratified(array, heldout)
    assert len(validation) == heldout
    assert sorted([*train, *validation]) == list(range(len(labels)))
    for label in set(labels):
        ideal = labels.count(label) * heldout / len(labels)
        assert abs(int((array[validation] == label).sum()) - ideal) < 1


def test_another_key_is_another_division() -> None:
    labels = np.arange(100) % 5
    assert stratified(labels, 20)[1].tolist() == stratified(labels, 20)[1].tolist()
    assert stratified(labels, 20, key=1)[1].tolist() != stratified(labels, 20)[1].tolist()


@pytest.mark.parametrize("heldout", [0, 10, 11, -1])
def test_both_sides_need_rows(heldout: int) -> None:
    with pytest.raises(ValueError, match=f"heldout is {heldout}"):
        stratified(np.zeros(10, dtype=np.int64), heldout)
