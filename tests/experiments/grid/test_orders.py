from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.claims import LOOK_NOW, claim, history
from experiments.grid import orders
from experiments.grid.hints import note
from experiments.grid.study import Study
from experiments.grid.taking import Taker
from experiments.stopping import Stop

MakeStudy = Callable[..., Study]
STUB = Path(__file__).with_name("stub_worker.py")


def states(study: Study) -> list[str]:
    return [state.state for _, state in Study(study.path).states()]


def test_cancelled_cells_are_left_until_a_retry_takes_it_back(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={}, c={})
    done = study.run(study.cells[2])
    done.path.mkdir()
    done.mark_done(evaluations=[study.cells[2].evaluation])
    assert [cell.name for cell in orders.cancel(study, study.cells, "by hand")] == ["a", "b"]
    assert orders.cancel(study, study.cells, "by hand") == []
    assert states(study) == ["cancelled", "cancelled", "done"]
    assert Taker(study, launch="this").take() is None
    assert [cell.name for cell in orders.retry(study, study.cells)] == ["a", "b"]
    assert states(study) == ["pending", "pending", "done"]


def test_a_retry_is_given_to_failed_cells_and_to_no_others(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={}, c={})
    for cell in study.cells[:2]:
        held = claim(study.claims(cell), launch="this")
        assert held is not None
        if cell.name == "a":
            held.end("failed", reason="not finite")
    assert Taker(study, launch="that").take() is not None, "c"
    assert Taker(study, launch="that").take() is None, "what was not finite is not tried again by itself"
    assert [cell.name for cell in orders.retry(study, study.cells)] == ["a"]
    found = Taker(study, launch="that").take()
    assert found is not None
    assert found[0].name == "a"
    assert [one.outcome for one in history(study.claims(study.cells[0]))] == ["failed", "retried", None]


@pytest.mark.parametrize("near", [True, False])
def test_a_worker_that_has_the_cell_stops_it_and_goes_on_with_the_next(make_study: MakeStudy, near: bool) -> None:
    study = make_study(a={"max_steps": 2000}, b={})
    a, b = study.cells
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FEWSTEP_STALE_AFTER": "600" if near else "2"}
    worker = subprocess.Popen([sys.executable, "-P", str(STUB), str(study.path)], env=environment)
    try:
        limit = time.monotonic() + 60
        while study.run(a).status["step"] < 3:
            assert time.monotonic() < limit
            time.sleep(0.02)
        if near:  # its next heartbeat is 50 s away: the signal tells it
            orders.cancel(study, [a], "by hand")
        else:
            (study.path / "cancelled").mkdir()
            (study.path / "cancelled" / f"{a.hash}.json").write_text('{"why": "from another machine"}')
        assert worker.wait(timeout=60) == 0
    finally:
        worker.kill()
        worker.wait()
    assert states(study) == ["cancelled", "done"]
    assert [one.outcome for one in history(study.claims(a))] == ["interrupted"]
    assert 3 <= study.run(a).status["step"] < 2000
    assert b.name == "b"


def test_a_worker_between_two_cells_survives_the_signal(make_study: MakeStudy) -> None:
    study = make_study(a={"needs": ["b"]}, b={"max_steps": 2000})
    held = claim(study.claims(study.cells[1]))
    assert held is not None
    worker = subprocess.Popen(
        [sys.executable, "-P", str(STUB), str(study.path)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        time.sleep(1.5)  # it waits for b, which this process holds
        worker.send_signal(LOOK_NOW)
        time.sleep(0.5)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 75
    finally:
        worker.kill()
        worker.wait()


def test_what_others_ask_for_is_not_forgotten_over_a_cancellation(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    held = claim(study.claims(cell))
    assert held is not None
    for asked, goes_on in ((None, True), (signal.SIGTERM, False)):
        stop = Stop()
        order = orders.Cancelled(study, held, stop)
        orders.cancel(study, [cell], "by hand")
        order.look()
        assert stop.requested
        stop.signal = asked
        order.obeyed()
        assert stop.requested != goes_on


def test_an_owner_that_was_taken_over_is_stopped_by_its_heartbeat(make_study: MakeStudy) -> None:
    study = make_study(a={})
    held = claim(study.claims(study.cells[0]), pid=2**22)
    assert held is not None
    stop = Stop()
    order = orders.Cancelled(study, held, stop)
    order.look()
    assert not stop.requested
    assert claim(study.claims(study.cells[0])) is not None
    order.look()
    assert stop.requested


def test_what_the_grid_has_no_more_is_cancelled_and_taken_back_when_it_has_it_again(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={}, c={}, d={})
    for cell in study.cells[:3]:
        held = claim(study.claims(cell))
        assert held is not None
        if cell.name == "c":
            held.end("interrupted")
            note(study, cell, "interrupted")
    study = make_study(a={}, e={})
    gone, back = orders.bring_in_step(study)
    assert ([cell.hash for cell in gone], back) == ([hashlib.sha256(b"b").hexdigest()[:12]], []), (
        "c and d are in nobody's hands"
    )
    study = make_study(a={}, b={})
    gone, back = orders.bring_in_step(study)
    assert (gone, [cell.name for cell in back]) == ([], ["b"])
    assert study.look().cancelled == {}


def test_what_was_cancelled_by_hand_stays_so(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={})
    orders.cancel(study, study.cells[:1], "by hand")
    assert orders.bring_in_step(study) == ([], [])
    assert states(study) == ["cancelled", "pending"]
