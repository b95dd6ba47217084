"""Samples per second, memory and utilisation of a real training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from experiments.console import Reporter
from experiments.flops import flops_per_sample
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import throughput
from experiments.training.fit import fit

MakeRun = Callable[..., Run]


def logged(run: Run) -> dict[tuple[int, str], float]:
    fit(run, stop=Stop(), reporter=Reporter("none"))
    return {(step, name.removeprefix("train/")): value for step, name, value in run.metrics()}


def test_speed_and_memory_are_logged_and_no_utilisation_where_the_peak_is_unknown(make_run: MakeRun) -> None:
    found = logged(make_run())
    for step in (5, 10, 12):
        assert found[step, "images_per_second"] == pytest.approx(16 * found[step, "steps_per_second"])
        assert 0.05 < found[step, "memory_gib"] < 64
        assert (step, "flops_utilisation") not in found


def test_utilisation_is_the_models_operations_over_the_peak(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "peak", lambda device, precision: 1e9)
    run = make_run(objective="shortcut")
    found, config = logged(run), run.config
    each = flops_per_sample(config.objective.build(), config.backbone, config.data.build().spec)
    for step in (5, 10, 12):
        expected = each * 16 * found[step, "steps_per_second"] / 1e9
        assert found[step, "flops_utilisation"] == pytest.approx(expected)


def test_the_memory_is_the_resident_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    before = throughput.peak_memory(torch.device("cpu"))
    kept = torch.ones(64 * 2**20)
    assert throughput.peak_memory(torch.device("cpu")) >= max(before, kept.numel() * 4)
