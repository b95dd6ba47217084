"""One of two processes that train a run for one step and then go on with it. Used by test_laid_out.py alone.

``python -P laid_out.py RUN``, with the ranks' environment set. Prints, for both times, the largest memory since the
start in MiB (that of no file) and what it holds as the training begins.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.ema import EMA
from experiments.training.fit import fit
from experiments.training.laid_out import LaidOutModule
from experiments.training.sharding import local


def resident() -> float:
    """MiB of this process's own memory."""
    lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


class Look(Callback):
    """Measures until the training begins, then looks at what this process has."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._start, self._peak, self._on = resident(), 0.0, True
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._on:
            self._peak = max(self._peak, resident() - self._start)
            time.sleep(0.002)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._on = False
        assert isinstance(pl_module, LaidOutModule)
        optimizer, ema = pl_module.optimizers(use_pl_optimizer=False), pl_module.emas[0]
        assert isinstance(optimizer, Optimizer)
        assert isinstance(ema, EMA)
        own = {name: local(weight) for name, weight in pl_module.backbone.named_parameters()}
        self.found = {
            "peak": self._peak,
            "parameters": len(own),
            "elements": sum(rows.numel() for rows in own.values()),
            "sums": {name: rows.double().sum().item() for name, rows in own.items()},
            "averages": {name: local(rows).double().sum().item() for name, rows in ema.network.named_parameters()},
            "moments": sum(local(state["exp_avg_sq"]).double().sum().item() for state in optimizer.state.values()),
        }


class Leave(Callback):
    """Ends a training before its first step."""

    def on_train_batch_start(self, *_: Any) -> None:
        raise Interrupted("That was all.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run, looks = Run.open(sys.argv[1]), [Look()]
    fit(run, stop=Stop(), reporter=Reporter("none"), extra=[looks[0]])
    looks.append(Look())
    longer = Run(run.path)
    longer.config = replace(run.config, trainer=replace(run.config.trainer, max_steps=2))
    try:
        fit(longer, stop=Stop(), reporter=Reporter("none"), extra=[looks[1], Leave()])
    except Interrupted:
        print(json.dumps([look.found for look in looks]))
    sys.stdout.flush()
    os._exit(0)
