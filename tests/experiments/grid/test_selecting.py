from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments import code
from experiments.claims import claim
from experiments.errors import UserError
from experiments.grid.selecting import changed, one, select
from experiments.grid.study import Study

MakeStudy = Callable[..., Study]


@pytest.fixture
def study(make_study: MakeStudy) -> Study:
    shortcut = {"name": "shortcut", "k": 0.25}
    study = make_study(a={"objective": "rf", "seed": 0}, b={"objective": shortcut, "seed": 1}, c={"seed": 2})
    for cell, version in zip(study.cells[:2], (code.version(), "another"), strict=True):
        held = claim(study.claims(cell), code=version)
        assert held is not None
        held.end("failed" if cell.name == "a" else "interrupted")
    return study


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "abc"),
        (["failed"], "a"),
        (["failed", "pending"], "ac"),
        (["a", "c"], "ac"),
        (["seed=1"], "b"),
        (["objective=RF"], "abc"),  # the label that tables show is rf for all of them
        (["objective=shortcut"], "b"),
        (["objective.k=0.25"], "b"),
        (["seed=1", "failed"], ""),
        (["interrupted", "code=changed"], "b"),
        (["code=changed"], "b"),
    ],
)
def test_words_pick_cells(study: Study, words: list[str], expected: str) -> None:
    assert "".join(cell.name for cell, _ in select(study, words)) == expected


def test_a_hash_may_be_cut_short_as_long_as_it_is_clear(study: Study) -> None:
    cell = study.cells[1]
    assert one(study, cell.hash[:11]) == cell
    assert one(study, cell.run) == cell


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("fialed", "did you mean 'failed'"),
        ("objectiv=rf", "did you mean 'objective'"),
        ("objective=shortcu", "did you mean 'shortcut'"),
        ("code=new", "only code=changed"),
    ],
)
def test_what_fits_nothing_is_refused_with_the_nearest(study: Study, word: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        select(study, [word])


def test_a_change_of_code_is_seen(study: Study) -> None:
    assert [changed(study.state(cell)) for cell in study.cells] == [False, True, False]
