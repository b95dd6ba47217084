"""A planted spike is found at its very step, and skipped, stopped at or rolled back; interrupted or not, on 1 or 2."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median_high
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Callback, LightningModule, Trainer

from experiments.console import Reporter
from experiments.errors import Interrupted, RunFailed
from experiments.execute import execute
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import checkpoints, rank
from experiments.training.fit import fit
from experiments.training.module import TrainingModule
from experiments.training.spikes import Spikes, made_to_skip, seed_after
from experiments.training.state import Flat
from objectives import FlowMatching

MakeRun = Callable[..., Run]
SCRIPT = Path(__file__).with_name("spiked.py")
SPIKE = {"trainer__spike_factor": 8.0, "trainer__spike_window": 4}
plant: Callable[..., Any] = runpy.run_path(str(SCRIPT))["plant"]


def train(run: Run, *extra: Callback) -> None:
    fit(run, stop=Stop(), reporter=Reporter("none"), extra=extra)


def final_state(run: Run) -> dict[str, Any]:
    return checkpoints.newest(run.checkpoints).state


def logged(run: Run, name: str) -> list[tuple[int, float]]:
    return [(step, value) for step, key, value in run.metrics() if key == name]


def flat(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


def rolled_back(run: Run) -> list[dict[str, int]]:
    return json.loads((run.path / "manifest.json").read_text())["roll_backs"]


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30), st.integers(1, 8), st.floats(1.5, 5))
def test_a_value_leaps_by_the_running_median_alone(values: list[float], window: int, factor: float) -> None:
    spikes, seen = Spikes(factor, window), []
    for step, value in enumerate(values):
        recent = [float("inf")] * (window - len(seen[-window:])) + seen[-window:]
        middle = median_high(recent)
        found = bool(spikes.leaps(step, torch.tensor(1.0), torch.tensor(value)))
        limit = middle + (factor - 1) * abs(middle)
        if abs(value - limit) > 1e-4 * (1 + abs(limit)) or limit == float("inf"):
            assert found == (value > limit), (value, recent)
        seen.append(value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_always_leaps_and_does_not_blind(bad: float) -> None:
    spikes, one = Spikes(4.0, 4), torch.tensor(1.0)
    assert bool(spikes.leaps(0, one, torch.tensor(bad)))
    assert bool(spikes.leaps(1, torch.tensor(bad), one))
    assert [bool(spikes.leaps(step, one, one)) for step in range(2, 8)] == [False] * 6
    assert bool(spikes.leaps(8, torch.tensor(5.0), one))
    assert not bool(spikes.leaps(9, torch.tensor(3.0), one))


def test_each_roll_back_has_a_seed_of_its_own() -> None:
    seeds = [seed_after(seed, count) for seed in (0, 1) for count in range(4)]
    assert seeds[0] == 0
    assert seeds[4] == 1
    assert len(set(seeds)) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


class Around(Callback):
    """Weights and optimiser state before and after each step."""

    def __init__(self) -> None:
        self.before: dict[int, torch.Tensor] = {}
        self.after: dict[int, torch.Tensor] = {}

    def _all(self, trainer: Trainer, module: LightningModule) -> torch.Tensor:
        state = trainer.optimizers[0].state.values()
        moments = [value for values in state for value in values.values() if isinstance(value, torch.Tensor)]
        return flat([*module.parameters(), *moments])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.before[pl_module.step + 1] = self._all(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.after[pl_module.step] = self._all(trainer, pl_module)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("by", [1e3, float("nan")])
def test_skip_leaves_weights_and_optimiser_as_they_were(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, optimizer: str, by: float
) -> None:
    monkeypatch.setattr(FlowMatching, "loss", plant({0: 7}, by))
    run, around = make_run(trainer__spike="skip", optimizer=optimizer, ema__decays=[], **SPIKE), Around()
    train(run, around)
    assert [step for step in range(2, 13) if torch.equal(around.before[step], around.after[step])] == [7]
    assert final_state(run)["step"] == 12
    assert logged(run, "train/spikes") == [(5, 0.0), (10, pytest.approx(0.2)), (12, 0.0)]
    assert all(value == value for _, _, value in run.metrics())


def test_an_optimiser_that_cannot_skip_is_undone_even_at_its_first_step() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    decide = made_to_skip(optimizer)
    moved = []
    for flag in (True, False):
        weight.grad = torch.ones(3)

        def closure(flag: bool = flag) -> None:
            decide(torch.tensor(flag))

        optimizer.step(closure)
        moved.append(float(1 - weight.detach()[0]))
    assert moved == pytest.approx([0.0, 0.1])


def test_stop_ends_the_run_and_names_the_step(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FlowMatching, "loss", plant({0: 7}, 1e3))
    run = make_run(trainer__spike="stop", **SPIKE)
    assert execute(run) == 3
    assert "step 7" in run.status["message"]
    assert checkpoints.steps(run.checkpoints) == [4]


class StopIn(Callback):
    """Asks for a stop in the course of a step (counted from 1)."""

    def __init__(self, step: int, stop: Stop):
        self.step, self.stop = step, stop

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.stop.requested = self.stop.requested or pl_module.step + 1 == self.step


def interrupted(run: Run, step: int) -> None:
    stop = Stop()
    with pytest.raises(Interrupted, match=f"step {step} of"):
        fit(run, stop=stop, reporter=Reporter("none"), extra=[StopIn(step, stop)])


class Rows(Callback):
    """The rows of each step, as often as it is done."""

    def __init__(self) -> None:
        self.seen: dict[int, list[list[int]]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.seen.setdefault(pl_module.step + 1, []).append(batch["index"].tolist())


def test_roll_back_goes_on_with_other_draws_interrupted_or_not(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlowMatching, "loss", plant({0: 7, seed_after(0, 1): 9}, 1e3))
    whole = make_run(trainer__spike="roll_back", **SPIKE)
    rows = Rows()
    train(whole, rows)
    assert [len(rows.seen[step]) for step in (4, 5, 9)] == [1, 2, 2]
    assert all(seen[0] != seen[1] for seen in rows.seen.values() if len(seen) > 1)
    assert rolled_back(whole) == [{"leapt": 7, "to": 4, "count": 1}, {"leapt": 9, "to": 8, "count": 2}]
    assert (final_state(whole)["step"], final_state(whole)["roll_backs"]) == (12, 2)
    assert [step for step, _ in logged(whole, "train/loss")] == [5, 10, 12]
    calm = make_run("calm")
    train(calm)
    assert logged(calm, "train/loss")[1] != logged(whole, "train/loss")[1]
    pieces = make_run("pieces", trainer__spike="roll_back", **SPIKE)
    for step in (6, 7, 11):  # the second one's checkpoint is of the spike itself
        interrupted(pieces, step)
    train(pieces)
    one, other = (Flat.of(final_state(run)) for run in (whole, pieces))
    assert one.tree == other.tree
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    assert logged(whole, "train/loss") == logged(pieces, "train/loss")


def test_a_spike_before_the_first_checkpoint_cannot_be_rolled_back(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlowMatching, "loss", plant({0: 2}, float("nan")))
    with pytest.raises(RunFailed, match=r"step 2 .* no checkpoint from before it"):
        train(make_run(trainer__spike="roll_back", **SPIKE))


def test_one_that_leaps_again_and_again_fails(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FlowMatching, "loss", plant({seed_after(0, count): 7 for count in range(20)}, 1e3))
    monkeypatch.setattr("experiments.training.guard.MOST", 2)
    run = make_run(trainer__spike="roll_back", **SPIKE)
    with pytest.raises(RunFailed, match="after 2 roll-backs"):
        train(run)
    assert len(rolled_back(run)) == 2


@pytest.mark.parametrize(("spike", "strategy"), [("roll_back", "ddp"), ("skip", "fsdp")])
def test_two_processes_do_as_one_does(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, spike: str, strategy: str
) -> None:
    settings = {"trainer__spike": spike, "trainer__strategy": strategy, **SPIKE}
    one, two = make_run(**settings), make_run("two", trainer__devices=2, **settings)
    monkeypatch.setattr(rank, "command", lambda run, style: [sys.executable, "-P", str(SCRIPT), str(run.path), style])
    monkeypatch.setitem(os.environ, "PLANTED", json.dumps({"0": 7}))
    assert execute(two) == 0, two.status
    monkeypatch.setattr(FlowMatching, "loss", plant({0: 7}, 1e3))
    train(one)
    torch.testing.assert_close(final_state(one)["backbone"], final_state(two)["backbone"], rtol=1e-4, atol=1e-6)
    for name in ("loss", "loss_t3", "grad_norm", "parameter_norm", "update_ratio", "spikes"):
        values = [[value for _, value in logged(run, f"train/{name}")] for run in (one, two)]
        assert len(values[0]) == 3
        assert values[0] == pytest.approx(values[1], rel=1e-4), name
    if spike == "roll_back":
        assert rolled_back(one) == rolled_back(two) == [{"leapt": 7, "to": 4, "count": 1}]
