"""The 61 formulations of SD3: the paper's grid, and each of them proven with the exact network."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
import yaml

from objectives import Draws, FlowMatching, formulation, sample
from objectives.conformance import ObjectiveConformance
from objectives.conformance.common import LEVEL, mixture, same_law, zero_mean
from objectives.oracle import GaussianMixture
from objectives.paths import LDMLinear
from objectives.solvers import Euler

GRID = yaml.safe_load((Path(__file__).parents[2] / "experiments/grids/sd3_formulations.yaml").read_text())
NAMES: list[str] = GRID["product"]["objective"]
STEPS, ROWS = 100, 8_192
DATA = GaussianMixture(torch.tensor([[-0.6, 0.2], [0.6, -0.2]]), torch.tensor([1.0, 0.8]), torch.tensor([0.4, 0.6]))
OTHER = GaussianMixture(1.2 * mixture().means, mixture().stds, mixture().weights)


def test_the_grid_is_the_papers_name_for_name():
    counts = {
        ("eps/", "v/"): 4,
        ("rf/mode",): 8,
        ("rf/lognorm",): 30,
        ("rf/cosmap",): 1,
        ("edm(",): 15,
        ("edm/",): 2,
    }
    assert {family: sum(name.startswith(family) for name in NAMES) for family in counts} == counts
    assert NAMES.count("rf") == 1  # the ninth of the modes, s = 0
    assert len(NAMES) == 61
    means, deviations = (-1, -0.5, 0, 0.5, 1), (0.2, 0.6, 1, 1.4, 1.8, 2.2)
    assert {f"rf/lognorm({m:.2f},{s:.2f})" for m in means for s in deviations} < set(NAMES)
    assert {f"rf/mode({-1 + i * 2.75 / 6:.2f})" for i in range(7)} | {"rf/mode(1.00)"} < set(NAMES)
    assert {f"edm({m:.2f},{s:.2f})" for m in (-1.2, -0.6, 0, 0.6, 1.2) for s in (0.6, 1.2, 1.8)} < set(NAMES)


def test_all_61_are_read_written_and_distinct():
    built = [formulation(name) for name in NAMES]
    assert [objective.notation for objective in built] == NAMES
    assert len({(objective.path, objective.time, objective.head) for objective in built}) == 61
    assert {name for name in FlowMatching.notation_names if "(" not in name} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_expected_gradient_is_zero_at_the_exact_network(name):
    kit, objective = ObjectiveConformance(), formulation(name)
    kit.rows = 8_192
    assert zero_mean(kit.gradients(objective, mixture().network(objective))) > LEVEL / len(NAMES)
    assert zero_mean(kit.gradients(objective, OTHER.network(objective))) < LEVEL / len(NAMES)


def noise(rows=ROWS):
    return Draws(3, 0, torch.arange(rows)).normal("noise", (rows, 2), torch.float64)


@functools.cache
def data():
    random = Draws(5, 0, torch.arange(ROWS))
    return DATA.sample(random.uniform("component", (ROWS,)), random.normal("data", (ROWS, 2), torch.float64))


@functools.cache
def p_value(name: str, factor: float) -> float:
    objective = formulation(name)
    return same_law(sample(objective, DATA.network(objective), factor * noise(), None, steps=STEPS), data())


def holm(p_values: list[float], level: float) -> list[bool]:
    """Whether each hypothesis of a family is rejected, the family-wise error at most `level`."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    kept = next((i for i, place in enumerate(order) if p_values[place] > level / (len(order) - i)), len(order))
    return [place in order[:kept] for place in range(len(p_values))]


@functools.cache
def few_samples(name: str) -> torch.Tensor:
    objective = formulation(name)
    return sample(objective, DATA.network(objective), noise()[:32], None, steps=STEPS)


def representative(name: str) -> str:
    """The first name on its path: with exact networks samples depend on the path and the grid alone."""
    path = formulation(name).path
    first = next(other for other in NAMES if formulation(other).path == path)
    torch.testing.assert_close(few_samples(name), few_samples(first), rtol=1e-6, atol=1e-6)
    return first


def test_samples_meet_the_data_for_every_formulation():
    """100 steps, 8,192 samples in the plane; 1e-3 over the family, and noise scaled by 1.1 is rejected throughout."""
    names = [name for name in NAMES if not isinstance(formulation(name).path, LDMLinear)]
    firsts = [representative(name) for name in names]
    assert (len(names), len(set(firsts))) == (59, 3)
    assert not any(holm([p_value(first, 1.0) for first in firsts], 1e-3))
    assert all(holm([p_value(first, 1.1) for first in firsts], 1e-3))


def test_what_it_costs_that_ldm_linear_does_not_reach_pure_noise():
    """From 0.068·x + 0.998·ε samples meet the data; from the noise itself their mean falls short by 0.068·std·mean.

    On N(m, s²) the flow is affine, so noise in place of a·x + b·ε gives mean m − a·m·s/q and deviation s/q with
    q² = a²·s² + b²: 0.2 of a deviation where the mean is three away from zero, nothing where the data are standardised.
    """
    objective = formulation(representative("v/linear"))
    end = objective.time_grid(1)[:1]
    a, b = objective.path.a(end), objective.path.b(end)
    start, times = a * data() + b * noise(), objective.time_grid(STEPS)
    assert same_law(Euler().solve(objective, DATA.network(objective), start, times, None), data()) > 1e-3
    few, t = noise()[:500], end.expand(500)
    for mean, deviation, cost in ((3.0, 1.0, 0.205), (0.0, 1.0, 0.0), (3.0, 0.5, 0.102)):
        gaussian = GaussianMixture(torch.tensor([[mean, 0.0]]), torch.tensor([deviation]))
        out = gaussian.flow_map(objective.path, few, t, torch.zeros_like(t))
        scale = deviation / torch.hypot(a * deviation, b)
        expected = scale * few + torch.tensor([mean, 0.0]) * (1 - a * scale)
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
        assert abs(float(a * scale * mean) - cost) < 2e-3
