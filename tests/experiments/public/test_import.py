"""Runs made of public checkpoints: they sample, training goes on from them, and they are written back bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import experiments
from backbones.pretrained import LAYOUTS
from experiments import runs
from experiments.config import ConfigError, read, resolve
from experiments.errors import UserError
from experiments.execute import execute
from experiments.public.exporting import export_weights
from experiments.public.importing import import_weights
from experiments.runs import Run

NAMES = list(LAYOUTS)
QUICK = ["trainer.threads=1", "trainer.batch_size=4", "trainer.trackers=csv", "evaluation.num=4", "evaluation.steps=[]"]


@pytest.mark.parametrize("name", NAMES)
def test_an_imported_run_samples_with_the_weights_of_the_file(bring: Any, public_network: Any, name: str) -> None:
    run = bring(name).run
    loaded = experiments.load(run.path)
    for weights in ("ema", "raw"):
        state = loaded.network(weights).state_dict()
        assert all(torch.equal(state[key], tensor) for key, tensor in public_network(name).state_dict().items())
    drawn = loaded.sample(steps=2, num=3, grid=loaded.config.evaluation.grid, solver=loaded.config.evaluation.solver)
    assert drawn.x.shape == (3, 4, 8, 8)
    assert bool(drawn.x.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_import_then_export_is_the_file_bit_for_bit(bring: Any, public_file: Any, name: str) -> None:
    file = public_file(name)
    written = export_weights(bring(name).run, name)
    if written.is_dir():
        assert (written / "config.json").read_text() == (file / "config.json").read_text()
        file, written = (folder / "diffusion_pytorch_model.safetensors" for folder in (file, written))
    before, after = load_file(file), load_file(written)
    assert set(before) == set(after)
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


def test_the_same_tensors_are_the_same_run_and_others_another(tmp_path: Path, bring: Any, public_file: Any) -> None:
    first, file = bring("dit").run, tmp_path / "moved.safetensors"
    tensors = load_file(public_file("dit"))
    save_file(tensors, file)
    moved = bring("dit", file=file, root="elsewhere").run
    assert first.path.name == moved.path.name
    assert str(tmp_path) not in moved.config_file.read_text()
    tensors["final_layer.linear.bias"][0] += 1
    save_file(tensors, file)
    other = bring("dit", file=file, root="elsewhere").run
    assert other.path != moved.path
    assert other.config.origin != moved.config.origin
    assert bring("dit", file=file, root="elsewhere").run.path == other.path
    assert len(list(other.checkpoints.iterdir())) == 1


def test_training_goes_on_from_an_imported_run(bring: Any) -> None:
    parent = bring("sit").run
    child = runs.child(parent, resolve(read(parent.config_file, ["trainer.max_steps=3", "optimizer.lr=1e-30", *QUICK])))
    assert execute(child) == 0
    assert child.done is not None
    assert child.done["step"] == 3
    before, after = (experiments.load(run.path).network("raw").state_dict() for run in (parent, child))
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items()), "such a rate leaves the weights"


def test_an_imported_run_is_not_trained_under_its_own_name(bring: Any) -> None:
    run = bring("sit", *QUICK).run
    assert execute(run) == 0
    assert run.done is not None
    assert run.done["step"] == 1
    assert list(run.metrics()) == []


def test_a_configuration_with_an_origin_does_not_train_from_the_seed(tmp_path: Path, bring: Any) -> None:
    imported = bring("sit").run
    fresh = Run.create(imported.config, tmp_path / "elsewhere")
    assert execute(fresh) == 2
    assert "its first weights are those of a file" in fresh.status["message"]
    assert resolve(read(imported.config_file, ["origin=null"])).hash != imported.config.hash


def test_averaged_and_trained_weights_of_one_file(
    tmp_path: Path, bring: Any, public_file: Any, public_network: Any
) -> None:
    theirs, bias = load_file(public_file("dit")), "x_embedder.proj.bias"
    torch.save({"model": {**theirs, bias: theirs[bias] + 1}, "ema": theirs}, tmp_path / "w.pt")
    loaded = experiments.load(bring("dit", file=tmp_path / "w.pt").run.path)
    own = public_network("dit").state_dict()[bias]
    assert torch.equal(loaded.network("ema").state_dict()[bias], own)
    assert torch.equal(loaded.network("raw").state_dict()[bias], own + 1)


def test_what_does_not_fit_is_told(tmp_path: Path, bring: Any, public_file: Any) -> None:
    with pytest.raises(UserError, match=r"--as di: no layout is called so \(did you mean dit\?\); known: dit, sit, uv"):
        import_weights(public_file("dit"), "di", root=tmp_path)
    with pytest.raises(UserError, match=r"does not tell all that is needed:\n  .*: give backbone\.heads=…"):
        import_weights(public_file("dit"), "dit", root=tmp_path)
    with pytest.raises(UserError, match=r"is no checkpoint of baofff/U-ViT:\n  patch_embed\.proj\.weight is missing"):
        import_weights(public_file("dit"), "uvit", root=tmp_path)
    tensors = load_file(public_file("dit"))
    del tensors["blocks.0.attn.qkv.weight"]
    tensors["blocks.1.mlp.fc2.bias"] = tensors["blocks.1.mlp.fc2.bias"][:3]
    tensors["blocks.1.extra"] = torch.zeros(2)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(UserError) as caught:
        bring("dit", file=tmp_path / "w.safetensors")
    for line in (
        "blocks.0.attn.qkv.weight 48×16 is missing", "blocks.1.extra 2 has no place",
        "blocks.1.mlp.fc2.bias is 3, expected 16",
    ):  # fmt: skip
        assert f"\n  {line}" in str(caught.value)
    assert not [entry for entry in tmp_path.iterdir() if entry.is_dir()], "nothing is written where it is refused"


def test_a_context_of_another_width_is_refused(bring: Any) -> None:
    with pytest.raises(UserError, match=r"context_embedder\.weight is 16×7, expected 16×9"):
        bring("diffusers-sd3", "data.context=5,9")
    network = experiments.load(bring("diffusers-sd3").run.path).network()
    condition = {"context": torch.zeros(2, 5, 9), "pooled": torch.zeros(2, 6)}
    with pytest.raises(
        ValueError, match=r"condition\['context'\] has shape \(2, 5, 9\); this backbone takes \(2, any, 7"
    ):
        network(torch.zeros(2, 4, 8, 8), torch.zeros(2), condition)


def test_another_objective_can_be_given(bring: Any) -> None:
    assert bring("dit", "objective=eps/cos").run.config.objective.label == "eps/cos"
    with pytest.raises(UserError, match=r"the network here has step_embedder\.mlp\.0\.weight, which willisma/SiT ha"):
        bring("sit", "objective=shortcut")
    with pytest.raises(ConfigError, match=r"backbone\.heads"):
        bring("dit", "backbone.heads=many")
    with pytest.raises(UserError, match=r"--as dit: its network is a DiT, given backbone=U-ViT"):
        bring("dit", "backbone=U-ViT-S/2")


def test_what_the_file_does_not_tell_is_said(tmp_path: Path, public_file: Any) -> None:
    made = import_weights(public_file("sd3"), "sd3", overrides=["data.size=8"], root=tmp_path)
    told = "\n".join(made.notices)
    assert "context: the file does not tell it; taken: 154 tokens" in told
    assert "heads: " in told
    given = import_weights(public_file("sd3"), "sd3", overrides=["data.size=8", "data.context=9,7"], root=tmp_path)
    assert not any(notice.startswith("context") for notice in given.notices)


def test_tensors_of_other_networks_and_the_prefix_are_left_out(tmp_path: Path, bring: Any, public_file: Any) -> None:
    tensors, alone = load_file(public_file("sd3")), bring("sd3").run
    save_file({**tensors, "first_stage_model.encoder.weight": torch.zeros(3)}, tmp_path / "all.safetensors")
    made = bring("sd3", file=tmp_path / "all.safetensors")
    assert "1 tensors of other networks were left out" in made.notices
    assert alone.path == made.run.path, "the run is its network's"
    bare = {key.removeprefix("model.diffusion_model."): tensor for key, tensor in tensors.items()}
    save_file(bare, tmp_path / "bare.safetensors")
    assert bring("sd3", file=tmp_path / "bare.safetensors").run.path == alone.path
