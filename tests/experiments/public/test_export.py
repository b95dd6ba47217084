"""Runs written for others' code: their layout, types, shards, and what that code would get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from experiments.cli import main
from experiments.errors import UserError
from experiments.execute import execute
from experiments.public.exporting import export_weights
from experiments.public.files import read
from experiments.runs import Run

TINY = {"patch": 4, "width": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def trained(small_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A DiT trained here on digits by rectified flow."""
    run = small_run(
        tmp_path_factory.mktemp("runs"), backbone={"name": "DiT", **TINY}, data="digits", trainer__max_steps=2
    )
    assert execute(run) == 0
    return run


def test_a_run_of_another_objective_is_not_taken_for_the_layouts(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        export_weights(trained, "dit", out=tmp_path / "w.safetensors")
    assert "the output means what rf says; facebookresearch/DiT takes it for the noise" in str(caught.value)
    with pytest.raises(UserError) as caught:
        export_weights(trained, "sit", out=tmp_path / "w.safetensors")
    assert "time_scale=1000: willisma/SiT has -1" in str(caught.value)
    assert "time_offset=0: willisma/SiT is fed 1 − t" in str(caught.value)
    assert not (tmp_path / "w.safetensors").exists()
    written = export_weights(trained, "dit", out=tmp_path / "w.safetensors", anyhow=True)
    assert load_file(written)["pos_embed"].shape == (1, 4, 16)


def test_the_header_tells_where_the_weights_come_from(trained: Run, tmp_path: Path) -> None:
    written = export_weights(trained, "dit", weights="raw", out=tmp_path / "w.safetensors", anyhow=True)
    with safe_open(written, "pt") as opened:
        told = opened.metadata()
    assert told["run"] == trained.path.name
    assert (told["weights"], told["step"], told["layout"], told["format"]) == ("raw", "2", "dit", "pt")


def test_another_family_is_refused_with_its_layouts(trained: Run, small_run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--as uvit is for U-ViT; .* holds DiT: its layouts are dit, sit, diff"):
        export_weights(trained, "uvit")
    with pytest.raises(UserError, match="holds MLP: no layout has that"):
        export_weights(small_run(tmp_path), "dit")
    with pytest.raises(UserError, match="--dtype float8: known are float32, float16, bfloat16"):
        export_weights(trained, "dit", dtype="float8")
    with pytest.raises(UserError, match=r"known: dit, sit, uvit, sd3, diffusers-dit, diffusers-sd3"):
        export_weights(trained, "pixart")


@pytest.mark.parametrize("name", ["dit", "diffusers-sd3"])
def test_shards_hold_what_one_file_holds(bring: Any, tmp_path: Path, name: str) -> None:
    run = bring(name).run
    whole = read(export_weights(run, name, out=tmp_path / "whole" / "w.safetensors"))
    written = export_weights(run, name, out=tmp_path / "parts" / "w.safetensors", shard=20_000)
    files = sorted((written if written.is_dir() else written.parent).glob("*.safetensors"))
    assert len(files) > 2
    assert files[1].name.endswith(f"-00002-of-{len(files):05d}.safetensors")
    assert all(file.stat().st_size < 20_000 + 8192 for file in files)
    parts = read(written)
    assert set(parts.tensors) == set(whole.tensors)
    assert all(torch.equal(parts.tensors[key], tensor) for key, tensor in whole.tensors.items())
    again = bring(name, file=written)
    assert again.run.path == run.path, "shards of the same tensors are the same origin"


def test_half_precision(bring: Any, tmp_path: Path) -> None:
    run = bring("uvit").run
    half = load_file(export_weights(run, "uvit", out=tmp_path / "w.safetensors", dtype="bfloat16"))
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16}
    assert torch.equal(half["pos_embed"], load_file(export_weights(run, "uvit"))["pos_embed"].bfloat16())


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_commands(public_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["backbone.heads=2", "data.size=8", "--runs", str(tmp_path)]
    assert command("import", str(public_file("uvit")), "--as", "UViT", *given) == 0
    out, err = capsys.readouterr()
    run = Path(out.strip())
    assert run.parent == tmp_path
    assert run.name.startswith("uvit-")
    assert "heads" not in err
    assert command("export", str(run), "--as", "uvit", "--out", str(tmp_path / "w.safetensors")) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "w.safetensors")
    before, after = load_file(public_file("uvit")), load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    assert command("import", str(tmp_path / "none.pt"), "--as", "dit", *given) == 2
    assert "there is no file" in capsys.readouterr().err
    assert command("sample", str(run), "--steps", "1", "--num", "2") == 0
