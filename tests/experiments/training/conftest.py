"""What the comparisons of one process and several share."""

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

from experiments.runs import Run
from experiments.training import checkpoints

SCRIPT = Path(__file__).with_name("together.py")


@pytest.fixture(scope="session")
def together() -> Callable[..., None]:
    """Does all jobs of together.py on so many processes, under ``install`` where a script has to prepare them."""

    def run(processes: int, jobs: list[dict[str, Any]], file: Path, *install: Path) -> None:
        file.write_text(json.dumps(jobs))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "OMP_NUM_THREADS": "1"}
        where |= {"WORLD_SIZE": str(processes)}
        ranks = [
            subprocess.Popen(
                [sys.executable, "-P", *map(str, (*install, SCRIPT, file))],
                env=os.environ | where | {"LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        try:
            said = [rank.communicate(timeout=900)[1] for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        assert [rank.returncode for rank in ranks] == [0] * processes, "\n".join(said)[-3000:]

    return run


@pytest.fixture(scope="session")
def state() -> Callable[[Run], dict[str, Any]]:
    """The newest checkpoint of a run."""
    return lambda run: checkpoints.newest(run.checkpoints).state


@pytest.fixture(scope="session")
def flat() -> Callable[[Any], dict[str, Any]]:
    """The leaves of nested lists and mappings, by their paths."""

    def leaves(value: Any, path: str = "") -> dict[str, Any]:
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            return {name: leaf for key, item in items for name, leaf in leaves(item, f"{path}/{key}").items()}
        return {path: value}

    return leaves
