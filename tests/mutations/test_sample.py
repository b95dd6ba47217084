"""The sample of mutants: drawn by its seed alone, its share killed with an interval; nothing here needs mutmut."""

from __future__ import annotations

import importlib.util
import json
import subprocess
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


sample = load("sample")
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


def test_a_mutants_tests_come_quickest_first_and_the_slowest_may_be_left_out(tmp_path):
    stats_file = tmp_path / "stats.json"
    calls = {"objectives.x": ["slow", "quick", "middle"], "objectives.y": ["slow"]}
    seconds = {"slow": 3.0, "quick": 0.1, "middle": 0.2}
    stats_file.write_text(json.dumps({"duration_by_test": seconds, "tests_by_mangled_function_name": calls}))
    chosen = [MUTANTS[3], sample.Mutant("objectives.z__mutmut_1", "objectives/z.py")]
    whole, part = (sample.tests_of(chosen, stats_file, share) for share in (1.0, 0.5))
    assert whole == {chosen[0].name: ["quick", "middle", "slow"], chosen[1].name: []}
    assert part[chosen[0].name] == ["quick", "middle"]


TESTS = """
import os
from pathlib import Path

def test_quick():
    Path("asked").open("a").write(os.environ["MUTANT_UNDER_TEST"] + " quick\\n")
    assert os.environ["MUTANT_UNDER_TEST"] != "dies"

def test_slow():
    Path("asked").open("a").write(os.environ["MUTANT_UNDER_TEST"] + " slow\\n")
    if os.environ["MUTANT_UNDER_TEST"] == "ends":
        os.abort()
"""
DRIVER = """
import json, os, sys, types
sys.path.insert(0, sys.argv[1])
trampoline = types.ModuleType("mutmut.mutation.trampoline")
trampoline.set_mutant_under_test = lambda name: os.environ.update(MUTANT_UNDER_TEST=name)
sys.modules.update({name: types.ModuleType(name) for name in ("mutmut", "mutmut.mutation")})
sys.modules["mutmut.mutation.trampoline"] = trampoline
import pytest, sample
both = ["test_x.py::test_slow", "test_x.py::test_quick"]
forks = sample.Forks({"dies": both[::-1], "lives": both, "ends": both, "alone": ["test_x.py::gone"]}, 2)
pytest.main(["-q", "-s", "-p", "no:cacheprovider", "--rootdir=.", "test_x.py"], [forks])
print("codes", json.dumps(forks.codes))
"""


def test_each_mutant_has_a_process_in_which_its_tests_run_in_their_order(tmp_path):
    (tmp_path / "test_x.py").write_text(TESTS)
    command = [sys.executable, "-c", DRIVER, str(Path(__file__).parent)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    codes = json.loads(done.stdout.partition("codes ")[2])
    assert codes == {"dies": sample.KILLED, "lives": sample.SURVIVED, "ends": -6, "alone": sample.NO_TESTS}, done.stderr
    asked = (tmp_path / "asked").read_text().split("\n")[:-1]
    assert sorted(asked) == sorted(["dies quick", "lives slow", "lives quick", "ends slow"])
    assert asked.index("lives slow") < asked.index("lives quick")
