"""Pair sets: rows in any order, nothing read that is not asked for, nothing believed that is not what was written."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from datamodules import DataError, DataModule, TrainingOrder
from datamodules.base import Rows
from datamodules.checksums import checksum
from datamodules.digits import Digits
from datamodules.pair_set import INDEX, PairSet, shard_file
from datamodules.pairs import Pairs
from datamodules.synthetic import Synthetic
from objectives import Draws

NUM, SHARD = 23, 5
DATA: dict[str, Any] = {"name": "synthetic", "shape": [2], "num_classes": 7, "size": 12}
Write = Callable[..., Path]


def tensors(num: int = NUM) -> dict[str, Tensor]:
    """A whole set: every number in it tells its row."""
    row = torch.arange(num, dtype=torch.float32)
    return {
        "x": torch.stack((row, -row), 1),
        "noise": torch.stack((row + 100, row + 200), 1),
        "condition.label": torch.arange(num) % 7,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a pair set of ``data``, as ``fewstep pairs`` lays it out."""

    def make(name: str = "set", *, data: dict[str, Any] | None = None, seed: int = 0, **other: Any) -> Path:
        folder, real = tmp_path / name, Synthetic(shape=(2,), num_classes=7, size=12)
        folder.mkdir()
        recipe = {
            "data": data or DATA, "spec": json.loads(json.dumps(asdict(real.spec))), "fingerprint": real.fingerprint,
            "num": NUM, "shard": SHARD, "seed": seed,
        }  # fmt: skip
        sums = []
        for number, rows in enumerate(torch.arange(NUM).split(SHARD)):
            part = {key: value[rows].contiguous() for key, value in tensors().items()}
            sums.append(checksum(part))
            save_file(part, shard_file(folder, number), metadata={"sha256": sums[-1]})
        index = {"format": 1, "recipe": recipe | other, "shards": sums}
        (folder / INDEX).write_text(json.dumps(index))
        return folder

    return make


def pairs(folder: Path, of: DataModule | None = None) -> Pairs:
    """The pairs in a folder, as a run on these data reads them."""
    found = PairSet.find(folder)
    assert found is not None
    return Pairs(of=of or Synthetic(shape=(2,), num_classes=7, size=12), made=found)


def test_rows_are_read_in_any_order_each_with_its_own_noise_and_condition(write: Write) -> None:
    rows = torch.tensor([22, 0, 7, 7, 13, 4, 5, 21, 9])
    batch = pairs(write()).dataset("train")[rows]
    whole = tensors()
    assert batch.keys() == {"x", "noise", "index", "condition"}
    assert torch.equal(batch["x"], whole["x"][rows])
    assert torch.equal(batch["noise"], whole["noise"][rows])
    assert torch.equal(batch["condition"]["label"], whole["condition.label"][rows])
    assert torch.equal(batch["index"], rows)


def test_the_order_is_a_function_of_seed_and_position_with_and_without_loader_processes(write: Write) -> None:
    order = TrainingOrder(NUM, 8, seed=3, max_steps=6)
    data = pairs(write())
    for number, (one, other) in enumerate(
        zip(data.loader("train", order), data.loader("train", order, workers=1), strict=True)
    ):
        assert torch.equal(one["index"], order.rows(number))
        assert torch.equal(one["noise"], other["noise"])
        assert torch.equal(one["noise"][:, 0], one["index"] + 100.0)


def test_shards_are_mapped_when_asked_for_and_never_copied(write: Write) -> None:
    folder = write()
    rows = pairs(folder).dataset("train")
    assert len(rows) == NUM
    opened = rows.pairs._opened  # pyright: ignore
    assert opened == {}
    rows[torch.tensor([11, 12])]
    assert list(opened) == [2]
    assert str(shard_file(folder.resolve(), 2)) in Path("/proc/self/maps").read_text()
    assert pickle.loads(pickle.dumps(rows.pairs))._opened == {}  # pyright: ignore


def test_all_but_the_training_rows_is_the_original_data(write: Write) -> None:
    real, data = Synthetic(shape=(2,), num_classes=7, size=12), pairs(write())
    assert data.pairs
    assert data.spec == real.spec
    assert (data.features, data.cell) == (real.features, real.cell)
    assert type(data.real) is Synthetic
    assert data.real is data.of
    assert torch.equal(data.dataset("validation").x, real.dataset("validation").x)
    assert torch.equal(data.dataset("train").x, tensors()["x"])
    assert torch.equal(data.dataset("train").label, tensors()["condition.label"])  # pyright: ignore
    x = torch.randn(3, 2)
    assert torch.equal(data.to_images(x), real.to_images(x))
    with pytest.raises(ValueError, match="'test'"):
        data.dataset("test")  # pyright: ignore[reportArgumentType]


def test_augmentation_of_the_original_data_is_off(write: Write) -> None:
    shifted = Digits(shift=2, rotation=20.0)
    spec = json.loads(json.dumps(asdict(shifted.spec)))
    data = pairs(write(data={"name": "digits", "shift": 2, "rotation": 20.0}, spec=spec), shifted)
    batch = {"x": torch.rand(4, 1, 8, 8), "noise": torch.randn(4, 1, 8, 8)}
    draws = Draws(0, 0, torch.arange(4))
    assert not torch.equal(data.of.augment(batch, draws)["x"], batch["x"])
    assert torch.equal(data.augment(batch, draws)["x"], batch["x"])


def test_a_set_is_known_by_what_it_holds_and_not_by_where_it_lies(write: Write, tmp_path: Path) -> None:
    folder = write()
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert pairs(tmp_path / "elsewhere").fingerprint == pairs(folder).fingerprint
    assert pairs(write("other", seed=1)).fingerprint != pairs(folder).fingerprint


FLIP, CUT, GONE, SWAPPED = "flip", "cut", "gone", "swapped"


@pytest.mark.parametrize("harm", [FLIP, CUT, GONE, SWAPPED])
def test_a_damaged_shard_is_refused_with_its_name(write: Write, harm: str) -> None:
    file = shard_file(write(), 3)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    changed = {FLIP: bytes(content), CUT: bytes(content[:-4]), SWAPPED: shard_file(file.parent, 1).read_bytes()}
    file.unlink()
    if harm in changed:
        file.write_bytes(changed[harm])
    data = pairs(file.parent)
    if harm == FLIP:
        data.setup()
        assert len(data.dataset("train")[torch.tensor([0])]["x"]) == 1
    with pytest.raises(DataError, match=rf"{file.name} is damaged"):
        data.dataset("train")[torch.tensor([16])]


def test_data_that_are_otherwise_here_than_where_the_pairs_were_made_are_refused(write: Write) -> None:
    with pytest.raises(ValueError, match=r"pairs of other data: .*shape=\(3,\)"):
        pairs(write("shape", spec={"shape": [3]}))
    changed = pairs(write("content", fingerprint="0123"))
    with pytest.raises(DataError, match="another data set: synthetic with the fingerprint 0123"):
        changed.setup()


def test_what_is_no_finished_set_is_none_and_a_damaged_index_is_refused(write: Write, tmp_path: Path) -> None:
    assert PairSet.find(tmp_path / "nowhere") is None
    begun = write("begun")
    (begun / INDEX).rename(begun / "recipe.json")
    assert PairSet.find(begun) is None
    for content in ("{", "[]", '{"format": 1}', '{"format": 7, "recipe": {}, "shards": []}'):
        (begun / INDEX).write_text(content)
        with pytest.raises(ValueError, match=r"index\.json"):
            PairSet.find(begun)


def test_every_shard_has_the_rows_that_its_number_says(write: Write) -> None:
    found = PairSet.find(write())
    assert found is not None
    assert [len(found.tensors(number)["x"]) for number in range(5)] == [5, 5, 5, 5, 3]
    assert isinstance(pairs(found.folder).dataset("train"), Rows)
