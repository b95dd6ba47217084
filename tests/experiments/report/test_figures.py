from __future__ import annotations

from typing import Any

from experiments.report import figures
from experiments.report.read import read
from experiments.report.rows import rows


def test_lines_and_panels_are_named_in_text(study: Any, made: Any) -> None:
    found = read(study(*(made(o, b) for o in ("rf", "shortcut") for b in ("dit", "u-vit"))))
    svg = figures.distance(found, rows(found), "ema", "frechet_distance").svg
    assert svg is not None
    for label in ("rf", "shortcut", "dit", "u-vit", "128", "solver steps"):
        assert f">{label}</text>" in svg
    assert svg.count(">rf</text>") == 1, "one legend for all panels"


def test_seeds_become_a_band(study: Any, made: Any) -> None:
    one = read(study(made(), name="one"))
    two = read(study(made(scale=1.0), made(seed=1, scale=1.2), name="two"))
    assert "Bands" not in figures.distance(one, rows(one), "ema", "frechet_distance").caption
    assert "Bands" in figures.distance(two, rows(two), "ema", "frechet_distance").caption
    assert "FillBetweenPolyCollection" in (figures.distance(two, rows(two), "ema", "frechet_distance").svg or "")


def test_nothing_to_draw_is_no_figure(study: Any, made: Any) -> None:
    found = read(study(made(state="pending")))
    assert figures.losses(found, "train/loss", "Training loss").svg is None
    assert figures.distance(found, rows(found), "ema", "frechet_distance").svg is None


def test_a_loss_below_zero_is_drawn(study: Any, made: Any) -> None:
    folder = study(made())
    (folder / "runs" / made().run / "metrics.csv").write_text(
        "50,train/loss,-1.0\n100,train/loss,nan\n150,train/loss,2\n"
    )
    svg = figures.losses(read(folder), "train/loss", "Training loss").svg
    assert svg is not None
    assert ">−1" in svg, "on a linear axis, with its tick"


def test_the_same_study_gives_the_same_figure(study: Any, made: Any) -> None:
    found = read(study(made(), made("shortcut")))
    assert figures.losses(found, "train/loss", "a") == figures.losses(found, "train/loss", "a")
