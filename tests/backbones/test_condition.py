"""A condition that does not fit is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backbones.condition import complete


def test_missing_condition_is_null_everywhere(make_spec: Any) -> None:
    spec = make_spec((2,), classes=3, context=(4, 5), pooled=6)
    z = torch.zeros(7, 2, dtype=torch.float64)
    done = complete(None, spec, z)
    assert done.value["label"].dtype == torch.int64
    assert done.value["context"].shape == (7, 4, 5)
    assert done.value["pooled"].shape == (7, 6)
    assert done.value["pooled"].dtype == z.dtype
    assert all(drop.shape == (7,) and drop.all() for drop in done.drop.values())


def test_drop_has_one_column_per_part(make_spec: Any) -> None:
    spec = make_spec((2,), classes=3, pooled=6)
    given = {"label": torch.zeros(2, dtype=torch.int64), "pooled": torch.zeros(2, 6)}
    z = torch.zeros(2, 2)
    assert not complete(given, spec, z).drop["label"].any()
    done = complete({**given, "drop": torch.tensor([[True, False], [False, True]])}, spec, z)
    assert done.drop["label"].tolist() == [True, False]
    assert done.drop["pooled"].tolist() == [False, True]
    done = complete({**given, "drop": torch.tensor([True, False])}, spec, z)
    assert done.drop["pooled"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"captions": torch.zeros(2)}, "captions, for which this backbone has no parameters"),
        ({"context_mask": torch.ones(2, 4)}, "context_mask, for which"),
        ({"label": None}, "lacks label"),
        ({"label": torch.zeros(3, dtype=torch.int64)}, r"'label'\] has shape \(3,\); this backbone takes \(2\)"),
        ({"pooled": torch.zeros(2, 5)}, r"'pooled'\] has shape \(2, 5\)"),
        ({"drop": torch.zeros(2, 3, dtype=torch.bool)}, r"allowed: \(2,\), or \(2, 2\)"),
    ],
)
def test_misfits_are_refused(make_spec: Any, change: dict[str, Any], reason: str) -> None:
    spec = make_spec((2,), classes=3, pooled=6)
    given = {"label": torch.zeros(2, dtype=torch.int64), "pooled": torch.zeros(2, 6), **change}
    given = {key: value for key, value in given.items() if value is not None}
    with pytest.raises(ValueError, match=reason):
        complete(given, spec, torch.zeros(2, 2))


def test_context_may_have_any_length_but_not_any_width(make_spec: Any) -> None:
    spec = make_spec((2,), context=(4, 5))
    z = torch.zeros(2, 2)
    assert complete({"context": torch.zeros(2, 9, 5)}, spec, z).value["context"].shape == (2, 9, 5)
    with pytest.raises(ValueError, match=r"takes \(2, any, 5\)"):
        complete({"context": torch.zeros(2, 4, 6)}, spec, z)
    with pytest.raises(ValueError, match="context_mask"):
        complete({"context": torch.zeros(2, 4, 5), "context_mask": torch.ones(2, 3)}, spec, z)


def test_unconditional_data_take_no_condition(make_spec: Any) -> None:
    with pytest.raises(ValueError, match="its data has no condition"):
        complete({"label": torch.zeros(2)}, make_spec((2,)), torch.zeros(2, 2))
