from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import claims
from experiments.claims import ClaimLost, Heartbeat, bury, claim, history, latest
from experiments.files import read_json
from experiments.runs import Run

RIVAL = """
import sys
from pathlib import Path
from experiments.claims import claim
root = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(int(sys.argv[2])) if claim(root / f"cell{n}") is not None]
print(*won, flush=True)
sys.stdin.readline()
"""


def age(folder: Path, number: int, seconds: float) -> None:
    """Make a claim's last heartbeat ``seconds`` old."""
    then = time.time() - seconds
    os.utime(folder / f"{number:06d}.json", (then, then))


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    return tmp_path / "claims" / "cell"


def test_of_racing_processes_exactly_one_gets_each_cell(tmp_path: Path) -> None:
    cells, rivals = 60, 4
    command = [sys.executable, "-c", RIVAL, str(tmp_path / "claims"), str(cells)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racing = [subprocess.Popen(command, **pipes) for _ in range(rivals)]  # pyright: ignore[reportCallIssue]
    try:
        for process in racing:
            assert process.stdout.readline() == "ready\n"
        for process in racing:
            process.stdin.write("go\n")
            process.stdin.flush()
        won = [[int(n) for n in process.stdout.readline().split()] for process in racing]
        assert sorted(n for some in won for n in some) == list(range(cells))
        assert sum(map(bool, won)) > 1, "one process was so quick that nobody raced it: more cells are needed"
    finally:
        for process in racing:
            process.communicate("end\n")


def test_a_live_claim_is_respected_and_an_ended_one_is_followed(cell: Path) -> None:
    first = claim(cell)
    assert first is not None
    assert claim(cell) is None
    first.end("interrupted")
    second = claim(cell)
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    assert [c.outcome for c in history(cell)] == ["interrupted", None]


def test_a_claim_without_heartbeat_is_taken_over_and_its_owner_fenced_off(cell: Path, tmp_path: Path) -> None:
    old = claim(cell)
    assert old is not None
    age(cell, 1, claims.STALE_AFTER + 1)
    new = claim(cell)
    assert new is not None
    assert new.number == 2
    run = Run(tmp_path, fence=old.check)
    for write in (lambda: run.write_status("running", step=3), lambda: run.mark_done(step=3), lambda: old.end("done")):
        with pytest.raises(ClaimLost, match="claim 2 took the cell over"):
            write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claims"]
    assert "outcome" not in read_json(cell / "000001.json")
    new.check()


def test_a_heartbeat_keeps_a_claim(cell: Path) -> None:
    held = claim(cell)
    assert held is not None
    age(cell, 1, claims.STALE_AFTER + 1)
    with Heartbeat(held, every=0.01):
        time.sleep(0.2)
    assert claim(cell) is None


def test_a_claim_whose_owner_is_dead_is_free_at_once(cell: Path) -> None:
    code = f"from pathlib import Path; from experiments.claims import claim; claim(Path({str(cell)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    last = latest(cell)
    assert last is not None
    assert last.age < claims.STALE_AFTER
    assert not last.live
    assert claim(cell) is not None


def test_a_claim_from_another_machine_lives_by_its_heartbeat_alone(cell: Path) -> None:
    assert claim(cell, machine="elsewhere", pid=2**22, started="0") is not None
    assert claim(cell) is None
    age(cell, 1, claims.STALE_AFTER + 1)
    assert claim(cell) is not None


def test_bury_marks_the_claim_of_a_dead_process_and_no_other(cell: Path) -> None:
    assert not bury(cell, os.getpid(), "nothing here")
    held = claim(cell)
    assert held is not None
    assert not bury(cell, os.getpid() + 1, "somebody else's")
    assert bury(cell, os.getpid(), "killed")
    assert not bury(cell, os.getpid(), "twice")
    last = latest(cell)
    assert last is not None
    assert (last.outcome, last.owner["message"]) == ("died", "killed")


def test_bury_leaves_the_one_that_took_the_cell_over_alone(cell: Path) -> None:
    assert claim(cell, pid=2**22) is not None
    taken = claim(cell)
    assert taken is not None
    assert bury(cell, 2**22, "killed")
    assert [one.outcome for one in history(cell)] == ["died", None]
    taken.check()
