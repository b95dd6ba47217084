"""One process, two or four, DDP or FSDP2, stopped or not: the same gradients and the same training."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from experiments.console import Reporter
from experiments.evaluation.loaded import LoadedRun
from experiments.pairs.prepare import prepare
from experiments.registry import entries
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.fit import fit
from experiments.training.throughput import MACHINE

SmallRun = Callable[..., Run]
State = Callable[[Run], dict[str, Any]]
Flat = Callable[[Any], dict[str, Any]]
Job = tuple[str, dict[str, Any], dict[str, Any]]
"""A folder, what differs in its configuration, and what the processes are told besides."""

SIZE = {"backbone__width": 32, "backbone__depth": 2, "backbone__heads": 2}
SIZES: dict[str, dict[str, Any]] = {
    "mlp": {"backbone__width": 16, "backbone__depth": 2},
    # With the default channels, rounding alone comes to 1.1e-5 where a loss divides by a short step.
    "simpleuvit": {**SIZE, "backbone__channels": [8, 16]},
    "unet": {"backbone": {"name": "unet", "channels": [32, 32], "head_width": 16}},
}
MISSING = set() if find_spec("diffusers") else {"unet"}
BACKBONES = {name: SIZES.get(name, SIZE) for name in map(str.casefold, entries("backbones")) if name not in MISSING}
"""Every backbone that is registered and installed, small."""
NEEDS = {name: entry.load()().needs for name, entry in entries("objectives").items() if name != "flow_matching"}
OBJECTIVES = ("rf/lognorm(0,1)", "edm(-1.20,1.20)", *sorted(NEEDS))
"""Flow matching with either kind of head, and every other objective that is registered."""
BUILT_ON: dict[str, dict[str, Any]] = {
    name: {"pairs": {"num": 32, "steps": 2}} if NEEDS[name].pairs else {"teacher": {}}
    for name in NEEDS
    if NEEDS[name].pairs or NEEDS[name].teacher in ("frozen", "phases")
}
"""What those that learn from a trained network are given beside its run."""
DIVISIONS = {1: [(1, "auto"), (4, "auto")], 2: [(2, "ddp"), (1, "fsdp")], 4: [(1, "ddp")]}
"""Processes -> the accumulations and strategies that are compared over 50 steps."""
FIFTY = {
    "objective": "shortcut", "trainer__max_steps": 50, "trainer__log_every": 1, "trainer__checkpoint_every": 50,
    "trainer__validate_every": 50,
}  # fmt: skip
DIT: dict[str, Any] = {"objective": "shortcut", "backbone": "dit", "data": "digits", **SIZE}


def gradients(kind: str, **options: Any) -> list[Job]:
    """One step of every objective on every backbone."""
    job = {"awake": True, "gradients": True}
    common = {"data": "digits", "seed": 3, **options}
    return [
        (f"gradients {kind} {i} {backbone}", {"objective": objective, "backbone": backbone, **size, **common}, job)
        for i, objective in enumerate(OBJECTIVES)
        for backbone, size in BACKBONES.items()
    ]


def fifty(processes: int) -> list[Job]:
    """Fifty steps, divided in every way that so many processes have."""
    return [
        (
            f"fifty {precision} {processes} {accumulate} {strategy}",
            {
                **FIFTY,
                "trainer__precision": precision,
                "trainer__accumulate": accumulate,
                "trainer__strategy": strategy,
            },
            {},
        )
        for precision in ("32-true", "64-true")
        for accumulate, strategy in DIVISIONS[processes]
    ]


def interrupted(strategy: str) -> list[Job]:
    """The same training whole and in four pieces."""
    options = {**DIT, "trainer__accumulate": 2, "trainer__strategy": strategy}
    pieces: list[Job] = [(f"pieces {strategy}", options, {"stop_in": step}) for step in (3, 6, 10)]
    return [(f"whole {strategy}", options, {}), *pieces, (f"pieces {strategy}", options, {})]


FSDP = {**DIT, "trainer__strategy": "fsdp"}
CLIPPED: dict[str, Any] = {
    **DIT, "trainer__max_steps": 4, "trainer__log_every": 1, "trainer__validate_every": 4, "trainer__clip": 0.05,
}  # fmt: skip
MUON, LEARNED = {"optimizer": "muon"}, {"objective": {"name": "flow_matching", "weighting": "learned"}}
MIXED, TRUE = {"trainer__precision": "bf16-mixed"}, {"trainer__precision": "bf16-true"}
RECOMPUTED, COMPILED = {"trainer__activation_checkpointing": True}, {"trainer__compile": True}
ALONE: dict[str, dict[str, Any]] = {
    "plain": {}, "muon": MUON, "mixed": MIXED, "true": TRUE, "true, muon": TRUE | MUON, "learned": LEARNED
}  # fmt: skip
"""What two processes are compared with, on one."""
PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "muon": ("fsdp", "muon", MUON),
    "mixed, recomputed": ("fsdp", "mixed", MIXED | RECOMPUTED),
    "true": ("fsdp", "true", TRUE),
    "compiled": ("fsdp", "plain", COMPILED),
    "compiled, recomputed": ("fsdp", "plain", COMPILED | RECOMPUTED),
    "true, muon, compiled": ("fsdp", "true, muon", TRUE | MUON | COMPILED),
    "learned": ("fsdp", "learned", LEARNED),
    "compiled by ddp": ("ddp", "plain", COMPILED),
}
"""Settings on two processes: strategy, whom of ALONE they are to equal, and themselves."""
TOLERANCES = {name: 1e-5 if name in ("plain", "learned") else 2e-2 for name in ALONE}


def clipped(name: str, options: dict[str, Any], **job: Any) -> Job:
    return f"clipped {name}", {**CLIPPED, **options}, {"awake": True, **job}


PHASES: list[tuple[int, list[Job]]] = [
    (2, [*gradients("ddp"), *gradients("fsdp", trainer__strategy="fsdp"), *fifty(2), *interrupted("ddp"),
         *interrupted("fsdp"), ("moved", FSDP, {"stop_in": 4}),
         *(clipped(f"{name} 2", {"trainer__strategy": how, **options}) for name, (how, _, options) in PAIRS.items()),
         clipped("moved muon", {"trainer__strategy": "fsdp", **MUON}, stop_in=2)]),
    (4, [*fifty(4), ("moved", FSDP, {"stop_in": 8})]),
    (1, [*gradients("one"), *fifty(1), ("moved", {**DIT, "trainer__accumulate": 2}, {}), ("stayed", DIT, {}),
         *(clipped(name, options) for name, options in ALONE.items()), clipped("moved muon", MUON)]),
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, small_run: SmallRun, together: Callable[..., None]
) -> dict[str, Run]:
    """Every run of this file; processes are started once for each of the phases."""
    root, made = tmp_path_factory.mktemp("together"), {}
    teachers: dict[str, Run] = {}
    for processes, jobs in PHASES:
        told = []
        for folder, options, job in jobs:
            built_on = BUILT_ON.get(str(options.get("objective")), {})
            if built_on:
                same = {key: value for key, value in options.items() if key.partition("__")[0] in ("backbone", "data")}
                if (key := repr(same)) not in teachers:
                    teachers[key] = small_run(root / "teachers", trainer__max_steps=1, **same)
                    fit(teachers[key], stop=Stop(), reporter=Reporter("none"))
                run = {"run": str(teachers[key].path)}
                options = {**options, **{name: {**run, **how} for name, how in built_on.items()}}
                prepare(small_run(root / "alone", **options), stop=Stop(), reporter=Reporter("none"))
            made[folder] = small_run(root / folder, trainer__devices=processes, **options)
            told.append({"run": str(made[folder].path), **job})
        together(processes, told, root / f"jobs-{processes}.json")
    return made


def losses(run: Run, name: str = "train/loss") -> list[float]:
    return [value for _, key, value in run.metrics() if key == name]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_give_the_gradients_of_one(runs: dict[str, Run], kind: str) -> None:
    for i in range(len(OBJECTIVES)):
        for backbone in BACKBONES:
            expected, found = (
                torch.load(runs[f"gradients {each} {i} {backbone}"].path / "gradients.pt", weights_only=True)
                for each in ("one", kind)
            )
            assert found.keys() == expected.keys()
            assert len(found) > 10
            largest = torch.stack([grad.norm() for grad in expected.values()]).norm()
            for name, grad in expected.items():
                assert grad.norm() > 0, (i, backbone, name)
                difference = (found[name] - grad).norm() / max(grad.norm(), 1e-3 * largest)
                assert difference < 1e-5, (i, backbone, name, float(difference))


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-5), ("64-true", 1e-10)])
def test_fifty_steps_are_the_same_however_they_are_divided(
    runs: dict[str, Run], precision: str, tolerance: float
) -> None:
    expected = losses(runs[f"fifty {precision} 1 1 auto"])
    assert len(expected) == len(set(expected)) == 50
    for processes, ways in DIVISIONS.items():
        for accumulate, strategy in ways:
            found = losses(runs[f"fifty {precision} {processes} {accumulate} {strategy}"])
            assert found == pytest.approx(expected, rel=tolerance, abs=0), (processes, accumulate, strategy)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_that_are_stopped_end_as_two_that_are_not(
    runs: dict[str, Run], strategy: str, state: State, flat: Flat
) -> None:
    whole, pieces = runs[f"whole {strategy}"], runs[f"pieces {strategy}"]
    assert state(whole)["step"] == 12
    one, other = flat(state(whole)), flat(state(pieces))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name
    rows = [[row for row in run.metrics() if row[1].removeprefix("train/") not in MACHINE] for run in (whole, pieces)]
    assert rows[0] == rows[1]


def test_a_divided_network_goes_on_on_four_processes_and_on_one(runs: dict[str, Run], state: State, flat: Flat) -> None:
    moved, stayed = runs["moved"], runs["stayed"]
    assert state(moved)["step"] == state(stayed)["step"] == 12
    for part in ("backbone", "emas", "optimizer"):
        one, other = flat(state(moved)[part]), flat(state(stayed)[part])
        assert one.keys() == other.keys()
        for name, value in one.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=name)
    for name in ("train/loss", "train/grad_norm", "validation/loss_ema"):
        assert losses(moved, name) == pytest.approx(losses(stayed, name), rel=1e-4), name


def moved(weights: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> torch.Tensor:
    """How the training has moved all weights."""
    return torch.cat([(weights[name].double() - value.double()).flatten() for name, value in start.items()])


@pytest.mark.parametrize("name", [*(f"{name} 2" for name in PAIRS), "moved muon"])
def test_two_processes_with_any_setting_train_as_one_does(runs: dict[str, Run], name: str, state: State) -> None:
    other = PAIRS[name.removesuffix(" 2")][1] if name.endswith(" 2") else "muon"
    tolerance = TOLERANCES[other]
    two, one = runs[f"clipped {name}"], runs[f"clipped {other}"]
    for key in ("train/loss", "train/grad_norm", "validation/loss_ema", "validation/loss_raw"):
        assert losses(two, key) == pytest.approx(losses(one, key), rel=tolerance), key
    assert len(set(losses(one))) == 4
    assert min(losses(one, "train/grad_norm")) > 2 * CLIPPED["trainer__clip"]
    start = torch.load(one.path / "start.pt", weights_only=True)
    found, expected = moved(state(two)["backbone"], start), moved(state(one)["backbone"], start)
    assert (found - expected).norm() < max(10 * tolerance, 1e-3) * expected.norm()
    for key, value in state(one)["objective"].items():
        torch.testing.assert_close(state(two)["objective"][key], value, rtol=1e-4, atol=1e-6)


def test_settings_that_are_compared_are_not_all_the_same(runs: dict[str, Run]) -> None:
    assert len({losses(runs[f"clipped {name}"])[-1] for name in ALONE}) == len(ALONE)


def test_averages_are_the_same_on_two_processes(runs: dict[str, Run], state: State, flat: Flat) -> None:
    whole, divided, one = (flat(state(runs[name])["emas"]) for name in ("whole ddp", "whole fsdp", "stayed"))
    for name, value in one.items():
        torch.testing.assert_close(whole[name], value, rtol=1e-3, atol=1e-5, msg=name)
        torch.testing.assert_close(divided[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_a_divided_checkpoint_has_a_part_of_each_rank_and_loads_whole(runs: dict[str, Run], state: State) -> None:
    run = runs["whole fsdp"]
    folder = checkpoints.folder(run.checkpoints, 12)
    sizes = [(folder / f"tensors-{rank}.safetensors").stat().st_size for rank in range(2)]
    assert 0.8 < sizes[0] / sizes[1] < 1.25
    loaded = LoadedRun(run, device="cpu")
    whole = state(runs["whole ddp"])["backbone"]
    for name, weight in loaded.network("raw").state_dict().items():
        torch.testing.assert_close(weight, whole[name], rtol=1e-3, atol=1e-5, msg=name)
