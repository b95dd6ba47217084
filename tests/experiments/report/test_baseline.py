from __future__ import annotations

from typing import Any

import pytest

from experiments.errors import UserError
from experiments.report.baseline import choose, comparable, loss_kind
from experiments.report.read import read

LR = (("optimizer.lr", 0.1),)


def test_by_default_it_is_the_first_row_that_changes_least(study: Any, made: Any) -> None:
    found = read(study(made(overrides=LR), made("edm"), made("shortcut"), made("edm", seed=1)))
    baseline = choose(found)
    assert {other and other[0] for other in baseline.of.values()} == {"edm"}
    assert baseline.reason.startswith("edm dit digits")
    assert found.cells[1].row in baseline
    assert found.cells[0].row not in baseline


def test_a_label_fixes_its_own_factor_and_leaves_the_rest(study: Any, made: Any) -> None:
    cells = [made(o, b) for o in ("rf", "edm") for b in ("dit", "u-vit")]
    baseline = choose(read(study(*cells)), ["RF"])
    assert {row[:2]: other and other[:2] for row, other in baseline.of.items()} == {
        ("rf", "dit"): ("rf", "dit"), ("rf", "u-vit"): ("rf", "u-vit"),
        ("edm", "dit"): ("rf", "dit"), ("edm", "u-vit"): ("rf", "u-vit"),
    }  # fmt: skip
    assert "objective rf" in baseline.reason


def test_two_labels_or_a_cells_name_are_one_row(study: Any, made: Any) -> None:
    cells = [made(o, b) for o in ("rf", "edm") for b in ("dit", "u-vit")]
    found = read(study(*cells))
    expected = dict.fromkeys({cell.row for cell in found.cells}, ("edm", "u-vit", "digits", ""))
    assert choose(found, ["edm", "u-vit"]).of == expected
    assert choose(found, ["edm-u-vit-0"]).of == expected


def test_a_row_whose_counterpart_is_not_in_the_grid_has_none(study: Any, made: Any) -> None:
    found = read(study(made("rf", "dit"), made("edm", "dit"), made("edm", "mmdit")))
    assert choose(found, ["rf"]).of["edm", "mmdit", "digits", ""] is None


def test_a_label_that_no_row_has_is_the_users_fault(study: Any, made: Any) -> None:
    with pytest.raises(UserError, match="did you mean 'shortcut'"):
        choose(read(study(made(), made("shortcut"))), ["shortcat"])


def test_an_empty_grid_has_none(study: Any) -> None:
    assert choose(read(study())).of == {}


def test_losses_compare_where_path_and_head_are_the_same(study: Any, made: Any) -> None:
    rf, mode, edm = read(study(made(), made("rf/mode(1.29)"), made("edm"))).cells
    for cell, path, head in ((rf, "straight", "v"), (mode, "straight", "v"), (edm, "ve", "edm")):
        cell.config["objective"] = {"name": "flow_matching", "path": {"name": path}, "head": {"name": head}}
    assert comparable("validation_loss", rf, mode)
    assert not comparable("validation_loss", rf, edm)
    assert comparable("frechet_distance", rf, edm)
    mode.config["objective"] = {"name": "shortcut", "flow": mode.config["objective"]}
    assert loss_kind(mode) == loss_kind(rf)
    mode.config.clear()
    assert loss_kind(mode) == "rf/mode(1.29)"
