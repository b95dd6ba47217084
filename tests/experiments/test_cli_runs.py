"""Commands on runs: train, resume, sample and evaluate hand the right configuration on and pass exit codes through."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import main
from experiments.config import read, resolve
from experiments.runs import Run

SMALL = ["data=points", "backbone=mlp", "objective=rf", "trainer.max_steps=4", "trainer.batch_size=16"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Run]:
    """The runs that would have been executed, in an empty folder."""
    seen: list[Run] = []

    def execute(run: Run, **_: Any) -> int:
        seen.append(run)
        return 75 if run.config.seed == 75 else 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.execute.execute", execute)
    return seen


def test_train_makes_the_runs_folder_and_executes_it(executed: list[Run], tmp_path: Path) -> None:
    assert run("train", *SMALL, "--runs", "here") == 0
    (made,) = executed
    expected = resolve(read(None, SMALL))
    assert made.path == Path("here", expected.run_name)
    assert made.config == expected


def test_an_exit_code_is_passed_through(executed: list[Run]) -> None:
    assert run("train", *SMALL, "seed=75") == 75


def test_resume_goes_on_with_the_same_run(executed: list[Run]) -> None:
    run("train", *SMALL)
    path = executed[0].path
    assert run("resume", str(path)) == 0
    assert run("resume", str(path), "trainer.log_every=7") == 0
    assert [made.path for made in executed] == [path] * 3
    assert executed[2].config.trainer.log_every == 7


def test_resume_with_another_identity_makes_a_child(executed: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", *SMALL)
    asked: list[Any] = []
    child = executed[0]
    monkeypatch.setattr("experiments.runs.child", lambda parent, config: asked.append((parent, config)) or child)
    assert run("resume", str(executed[0].path), "trainer.max_steps=8") == 0
    ((parent, config),) = asked
    assert parent.path == executed[0].path
    assert config.trainer.max_steps == 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    assert run("train", *SMALL, "evaluation.steps=1", "evaluation.num=64", "--runs", str(root)) == 0
    (path,) = root.iterdir()
    return path


def test_sample_writes_a_sheet_and_arrays_for_each_number_of_steps(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sample", str(trained), "--steps", "1,3", "--num", "8", "--weights", "raw", "--seed", "5") == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [file.suffix for file in files] == [".png", ".npz", ".png", ".npz"]
    assert all(file.is_file() and file.parent == trained / "samples" for file in files)
    import numpy as np

    raw = np.load(files[1])["x"]
    assert raw.shape == (8, 2)
    assert run("sample", str(trained), "--steps", "1", "--num", "8", "--weights", "ema", "--seed", "5") == 0
    averaged = np.load(capsys.readouterr().out.splitlines()[1])["x"]
    assert not np.array_equal(raw, averaged)


def test_sample_takes_solver_grid_dtype_and_a_weaker_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    def drawn(*options: str) -> Any:
        assert run("sample", str(trained), "--steps", "4", "--num", "8", *options) == 0
        file = Path(capsys.readouterr().out.splitlines()[1])
        assert file.name not in names
        names.append(file.name)
        return np.load(file)["x"]

    names: list[str] = []
    plain = drawn()
    for options in (["--solver", "dpmpp_2m"], ["--solver", "dopri5(rtol=1e-4)"], ["--grid", "shifted(3)"]):
        assert not np.array_equal(plain, drawn(*options))
    exact = drawn("--dtype", "float64")
    assert exact.dtype == np.float64
    np.testing.assert_allclose(plain, exact, rtol=1e-4, atol=1e-4)
    # The run guided by itself is the run.
    np.testing.assert_allclose(plain, drawn("--guidance", "2", "--autoguide", str(trained)), rtol=1e-4, atol=1e-4)


def test_likelihood_of_held_out_points(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("likelihood", str(trained), "--num", "16", "--probes", "0") == 0
    nats, bits = re.match(r"(\S+) nats, (\S+) ± ", capsys.readouterr().out).groups()  # pyright: ignore
    assert float(bits) == pytest.approx(-float(nats) / 2 / math.log(2), abs=1e-3)


def test_evaluate_prints_and_keeps_a_row_for_each_setting(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", str(trained), "--steps", "1,2", "--weights", "ema", "--num", "32") == 0
    out = capsys.readouterr().out
    assert "nfe" in out
    rows = Run.open(trained).evaluations()[-1]["rows"]
    assert [(row["weights"], row["steps"], row["num"]) for row in rows] == [("ema", 1, 32), ("ema", 2, 32)]


def test_evaluate_measures_what_it_is_asked_for(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "energy_distance,bits_per_dim(num=8)"
    assert run("evaluate", str(trained), "--steps", "1", "--num", "16", "--metrics", asked) == 0
    told = capsys.readouterr()
    assert "energy_distance" in told.out
    assert "frechet_distance" not in told.out
    assert "bits per dim error" in told.err
    found = Run.open(trained).evaluations()[-1]
    assert [math.isfinite(one["bits_per_dim"]) and one["bits_per_dim_error"] > 0 for one in found["validation"]] == [
        True, True,
    ]  # fmt: skip
    assert "bits_per_dim" not in found["rows"][0]
    assert found["settings"]["metrics"] == ["energy_distance", "bits_per_dim(num=8)"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["sample", "--steps", "0"], "evaluation.steps"),
        (["sample", "--num", "x"], "evaluation.num"),
        (["sample", "--weights", "emma"], "'ema' or 'raw'"),
        (["sample", "--guidance", "2"], "guidance needs a condition"),
        (["evaluate", "--solver", "rk5"], "no solver is called 'rk5'"),
        (["evaluate", "--metrics", "bits_per_dimm"], "did you mean 'bits_per_dim'"),
        (["evaluate", "--metrics", "bits_per_dim(num=1)"], "evaluation.metrics"),
        (["sample", "--grid", "kerras"], "no time_grid is called 'kerras'"),
        (["sample", "--dtype", "float16"], "evaluation.dtype"),
        (["sample", "--autoguide", "."], "needs --guidance"),
    ],
)
def test_settings_asked_for_are_checked_as_a_configuration_is(
    trained: Path, capsys: pytest.CaptureFixture[str], command: list[str], told: str
) -> None:
    before = sorted(trained.rglob("*"))
    assert run(command[0], str(trained), *command[1:]) == 2
    assert told in capsys.readouterr().err
    assert sorted(trained.rglob("*")) == before
