from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from experiments.claims import claim
from experiments.grid import taking
from experiments.grid.hints import note
from experiments.grid.orders import cancel
from experiments.grid.study import Study
from experiments.grid.taking import Taker, put_right

MakeStudy = Callable[..., Study]


def taken(study: Study, **options: Any) -> str | None:
    found = Taker(Study(study.path), **{"launch": "this", **options}).take()
    return found and found[0].name


def test_untouched_and_interrupted_cells_come_in_the_order_of_the_plan_and_failed_ones_last(
    make_study: MakeStudy,
) -> None:
    study = make_study(a={}, b={}, c={}, d={}, e={})
    for place, outcome in ((0, "failed"), (1, "interrupted"), (3, "died")):
        held = claim(study.claims(study.cells[place]), launch="before")
        assert held is not None
        held.end(outcome)
        note(study, study.cells[place], outcome)
    assert [taken(study) for _ in range(6)] == ["b", "c", "e", "a", "d", None]


def test_cells_without_a_hint_are_looked_at_when_no_other_is_left(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={}, c={})
    assert claim(study.claims(study.cells[0]), pid=2**22) is not None, "its worker was killed with the launcher"
    study.claims(study.cells[1]).mkdir(), "its worker was killed between the folder and the claim"
    assert [taken(study) for _ in range(4)] == ["c", "a", "b", None]


def test_cancelled_cells_and_those_whose_needs_are_not_done_are_left(make_study: MakeStudy) -> None:
    study = make_study(a={}, b={"needs": ["a"]}, c={})
    cancel(study, [study.cells[2]], "by hand")
    taker = Taker(study, launch="this")
    found = taker.take()
    assert found is not None
    assert found[0].name == "a"
    assert taker.take() is None
    assert taker.waiting(), "a is being worked on"
    found[1].end("failed", final=True)
    note(study, found[0], "failed")
    assert not taker.waiting(), "a is given up in this launch"
    assert Taker(study, launch="that").waiting(), "and not in another, which will try it again"


def test_a_hint_that_is_wrong_is_put_right(make_study: MakeStudy) -> None:
    study = make_study(a={})
    (cell,) = study.cells
    held = claim(study.claims(cell))
    assert held is not None
    held.end("done")
    note(study, cell, cell.evaluation)
    assert taken(study) is None, "the hint says that it is done"
    put_right(study)
    assert taken(study) == "a", "but there is no run"


def test_a_plan_that_is_replaced_is_read_anew(make_study: MakeStudy) -> None:
    study = make_study(a={})
    taker = Taker(study, launch="this")
    assert taker.take() is not None
    assert taker.take() is None
    other = make_study(a={}, b={})
    assert other.path == study.path
    found = taker.take()
    assert found is not None
    assert found[0].name == "b"


def test_of_many_cells_the_untouched_are_remembered(
    make_study: MakeStudy, calls: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "FEW", 10)
    study = make_study(**{f"c{n:02d}": {} for n in range(40)})
    mine, other = (Taker(Study(study.path), launch="this") for _ in range(2))
    first = mine.take()
    assert first is not None
    assert first[0].name == "c00"
    theirs = [other.take() for _ in range(10)]
    cancel(study, study.cells[30:], "by hand")
    with calls() as found:
        second = mine.take()
    assert second is not None
    names = [found[0].name for found in theirs if found is not None]
    assert second[0].name not in ("c00", *names)
    assert found["listdir"] <= 4, "a few for the claim, none for the search"
    rest = [taken[0].name for taken in iter(mine.take, None)]
    assert sorted(["c00", second[0].name, *names, *rest]) == [f"c{n:02d}" for n in range(30)]


@pytest.mark.parametrize("few", [10, 1000])
def test_of_many_threads_each_cell_goes_to_one(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(taking, "FEW", few)
    study = make_study(**{f"c{n}": {} for n in range(120)})
    got: list[list[str]] = [[] for _ in range(24)]

    def run(mine: list[str]) -> None:
        taker = Taker(Study(study.path), launch="this")
        while (found := taker.take()) is not None:
            cell, held = found
            own = study.run(cell)
            own.path.mkdir()
            own.mark_done(evaluations=[cell.evaluation])
            held.end("done")
            note(study, cell, cell.evaluation)
            mine.append(cell.name)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(name for mine in got for name in mine) == {cell.name: 1 for cell in study.cells}


@pytest.mark.parametrize("count", [5, 80])
def test_taking_a_cell_lists_a_few_folders_however_many_cells_there_are(
    make_study: MakeStudy, calls: Callable[..., Any], count: int
) -> None:
    study = make_study(**{f"c{n}": {} for n in range(count)})
    for cell in study.cells[: count // 2]:
        held = claim(study.claims(cell))
        assert held is not None
        study.run(cell).path.mkdir()
        study.run(cell).mark_done(evaluations=[cell.evaluation])
        held.end("done")
        note(study, cell, cell.evaluation)
    taker = Taker(Study(study.path), launch="this")
    taker.study.cells  # noqa: B018 (read the plan)
    from experiments import code

    code.version()
    with calls() as found:
        assert taker.take() is not None
    assert found["listdir"] <= 6
    assert sum(found.values()) < 30
