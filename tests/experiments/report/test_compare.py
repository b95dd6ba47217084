from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from scipy import stats

from experiments.report import write_comparison
from experiments.report.compare import compare, comparison_csv, comparison_markdown
from experiments.report.read import read
from experiments.report.statistics import holm


def two(study: Any, made: Any, *more: Any) -> Any:
    first = study(*(made(seed=s, scale=scale) for s, scale in enumerate((1.0, 1.2, 1.1))), made("edm"), name="old")
    again = (made(seed=s, scale=scale, weights=("ema", "raw")) for s, scale in enumerate((1.3, 1.52, 1.4)))
    return first, study(*again, *more, name="new")


def test_rows_of_both_are_paired_by_seed(study: Any, made: Any) -> None:
    first, second = two(study, made)
    found = compare(read(first), read(second))
    chosen = [c for c in found.changes if c.metric == "frechet_distance"]
    assert [(c.setting, c.steps) for c in chosen] == [("ema", n) for n in (1, 4, 128)]
    values = [[scale * made().distance(1) for scale in scales] for scales in ((1.3, 1.52, 1.4), (1.0, 1.2, 1.1))]
    assert chosen[0].difference.p == pytest.approx(stats.ttest_rel(*values).pvalue)
    assert chosen[0].difference.mean > 0
    assert [c.difference.adjusted for c in chosen] == pytest.approx(holm([c.difference.p for c in chosen]))
    assert chosen[0].difference.significant
    (loss,) = (c for c in found.changes if c.metric == "validation_loss")
    assert loss.steps is None


def test_what_only_one_has_is_listed(study: Any, made: Any) -> None:
    first, second = two(study, made, made("shortcut"))
    text = comparison_markdown(compare(read(first), read(second)))
    assert "## Only in old\n\n* edm dit digits" in text
    assert "## Only in new\n\n* shortcut dit digits" in text
    assert "3 cells are the same runs in both." in text


def test_other_evaluation_settings_are_never_compared(study: Any, made: Any, evaluation_file: Any) -> None:
    first, second = study(made(), name="old"), study(made(), name="new")
    file = evaluation_file(second, made())
    value = json.loads(file.read_text())
    value["settings"]["num"] = 64
    file.write_text(json.dumps(value))
    found = compare(read(first), read(second))
    assert found.changes == ()
    assert "nothing to compare" in comparison_markdown(found)


def test_studies_of_one_name_are_told_apart_by_their_folders(study: Any, made: Any, tmp_path: Any) -> None:
    first = study(made(), name="a")
    (tmp_path / "b").mkdir()
    second = first.rename(tmp_path / "b" / "a")
    found = compare(read(second), read(study(made(), name="a")))
    assert (found.first, found.second) == (str(second), str(first))


def test_three_files_beside_the_seconds_report(study: Any, made: Any) -> None:
    first, second = two(study, made)
    folder = write_comparison(first, second)
    assert folder == second / "report"
    assert {file.name for file in folder.iterdir()} == {"comparison.md", "comparison.csv", "comparison.tex"}
    table = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert float(table[0]["difference"]) == pytest.approx(
        float(table[0]["second_mean"]) - float(table[0]["first_mean"])
    )
    assert r"\toprule" in (folder / "comparison.tex").read_text()


@pytest.mark.parametrize("cells", [0, 1])
def test_with_an_empty_study_there_is_nothing_to_compare(study: Any, made: Any, cells: int) -> None:
    found = compare(read(study(name="none")), read(study(*[made()] * cells, name="other")))
    assert found.changes == ()
    assert comparison_csv(found).count("\n") == 1
