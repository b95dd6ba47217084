"""The command line: exit codes, one clear message, nothing written, and no torch where none is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import main
from experiments.errors import Interrupted, RunFailed

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run one command line in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        told = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, told.out, told.err

    return run


def light(*arguments: str) -> tuple[str, float]:
    """Output of a command in a process of its own, which has to end without torch; and its seconds."""
    program = (
        "import sys\nfrom experiments.cli import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = [m for m in ('torch', 'lightning', 'sklearn', 'matplotlib') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, time.perf_counter() - start


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("train", "--help"), ("list",), ("list", "backbones"), ("--version",), ("grid", "--help")],
)
def test_light_commands_import_no_torch_and_answer_at_once(arguments: tuple[str, ...]) -> None:
    _, seconds = light(*arguments)
    assert seconds < 5, "half a second on an idle machine; the tests share theirs"


def test_list_names_every_group_and_preset(call: Call) -> None:
    code, out, _ = call("list")
    assert code == 0
    for word in ("objectives", "shortcut", "DiT-XL/2", "U-ViT-H/2", "MMDiT-d24", "lognorm", "frechet_distance"):
        assert word in out


@pytest.mark.parametrize("group", ["backbones", "backbone", "BACKBONE"])
def test_list_of_one_group(call: Call, group: str) -> None:
    code, out, _ = call("list", group)
    assert code == 0
    assert "DiT" in out
    assert "shortcut" not in out


def test_list_says_when_the_installed_table_is_stale(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "experiments.cli.plugins.stale_plugins", lambda: ["fewstep.paths: new = a:B is not installed yet"]
    )
    code, _, err = call("list", "paths")
    assert code == 0
    assert "install again" in err
    assert "new = a:B" in err


BAD = [
    (["train", "objective=shortcutt"], "did you mean 'shortcut'"),
    (["train", "trainer.maxsteps=3"], "did you mean 'max_steps'"),
    (["train", "objective=shortcut", "objective.flow.tme=uniform"], "did you mean 'time'"),
    (["train", "objective=shortcut", "objective.flow.time.name=lognorm", "objective.flow.time.mm=1"], "'mm'"),
    (["train", "trainer.max_steps=ten"], "expected a whole number"),
    (["train", "trainer.clip=true"], "expected a number"),
    (["train", "evaluation.weights={}"], "evaluation.weights"),
    (["train", "objective=rf/mode(2)"], "1.7519"),
    (["train", "objective=rf/mode(1.7520)"], "1.7519"),
    (["train", "objective=rf/mode(-1.0001)"], "1.7519"),
    (["train", "objective=shortcut", "evaluation.steps=0"], "evaluation.steps"),
    (["train", "objective=shortcut", "evaluation.steps=129"], "evaluation.steps"),
    (["train", "objective=shortcut", "objective.M=64", "evaluation.steps=65"], "evaluation.steps"),
    (["train", "trainer.batch_size=65", "trainer.devices=2"], "2 equal parts"),
    (["train", "trainer.batch_size=6", "trainer.devices=2", "trainer.nodes=2"], "4 equal parts"),
    (["train", "backbone.patch=3"], "patch"),
    (["train", "data=mnist", "backbone=mmdit", "backbone.patch=5"], "patch"),
    (["train", "no override"], "write key=value"),
    (["train", "--config", "nowhere.yaml"], "there is no file nowhere.yaml"),
    (["train", "--confg", "nowhere.yaml"], "No such option"),
    (["trian"], "No such command"),
    (["list", "bakbones"], "did you mean 'backbones'"),
    (["describe", "objective=shortcutt"], "did you mean 'shortcut'"),
    (["describe", "densitty=mode"], "did you mean 'density'"),
    (["describe", "density=mode(2)"], "1.7519"),
    (["describe", "trainer.clip=-1"], "trainer.clip"),
    (["resume", "nowhere"], "nowhere"),
    (["sample", "nowhere", "--steps", "1"], "nowhere"),
    (["evaluate", "nowhere"], "nowhere"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_ends_with_2_one_message_and_nothing_written(
    call: Call, tmp_path: Path, arguments: list[str], told: str
) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert err.count("error: ") + err.count("Error") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_yaml_syntax_error_is_told_with_file_and_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("seed: 1\ntrainer: {max_steps: 3\nname: a\n")
    code, _, err = call("train", "--config", "train.yaml")
    assert code == 2
    assert "YAML syntax error" in err
    assert "[train.yaml:3]" in err
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


def test_all_faults_are_told_at_once(call: Call) -> None:
    code, _, err = call("train", "objective=shortcutt", "trainer.clipp=1", "seed=x")
    assert code == 2
    assert "3 faults" in err
    assert all(place in err for place in ("objective", "trainer.clipp", "seed"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["objective=shortcut"], ["self-consistency", "flow", "solvers", "euler", "teacher: ema"]),
        (["backbone=DiT-S/2"], ["DiT-S/2", "384", "parameters on digits", "DiT-XL/2"]),
        (
            ["backbone=DiT-XL/2", "data=synthetic"],
            ["parameters on synthetic", "GFLOPs for a sample", "MB with blocks checkpointed; in float32"],
        ),
        (["data=mnist", "backbone.patch=7"], ["28", "parameters on mnist"]),
        (["optimizer=adamw"], ["weight_decay", "a number"]),
        (["density=mode(1.29)"], ["1.29", "t = u + s"]),
        (["solvers=heun"], ["Second order"]),
        (["--config", "shortcut_digits"], ["shortcut-DiT-digits-", "digits"]),
        ([], ["rf/lognorm(0.00,1.00)", "rf_lognorm_0.00_1.00-DiT-digits-"]),
    ],
)
def test_describe_says_what_it_is_and_takes(call: Call, arguments: list[str], told: list[str]) -> None:
    code, out, _ = call("describe", *arguments)
    assert code == 0
    for words in told:
        assert words in out


def test_describe_shows_a_backbone_that_does_not_fit_the_other_sections(call: Call) -> None:
    code, out, err = call("describe", "backbone.patch=3")
    assert code == 0
    assert "patch" in out
    assert "refused" in err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RunFailed("the loss is not finite"), 3, "error: the loss is not finite"),
        (Interrupted("stopped at step 3"), 75, "stopped at step 3"),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("a bug"), 1, "fault of fewstep's own"),
    ],
)
def test_how_a_command_ends(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise error

    monkeypatch.setattr("experiments.execute.execute", fail)
    ended, _, err = call("train", "seed=3")
    assert ended == code
    assert told in err
    assert ("Traceback" in err) == (code == 1)


def test_a_package_of_ours_that_is_hidden_is_named(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objectives").mkdir()
    (tmp_path / "objectives" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = call("list")
    assert code == 2
    assert str(tmp_path / "objectives") in err


def test_the_installed_command_says_its_exit_code(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("fewstep")
    done = subprocess.run(
        [command, "train", "objective=rf/mode(2)"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: objective")
    assert list(tmp_path.iterdir()) == []
