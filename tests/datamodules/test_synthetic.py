"""Synthetic data: the asked sizes, the same rows however they are read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.synthetic import Synthetic


@given(
    shape=st.sampled_from([(4, 8, 8), (16, 4, 4), (3,)]), num_classes=st.sampled_from([0, 7]),
    context=st.sampled_from([None, (3, 5)]), pooled=st.sampled_from([0, 6]), seed=st.integers(0, 9),
)  # fmt: skip
def test_a_batch_has_the_parts_of_the_spec_and_no_others(
    shape: tuple[int, ...], num_classes: int, context: tuple[int, int] | None, pooled: int, seed: int
) -> None:
    data = Synthetic(shape=shape, num_classes=num_classes, context=context, pooled=pooled, size=8, seed=seed)
    rows = torch.tensor([5, 0, 3])
    batch = data.dataset("train")[rows]
    sizes = {"label": () if num_classes else None, "context": context, "pooled": (pooled,) if pooled else None}
    expected = {name: (3, *size) for name, size in sizes.items() if size is not None}
    assert {name: tuple(value.shape) for name, value in batch.get("condition", {}).items()} == expected
    assert tuple(batch["x"].shape) == (3, *data.spec.shape) == (3, *shape)
    alone = Synthetic(shape=shape, num_classes=num_classes, context=context, pooled=pooled, size=8, seed=seed)
    one = alone.dataset("train")[rows[1:2]]
    assert torch.equal(one["x"], batch["x"][1:2])
    for name in expected:
        assert torch.equal(one["condition"][name], batch["condition"][name][1:2])


def test_values_are_standard_normal_and_rows_parts_and_splits_differ() -> None:
    data = Synthetic(shape=(4, 16, 16), context=(20, 20), pooled=400, size=64)
    train, heldout = data.dataset("train"), data.dataset("validation")
    batch, other = train[torch.arange(32)], heldout[torch.arange(32)]
    for values in (batch["x"], batch["condition"]["context"], batch["condition"]["pooled"]):
        assert abs(values.mean().item()) < 0.05
        assert abs(values.std().item() - 1) < 0.05
    flat = [batch["condition"]["context"].flatten(1), batch["condition"]["pooled"], other["condition"]["pooled"]]
    rows = torch.cat(flat)
    assert len(rows.unique(dim=0)) == len(rows)
    assert (len(train), len(heldout)) == (64, 32)
    assert not torch.equal(train.x[:32], heldout.x)
    assert 0 <= int(batch["condition"]["label"].min()) <= int(batch["condition"]["label"].max()) < 1000


def test_pictures_of_any_shape() -> None:
    assert Synthetic().to_images(torch.randn(2, 4, 32, 32)).shape == (2, 3, 32, 32)
    assert Synthetic(shape=(5,)).to_images(torch.randn(2, 5)).shape == (2, 1, 1, 5)


def test_sections_are_part_of_the_spec() -> None:
    assert Synthetic(context=(154, 8), sections=(77, 77)).spec.sections == (77, 77)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 1}, {"seed": -1}, {"shape": ()}, {"context": (0, 3)}, {"pooled": -1}, {"sections": (3,)},
        {"sections": (4, 4), "context": (7, 3)}, {"sections": (7, 0), "context": (7, 3)},
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Synthetic(**wrong)
