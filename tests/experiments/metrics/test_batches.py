"""The rows that a model is asked about."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from experiments.batches import heldout, starts


def test_a_start_depends_on_its_number_alone(plane: Any) -> None:
    data = plane(classes=3)
    (whole,) = starts(data, 20, seed=1, dtype=torch.float64)
    parts = list(starts(data, 20, seed=1, dtype=torch.float64, batch_size=7))
    assert [len(part.x) for part in parts] == [7, 7, 6]
    assert torch.equal(torch.cat([part.x for part in parts]), whole.x)
    assert torch.equal(torch.cat([part.condition["label"] for part in parts]), whole.condition["label"])
    (longer,) = starts(data, 30, seed=1, dtype=torch.float64)
    assert torch.equal(longer.x[:20], whole.x)
    assert whole.x.dtype == torch.float64
    assert not torch.equal(next(starts(data, 20, seed=2, dtype=torch.float64)).x, whole.x)
    assert set(longer.condition["label"].tolist()) == {0, 1, 2}
    assert next(starts(plane(), 4, seed=0)).condition is None


def test_held_out_rows_come_in_whole_groups_and_in_order(plane: Any) -> None:
    data = plane(rows=50, classes=2)
    parts = list(heldout(data, 40, seed=1, dtype=torch.float64, batch_size=16, multiple=6))
    assert [len(part.x) for part in parts] == [12, 12, 12]
    rows = data.dataset("validation")
    assert torch.equal(torch.cat([part.x for part in parts]), rows.x[:36].double())
    assert torch.equal(torch.cat([part.condition["label"] for part in parts]), rows.label[:36])
    assert [part.draws.index.tolist()[0] for part in parts] == [0, 12, 24]
    assert sum(len(part.x) for part in heldout(data, 1000, seed=1)) == 50
    assert [len(part.x) for part in heldout(data, 12, seed=1, batch_size=2, multiple=4)] == [4, 4, 4]
    first, second = (next(heldout(data, 8, seed=1, step=step)).draws.normal("noise", (8, 2)) for step in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("num", [1, 3])
def test_fewer_rows_than_a_group_are_none(plane: Any, num: int) -> None:
    assert list(heldout(plane(), num, seed=0, multiple=4)) == []
