from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from experiments.report.analysis import Analysis, analyse
from experiments.report.read import read
from experiments.report.rows import rows


def analysed(folder: Path) -> Analysis:
    found = read(folder)
    return analyse(found, rows(found))


def widths(made: Any, computes: Sequence[float], seeds: int = 1) -> list[Any]:
    return [
        made(seed=seed, overrides=(("backbone.width", at),)) for at in range(len(computes)) for seed in range(seeds)
    ]


def give(file: Path, *, compute: float | None = None, loss: float | None = None, **of_model: float) -> None:
    value = json.loads(file.read_text())
    value["model"] = {"parameters": int(compute or 1), "training_flops": compute}
    for entry in value["validation"]:
        entry |= {"mean": entry["mean"] if loss is None else loss, **of_model}
    file.write_text(json.dumps(value))


def test_the_law_goes_through_the_rows_means(study: Any, made: Any, evaluation_file: Any) -> None:
    computes = [1e12, 4e12, 1.6e13, 6.4e13, 2.56e14, 1e15]
    cells = widths(made, computes, seeds=2)
    folder = study(*cells)
    for at, cell in enumerate(cells):
        compute = computes[at // 2]
        give(evaluation_file(folder, cell), compute=compute, loss=(30 * compute**-0.1 + 0.2) * (1 + 0.1 * (-1) ** at))
    (law,) = analysed(folder).power_laws
    assert [point.compute for point in law.points] == computes
    assert law.b is not None
    assert law.c is not None
    assert (law.a, law.b.value, law.c.value) == pytest.approx((30, 0.1, 0.2), rel=2e-2)
    assert max(abs(point.residual) for point in law.points) < 1e-4
    assert (law.curve[0].compute, law.curve[-1].compute) == pytest.approx((1e12, 1e16))
    assert law.curve[-1].loss == pytest.approx(30 * 1e16**-0.1 + 0.2, rel=1e-2)
    assert all(ahead.low <= ahead.loss <= ahead.high for ahead in law.curve)


def test_two_amounts_of_compute_are_told_to_be_too_few(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(*(cells := widths(made, [1, 2])))
    for at, cell in enumerate(cells):
        give(evaluation_file(folder, cell), compute=1e12 * (at + 1), loss=2.0 - at)
    (law,) = analysed(folder).power_laws
    assert law.note.startswith("fewer than 4")
    assert (len(law.points), law.curve) == (2, ())


def test_cells_evaluated_before_costs_were_recorded_are_told(study: Any, made: Any) -> None:
    found = analysed(study(*widths(made, [1, 2])))
    assert found.power_laws == ()
    assert any("before FLOPs were recorded" in note for note in found.notes)


def test_efficiency_is_the_relative_loss_to_the_most_steps_by_seed(study: Any, made: Any, evaluation_file: Any) -> None:
    cells = [made(seed=seed, scale=1 + seed) for seed in range(3)]
    folder = study(*cells)
    give(evaluation_file(folder, cells[1]), compute=7)
    first, heldout = analysed(folder).efficiency
    assert (first.metric, heldout.metric) == ("frechet_distance", "frechet_distance_heldout")
    assert (first.reference, first.parameters, list(first.relative)) == (128, 7, [1, 4])
    expected = made().distance(1) / made().distance(128) - 1
    assert first.relative[1].values == pytest.approx((expected,) * 3)
    relative = [cell.distance(4) + 2 - cell.distance(128) - 2 for cell in cells]
    relative = [apart / (cell.distance(128) + 2) for apart, cell in zip(relative, cells, strict=True)]
    assert heldout.relative[4].interval() == pytest.approx(
        stats.t.interval(0.95, 2, loc=sum(relative) / 3, scale=stats.sem(relative))
    )


def test_fifty_steps_are_the_reference_where_there_are_any(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made())
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    for row, steps in zip(value["rows"], (5, 50, 128), strict=True):
        row["steps"] = steps
    file.write_text(json.dumps(value))
    found = analysed(folder).efficiency[0]
    assert (found.reference, list(found.relative)) == (50, [5])


def test_a_reference_of_nought_is_no_reference(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made())
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    value["rows"][2]["frechet_distance"] = 0.0
    file.write_text(json.dumps(value))
    found = analysed(folder).efficiency[0]
    assert found.relative[1].not_finite == 1
    assert found.note


def test_path_lengths_stand_by_size(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(*(cells := widths(made, [1, 2, 3])))
    for at, cell in enumerate(cells[:2]):
        give(evaluation_file(folder, cell), compute=100.0 - at, path_length=191.0 - at)
    found = analysed(folder)
    assert [(one.parameters, one.summary.mean) for one in found.path_lengths] == [(99, 190.0), (100, 191.0)]
    assert found.tables["ema", "path_length"].of_model


def test_the_loss_is_correlated_with_every_metric_within_an_objective_and_over_all(
    study: Any, made: Any, evaluation_file: Any
) -> None:
    cells = [made(o, overrides=(("lr", at),), scale=1 + at) for o in ("rf", "edm") for at in range(4)]
    folder = study(*cells)
    for at, cell in enumerate(cells):
        give(evaluation_file(folder, cell), loss=[1, 2, 4, 3, 14, 13, 12, 11][at], bits=at**2)
    found = {(one.metric, one.steps, one.objective): one for one in analysed(folder).correlations}
    assert found["frechet_distance", 1, "rf"].spearman.value == pytest.approx(0.8)
    assert found["frechet_distance", 1, "edm"].spearman.value == pytest.approx(-1)
    assert found["frechet_distance", 1, None].n == 8
    assert found["recall", 4, None].note == "all values equal"
    assert ("bits", None, "rf") in found
    assert ("bits", 1, "rf") not in found
    assert not any(metric == "validation_loss" for metric, _, _ in found)


@pytest.mark.parametrize("cells", [0, 1])
def test_a_grid_of_nothing_or_one_cell_has_an_analysis(study: Any, made: Any, cells: int) -> None:
    found = analysed(study(*[made()] * cells))
    assert found.power_laws == found.correlations == ()
    assert math.isnan(found.tightening)


def test_failed_cells_alone_have_an_analysis(study: Any, made: Any) -> None:
    found = analysed(study(made(state="failed"), made("edm", state="failed")))
    assert found.tables == {}
    assert found.ranking.note
