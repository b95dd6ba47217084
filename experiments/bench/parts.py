"""Where a training step's time goes: processor time of each part of it, the parts inside a part not counted again."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from experiments.runs import Run
from experiments.training import module
from experiments.training.background import Writer
from experiments.training.callbacks import Record
from experiments.training.health import Health
from experiments.training.saving import Save
from objectives import Draws

PARTS: dict[str, list[tuple[Any, str]]] = {
    "draws": [(Draws, "normal"), (Draws, "uniform"), (Draws, "cycle")],
    "logging": [(Record, "after_step")],
    "heartbeat": [(Run, "write_status")],
    "health": [(Health, "on_before_optimizer_step"), (Health, "after_step"), (module, "tables")],
    "checkpoints": [(Save, "on_before_optimizer_step"), (Save, "after_step")],
    "checkpoints, beside the steps": [(Writer, "_run")],
}
"""Part -> the methods and functions that are it. The last one is a thread's, which may take from the steps or not."""


class Clocks:
    """Seconds by part while :meth:`running`, each thread's clock its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = threading.local()

    def reset(self) -> None:
        self.seconds.clear()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ExitStack() as stack:
            for part, places in PARTS.items():
                for owner, name in places:
                    stack.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
            yield

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            outer, self._inner.seconds = getattr(self._inner, "seconds", 0.0), 0.0
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                passed = time.thread_time() - start
                self.seconds[part] += passed - self._inner.seconds
                self._inner.seconds = outer + passed

        return timed
