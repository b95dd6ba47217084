from __future__ import annotations

import json
import math
from typing import Any

import pytest
from scipy import stats

from experiments.report.baseline import choose
from experiments.report.read import read
from experiments.report.rows import rows
from experiments.report.statistics import Difference, holm, summarise
from experiments.report.tables import apart, better, name, number, table, text


def of(folder: Any, metric: str = "frechet_distance") -> Any:
    found = read(folder)
    return table(found, rows(found), setting="ema", metric=metric)


def test_means_over_seeds_with_missing_ones_marked(study: Any, made: Any) -> None:
    cells = [made(seed=0, scale=1.0), made(seed=1, scale=2.0), made(seed=2, state="failed")]
    (line,) = of(study(*cells)).lines
    assert line.summaries[0].mean == pytest.approx(1.5 * made().distance(1))
    assert text(line.summaries[0]).endswith("(2 of 3)")
    assert line.note == "1 of 3 failed (seed 2)"


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


def compared(folder: Any, *given: str, metric: str = "frechet_distance") -> Any:
    found = read(folder)
    return table(found, rows(found), setting="ema", metric=metric, baseline=choose(found, given))


def seeds(made: Any, *arguments: Any, scales: Any) -> list[Any]:
    return [made(*arguments, seed=seed, scale=scale) for seed, scale in enumerate(scales)]


def test_differences_are_paired_by_seed_and_corrected_over_the_table(study: Any, made: Any) -> None:
    cells = [
        *seeds(made, scales=(1.0, 1.1, 1.2)),
        *seeds(made, "edm", scales=(1.3, 1.41, 1.5)),
        *seeds(made, "rf/mode(1.29)", scales=(0.9, 1.2, 1.1)),
    ]
    rf, edm, mode = compared(study(*cells)).lines
    assert rf.differences == (None,) * 3
    d = edm.differences[0]
    values = [[cell.distance(1) for cell in cells[at : at + 3]] for at in (3, 0)]
    assert (d.n, d.p) == (3, pytest.approx(stats.ttest_rel(*values).pvalue))
    p = [one.p for line in (edm, mode) for one in line.differences]
    assert [one.adjusted for line in (edm, mode) for one in line.differences] == pytest.approx(holm(p))
    assert d.significant
    assert apart(d).endswith("] *")
    assert not mode.differences[0].significant
    assert better("frechet_distance", d) is False
    assert better("recall", d) is True


def test_a_number_of_the_model_is_one_comparison(study: Any, made: Any, evaluation_file: Any) -> None:
    cells = [*seeds(made, scales=(1, 1, 1)), *seeds(made, "rf/mode(1.29)", scales=(1, 1, 1))]
    folder = study(*cells)
    for at, cell in enumerate(cells):
        change(evaluation_file(folder, cell), lambda value, at=at: value["validation"][0].update(bits=at + at**2 / 9))
    found = compared(folder, metric="bits")
    assert found.of_model
    first, *others = found.lines[1].differences
    assert first.adjusted == first.p > 0
    assert others == [first, first]


def test_losses_of_other_objectives_are_not_compared(study: Any, made: Any) -> None:
    found = compared(study(*seeds(made, scales=(1, 2)), *seeds(made, "edm", scales=(1, 2))), metric="validation_loss")
    assert found.lines[1].differences == (None,) * 3


def test_a_seed_that_the_baseline_lacks_makes_no_pair(study: Any, made: Any) -> None:
    cells = [made(seed=0), made(seed=1, state="failed"), *seeds(made, "edm", scales=(2, 3))]
    d = compared(study(*cells)).lines[1].differences[0]
    assert (d.n, d.unpaired, apart(d)) == (1, (1,), "+165 (1 pair)")


@pytest.mark.parametrize(
    ("difference", "shown"),
    [
        (None, "–"),
        (Difference(0), "–"),
        (Difference(3, -3.14159, -4, -2, adjusted=0.01), "−3.14 [−4.00, −2.00] *"),
        (Difference(3, 0.0, 0.0, 0.0), "0 [0, 0]"),
        (Difference(2, 3.0, -1.0, 7.0, adjusted=0.3), "+3.00 [−1.00, +7.00]"),
    ],
)
def test_a_difference_is_told_with_its_sign_interval_and_star(difference: Any, shown: str) -> None:
    assert apart(difference) == shown


def test_the_interval_stands_behind_the_spread() -> None:
    summary = summarise([1.0, 2.0, 3.0, None], expected=4)
    assert text(summary, ends=True) == "2.00 ± 1.0 [−0.484, 4.48] (3 of 4)"


def change(file: Any, how: Any) -> None:
    value = json.loads(file.read_text())
    how(value)
    file.write_text(json.dumps(value))


def test_labels_that_all_rows_share_are_left_out(study: Any, made: Any) -> None:
    assert of(study(made(), made("shortcut"))).columns == ("objective", "backbone")
    lr = (("optimizer.lr", 0.1),)
    assert of(study(made(), made(overrides=lr), name="two")).columns == ("objective", "backbone", "variant")


def test_progress_is_told(study: Any, made: Any) -> None:
    folder = study(made(state="interrupted"), made("edm", state="pending"))
    assert [line.note for line in of(folder).lines] == ["interrupted (40 %)", "pending"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (168.4, "168"),
        (13.55, "13.6"),
        (0.02, "0.0200"),
        (1.234e-6, "1.23e-06"),
        (-3.02, "−3.02"),
        (-1.234e-6, "−1.23e-06"),
        (math.nan, "not finite"),
    ],
)
def test_three_significant_digits(value: float, shown: str) -> None:
    assert number(value) == shown
