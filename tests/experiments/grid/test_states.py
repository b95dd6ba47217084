from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from experiments import claims
from experiments.claims import claim
from experiments.grid.states import STATES
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]


def state(study: Study, place: int = 0) -> str:
    fresh = Study(study.path)
    return fresh.state(fresh.cells[place]).state


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"outcome": "failed", "reason": "not finite"}, "failed"),
        ({"outcome": "died"}, "failed"),
        ({"outcome": "interrupted"}, "interrupted"),
        ({"outcome": "interrupted", "preempted": True}, "preempted"),
        ({"outcome": "released"}, "interrupted"),
        ({"outcome": "retried"}, "pending"),
    ],
)
def test_an_ended_claim_says_how(make_study: MakeStudy, facts: dict[str, Any], expected: str) -> None:
    study = make_study(a={})
    held = claim(study.claims(study.cells[0]))
    assert held is not None
    held.end(**facts)
    assert state(study) == expected
    assert expected in STATES


def test_a_silent_owner_that_may_live_makes_a_cell_stall_and_a_dead_one_frees_it(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(a={}, b={})
    for cell, owner in zip(study.cells, ({"machine": "elsewhere"}, {"pid": 2**22}), strict=True):
        assert claim(study.claims(cell), **owner) is not None
    assert (state(study, 0), state(study, 1)) == ("running", "interrupted")
    monkeypatch.setattr(claims, "clock", lambda folder, real=claims.clock: real(folder) + claims.STALE_AFTER + 1)
    assert (state(study, 0), state(study, 1)) == ("stalled", "interrupted")


def test_how_long_silence_is_borne_is_what_the_owner_promised(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(a={}, b={})
    for cell, promise in zip(study.cells, (5.0, 500.0), strict=True):
        assert claim(study.claims(cell), stale_after=promise) is not None
    monkeypatch.setattr(claims, "clock", lambda folder, real=claims.clock: real(folder) + 100)
    assert (state(study, 0), state(study, 1)) == ("stalled", "running")


def test_a_retry_wipes_the_slate(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    for _ in range(2):
        held = claim(study.claims(cell), launch="this")
        assert held is not None
        held.end("failed", reason="not finite")
    before = study.state(cell)
    assert before.failures("this") == 2
    assert before.reason == "not finite"
    assert claims.retry(study.claims(cell))
    after = study.state(cell)
    assert (after.state, after.failures("this"), after.reason) == ("pending", 0, None)
    held = claim(study.claims(cell), launch="this")
    assert held is not None
    assert not claims.retry(study.claims(cell)), "somebody holds it"


def test_what_was_not_finite_is_given_up_by_every_launch(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={})
    for cell, reason in zip(study.cells, ("not finite", "disk"), strict=True):
        held = claim(study.claims(cell), launch="first")
        assert held is not None
        held.end("failed", final=True, reason=reason)
    a, b = (study.state(cell) for cell in study.cells)
    assert a.given_up("first", 9)
    assert a.given_up("second", 9)
    assert b.given_up("first", 9)
    assert not b.given_up("second", 9)


def submit(study: Study, state: str, submitted: float, *cells: int) -> None:
    from experiments.files import write_json

    (study.path / "submissions").mkdir(exist_ok=True)
    hashes = [study.cells[place].hash for place in cells]
    record = {"job": "17", "state": state, "submitted": submitted, "cells": hashes}
    write_json(study.path / "submissions" / f"{state}.json", record)


def test_submitted_cells_are_queued_until_they_are_begun(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={}, c={})
    ended = claim(study.claims(study.cells[0]))
    assert ended is not None
    ended.end("failed", ended=100.0)
    assert claim(study.claims(study.cells[1])) is not None
    submit(study, "submitted", 50.0, 0, 1, 2)
    assert [state(study, place) for place in range(3)] == ["failed", "running", "queued"]
    submit(study, "submitted", 150.0, 0, 1, 2)
    assert [state(study, place) for place in range(3)] == ["queued", "running", "queued"]
    (study.path / "submissions" / "submitted.json").unlink()
    submit(study, "ended", 150.0, 0, 1, 2)
    assert [state(study, place) for place in range(3)] == ["failed", "running", "pending"]


def test_a_cell_that_needs_others_waits_for_them_and_says_for_which(make_study: MakeStudy) -> None:
    study = make_study(teacher={}, student={"needs": ["teacher"]})
    teacher, student = study.cells
    waiting = study.state(student)
    assert (waiting.state, waiting.ready, waiting.message) == ("pending", False, "waits for teacher")
    held = claim(study.claims(teacher))
    assert held is not None
    held.end("failed")
    blocked = study.state(student)
    assert (blocked.ready, blocked.message) == (False, "blocked: teacher is failed")
    study.run(teacher).path.mkdir()
    study.run(teacher).mark_done(step=10, evaluations=[teacher.evaluation])
    assert study.state(student).ready
    assert study.state(student).message is None


def test_the_states_of_untouched_cells_cost_nothing_each(make_study: MakeStudy, calls: Callable[..., Any]) -> None:
    few, many = (Study(make_study(**{f"c{n}": {} for n in range(count)}).path) for count in (3, 100))
    for study in (few, many):
        assert study.cells
    with calls() as found:
        assert {state.state for _, state in many.states()} == {"pending"}
    assert sum(found.values()) < 30
