"""Writing beside the training: what is written is the state of the moment, and errors come to light."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from experiments.training import checkpoints
from experiments.training.background import Files, Writer
from experiments.training.state import write_tensors


def writer(root: Path, rank: int = 0, ranks: int = 1, **keywords: Any) -> Writer:
    return Writer(root, rank=rank, ranks=ranks, token="t", **keywords)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writing waits until this is set."""
    go, write = threading.Event(), checkpoints.write_tensors

    def waiting(file: Path, tensors: Any) -> str:
        go.wait(10)
        return write(file, tensors)

    monkeypatch.setattr(checkpoints, "write_tensors", waiting)
    return go


def test_training_goes_on_while_the_state_of_the_moment_is_written(tmp_path: Path, slow: threading.Event) -> None:
    weights, one = torch.zeros(3), writer(tmp_path)
    one.submit(1, {"w": weights}, {"own": [torch.tensor(5)]})
    weights += 1  # a step while the disk is slow
    assert checkpoints.steps(tmp_path) == []
    slow.set()
    one.wait()
    state = checkpoints.load(checkpoints.folder(tmp_path, 1))
    assert torch.equal(state["w"], torch.zeros(3))
    assert state["ranks"] == [{"own": [torch.tensor(5)]}]


def test_one_write_at_a_time(tmp_path: Path, slow: threading.Event) -> None:
    one = writer(tmp_path)
    one.submit(1, {"w": torch.zeros(3)}, {})
    threading.Timer(0.3, slow.set).start()
    started = time.monotonic()
    one.submit(2, {"w": torch.ones(3)}, {})
    assert time.monotonic() - started > 0.2
    one.wait()
    assert checkpoints.steps(tmp_path) == [2, 1]
    assert torch.equal(checkpoints.load(checkpoints.folder(tmp_path, 1))["w"], torch.zeros(3))


def test_an_error_comes_up_at_the_next_check_and_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    one = writer(tmp_path)
    one.submit(1, {"w": torch.zeros(3)}, {})
    one.wait()
    monkeypatch.setattr(checkpoints, "write_tensors", full)
    one.submit(2, {"w": torch.zeros(3)}, {})
    with pytest.raises(OSError, match="No space"):
        one.wait()
    one.check()
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-000000001"]


def test_what_must_be_done_before_a_checkpoint_counts_is(tmp_path: Path) -> None:
    seen: list[list[int]] = []
    one = writer(tmp_path, before=lambda: seen.append(checkpoints.steps(tmp_path)))
    one.submit(1, {}, {})
    one.wait()
    assert seen == [[]]
    assert checkpoints.steps(tmp_path) == [1]


def test_a_checkpoint_waits_for_the_part_of_every_rank(tmp_path: Path) -> None:
    zero, one = (writer(tmp_path, rank, 2) for rank in range(2))
    zero.submit(1, {"w": torch.ones(2)}, {"own": "zero"})
    time.sleep(0.2)
    assert checkpoints.steps(tmp_path) == []
    one.submit(1, {"w": torch.full((2,), 7.0)}, {"own": "one"})
    one.wait()
    zero.wait()
    state = checkpoints.load(checkpoints.folder(tmp_path, 1))
    assert torch.equal(state["w"], torch.ones(2))  # what is common is rank 0's
    assert state["ranks"] == [{"own": "zero"}, {"own": "one"}]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_the_library_reads_our_file_of_tensors(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "odd": torch.arange(3, dtype=torch.uint8), "number": torch.ones((), dtype=dtype),
        "turned": torch.arange(6).reshape(2, 3).t().to(dtype), "none": torch.zeros(0, 4, dtype=dtype),
    }  # fmt: skip
    write_tensors(tmp_path / "file", tensors)
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


def test_files_are_written_beside_the_training_in_their_order() -> None:
    files, go, seen = Files(), threading.Event(), []

    def first() -> None:
        go.wait(10)
        seen.append(1)

    files.submit(first)
    assert seen == []
    threading.Timer(0.1, go.set).start()
    files.submit(lambda: seen.append(2))
    files.wait()
    assert seen == [1, 2]


def test_an_error_of_a_file_comes_up_once() -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    files = Files()
    files.submit(full)
    with pytest.raises(OSError, match="No space"):
        files.wait()
    files.wait()


def test_another_thread_may_wait_while_a_file_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    files, start, seen = Files(), threading.Thread.start, []

    def meanwhile(thread: threading.Thread) -> None:
        files.wait()  # as the thread of a checkpoint does, at the worst moment
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", meanwhile)
    files.submit(lambda: seen.append(1))
    files.wait()
    assert seen == [1]
