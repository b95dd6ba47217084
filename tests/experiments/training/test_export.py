"""Exported weights: what the checkpoint holds, under their names; and the best by validation loss."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from experiments import weights
from experiments.execute import execute
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.background import Files
from experiments.training.export import Best, file_of

MakeRun = Callable[..., Run]


@pytest.mark.parametrize("ema", [{"decays": [0.9, 0.99], "profiles": [0.05]}, {"decays": []}])
def test_a_finished_run_has_its_weights_alone_beside_its_checkpoints(make_run: MakeRun, ema: dict[str, Any]) -> None:
    run = make_run(ema=ema)
    assert execute(run) == 0
    state = checkpoints.newest(run.checkpoints).state
    kept = {"raw": state["backbone"]} | dict(zip(["ema", "ema-0.99", "power-0.05"], state["emas"], strict=False))
    files = {file.stem: file for file in (run.path / "export").iterdir()}
    assert files.keys() == {*kept, "best"}
    for name, expected in kept.items():
        found = weights.read(files[name])
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())
        told = weights.facts(files[name])
        assert (told["weights"], told["step"], told["run"]) == (name, "12", run.config.hash)


def test_the_best_weights_are_those_of_the_lowest_validation_loss(make_run: MakeRun) -> None:
    run = make_run(trainer__validate_every=1, ema__decays=[0.5])
    assert execute(run) == 0
    losses = {step: value for step, name, value in run.metrics() if name == "validation/loss_ema"}
    told = weights.facts(file_of(run, "best"))
    assert len(losses) == 12
    assert int(told["step"]) == min(losses, key=losses.__getitem__)
    assert float(told["validation_loss"]) == pytest.approx(min(losses.values()))
    assert told["source"] == "ema"


def test_a_worse_loss_changes_nothing_and_a_run_that_goes_on_remembers(make_run: MakeRun) -> None:
    run = make_run()

    def offer(best: Best, value: float, loss: float) -> None:
        network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(network.weight, value)
        module = SimpleNamespace(
            emas=[], backbone=network, step=int(value), trainer=SimpleNamespace(is_global_zero=True)
        )
        best.offer(module, {"validation/loss_raw": loss})  # pyright: ignore[reportArgumentType]

    def kept() -> float:
        files.wait()
        return weights.read(file_of(run, "best"))["weight"].item()

    files = Files()
    best = Best(run, files)
    offer(best, 1.0, 0.5)
    offer(best, 2.0, 0.6)
    assert kept() == 1.0
    again = Best(run, files)
    offer(again, 3.0, 0.55)
    assert kept() == 1.0
    offer(again, 4.0, 0.4)
    assert kept() == 4.0
    offer(again, 5.0, float("nan"))
    assert kept() == 4.0
