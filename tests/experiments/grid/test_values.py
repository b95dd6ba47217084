from __future__ import annotations

from typing import Any

import pytest

from experiments.config import parse
from experiments.grid.values import label, lay, lookup, same


@pytest.mark.parametrize(
    ("base", "values", "expected"),
    [
        ({}, {"objective": "rf"}, {"objective": "rf"}),
        ({"objective": {"name": "shortcut", "k": 0.5}}, {"objective": "rf"}, {"objective": {"name": "rf"}}),
        ({"objective": "shortcut"}, {"objective.k": 0.5}, {"objective": {"name": "shortcut", "k": 0.5}}),
        ({"trainer": {"a": 1, "b": 2}}, {"trainer": {"b": 3}}, {"trainer": {"a": 1, "b": 3}}),
        ({"trainer": {"a": 1}}, {"trainer.b.c": None}, {"trainer": {"a": 1, "b": {"c": None}}}),
        ({}, {"objective": "shortcut", "objective.k": 1}, {"objective": {"name": "shortcut", "k": 1}}),
    ],
)
def test_values_are_laid_over_the_base(base: dict[str, Any], values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert lay(parse(base), values).data == expected


def test_each_value_is_told_to_come_from_its_own_line() -> None:
    raw = lay(parse({}), {"seed": 1, "trainer.clip": 2}, {"seed": "grid.yaml:7", "trainer.clip": "grid.yaml:8"})
    assert (raw.where(("seed",)), raw.where(("trainer", "clip"))) == ("grid.yaml:7", "grid.yaml:8")


def test_lookup_finds_nested_values_and_the_name_of_a_bare_plugin() -> None:
    settings = {"objective": "rf", "trainer": {"clip": 1.0}}
    found = [lookup(settings, key) for key in ("objective", "objective.name", "trainer.clip", "trainer.no", "no.no")]
    assert found == ["rf", "rf", 1.0, None, None]


@pytest.mark.parametrize(
    ("value", "wanted", "expected"),
    [
        ("DiT", "dit", True),
        ({"name": "DiT", "width": 1}, "dit", True),
        (1, 1.0, True),
        (True, 1, False),
        (None, "dit", False),
        ({"name": "a", "k": 1}, {"name": "a", "k": 2}, False),
    ],
)
def test_same(value: Any, wanted: Any, expected: bool) -> None:
    assert same(value, wanted) is expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("objective", "rf", "rf"),
        ("objective", {"name": "shortcut", "k": 0.5}, "shortcut(k=0.5)"),
        ("objective", {"name": "shortcut"}, "shortcut"),
        ("trainer.precision", "32-true", "precision=32-true"),
        ("seed", 3, "seed=3"),
    ],
)
def test_label(key: str, value: Any, expected: str) -> None:
    assert label(key, value) == expected
