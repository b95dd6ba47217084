"""Under FSDP2 no process holds a whole network, neither at the start nor on going on; what they hold is the same."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.components import build
from experiments.runs import Run
from experiments.training import checkpoints

SmallRun = Callable[..., Run]
SCRIPT = Path(__file__).with_name("laid_out.py")
BESIDE = 56  # MiB: what a process holds beside the network's state, buffers of the communication and one batch
OPTIONS: dict[str, Any] = {
    "objective": "shortcut", "backbone": "dit", "backbone__width": 384, "backbone__depth": 6, "backbone__heads": 6,
    "data": "digits", "trainer__strategy": "fsdp", "trainer__max_steps": 1, "trainer__checkpoint_every": 1,
    "trainer__validate_every": 99, "trainer__batch_size": 8, "trainer__health": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, small_run: SmallRun) -> tuple[Run, list[list[dict[str, float]]]]:
    """A run of one step by two processes, and what each held before it began to train: new, then going on."""
    run = small_run(tmp_path_factory.mktemp("laid out"), trainer__devices=2, **OPTIONS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(run.path)],
            env=os.environ | where | {"LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [rank.communicate(timeout=200)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0]
    return run, [json.loads(text.splitlines()[-1]) for text in said]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(("which", "copies"), [(0, 2), (1, 4)])
def test_a_process_holds_hardly_more_than_its_share(found: Any, which: int, copies: int) -> None:
    """Its rows of weights and average, and of AdamW's two moments where it goes on; whole, they would be twice that."""
    run, ranks = found
    whole = 4 * sum(weight.numel() for weight in build(run.config).backbone.parameters()) / 2**20
    assert whole > 60
    for rank in ranks:
        assert rank[which]["peak"] < copies / 2 * whole + BESIDE


def test_each_process_has_its_rows_of_the_initial_values(found: Any) -> None:
    run, ranks = found
    expected = build(run.config).backbone.state_dict()
    for rank in ranks:
        assert rank[0]["parameters"] == len(expected)
    assert sum(rank[0]["elements"] for rank in ranks) == sum(weight.numel() for weight in expected.values())
    for name, weight in expected.items():
        total = sum(rank[0]["sums"][name] for rank in ranks)
        assert total == pytest.approx(weight.double().sum().item(), rel=1e-9, abs=1e-9), name


def test_each_process_goes_on_from_its_rows_of_the_checkpoint(found: Any) -> None:
    run, ranks = found
    state = checkpoints.newest(run.checkpoints).state
    for kind, weights in (("sums", state["backbone"]), ("averages", state["emas"][0])):
        for name, weight in weights.items():
            total = sum(rank[1][kind][name] for rank in ranks)
            assert total == pytest.approx(weight.double().sum().item(), rel=1e-9, abs=1e-9), name
    moments = torch.stack([entry["exp_avg_sq"].double().sum() for entry in state["optimizer"]["state"].values()]).sum()
    assert sum(rank[1]["moments"] for rank in ranks) == pytest.approx(moments.item(), rel=1e-9)
