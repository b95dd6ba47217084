"""Pairs for a training on two processes: made by both before it begins, and the same training as on one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from datamodules.pair_set import PairSet
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.runs import Run

GIVEN: dict[str, Any] = {
    "objective": {"name": "flow_matching", "coupling": "given_pairs"}, "trainer__precision": "64-true",
    "trainer__max_steps": 4,
}  # fmt: skip


def test_two_processes_make_the_pairs_and_train_on_them_as_one_does(
    small_run: Callable[..., Run], tmp_path: Path
) -> None:
    flow = small_run(tmp_path / "flows", trainer__max_steps=4)
    assert execute(flow) == 0
    digests: list[str] = []
    weights: list[dict[str, torch.Tensor]] = []
    for processes in (1, 2):
        asked = {"run": str(flow.path), "num": 44, "steps": 2, "shard": 8}
        run = small_run(tmp_path / str(processes), **GIVEN, pairs=asked, trainer__devices=processes)
        assert execute(run) == 0, run.status
        (folder,) = (flow.path / "pairs").iterdir()
        found = PairSet.find(folder)
        assert found is not None
        digests.append(found.digest)
        weights.append(LoadedRun(run).network("raw").state_dict())
        shutil.rmtree(folder.parent)
    assert digests[0] == digests[1]
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=1e-10, atol=1e-12, msg=name)
