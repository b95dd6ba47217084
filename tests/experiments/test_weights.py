"""Files of weights: whole or absent, and never believed when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments import weights

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16), "c": torch.tensor(2.0)}


def test_what_is_written_is_read_with_its_facts(tmp_path: Path) -> None:
    file = tmp_path / "new" / "w.safetensors"
    weights.write(file, TENSORS, {"step": "3"})
    found = weights.read(file)
    assert found.keys() == TENSORS.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )
    assert weights.facts(file)["step"] == "3"
    assert [entry.name for entry in file.parent.iterdir()] == ["w.safetensors"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    weights.write(path, TENSORS, {})
    return path


@given(st.data())
def test_a_flipped_bit_or_a_lost_end_is_seen(file: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        tensors = len(whole) - sum(tensor.nbytes for tensor in TENSORS.values())
        damaged[data.draw(st.integers(tensors, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[data.draw(st.integers(0, len(whole) - 1)) :]
    other = file.with_name("damaged.safetensors")
    other.write_bytes(damaged)
    with pytest.raises(weights.DamagedWeights, match="damaged"):
        weights.read(other)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.safetensors"
    weights.write(file, TENSORS, {"step": "1"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.weights.os.fsync", full)
    with pytest.raises(OSError, match="space"):
        weights.write(file, TENSORS, {"step": "2"})
    assert weights.facts(file)["step"] == "1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]
