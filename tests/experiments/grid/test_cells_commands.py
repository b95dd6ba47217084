"""``fewstep grid status|logs|retry|cancel`` as a user types them, on studies that train nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from experiments.claims import claim
from experiments.cli.app import start
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]

COMMANDS = """
import json, sys
from experiments.cli.app import start
codes = [start(words) for words in json.loads(sys.argv[1])]
print(codes, *({"torch", "lightning"} & sys.modules.keys()))
"""


@pytest.fixture
def study(make_study: MakeStudy) -> Study:
    study = make_study(a={"objective": "rf"}, b={"objective": "shortcut"}, c={})
    a, b, c = study.cells
    held = claim(study.claims(a))
    assert held is not None
    study.logs.mkdir(exist_ok=True)
    study.log(a).write_text("one\ntwo\nthe loss is not finite at step 7\n")
    held.end("failed", "the loss is not finite", reason="not finite")
    for cell in (b, c):
        study.run(cell).path.mkdir()
    study.run(b).write_status("running", step=4, max_steps=10)
    study.run(c).mark_done(step=10, evaluations=[c.evaluation], code="another")
    return study


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = start(["grid", *map(str, words)])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_status_tells_states_last_words_and_changed_code(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = typed(capsys, "status", study.path)
    assert code == 0
    assert "1 failed, 1 interrupted, 1 done" in out
    assert "  | the loss is not finite at step 7" in err
    assert "only when a retry asks for it" in err
    assert "the code has changed since 1 of these 3 cells ran" in " ".join(err.split())


def test_status_picks_cells_by_words_and_speaks_to_programs(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(capsys, "status", study.path, "failed", "objective=rf", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert (row["name"], row["state"], row["reason"], row["outcomes"]) == ("a", "failed", "not finite", {"failed": 1})
    code, _, err = typed(capsys, "status", study.path, "fialed")
    assert code == 2
    assert "did you mean 'failed'" in " ".join(err.split())


def test_watch_ends_when_nothing_is_left_to_happen(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(capsys, "status", study.path, "failed", "done", "--watch")
    assert code == 0
    assert "1 failed, 1 done" in out


def test_logs_prints_and_follows_until_the_cell_has_ended(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, _ = study.cells
    assert typed(capsys, "logs", study.path, a.hash[:6], "-n", 1)[1] == "the loss is not finite at step 7\n"
    assert typed(capsys, "logs", study.path, "b")[0] == 2, "it has printed nothing"

    def go_on() -> None:
        study.log(b).write_text("first\n")
        time.sleep(1.2)
        with open(study.log(b), "a") as log:
            log.write("last\n")
        study.run(b).mark_done(step=10, evaluations=[b.evaluation])

    thread = threading.Thread(target=go_on)
    thread.start()
    code, out, _ = typed(capsys, "logs", study.path, "b", "--follow")
    thread.join()
    assert (code, out) == (0, "first\nlast\n")


def test_cancel_and_retry_say_which_cells(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = typed(capsys, "cancel", study.path, "b")
    assert (code, out.split()) == (0, [study.cells[1].hash, "b"])
    assert "1 cell is cancelled" in err
    assert "1 cancelled" in typed(capsys, "status", study.path, "b")[1]
    assert typed(capsys, "retry", study.path)[1].split() == [study.cells[0].hash, "a"], "the failed ones"
    assert typed(capsys, "retry", study.path, "cancelled")[1].split() == [study.cells[1].hash, "b"]
    assert [state.state for _, state in Study(study.path).states()] == ["pending", "interrupted", "done"]


def test_none_of_it_imports_torch(study: Study) -> None:
    path = str(study.path)
    lines: list[Sequence[str]] = [
        ["grid", "status", path], ["grid", "status", path, "--json"], ["grid", "logs", path, "a"],
        ["grid", "cancel", path], ["grid", "retry", path, "cancelled"],
    ]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-P", "-c", COMMANDS, json.dumps(lines)],
        capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0]"
