"""Self-consistency: 0 of exact flow maps, the known number of planted inconsistencies."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from experiments.metrics import Measuring, SelfConsistency
from objectives import FlowMatching, MeanFlow, Shortcut
from objectives.paths import Cosine, LDMLinear, Straight
from objectives.solvers import SOLVERS

EXACT = Measuring(dtype=torch.float64)


def planted(velocity: Any) -> Any:
    """A network whose velocity is a function of (z, t, step), each (B, 1) but z, on the straight path."""

    def network(z: Any, t: Any, condition: Any = None, step: Any = None) -> Any:
        return velocity(z, t[:, None], step[:, None]) + 0 * z

    return network


@pytest.mark.parametrize("path", [Straight(), Cosine(), LDMLinear()], ids=str)
def test_an_exact_model_has_none(exact: Any, path: Any) -> None:
    """On LDM-linear's path equal steps of t are unequal ones of τ."""
    found = SelfConsistency(num=64)(exact(Shortcut(FlowMatching(path=path), M=16)), EXACT)
    assert list(found) == [f"self_consistency_step_{d}" for d in ("1", "0.5", "0.25", "0.125")]
    assert max(found.values()) < 1e-8


def test_the_mean_velocity_of_any_step_is_consistent(exact: Any) -> None:
    found = SelfConsistency(steps=(1, 3, 6), num=32)(exact(MeanFlow()), EXACT)
    assert list(found) == [
        "self_consistency_step_1",
        "self_consistency_step_0.333333",
        "self_consistency_step_0.166667",
    ]
    assert max(found.values()) < 1e-5


def test_a_planted_inconsistency_gives_its_number(exact: Any) -> None:
    """A velocity ∝ d is off by half of itself, one ∝ d² by three quarters, and 1 + d by d/2 of 1 + d."""
    for power, expected in ((1, 0.5), (2, 0.75)):
        model = exact(Shortcut(M=8), planted(lambda z, t, d, power=power: 3 * d**power))
        found = SelfConsistency(num=32)(model, EXACT)
        assert list(found.values()) == pytest.approx([expected] * 3, rel=1e-12)
    found = SelfConsistency(num=32)(exact(Shortcut(M=8), planted(lambda z, t, d: 1 + d)), EXACT)
    assert list(found.values()) == pytest.approx([d / 2 / (1 + d) for d in (1, 0.5, 0.25)], rel=1e-12)


def test_the_second_half_step_starts_where_and_when_the_first_ends(exact: Any) -> None:
    """At t = 1, d = 1: v = t gives 1 − (1 + ½)/2, and v = z gives |z|·|1 − (1 + ½)/2| too: a quarter of v."""
    for velocity in (lambda z, t, d: t, lambda z, t, d: z):
        found = SelfConsistency(steps=(1,), num=32)(exact(Shortcut(M=8), planted(velocity)), EXACT)
        assert found["self_consistency_step_1"] == pytest.approx(0.25, rel=1e-12)


def test_every_start_of_a_step_is_asked_about_equally_often(exact: Any) -> None:
    asked = []

    def network(z: Any, t: Any, condition: Any = None, step: Any = None) -> Any:
        asked.append((t, step))
        return torch.ones_like(z)

    SelfConsistency(steps=(4,), num=64)(exact(Shortcut(M=8), network), EXACT)
    (whole, steps), (first, halves), (second, _) = asked
    assert steps.unique().tolist() == [0.25]
    assert halves.unique().tolist() == [0.125]
    assert torch.equal(whole, first)
    assert torch.equal(second, first - 0.125)
    times, counts = whole.unique(return_counts=True)
    assert times.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert counts.tolist() == [16] * 4


def test_lengths_that_cannot_be_halved_are_left_out_and_refused_where_none_is_left(exact: Any) -> None:
    assert list(SelfConsistency(steps=(2, 4, 3), num=8)(exact(Shortcut(M=4)), EXACT)) == ["self_consistency_step_0.5"]
    with pytest.raises(ValueError, match="no steps that are one of 4, 8 of the path"):
        SelfConsistency(steps=(4, 8)).check(Shortcut(M=4))
    with pytest.raises(ValueError, match="is not told a step's length"):
        SelfConsistency().check(FlowMatching())
    for objective in (Shortcut(), MeanFlow()):
        SelfConsistency().check(objective)
        assert objective.solvers[0] in SOLVERS


def test_it_is_a_function_of_the_seed_and_not_of_the_batches_and_hears_a_stop(exact: Any) -> None:
    model = exact(Shortcut(M=8), lambda z, t, condition=None, step=None: torch.sin(3 * z) + step[:, None])
    once, metric = SelfConsistency(num=50)(model, EXACT), SelfConsistency(num=50)
    done: list[int] = []
    parts = metric(model, Measuring(dtype=torch.float64, batch_size=7, check=done.append))
    assert parts == pytest.approx(once, rel=1e-12)
    assert done == [7] * 7 + [1]
    assert metric(model, Measuring(seed=1, dtype=torch.float64)) != once
    single = metric(model, Measuring("raw"))
    assert single == pytest.approx(once, rel=1e-4)
    assert single != once
    assert model.asked["weights"] == "raw"

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metric(model, Measuring(check=stop))


@pytest.mark.parametrize("given", [{"steps": ()}, {"steps": (1, 1)}, {"steps": (0,)}, {"num": 0}])
def test_arguments_out_of_range_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="different numbers of steps"):
        SelfConsistency(**given)


def test_columns_follow_the_option() -> None:
    assert SelfConsistency(steps=(2, 8)).columns == ("self_consistency_step_0.5", "self_consistency_step_0.125")
