"""What the training module hands an objective: the average as teacher, draws of the optimiser's step and the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.console import Reporter
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.ema import EMA
from experiments.training.fit import fit
from objectives import Draws, FlowMatching, Shortcut

MakeRun = Callable[..., Run]
DECAY, STEPS = 0.9, 4


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_the_teacher_is_the_first_average_as_it_stands_after_the_steps_before(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, seen = Shortcut.loss, []

    def watched(self: Any, network: Any, *rest: Any, teacher: Any, **more: Any) -> Any:
        assert isinstance(teacher, EMA)
        seen.append((weights(network).clone(), weights(teacher).clone()))
        return loss(self, network, *rest, teacher=teacher, **more)

    monkeypatch.setattr(Shortcut, "loss", watched)
    run = make_run(objective="shortcut", trainer__max_steps=STEPS, ema__decays=[DECAY, 0.5], ema__warmup=False)
    fit(run, stop=Stop(), reporter=Reporter("none"))
    assert len(seen) == STEPS
    average = seen[0][0]
    for step, (network, teacher) in enumerate(seen):
        average = average if step == 0 else DECAY * average + (1 - DECAY) * network
        torch.testing.assert_close(teacher, average)
    assert not torch.equal(*seen[-1])


def test_draws_are_those_of_the_optimisers_step_and_of_the_rows_in_the_global_batch(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, seen = FlowMatching.loss, []

    def watched(self: Any, network: Any, x: Any, condition: Any, draws: Draws, **more: Any) -> Any:
        seen.append((draws.seed, draws.step, draws.index.tolist(), draws.size))
        return loss(self, network, x, condition, draws, **more)

    monkeypatch.setattr(FlowMatching, "loss", watched)
    fit(make_run(seed=3, trainer__max_steps=3, trainer__accumulate=2), stop=Stop(), reporter=Reporter("none"))
    halves = [list(range(8)), list(range(8, 16))]
    assert seen == [(3, step, half, 16) for step in range(3) for half in halves]
