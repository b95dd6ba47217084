"""Checkpoints and other files written beside the training: tensors are copied, and a thread does the rest."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.training import checkpoints
from experiments.training.state import Flat


class Snapshot:
    """A copy of tensors in CPU memory that is used again for each checkpoint (page-locked for an accelerator's).

    On an accelerator the copy runs beside the next forward and backward pass; :meth:`hold` makes the device, not the
    host, wait for it before the weights change.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._stream: torch.cuda.Stream | None = None
        self._copied: torch.cuda.Event | None = None

    @torch.no_grad()
    def take(self, flat: Flat) -> Flat:
        """``flat`` with its tensors copied; they may be read after :meth:`finish`."""
        buffers = {name: self._buffer(name, tensor) for name, tensor in flat.tensors.items()}
        self._buffers = {**self._buffers, **buffers}
        on_device = {name: tensor for name, tensor in flat.tensors.items() if tensor.is_cuda}
        on_cpu = [name for name in buffers if name not in on_device]
        if on_cpu:
            torch._foreach_copy_([buffers[name] for name in on_cpu], [flat.tensors[name] for name in on_cpu])  # pyright: ignore[reportPrivateImportUsage]
        if on_device:
            self._stream = self._stream or torch.cuda.Stream()
            self._copied = torch.cuda.Event()
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for name, tensor in on_device.items():
                    buffers[name].copy_(tensor, non_blocking=True)
                    tensor.record_stream(self._stream)
                self._copied.record(self._stream)
        return replace(flat, tensors=buffers)

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != like.shape or buffer.dtype != like.dtype:
            buffer = torch.empty(like.shape, dtype=like.dtype, device="cpu", pin_memory=like.is_cuda)
        return buffer

    def hold(self) -> None:
        """Let nothing that the device is given from now on overtake the copy."""
        if self._copied is not None:
            torch.cuda.current_stream().wait_event(self._copied)

    def finish(self) -> None:
        """Wait until the copy is whole; for the thread that reads it."""
        if self._copied is not None:
            self._copied.synchronize()


class Files:
    """Writes files beside the training, one after another, in a thread.

    A checkpoint gets its name after :meth:`wait`: what was written before it is on the disk then, for nothing that
    comes before a checkpoint is done again. An error of the thread is raised by the next :meth:`submit` or
    :meth:`wait`, once.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, write: Callable[[], object]) -> None:
        """Begin to ``write``, which must have its own copies; waits for what was submitted before."""
        self.wait()
        thread = threading.Thread(target=self._run, args=(write,), name="files", daemon=True)
        thread.start()
        self._thread = thread  # not before: the thread that writes a checkpoint may be waiting

    def wait(self) -> None:
        """Wait until everything is written."""
        if self._thread is not None:
            self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BaseException as error:
            self._error = error


class Writer:
    """Writes one rank's part of checkpoints, one at a time, in a thread; rank 0's also publishes and prunes them.

    An error of the thread is raised by the next call of :meth:`check`, :meth:`submit` or :meth:`wait`, once.

    Args:
        root: the folder of checkpoints.
        rank, ranks: this one, and how many write.
        token: the same on all ranks, and another for every attempt at the run.
        fence: called before anything is written, removed or given its name; raises where that is no longer allowed.
        before: called by rank 0's thread when everything is written and the checkpoint has no name yet.
        after: called by rank 0's thread when it has.
    """

    def __init__(
        self,
        root: Path,
        *,
        rank: int,
        ranks: int,
        token: str,
        fence: Callable[[], None] = lambda: None,
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
    ):
        self.root, self.rank, self.ranks, self.token = root, rank, ranks, token
        self.fence, self.before, self.after = fence, before, after
        self.state, self.ranked = Snapshot(), Snapshot()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(
        self, step: int, state: Mapping[str, Any], ranked: Mapping[str, Any], alive: Callable[[], None] = lambda: None
    ) -> None:
        """Copy the state of ``step`` and begin to write it; waits for the write before, if that is still going on."""
        self.wait(alive)
        flat = Flat.of(state)
        if self.rank:
            flat = replace(flat, tensors={name: flat.tensors[name] for name in flat.sharded})
        flat, own = self.state.take(flat), self.ranked.take(Flat.of(ranked, f"rank-{self.rank}"))
        self._thread = threading.Thread(target=self._run, args=(step, flat, own), name="checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what a write that has ended ran into."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self, alive: Callable[[], None] = lambda: None) -> None:
        """Wait for the write that is going on, calling ``alive`` about once a second, and :meth:`check`."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=1.0)
            alive()
        self.check()

    def hold(self) -> None:
        """To be called before the weights change: see :meth:`Snapshot.hold`."""
        self.state.hold()
        self.ranked.hold()

    def _run(self, step: int, state: Flat, ranked: Flat) -> None:
        gathering = checkpoints.aside(self.root, step, self.token)
        try:
            self.state.finish()
            self.ranked.finish()
            self.fence()
            checkpoints.write_part(gathering, self.rank, state, ranked)
            if self.rank == 0:
                checkpoints.publish(gathering, checkpoints.folder(self.root, step), step, self.ranks, self._allowed)
                self.fence()
                self.after()
        except BaseException as error:
            self._error = error
            if self.rank == 0:  # what others write beside it is theirs
                shutil.rmtree(gathering, ignore_errors=True)

    def _allowed(self) -> None:
        self.before()
        self.fence()
