"""The sample of mutants: drawn by its seed alone, its share killed with an interval; nothing here needs mutmut."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample, quickest_first = load("sample"), load("quickest_first")
MUTANTS = [sample.Mutant(f"objectives.x__mutmut_{i}", "objectives/x.py") for i in range(50)]


@given(st.integers(1, 500), st.data())
def test_the_interval_is_wilsons(trials, data):
    successes = data.draw(st.integers(0, trials))
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert sample.wilson(successes, trials) == pytest.approx(tuple(expected), abs=1e-6)


@given(st.integers(1, 80), st.integers(0, 5))
def test_a_seed_draws_the_same_mutants_once_each(size, seed):
    chosen = sample.drawn(MUTANTS, size, seed)
    assert chosen == sample.drawn(MUTANTS, size, seed)
    assert len(set(chosen)) == len(chosen) == min(size, 50)
    assert sample.drawn(MUTANTS, 20, seed) != sample.drawn(MUTANTS, 20, seed + 1)


class _Item:
    def __init__(self, nodeid):
        self.nodeid = nodeid


@pytest.mark.parametrize(
    ("share", "kept"), [(None, ["new", "b", "c", "a"]), ("0.5", ["new", "b"]), ("0.6", ["new", "b", "c"])]
)
def test_the_quickest_tests_come_first_and_the_slowest_may_be_left_out(tmp_path, monkeypatch, share, kept):
    monkeypatch.chdir(tmp_path)
    if share is not None:
        monkeypatch.setenv("QUICKEST", share)
    items = [_Item(name) for name in ("a", "b", "c", "new")]
    quickest_first.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == ["a", "b", "c", "new"]
    Path("mutmut-stats.json").write_text(json.dumps({"duration_by_test": {"a": 3.0, "b": 0.1, "c": 0.2}}))
    quickest_first.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == kept
