"""What a data spec refuses."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules import DataSpec


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"vocabulary": 5}, "vocabulary is 5, context None; ids are those of a context"),
        ({"vocabulary": -1, "context": (3, 4)}, "vocabulary is -1"),
        ({"sections": (2, 2), "context": (3, 4)}, r"sections are \(2, 2\); .* whose sum is 3"),
        ({"sections": (4,)}, "whose sum is 0"),
        ({"sections": (3, 0), "context": (3, 4)}, "lengths of at least 1"),
    ],
)
def test_sections_and_ids_belong_to_a_context(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DataSpec((2,), **wrong)


def test_a_caption_is_a_condition() -> None:
    assert DataSpec((2,), context=(4, 8), sections=(2, 2), vocabulary=7).conditional
