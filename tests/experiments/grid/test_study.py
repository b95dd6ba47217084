from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.claims import claim
from experiments.errors import UserError
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]


def states(study: Study) -> list[str]:
    return [state.state for _, state in Study(study.path).states()]


def test_a_folder_without_a_plan_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no study"):
        Study.open(tmp_path)
    (tmp_path / "cells.json").write_text('{"format": 0}')
    with pytest.raises(UserError, match="is no study"):
        Study.open(tmp_path)


def test_a_plan_is_read_back(make_study: MakeStudy) -> None:
    study = make_study(a={"x": 1}, b={})
    assert Study.open(study.path).cells == study.cells


def test_the_states_of_a_cell_follow_from_its_files(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    assert states(study) == ["pending"]
    held = claim(study.claims(cell))
    assert held is not None
    assert states(study) == ["running"]
    study.run(cell).path.mkdir()
    study.run(cell).write_status("running", step=4)
    held.end("interrupted")
    assert states(study) == ["interrupted"]
    again = claim(study.claims(cell))
    assert again is not None
    again.end("failed", "the reason")
    assert states(study) == ["failed"]
    assert study.state(cell).message == "the reason"
    study.run(cell).mark_done(step=10, evaluations=[])
    assert states(study) == ["failed"], "trained, but not evaluated as the plan asks"
    study.run(cell).mark_done(evaluations=[cell.evaluation])
    assert states(study) == ["done"]


def test_a_cell_is_given_up_by_failures_of_this_launch_alone(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells

    def fail(launch: str, final: bool) -> None:
        held = claim(study.claims(cell), launch=launch)
        assert held is not None
        held.end("failed", final=final)

    fail("first", final=False)
    assert not study.state(cell).given_up("first", attempts=2)
    fail("first", final=False)
    assert study.state(cell).given_up("first", attempts=2)
    assert not study.state(cell).given_up("second", attempts=2)
    fail("second", final=True)
    assert study.state(cell).given_up("second", attempts=2), "it would only fail again"
    assert not study.state(cell).given_up("third", attempts=2)


def test_a_claim_that_was_dropped_without_a_word_counts_as_a_death(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    assert claim(study.claims(cell), launch="this", pid=2**22) is not None
    state = study.state(cell)
    assert (state.state, state.failures("this"), state.failures("that")) == ("interrupted", 1, 0)
    assert state.given_up("this", attempts=1)
    assert not state.given_up("this", attempts=2)


def test_the_time_of_a_cell_is_that_of_all_its_claims(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    for _ in range(2):
        held = claim(study.claims(cell), since=100.0)
        assert held is not None
        held.end("interrupted", ended=130.0)
    assert study.seconds(cell) == 60.0
