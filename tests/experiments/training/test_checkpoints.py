"""Checkpoints: what goes in comes out, and what is damaged is never used."""

from __future__ import annotations

import hashlib
import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.training import checkpoints
from experiments.training.pieces import Pieces

leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
tensors = st.lists(st.integers(-99, 99), max_size=4).map(torch.tensor)
trees = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 9) | st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(state=st.dictionaries(st.text("xyz", min_size=1, max_size=3), trees, max_size=4))
def test_what_is_saved_is_loaded(state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("checkpoints")
    assert same(checkpoints.load(checkpoints.save(root, 3, state)), {**state, "ranks": [{}]})


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": {"w": torch.full((64,), float(step))}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for step in (1, 2):
        checkpoints.save(tmp_path, step, state(step))
    return tmp_path


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


DAMAGES = {
    "truncated": lambda path: (path / "tensors-0.safetensors").write_bytes(
        (path / "tensors-0.safetensors").read_bytes()[:-8]
    ),
    "one bit flipped": lambda path: flip_a_bit(path / "tensors-0.safetensors"),
    "emptied": lambda path: (path / "tensors-0.safetensors").write_bytes(b""),
    "tensors gone": lambda path: (path / "tensors-0.safetensors").unlink(),
    "index gone": lambda path: (path / "index.json").unlink(),
    "index cut": lambda path: (path / "index.json").write_text((path / "index.json").read_text()[:-9]),
    "another format": lambda path: (path / "index.json").write_text(
        json.dumps(json.loads((path / "index.json").read_text()) | {"format": 99})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_that_is_said(root: Path, damage: str) -> None:
    DAMAGES[damage](checkpoints.folder(root, 2))
    found = checkpoints.newest(root)
    assert found.path == checkpoints.folder(root, 1)
    assert found.state["step"] == 1
    assert "damaged" in found.notices[0]
    assert str(checkpoints.folder(root, 2)) in found.notices[0]
    assert "Going on from" in found.notices[-1]


def test_the_newest_is_used_where_nothing_is_damaged(root: Path) -> None:
    found = checkpoints.newest(root)
    assert (found.state["step"], found.notices) == (2, [])


def test_a_save_that_fails_leaves_the_others_and_no_litter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(root, 3, state(3))
    assert sorted(entry.name for entry in root.iterdir()) == ["step-000000001", "step-000000002"]
    assert checkpoints.newest(root).state["step"] == 2


def test_prune_keeps_the_newest(root: Path) -> None:
    for step in (3, 4, 5):
        checkpoints.save(root, step, state(step))
    checkpoints.prune(root, 2)
    assert checkpoints.steps(root) == [5, 4]


def test_prune_keeps_every_nth_besides(root: Path) -> None:
    for step in (3, 4, 5):
        checkpoints.save(root, step, state(step))
    checkpoints.prune(root, 1, every=2)
    assert checkpoints.steps(root) == [5, 4, 2]


def test_sweep_removes_what_lies_half_written_alone(root: Path) -> None:
    checkpoints.aside(root, 4, "99").mkdir()
    checkpoints.sweep(root)
    assert sorted(entry.name for entry in root.iterdir()) == ["step-000000001", "step-000000002"]


def test_only_plain_state_is_taken(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="weights/f"):
        checkpoints.save(tmp_path, 1, {"weights": {"f": object()}})


def test_mismatches_names_every_difference() -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3)}
    given_ = {"b": torch.zeros(4), "c": torch.zeros(1)}
    assert len(checkpoints.mismatches(wanted, given_)) == 3
    assert not checkpoints.mismatches(wanted, wanted)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_all_finite_sees_one_bad_number(bad: float) -> None:
    good = [torch.ones(5), torch.ones(2, 3)]
    assert checkpoints.all_finite(good)
    assert not checkpoints.all_finite([*good, torch.tensor([1.0, bad])])


def test_a_pickle_is_never_loaded(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file that would run code when unpickled, in the place of the tensors and with a checksum that fits."""
    proof = tmp_path_factory.mktemp("proof") / "it ran"
    path = checkpoints.folder(root, 2)
    with open(path / "tensors-0.safetensors", "wb") as file:
        pickle.dump(Touch(str(proof)), file)
    index = json.loads((path / "index.json").read_text())
    digest = hashlib.sha256((path / "tensors-0.safetensors").read_bytes()).hexdigest()
    (path / "index.json").write_text(json.dumps(index | {"files": {"tensors-0.safetensors": digest}}))
    found = checkpoints.newest(root)
    assert found.path == checkpoints.folder(root, 1)
    assert not proof.exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, name: str):
        self.name = name

    def __reduce__(self) -> Any:
        return open, (self.name, "w")


@given(cuts=st.lists(st.integers(0, 7), max_size=3), seed=st.integers(0, 9))
def test_divided_tensors_are_put_together(cuts: list[int], seed: int) -> None:
    whole = torch.rand(7, 2, generator=torch.Generator().manual_seed(seed))
    edges = [0, *sorted(cuts), 7]
    pieces = [(a, whole[a:b]) for a, b in pairwise(edges)]
    divided = Pieces("w", [7, 2], pieces)
    assert torch.equal(divided.whole(), whole)
    for start in range(8):
        for stop in range(start, 8):
            assert torch.equal(divided.rows(start, stop), whole[start:stop])
    fullest = max(pieces, key=lambda piece: len(piece[1]))
    with pytest.raises(ValueError, match="lacks rows"):
        Pieces("w", [7, 2], [piece for piece in pieces if piece is not fullest])


def test_a_checkpoint_of_the_former_format_is_read(root: Path) -> None:
    path = checkpoints.save(root, 3, {**state(3), "window": []})
    index = json.loads((path / "index.json").read_text())
    index |= {"format": 1, "files": index["files"]}
    (path / "index.json").write_text(json.dumps({k: v for k, v in index.items() if k not in ("ranks", "sharded")}))
    assert checkpoints.load(path)["ranks"] == [{"window": []}]
