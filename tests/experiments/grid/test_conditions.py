from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.grid.conditions import faults, holds, seen

SETTINGS = {
    "objective": "shortcut(k=0.5)",
    "backbone": "DiT-S/2",
    "data": {"name": "points", "size": 8},
    "trainer": {"max_steps": 100},
}


@pytest.mark.parametrize(
    ("key", "wanted", "expected"),
    [
        ("objective", "Shortcut", True),
        ("objective", "shortcut(k=0.5)", True),
        ("objective", "rf", False),
        ("objective.name", "shortcut", True),
        ("objective.k", 0.5, True),
        ("objective.k", {"<": 0.5}, False),
        ("objective.k", {"<=": 0.5, ">": 0.1}, True),
        ("backbone", "dit", True),
        ("backbone", "u-vit", False),
        ("backbone", ["u-vit", "dit"], True),
        ("backbone", {"!=": "dit"}, False),
        ("backbone", {"!=": "u-vit"}, True),
        ("backbone.depth", {">=": 12}, True),
        ("data", "points", True),
        ("data.size", [4, 8], True),
        ("trainer.max_steps", {">": 100}, False),
        ("trainer.max_steps", [{"<": 50}, {">=": 100}], True),
        ("trainer.batch_size", 64, True),  # nobody has written it: the default
        ("trainer.no_such", {">": 0}, False),
        ("seed", 0, True),
    ],
)
def test_a_condition_sees_what_is_written_what_a_name_stands_for_and_defaults(
    key: str, wanted: Any, expected: bool
) -> None:
    assert holds(key, seen(SETTINGS, key), wanted) is expected


@given(value=st.integers(-5, 5), bound=st.integers(-5, 5))
def test_comparisons_are_those_of_numbers(value: int, bound: int) -> None:
    found = {sign: holds("a.b", value, {sign: bound}) for sign in ("<", "<=", ">", ">=", "!=")}
    assert found == {
        "<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound, "!=": value != bound,
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, "text", True, [1]])
def test_what_is_no_number_is_neither_more_nor_less(value: Any) -> None:
    assert not any(holds("a.b", value, {sign: 0}) for sign in ("<", "<=", ">", ">="))


def test_faults_of_a_condition_are_told() -> None:
    found = dict(faults({"a": {"=>": 1}, "b": {">": "many"}, "c": {"name": "dit"}, "d": [{"<": None}]}))
    assert "no such comparison '=>'" in found["a"]
    assert "compares with a number, given 'many'" in found["b"]
    assert set(found) == {"a", "b", "d"}


def test_presets_and_defaults_are_seen_without_torch() -> None:
    code = (
        "import sys; from experiments.grid.conditions import holds, seen; "
        "assert holds('backbone', 'DiT-S/2', 'dit') and seen({'backbone': 'DiT-S/2'}, 'backbone.depth') == 12; "
        "print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["False"]
