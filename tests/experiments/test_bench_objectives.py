"""What the bench counts is what a step does, and what it prints is what it counted."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules.synthetic import Synthetic
from experiments.bench.objectives import Case, Cost, Counting, Free, Passes, _line, measure, objectives
from experiments.bench.timing import Paired
from experiments.registry import entries
from objectives import SCM, FlowMatching, Loss, MeanFlow, Shortcut

DOCUMENT = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("mlp", Synthetic(shape=(3,), num_classes=0), batch=24, steps=1)


class Wasteful(FlowMatching):
    """Asks the network twice without a gradient and once with it, of half the rows."""

    def loss(self, network: Any, x: Tensor, condition: Any, draws: Any, **_: Any) -> Loss:
        with torch.no_grad():
            network(network(x, x[:, 0]), x[:, 0])
        half = network(x[::2], x[::2, 0])
        return Loss(torch.cat((half, half)).square().mean(1))


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (FlowMatching(), Passes(1, 1)),
        (Wasteful(), Passes(2.5, 0.5)),
        *((Shortcut(k=k), Passes(1 + 2 * k, 1)) for k in (1 / 2, 1 / 3, 1 / 4)),
        (Shortcut(teacher="online"), Passes(1.5, 1)),
        (MeanFlow(), Passes(1, 1, 0.25)),
        (SCM(), Passes(1, 1, 1)),
    ],
)
def test_passes_are_counted(case: Case, objective: FlowMatching, passes: Passes) -> None:
    found = case.passes(objective)
    assert astuple(found) == pytest.approx(astuple(passes))
    assert found.units(5.0) == pytest.approx(passes.forward + 2 * passes.backward + 5 * passes.derivative)


def test_a_counted_network_without_a_gradient_has_no_backward_pass() -> None:
    network = Counting()
    z = torch.ones(5, 2)
    with torch.no_grad():
        network(z, z[:, 0])
    (network(z, z[:, 0]) * 1).sum()
    assert (network.forward, network.backward) == (10, 0)


def test_the_free_network_gives_as_many_rows_as_it_is_asked_for() -> None:
    z = torch.ones(6, 2)
    network = Free(z)
    assert network(z, z[:, 0]) is network.out
    part = network(z[:2], z[:2, 0])
    part.sum().backward()
    assert part.shape == (2, 2)
    assert network.out.grad is not None
    assert float(network.out.grad.sum()) == 4


def test_every_objective_is_measured_against_rf(case: Case) -> None:
    costs = list(measure(case, objectives(), pairs=1))
    assert [cost.name for cost in costs] == list(entries("objectives"))
    flow = next(cost for cost in costs if cost.name == "flow_matching")
    shortcut = next(cost for cost in costs if cost.name == "shortcut")
    assert (flow.theory, shortcut.theory) == (1, pytest.approx(3.5 / 3))
    # The teacher is a network of its own, which the step does not train.
    assert all(cost.whole.ratio > 0 and cost.rest.ratio > 0 for cost in costs)


def test_a_batch_is_doubled_until_the_objective_takes_it() -> None:
    case = Case("mlp", Synthetic(shape=(3,), num_classes=0), batch=3, steps=1)
    assert case.fitting(FlowMatching()) is case
    assert case.fitting(Shortcut(k=1 / 12)).batch == 12
    with pytest.raises(ValueError, match="multiple of 5"):
        case.fitting(Shortcut(k=1 / 5))


def test_a_line_says_by_how_much_the_measured_ratio_is_off() -> None:
    cost = Cost(
        "one", Passes(1.5, 2.25, 0.5), 2.0, Paired("one", (1, 1), (2.1, 2.3)), Paired("one", (1, 1), (0.01, 0.01))
    )
    assert cost.excess == pytest.approx(0.1)
    assert _line(cost) == "| one | 1.5 | 2.25 | 0.5 | 2.000 | **2.200** | 2.100, 2.300 | +10.0% | 2,200 | 1.00% |"


def test_the_documents_figures_are_within_what_is_asked() -> None:
    """DiT-S/2: within 5 % of the counted passes, and less than 2 % of a step apart from the network.

    A pass with a derivative counts as what it was timed to cost.
    """
    section = DOCUMENT.partition("## Objectives")[2].partition("\n## ")[0]
    table = section[section.index("DiT-S/2") :].partition("\n\n")[2].partition("\n\n")[0]
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in table.splitlines()[2:]]
    assert {row[0] for row in rows} == set(entries("objectives")), "measure again: fewstep bench objectives"
    for row in rows:
        counted, measured = float(row[4]), float(row[5].strip("*"))
        assert abs(measured / counted - 1) < 0.05
        assert float(row[9].rstrip("%")) < 2
