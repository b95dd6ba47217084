from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

from experiments.report.read import read
from experiments.report.rows import COLUMNS, rows, to_csv


def test_one_row_for_each_cell_weights_and_steps(study: Any, made: Any) -> None:
    found = read(study(made(weights=("ema", "raw")), made("shortcut", seed=2)))
    table = list(csv.DictReader(io.StringIO(to_csv(rows(found)))))
    assert tuple(table[0]) == COLUMNS
    assert [(row["objective"], row["weights"], row["steps"]) for row in table] == [
        *(("rf", weights, steps) for weights in ("ema", "raw") for steps in ("1", "4", "128")),
        *(("shortcut", "ema", steps) for steps in ("1", "4", "128")),
    ]
    assert float(table[0]["frechet_distance"]) == made().distance(1)
    assert table[-1]["seed"] == "2"
    assert table[0]["validation_loss"] == "1.5"


def test_a_cell_without_numbers_has_a_row(study: Any, made: Any) -> None:
    table = list(csv.DictReader(io.StringIO(to_csv(rows(read(study(made(), made("edm", state="failed"))))))))
    assert [(row["objective"], row["state"], row["frechet_distance"]) for row in table[-1:]] == [("edm", "failed", "")]


def test_evaluations_with_other_settings_are_never_mixed(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made())
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    value["settings"]["num"] = 64
    for row in value["rows"]:
        row["frechet_distance"] = 1.0
    file.with_name("f" * 12 + ".json").write_text(json.dumps(value))
    table = rows(read(folder))
    assert sorted(table.settings) == ["ema num=1024", "ema num=64"]
    (cell,) = read(folder).cells
    assert {row["frechet_distance"] for row in table if row["setting"] == "ema num=64"} == {1.0}
    assert table.value(cell, "ema num=64", 1, "frechet_distance") is None, "cells are compared by identity"


def test_what_a_model_has_stands_in_every_row_of_its_weights(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(weights=("raw", "ema")))
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    for entry, bits in zip(value["validation"], (3.5, 3.25), strict=True):
        entry["bits_per_dim"] = bits
    file.write_text(json.dumps(value))
    table = rows(read(folder))
    assert {(row["weights"], row["bits_per_dim"], row["validation_loss"]) for row in table} == {
        ("raw", 3.5, 1.5), ("ema", 3.25, 1.5),
    }  # fmt: skip
    assert "bits_per_dim" in table.metrics
    assert not {"times", "loss", "mean"} & {name for row in table for name in row}


def test_averaged_weights_come_first_and_only_metrics_that_exist(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made(weights=("raw", "ema")))
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    for row in value["rows"]:
        del row["memorisation"]
        row["straightness"] = 0.5
    file.write_text(json.dumps(value))
    table = rows(read(folder))
    assert table.settings == ["ema", "raw"]
    assert "memorisation" not in table.metrics
    assert table.metrics[-3:] == ["straightness", "validation_loss", "seconds_per_image"]
    assert "straightness" in to_csv(table).splitlines()[0]


def test_of_two_evaluations_with_equal_settings_the_newer_counts(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made())
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    for row in value["rows"]:
        row["frechet_distance"] = 1.0
    older = file.with_name("f" * 12 + ".json")
    older.write_text(json.dumps(value))
    os.utime(older, (0, 0))
    found = read(folder)
    assert rows(found).value(found.cells[0], "ema", 1, "frechet_distance") == made().distance(1)
    os.utime(file, (-1, -1))
    found = read(folder)
    assert rows(found).value(found.cells[0], "ema", 1, "frechet_distance") == 1.0
