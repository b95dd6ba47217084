"""A third party's package, installed and used as its author would: nothing of it stands in fewstep."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.runs import Run

EXAMPLE = Path(__file__).parent / "plugin_example"
SOURCE = Path("src") / "fewstep_chord"
TINY = [
    "data=points", "backbone=mlp", "trainer.max_steps=2", "trainer.batch_size=16", "trainer.threads=1",
    "evaluation.num=16", "evaluation.steps=2", "evaluation.metrics=energy_distance",
]  # fmt: skip

# Importing costs more than most of the commands do.
SEVERAL = """
import contextlib, io, json, sys
from experiments.cli.app import start
told = []
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = start(command)
    told.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(told))
"""

Done = subprocess.CompletedProcess[str]


class Author:
    """Somebody with a checkout of the package and a place where it is installed."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.site, self.work = folder / "checkout", folder / "site", folder / "work"
        shutil.copytree(EXAMPLE, self.checkout, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        self.work.mkdir()

    def change(self, file: str, before: str, after: str) -> None:
        path = self.checkout / file
        text = path.read_text()
        assert text.count(before) == 1, f"{file} has {text.count(before)} of {before!r}"
        path.write_text(text.replace(before, after))

    def install(self) -> None:
        """As ``pip install .`` does it, without a network."""
        shutil.rmtree(self.site, ignore_errors=True)
        options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        done = self.python("-m", "pip", "install", "-q", *options, "--target", str(self.site), str(self.checkout))
        assert done.returncode == 0, done.stderr

    def run(self, *command: str, cwd: Path) -> Done:
        environment = {**os.environ, "PYTHONPATH": str(self.site), "COLUMNS": "200"}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    def python(self, *arguments: str) -> Done:
        return self.run(sys.executable, "-P", *arguments, cwd=self.checkout)

    def pytest(self, *arguments: str) -> Done:
        return self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)

    def fewstep(self, *commands: list[str]) -> list[tuple[int, str, str]]:
        """(Exit code, standard output, standard error) of command lines, one after another in one process."""
        done = self.run(sys.executable, "-P", "-c", SEVERAL, json.dumps(commands), cwd=self.work)
        assert done.returncode == 0, done.stderr
        return [tuple(one) for one in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """With the package as it is."""
    one = Author(tmp_path_factory.mktemp("author"))
    one.install()
    return one


@pytest.fixture
def other(tmp_path: Path) -> Callable[..., Author]:
    """With a package that has a fault in it."""

    def make(*changes: tuple[str, str, str]) -> Author:
        one = Author(tmp_path)
        for change in changes:
            one.change(*change)
        one.install()
        return one

    return make


def test_its_own_tests_pass(author: Author) -> None:
    done = author.pytest()
    assert done.returncode == 0, done.stdout
    assert "19 passed" in done.stdout


def test_it_is_listed_with_its_package_and_described(author: Author) -> None:
    describe = ["describe", "objective=antithetic", "objective.flow.time=power(3)", "density=power"]
    (_, listed, _), (code, described, _) = author.fewstep(["list"], describe)
    for name in ("power", "chord", "gap", "ralston", "antithetic"):
        (line,) = (line for line in listed.splitlines() if line.split()[:1] == [name])
        assert line.rstrip().endswith("from fewstep-chord")
    assert listed.count("from fewstep-chord") == 5
    assert code == 0
    for words in ("by ε and by −ε", "fewstep_chord.antithetic:Antithetic, from fewstep-chord", "power(p: 3"):
        assert words in described


def test_it_is_trained_sampled_and_named_as_its_options_say(author: Author) -> None:
    flow = ["objective.flow.path=chord", "objective.flow.time=power(2)", "objective.flow.head=gap"]
    train = ["train", "objective=antithetic", *flow, "evaluation.solver=ralston", *TINY]
    first, again = author.fewstep(train, train)
    assert (first[0], again[0]) == (0, 0), first[2]
    assert "is done" in again[1] + again[2]
    (run,) = (author.work / "runs").iterdir()
    assert (run / "done.json").is_file()
    (row,) = (row for row in Run.open(run).evaluations()[0]["rows"] if row["weights"] == "ema")
    assert (row["solver"], row["steps"], row["nfe"]) == ("ralston", 2, 4)
    config = (run / "config.yaml").read_text()
    for words in ("name: antithetic", "name: chord", "name: power", "p: 2.0", "name: gap"):
        assert words in config


REFUSED = [
    (["objective.time=power(0)"], "it must be positive"),
    (["objective.time=power(q=2)"], "'q'"),
    (["objective.time=powr"], "did you mean 'power'"),
    (["objective.path=chord", "objective.head=epsilon"], "the head epsilon needs a path"),
    (["objective=shortcut", "evaluation.solver=ralston"], "ralston needs the velocity at a time"),
]


def test_what_does_not_fit_is_refused_before_training(author: Author) -> None:
    before = sorted(author.work.rglob("*"))
    found = author.fewstep(*(["train", "objective=flow_matching", *given, *TINY] for given, _ in REFUSED))
    for (_, told), (code, _, err) in zip(REFUSED, found, strict=True):
        assert code == 2, err
        assert told in err
        assert "Traceback" not in err
    assert sorted(author.work.rglob("*")) == before


def test_a_module_that_is_missing_or_fails_is_named_and_hinders_nothing_else(other: Callable[..., Author]) -> None:
    broken = other(
        ("pyproject.toml", "fewstep_chord.power:Power", "fewstep_chord.powers:Power"),
        (f"{SOURCE}/chord.py", "from torch import Tensor", "from torch import Tensor\n1 / 0"),
    )
    describe = (["describe", plugin] for plugin in ("density=power", "path=chord", "head=gap"))
    listed, power, chord, gap = broken.fewstep(["list"], *describe)
    assert "fewstep_chord.powers:Power has no docstring" in listed[1]
    assert (listed[0], power[0], chord[0], gap[0]) == (0, 2, 2, 0)
    for words in ("density 'power'", "fewstep_chord.powers:Power", "from fewstep-chord", "No module named"):
        assert words in power[2]
    assert "from fewstep-chord) cannot be imported: ZeroDivisionError" in chord[2]


def test_a_fault_in_its_code_is_not_called_ours(other: Callable[..., Author]) -> None:
    broken = other((f"{SOURCE}/antithetic.py", "(both[0] + both[1])", "(both[0] + both[2])"))
    ((code, _, err),) = broken.fewstep(["train", "objective=antithetic", *TINY])
    assert code == 1
    assert "IndexError" in err
    assert "a fault of the plugin package fewstep-chord" in err


WRONG = [
    ("power.py", "self.p * t ** (self.p - 1)", "t ** (self.p - 1)", "test_power.py", "pdf_is_the_derivative"),
    (
        "chord.py",
        "return -self.b(t), self.a(t)",
        "return self.b(t), self.a(t)",
        "test_chord.py",
        "agree_with_automatic",
    ),
    ("gap.py", "(z - b * raw)", "(z + b * raw)", "test_gap.py", "invert_one_another"),
    ("antithetic.py", "(1, -1)", "(1, -2)", "test_antithetic.py", "expected_gradient_is_zero"),
    ("ralston.py", "(first + 3 * second)", "(3 * first + second)", "test_ralston.py", "converges_with_its_order"),
]


def test_the_kit_says_what_is_wrong(tmp_path: Path) -> None:
    """One wrong line in each of the five: of its tests the one that names the property fails."""
    broken = Author(tmp_path)
    for file, before, after, _, _ in WRONG:
        broken.change(f"{SOURCE}/{file}", before, after)
    broken.install()
    names = " or ".join(words for *_, words in WRONG)
    done = broken.pytest("-k", names, "--tb=line")
    assert done.returncode == 1
    for *_, file, words in WRONG:
        assert any(
            line.startswith(f"FAILED tests/{file}") and words in line for line in done.stdout.splitlines()
        ), (words, done.stdout)  # fmt: skip
