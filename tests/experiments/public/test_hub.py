"""Models as huggingface_hub's mixin keeps them, in local folders: nothing here asks the network."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import experiments
from experiments.config import ConfigError
from experiments.errors import UserError
from experiments.execute import execute
from experiments.runs import Run

huggingface_hub = pytest.importorskip("huggingface_hub", reason="pip install 'fewstep[hub]'")


@pytest.fixture(scope="module")
def trained(small_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("runs")
    run = small_run(root, objective={"name": "rf", "weighting": "learned"}, trainer__max_steps=2)
    assert execute(run) == 0
    return run


@pytest.fixture
def model_class() -> Any:
    from experiments.public.hub import Model

    return Model


def test_a_saved_model_is_loaded_as_it_was(trained: Run, tmp_path: Path, model_class: Any) -> None:
    model = model_class.from_run(trained, weights="raw")
    model.save_pretrained(tmp_path / "model")
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert json.loads((tmp_path / "model/config.json").read_text()) == json.loads(json.dumps(trained.config.plain()))
    again = model_class.from_pretrained(tmp_path / "model")
    before, after = model.state_dict(), again.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert any(name.startswith("objective.") for name in after)
    assert not again.training


def test_a_loaded_model_samples_as_its_run(trained: Run, tmp_path: Path, model_class: Any) -> None:
    model_class.from_run(trained).save_pretrained(tmp_path / "model")
    model = model_class.from_pretrained(str(tmp_path / "model"))
    loaded = experiments.load(trained.path)
    drawn = loaded.sample(steps=3, num=5)
    from objectives import Draws

    noise = Draws(0, 0, torch.arange(5), 5).normal("sample", (5, *model.spec.shape), torch.float32)
    torch.testing.assert_close(model.sample(noise, drawn.condition, steps=3), drawn.x, rtol=1e-5, atol=1e-6)


def test_a_loaded_model_becomes_a_run(trained: Run, tmp_path: Path, model_class: Any) -> None:
    model_class.from_run(trained).save_pretrained(tmp_path / "model")
    run = model_class.from_pretrained(tmp_path / "model").to_run(tmp_path / "runs")
    assert run.config.origin is not None
    assert run.config.origin.startswith("fewstep:")
    before, after = experiments.load(trained.path), experiments.load(run.path)
    own = before.network("ema").state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in after.network("ema").state_dict().items())
    assert torch.equal(before.sample(steps=2, num=3).x, after.sample(steps=2, num=3).x)
    assert execute(run) == 0, "it counts as trained"
    assert model_class.from_pretrained(tmp_path / "model").to_run(tmp_path / "runs").path == run.path


def test_push_to_hub_uploads_the_same_folder(
    trained: Run, tmp_path: Path, model_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the Hub's client replaced by one that looks at what it is given."""
    seen: dict[str, Any] = {}

    class Client:
        def __init__(self, token: Any = None) -> None:
            del token

        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> str:
            seen["repo"], seen["files"] = repo_id, sorted(os.listdir(folder_path))
            return "https://example.org/commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Client)
    assert model_class.from_run(trained).push_to_hub("me/digits") == "https://example.org/commit"
    assert seen == {"repo": "me/digits", "files": ["README.md", "config.json", "model.safetensors"]}


def test_half_a_model_a_pickle_and_a_foreign_configuration_are_refused(
    trained: Run, tmp_path: Path, model_class: Any
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    model_class.from_run(trained).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["backbone.other"] = tensors.pop("backbone.x_embedder.bias")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError) as caught:
        model_class.from_pretrained(folder)
    assert "backbone.x_embedder.bias is missing" in str(caught.value)
    assert "backbone.other is not part of the network" in str(caught.value)
    with pytest.raises(UserError, match=r"is a pickle, and there is no model\.safetensors beside it: not read"):
        model_class._load_as_pickle(None, "pytorch_model.bin", "cpu", True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "backbone": {"name": "os.system"}}))
    with pytest.raises(ConfigError, match="backbone"):
        model_class.from_pretrained(folder)


def test_without_huggingface_hub_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "experiments.public.hub", raising=False)
    with pytest.raises(UserError, match=r"pip install 'fewstep\[hub\]'"):
        import experiments.public.hub  # noqa: F401
