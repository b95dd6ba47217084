"""The profile of a step: its parts make up the whole, and the command writes a trace that can be read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.cli.app import start
from experiments.profiling import PARTS, Ranges, measure
from experiments.runs import Run
from experiments.training.ema import EMA
from objectives import Draws

MakeRun = Callable[..., Run]


def test_time_inside_two_ranges_is_the_inner_ones() -> None:
    ranges = Ranges(torch.device("cpu"))
    ranges.measuring = True
    with ranges.range("outer"):
        time.sleep(0.02)
        with ranges.range("inner"):
            time.sleep(0.06)
        time.sleep(0.02)
    assert ranges.seconds["inner"] == pytest.approx(0.06, abs=0.02)
    assert ranges.seconds["outer"] == pytest.approx(0.04, abs=0.02)


def test_a_slow_part_is_found_and_everything_is_put_back(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = EMA.update

    def slow(*args: object) -> None:
        time.sleep(0.5)
        update(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(EMA, "update", slow)
    normal = Draws.normal
    found = measure(make_run().config, steps=3, trace=tmp_path / "deep" / "trace.json")
    assert EMA.update is slow
    assert Draws.normal is normal
    assert max(found.seconds, key=lambda part: found.seconds[part]) == "EMA"
    assert found.seconds["EMA"] >= 0.5
    assert found.seconds.keys() == {*PARTS, "other"}
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert any("addmm" in operator.name for operator in found.operators)
    events = json.loads(found.trace.read_text())["traceEvents"]
    named = [event["name"] for event in events if str(event.get("name", "")).startswith("fewstep: ")]
    assert {name: named.count(name) for name in set(named)}["fewstep: backward"] == 3
    assert {name.removeprefix("fewstep: ") for name in named} == set(PARTS)


def test_the_command_profiles_a_run_and_leaves_it_as_it_was(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    assert start(["profile", str(run.path), "--steps", "2"]) == 0
    said = capsys.readouterr().out
    for word in (*PARTS, "other", "aten::addmm"):
        assert word in said
    assert sorted(file.name for file in run.path.iterdir()) == ["config.yaml", "trace.json"]


def test_a_wrong_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["profile", "backbone=ditt"]) == 2
    assert "did you mean" in capsys.readouterr().err
