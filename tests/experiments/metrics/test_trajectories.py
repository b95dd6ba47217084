"""Straightness and path length against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.config import ConfigError, parse, resolve
from experiments.metrics import Measuring, PathLength, Straightness
from objectives import ConsistencyTraining, FlowMatching, Shortcut, formulation
from objectives.solvers import RK4, EulerMaruyama, Heun

EXACT = Measuring(seed=4, dtype=torch.float64)
NUM = 40


def noises(model: Any) -> torch.Tensor:
    """What the samples start from, (NUM, 2)."""
    return torch.cat([batch.x for batch in EXACT.starts(model, NUM)])


@pytest.mark.parametrize("deviation", [0.25, 0.7, 1.0, 3.0])
def test_of_one_gaussian_both_are_known(gaussian: Callable[..., Any], deviation: float) -> None:
    """Each sample goes along its noise e as z = e·√((1−t)²s² + t²), which falls to s/√(1+s²) and rises or falls to s.

    So ∫(dz/dt)² = |e|²·(1 + s² − πs/2), which is π·s/2 less than (1 − s)² + 2s, and the length is
    |e|·(1 + s − 2s/√(1+s²)).
    """
    model, s = gaussian(deviation), deviation
    sizes = noises(model).norm(dim=1)
    squares, mean = float(sizes.square().mean()), float(sizes.mean())

    found = Straightness(steps=400, num=NUM, solver=RK4())(model, EXACT)
    bent = squares * s * (2 - math.pi / 2)
    assert found["straightness"] == pytest.approx(bent / 2, rel=1e-3)
    if s != 1:
        assert found["straightness_relative"] == pytest.approx(s * (2 - math.pi / 2) / (1 - s) ** 2, rel=1e-3)

    found = PathLength(steps=400, num=NUM, solver=RK4())(model, EXACT)
    length = 1 + s - 2 * s / math.sqrt(1 + s * s)
    assert found["path_length"] == pytest.approx(mean * length, rel=1e-3)
    if s != 1:
        assert found["path_length_ratio"] == pytest.approx(length / abs(1 - s), rel=1e-3)


def test_a_straight_flow_is_as_long_as_its_chord(exact: Any) -> None:
    def network(z: Any, t: Any, condition: Any = None, step: Any = None) -> Any:
        return torch.tensor([3.0, 4.0], dtype=z.dtype).expand_as(z)

    for objective, steps in ((FlowMatching(), 7), (Shortcut(M=8), 3)):  # steps of a half, a quarter and a quarter
        model = exact(objective, network)
        found = PathLength(steps=steps, num=NUM)(model, EXACT)
        assert found == pytest.approx({"path_length": 5.0, "path_length_ratio": 1.0}, rel=1e-12)
        found = Straightness(steps=steps, num=NUM)(model, EXACT)
        assert found == pytest.approx({"straightness": 0.0, "straightness_relative": 0.0}, abs=1e-12)
        assert Straightness(steps=steps, num=NUM)(model, Measuring())["straightness_relative"] < 1e-5


def test_a_way_back_and_a_change_of_speed_give_their_numbers(exact: Any) -> None:
    """Speeds p, then q, for half the time each: S = ((p − q)/2)², the length (|p| + |q|)/2, the chord |p + q|/2."""
    for p, q in ((3.0, -1.0), (3.0, 1.0)):

        def network(z: Any, t: Any, condition: Any = None, step: Any = None, p: float = p, q: float = q) -> Any:
            return torch.where(t > 0.5, p, q)[:, None].expand_as(z).to(z)

        model = exact(FlowMatching(), network)
        found = Straightness(steps=8, num=NUM)(model, EXACT)
        relative = ((p - q) / (p + q)) ** 2
        assert found == pytest.approx({"straightness": ((p - q) / 2) ** 2, "straightness_relative": relative}, rel=1e-9)
        found = PathLength(steps=8, num=NUM)(model, EXACT)
        length, chord = (abs(p) + abs(q)) / 2, abs(p + q) / 2
        expected = {"path_length": math.sqrt(2) * length, "path_length_ratio": length / chord}
        assert found == pytest.approx(expected, rel=1e-9)


def test_on_the_variance_exploding_path_a_gaussian_goes_straight_but_not_evenly(gaussian: Callable[..., Any]) -> None:
    """z is in proportion to √(s² + σ²): a line; its speed over σ varies, by what the integral of σ²/(s² + σ²) tells."""
    model = gaussian(0.7, formulation("edm/rf"))
    found = PathLength(steps=60, num=NUM)(model, EXACT)
    assert found["path_length_ratio"] == pytest.approx(1, abs=1e-12)
    top, s = 80.0, 0.7
    scale = math.sqrt(s * s + top * top)
    chord = (scale - s) / scale
    slope = (top - s * math.atan(top / s)) * top / scale**2  # ∫ (dz/dσ)² dσ·σ_max over z(σ_max)²
    found = Straightness(steps=400, num=NUM, solver=Heun())(model, EXACT)
    assert found["straightness_relative"] == pytest.approx(slope / chord**2 - 1, rel=2e-2)


def test_what_has_no_trajectory_is_refused_before_training() -> None:
    for metric in (Straightness, PathLength):
        metric().check(FlowMatching())
        metric(steps=8).check(Shortcut(M=8))
        with pytest.raises(ValueError, match="from 1 to 8"):
            metric(steps=9).check(Shortcut(M=8))
        with pytest.raises(ValueError, match="cannot be sampled with heun"):
            metric(steps=8, solver=Heun()).check(Shortcut(M=8))
        with pytest.raises(ValueError, match="adds noise between its steps"):
            metric().check(ConsistencyTraining())
        with pytest.raises(ValueError, match="euler_maruyama, which adds noise"):
            metric(solver=EulerMaruyama()).check(FlowMatching())
        with pytest.raises(ValueError, match="takes at least"):
            metric(num=0)
    with pytest.raises(ValueError, match="at least 2 steps"):
        Straightness(steps=1)
    with pytest.raises(ValueError, match="at least 1 step"):
        PathLength(steps=0)


def test_a_configuration_names_them_with_a_solver() -> None:
    asked = {
        "evaluation": {"metrics": ["path_length(steps=10,solver=heun)", "straightness(solver='dopri5(rtol=1e-3)')"]}
    }
    resolve(parse({"objective": "rf", **asked}))
    with pytest.raises(ConfigError, match=r"evaluation\.metrics.*path_length.*heun"):
        resolve(parse({"objective": "shortcut", **asked}))


def test_batches_do_not_show_and_a_stop_is_heard(exact: Any) -> None:
    model = exact(FlowMatching())
    for metric in (Straightness(steps=6, num=NUM), PathLength(steps=6, num=NUM)):
        whole, done = metric(model, EXACT), list[int]()
        parts = metric(model, Measuring(seed=4, dtype=torch.float64, batch_size=17, check=done.append))
        assert parts == pytest.approx(whole, rel=1e-12)
        assert done == [17, 17, 6]
        assert tuple(whole) == metric.columns
        assert metric(model, Measuring(seed=5, dtype=torch.float64)) != whole
        with pytest.raises(KeyboardInterrupt):
            metric(model, Measuring(check=_stop))


def _stop(count: int) -> None:
    raise KeyboardInterrupt
