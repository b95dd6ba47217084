from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.report.analysis import analyse
from experiments.report.rank import global_rank
from experiments.report.read import read
from experiments.report.rows import rows


def ranking(folder: Any, *metrics: str) -> Any:
    found = read(folder)
    return analyse(found, rows(found), ranked=metrics).ranking


def test_it_is_the_global_rank_of_the_means(study: Any, made: Any) -> None:
    cells = [
        made(objective, seed=seed, scale=scale + 0.01 * seed, weights=("ema", "raw"))
        for objective, scale in (("rf", 1.0), ("edm", 1.2), ("shortcut", 2.0)) for seed in (0, 1)
    ]  # fmt: skip
    found = ranking(study(*cells))
    assert found.metrics == ("frechet_distance", "precision")
    assert len(found.controls) == 2 * 3
    means = [[np.mean([c.distance(n) for c in cells[at : at + 2]]) for n in (1, 4, 128)] * 2 for at in (0, 2, 4)]
    precision = [
        [-np.mean([1 / c.distance(n) for c in cells[at : at + 2]]) for n in (1, 4, 128)] * 2 for at in (0, 2, 4)
    ]
    expected = global_rank(np.stack([means, precision], -1))
    assert {line.labels[0]: line.rank for line in found.lines} == dict(
        zip(("rf", "edm", "shortcut"), expected.tolist(), strict=True)
    )
    assert [line.rank for line in found.lines] == sorted(line.rank for line in found.lines)
    assert found.lines[0].by_steps.keys() == {1, 4, 128}


def test_the_range_is_over_seeds_ranked_by_themselves(study: Any, made: Any) -> None:
    scales = {("rf", 0): 1.0, ("rf", 1): 1.2, ("edm", 0): 1.05, ("edm", 1): 1.1}
    found = ranking(study(*(made(o, seed=s, scale=scale) for (o, s), scale in scales.items())))
    assert {line.labels[0]: (line.rank, line.low, line.high) for line in found.lines} == {
        "edm": (1.0, 1.0, 2.0), "rf": (2.0, 1.0, 2.0),
    }  # fmt: skip


def test_a_row_without_numbers_comes_last_and_is_told(study: Any, made: Any) -> None:
    found = ranking(study(made(), made("edm", state="failed"), made("shortcut", scale=9)))
    assert [line.labels[0] for line in found.lines] == ["rf", "shortcut", "edm"]
    assert (found.lines[-1].n, math.isnan(found.lines[-1].rank)) == (0, True)
    assert "1 of 3 rows lack" in found.note


def test_a_seed_that_is_not_finite_is_the_worst(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(), made(seed=1), made("edm", scale=5), made("edm", seed=1, scale=5))
    file = evaluation_file(folder, made(seed=1))
    value = json.loads(file.read_text())
    for row in value["rows"]:
        row["frechet_distance"] = row["precision"] = math.nan
    file.write_text(json.dumps(value))
    assert [(line.labels[0], line.rank) for line in ranking(folder).lines] == [("edm", 1.0), ("rf", 2.0)]


def test_the_metrics_may_be_chosen(study: Any, made: Any) -> None:
    folder = study(made(), made("edm", scale=2))
    assert {line.rank for line in ranking(folder, "recall").lines} == {1.0}, "equal numbers share a front"
    with pytest.raises(UserError, match="did you mean 'recall'"):
        ranking(folder, "recal")


@pytest.mark.parametrize("cells", [0, 1])
def test_fewer_than_two_rows_have_no_rank(study: Any, made: Any, cells: int) -> None:
    found = ranking(study(*[made()] * cells))
    assert found.lines == ()
    assert found.note
