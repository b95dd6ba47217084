from __future__ import annotations

import json
import math
from typing import Any

import pytest

from experiments.report.read import read
from experiments.report.rows import rows
from experiments.report.tables import name, number, table, text


def of(folder: Any, metric: str = "frechet_distance") -> Any:
    found = read(folder)
    return table(found, rows(found), setting="ema", metric=metric)


def test_means_over_seeds_with_missing_ones_marked(study: Any, made: Any) -> None:
    cells = [made(seed=0, scale=1.0), made(seed=1, scale=2.0), made(seed=2, state="failed")]
    (line,) = of(study(*cells)).lines
    assert line.summaries[0].mean == pytest.approx(1.5 * made().distance(1))
    assert text(line.summaries[0]).endswith("(2 of 3)")
    assert line.note == "1 of 3 failed"


def test_the_best_is_the_least_distance_and_the_greatest_recall(study: Any, made: Any) -> None:
    folder = study(made(), made("shortcut"))
    assert of(folder).best[0] == made("shortcut").distance(1)
    assert of(folder, "precision").best[0] == 1 / made("shortcut").distance(1)


def test_the_best_diversity_is_the_one_nearest_to_that_of_data(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(), made("shortcut"))
    for cell, value in ((made(), 0.02), (made("shortcut"), 1.25)):
        file = evaluation_file(folder, cell)
        content = json.loads(file.read_text())
        for row in content["rows"]:
            row["diversity"] = value
        file.write_text(json.dumps(content))
    assert set(of(folder, "diversity").best) == {1.25}


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("diversity_within_class", "Diversity within a class"),
        ("self_consistency_step_0.25", "Self-consistency error of steps of 0.25"),
        ("teacher_gap_1", "Teacher–student gap at 1 step"),
        ("teacher_gap_16", "Teacher–student gap at 16 steps"),
        ("loss_t0.25-0.5_step_0.125", "Held-out loss, t from 0.25 to 0.5, steps of 0.125"),
        ("loss_t0-0.25_step_0", "Held-out loss, t from 0 to 0.25, steps of no length"),
        ("loss_t0.75-1", "Held-out loss, t from 0.75 to 1"),
        ("loss_tangent", "Loss tangent"),
        ("of_a_plugin", "Of a plugin"),
    ],
)
def test_a_metric_is_named_as_one_says_it_with_the_option_in_it(metric: str, told: str) -> None:
    assert name(metric) == told


def test_a_number_that_is_none_is_said_and_is_never_the_best(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(), made("shortcut"))
    file = evaluation_file(folder, made("shortcut"))
    value = json.loads(file.read_text())
    value["rows"][0]["frechet_distance"] = math.nan
    value["rows"][1]["frechet_distance"] = None
    file.write_text(json.dumps(value))
    found = of(folder)
    assert text(found.lines[1].summaries[0]) == "not finite"
    assert text(found.lines[1].summaries[1]) == "–"
    assert found.lines[1].note == "some settings not evaluated"
    assert found.best[0] == made().distance(1)


def test_labels_that_all_rows_share_are_left_out(study: Any, made: Any) -> None:
    assert of(study(made(), made("shortcut"))).columns == ("objective", "backbone")
    lr = (("optimizer.lr", 0.1),)
    assert of(study(made(), made(overrides=lr), name="two")).columns == ("objective", "backbone", "variant")


def test_progress_is_told(study: Any, made: Any) -> None:
    folder = study(made(state="interrupted"), made("edm", state="pending"))
    assert [line.note for line in of(folder).lines] == ["interrupted (40 %)", "pending"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (168.4, "168"), (13.55, "13.6"), (0.02, "0.0200"), (1.234e-6, "1.23e-06"), (math.nan, "not finite")],
)
def test_three_significant_digits(value: float, shown: str) -> None:
    assert number(value) == shown
