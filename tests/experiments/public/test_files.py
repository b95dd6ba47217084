"""Files of weights from elsewhere: read whole or refused with the reason, and never run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from experiments.errors import UserError
from experiments.public.files import read

A, B = torch.arange(6.0).view(2, 3), torch.tensor([1.5])


def same(found: dict[str, torch.Tensor], **expected: torch.Tensor) -> bool:
    return set(found) == set(expected) and all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_one_file_of_safetensors(tmp_path: Path) -> None:
    save_file({"a": A, "b": B}, tmp_path / "w.safetensors")
    assert same(read(tmp_path / "w.safetensors").tensors, a=A, b=B)
    assert same(read(tmp_path).tensors, a=A, b=B)


def shards(folder: Path, **places: str) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"a": A}, folder / "w-1.safetensors")
    save_file({"b": B}, folder / "w-2.safetensors")
    index = folder / "w.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "w-1.safetensors", "b": "w-2.safetensors", **places}}))
    return index


def test_shards_by_their_index_or_their_folder(tmp_path: Path) -> None:
    index = shards(tmp_path / "model")
    (tmp_path / "model/config.json").write_text('{"sample_size": 8}')
    for path in (index, tmp_path / "model"):
        assert same(read(path).tensors, a=A, b=B)
        assert read(path).config == {"sample_size": 8}


def test_the_network_in_a_pipelines_folder(tmp_path: Path) -> None:
    shards(tmp_path / "transformer")
    assert same(read(tmp_path).tensors, a=A, b=B)


def test_faults_of_an_index_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names shards that are not there: w-3\.safetensors"):
        read(shards(tmp_path, c="w-3.safetensors"))
    with pytest.raises(UserError, match=r"names tensors that are not there: c in w-2\.safetensors, d in w-1"):
        read(shards(tmp_path, c="w-2.safetensors", d="w-1.safetensors"))
    with pytest.raises(UserError, match=r"files outside of its folder: \.\./x\.safetensors"):
        read(shards(tmp_path, c="../x.safetensors"))
    index = tmp_path / "w.safetensors.index.json"
    for text, told in (("{", "cannot be read as JSON"), ("[]", "no JSON object"), ("{}", "no index of shards")):
        index.write_text(text)
        with pytest.raises(UserError, match=told):
            read(index)


class Malicious:
    """What a pickle can do: here it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_never_executed(tmp_path: Path, suffix: str, zipped: bool) -> None:
    trace, file = tmp_path / "executed", tmp_path / f"w.{suffix}"
    torch.save({"a": A, "b": Malicious(trace)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"names more than tensors, and reading it would run what it names"):
        read(file)
    assert not trace.exists()
    torch.load(file, weights_only=False)
    assert trace.exists(), "the pickle does what it is there for"


def test_a_malicious_pickle_in_a_plain_file_or_under_a_safe_name_is_never_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": Malicious(trace)}))
        with pytest.raises(UserError, match=r"names more than tensors|cannot be read as safetensors"):
            read(tmp_path / name)
    assert not trace.exists()


def test_training_scripts_keep_weights_with_other_things(tmp_path: Path) -> None:
    """DiT's saves its options as a Namespace; averaged weights are the ones to use, trained ones are kept."""
    options = argparse.Namespace(model="DiT-S/2", lr=1e-4)
    torch.save({"model": {"module.a": A}, "ema": {"a": A + 1}, "opt": {"step": 3}, "args": options}, tmp_path / "w.pt")
    found = read(tmp_path / "w.pt")
    assert same(found.tensors, a=A + 1)
    assert found.trained is not None
    assert same(found.trained, a=A)
    torch.save({"state_dict": {"_orig_mod.a": A}}, tmp_path / "w.pt")
    assert same(read(tmp_path / "w.pt").tensors, a=A)
    assert read(tmp_path / "w.pt").trained is None
    torch.save({"a": A}, tmp_path / "w.pt")
    assert same(read(tmp_path / "w.pt").tensors, a=A)


def test_what_is_no_file_of_weights_is_refused_with_what_is(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "one.safetensors")
    with pytest.raises(UserError, match=r"there is no file .*two\.safetensors; beside it: one\.safetensors"):
        read(tmp_path / "two.safetensors")
    save_file({"a": A}, tmp_path / "two.safetensors")
    with pytest.raises(UserError, match=r"holds one\.safetensors, two\.safetensors; name the one that is meant"):
        read(tmp_path)
    (tmp_path / "w.txt").write_text("")
    with pytest.raises(UserError, match=r"w\.txt is no file of weights that is known; known: \.safetensors, "):
        read(tmp_path / "w.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no weights"):
        read(tmp_path / "empty")
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"holds the keys epoch; expected tensors by name, or such under one of mo"):
        read(tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(UserError, match=r"w\.pt cannot be read"):
        read(tmp_path / "w.pt")
