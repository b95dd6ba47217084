"""One process, two or four, DDP or FSDP2, resumed or not: the same gradients and the same training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from experiments.runs import Run
from experiments.training import checkpoints

SmallRun = Callable[..., Run]
SCRIPT = Path(__file__).with_name("together.py")
OBJECTIVES = ("rf/lognorm(0,1)", "edm(-1.20,1.20)", "shortcut")
BACKBONES: dict[str, dict[str, Any]] = {
    "dit": {"backbone__width": 32, "backbone__depth": 2, "backbone__heads": 2},
    "u-vit": {"backbone__width": 32, "backbone__depth": 2, "backbone__heads": 2},
    "mmdit": {"backbone__width": 32, "backbone__depth": 2, "backbone__heads": 2},
    "mlp": {"backbone__width": 16, "backbone__depth": 2},
}


def together(processes: int, jobs: list[dict[str, Any]], folder: Path) -> None:
    """Do all jobs on so many processes."""
    file = folder / f"jobs-{processes}-{len(list(folder.glob('jobs-*')))}.json"
    file.write_text(json.dumps(jobs))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "OMP_NUM_THREADS": "1"}
    where |= {"WORLD_SIZE": str(processes)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(file)],
            env=os.environ | where | {"LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        said = [rank.communicate(timeout=400)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * processes, "\n".join(said)[-3000:]


def state(run: Run) -> dict[str, Any]:
    return checkpoints.newest(run.checkpoints).state


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, item in items for name, leaf in flat(item, f"{path}/{key}").items()}
    return {path: value}


def assert_bitwise(a: Run, b: Run) -> None:
    one, other = flat(state(a)), flat(state(b))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name
    rows = [[row for row in run.metrics() if row[1] != "train/steps_per_second"] for run in (a, b)]
    assert rows[0] == rows[1]


def losses(run: Run, name: str = "train/loss") -> list[float]:
    return [value for _, key, value in run.metrics() if key == name]


def test_two_processes_give_the_gradients_of_one(small_run: SmallRun, tmp_path: Path) -> None:
    def runs(kind: str, **overrides: Any) -> dict[tuple[str, str], Run]:
        made = {}
        for objective in OBJECTIVES:
            for backbone, size in BACKBONES.items():
                overrides |= {"objective": objective, "backbone": backbone, "data": "digits", "trainer__max_steps": 1}
                made[objective, backbone] = small_run(tmp_path / kind, seed=3, **overrides, **size)
        return made

    one = runs("one")
    ddp = runs("ddp", trainer__devices=2)
    fsdp = runs("fsdp", trainer__devices=2, trainer__strategy="fsdp")
    job = {"awake": True, "gradients": True}
    together(1, [job | {"run": str(run.path)} for run in one.values()], tmp_path)
    together(2, [job | {"run": str(run.path)} for kind in (ddp, fsdp) for run in kind.values()], tmp_path)
    for name, run in one.items():
        expected = torch.load(run.path / "gradients.pt", weights_only=True)
        assert len(expected) > 10
        for kind, other in (("ddp", ddp[name]), ("fsdp", fsdp[name])):
            found = torch.load(other.path / "gradients.pt", weights_only=True)
            assert found.keys() == expected.keys()
            largest = torch.stack([grad.norm() for grad in expected.values()]).norm()
            for parameter, grad in expected.items():
                assert grad.norm() > 0, (name, parameter)
                difference = (found[parameter] - grad).norm() / max(grad.norm(), 1e-3 * largest)
                assert difference < 1e-5, (name, kind, parameter, float(difference))
