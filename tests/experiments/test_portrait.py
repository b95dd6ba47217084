"""Density, weight and path of an objective as curves, blocks and a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.portrait import Curve, check_format, portrait, save
from objectives import Shortcut, formulation

NAMES = (
    "rf",
    "rf/lognorm(0.00,1.00)",
    "rf/mode(1.29)",
    "rf/cosmap",
    "eps/linear",
    "v/cos",
    "edm(-1.20,1.20)",
    "edm/rf",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_density_has_mass_one_and_every_curve_has_numbers(name: str) -> None:
    curves = {curve.symbol: curve for curve in portrait(formulation(name))}
    assert set(curves) == {"π(t)", "w(λ)", "a(t)", "b(t)"}
    t, density = np.array(curves["π(t)"].x), np.array(curves["π(t)"].y)
    finite = np.isfinite(density)
    assert np.trapezoid(density[finite], t[finite]) == pytest.approx(1, abs=0.02)
    for curve in curves.values():
        assert sum(map(math.isfinite, curve.y)) > 300, curve.name
        assert len(curve.sparkline(30)) == 30
    assert curves["a(t)"].y[0] == 1
    assert curves["b(t)"].y[0] == 0


def test_a_weight_is_the_one_that_is_known_in_closed_form() -> None:
    # Straight path, uniform times, by the definition: w = 2·p(λ)·c with p(λ) = 1/|dλ/dt| and λ = 2 ln((1 − t)/t).
    curve = next(curve for curve in portrait(formulation("rf")) if curve.symbol == "w(λ)")
    at = int(np.argmin(np.abs(curve.x)))
    t = 1 / (1 + math.exp(curve.x[at] / 2))
    slope = 2 / (t * (1 - t))  # |dλ/dt|
    assert curve.y[at] == pytest.approx(2 / slope / (1 - t) ** 2, rel=1e-6)  # ε̂ − ε = (1 − t)·(v̂ − v)


def test_a_few_step_objective_is_shown_by_its_flow() -> None:
    flow = formulation("rf/lognorm(0.00,1.00)")
    assert portrait(Shortcut(flow)) == portrait(flow)


def test_blocks_rise_with_the_values_and_leave_gaps() -> None:
    rising = Curve("a", "a", "t", tuple(range(80)), tuple(float(v) for v in range(80)))
    assert rising.sparkline(8) == "▁▂▃▄▅▆▇█"
    gap = Curve("a", "a", "t", tuple(range(4)), (1.0, math.nan, 2.0, 2.0))
    assert gap.sparkline(4) == "▅ ██"
    assert Curve("a", "a", "t", (0, 1), (math.nan, math.nan)).sparkline(2) == "  "
    assert Curve("a", "a", "t", (0, 1), (3.0, 3.0)).sparkline(2) == "██"
    assert Curve("a", "a", "t", (0, 1), (math.nan, math.nan)).told == "nowhere finite"


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_picture_is_what_its_ending_says(tmp_path: Path, ending: str) -> None:
    file = save(portrait(formulation("edm(-1.20,1.20)")), "edm", tmp_path / "new" / f"a.{ending}")
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    assert file.read_bytes().startswith(start)
    if ending == "svg":
        text = file.read_text()
        for words in ("density π(t)", "weight w(λ)", "path a(t), b(t)", "log-SNR λ"):
            assert words in text


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.svg, \.png, \.pdf"):
        check_format(tmp_path / "a.jpeg")
