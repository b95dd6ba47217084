"""Precision, recomputed blocks and compiled networks change how, not what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from typing import Any

import pytest
import torch

from experiments.components import build
from experiments.console import Reporter
from experiments.execute import execute
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.blocks import blocks, recompute
from experiments.training.fit import fit
from experiments.training.module import TrainingModule

MakeRun = Callable[..., Run]
QUIET = Reporter("none")
SMALL = {"backbone__width": 32, "backbone__depth": 2, "backbone__heads": 2, "data": "digits"}


def trained(run: Run) -> dict[str, Any]:
    fit(run, stop=Stop(), reporter=QUIET)
    return checkpoints.newest(run.checkpoints).state


def losses(run: Run) -> list[float]:
    return [value for _, name, value in run.metrics() if name == "train/loss"]


def test_true_bfloat16_keeps_averages_and_times_in_float32(make_run: MakeRun) -> None:
    run, full = (make_run(trainer__precision=p, backbone="dit", **SMALL) for p in ("bf16-true", "32-true"))
    state = trained(run)
    trained(full)
    assert {tensor.dtype for tensor in state["backbone"].values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in state["emas"][0].values()} == {torch.float32}
    assert losses(run) == pytest.approx(losses(full), rel=2e-2)
    assert losses(run) != losses(full)
    assert run.path != full.path


def test_times_are_told_apart_in_true_bfloat16(make_run: MakeRun) -> None:
    """Two times that are one number in bfloat16 have codes of their own."""
    run = make_run(trainer__precision="bf16-true", backbone="dit", **SMALL)
    parts = build(run.config)
    seen: list[torch.Tensor] = []
    module = TrainingModule(run.config, parts.objective, parts.backbone, parts.data.augment)
    module.backbone.get_submodule("t_embedder.mlp").register_forward_hook(lambda m, given, out: seen.append(given[0]))
    t = torch.tensor([0.8985, 0.9])
    assert t.bfloat16()[0] == t.bfloat16()[1]
    module.backbone(torch.zeros(2, 1, 8, 8), t, None)
    assert seen[0].dtype == torch.bfloat16
    assert not torch.equal(seen[0][0], seen[0][1])


def test_float64_is_float64_throughout(make_run: MakeRun) -> None:
    state = trained(make_run(trainer__precision="64-true"))
    for part in ("backbone", "emas", "optimizer"):
        dtypes = {tensor.dtype for tensor in tensors(state[part]) if tensor.ndim}
        assert dtypes == {torch.float64}, part


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, dict | list):
        return [each for item in (value.values() if isinstance(value, dict) else value) for each in tensors(item)]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize(("backbone", "count"), [("dit", 2), ("u-vit", 3), ("mmdit", 2), ("crossdit", 2)])
def test_every_block_is_found_once(make_run: MakeRun, backbone: str, count: int) -> None:
    assert len(blocks(build(make_run(backbone=backbone, **SMALL).config).backbone)) == count


@pytest.mark.parametrize("backbone", ["dit", "u-vit", "mmdit", "crossdit"])
def test_recomputed_blocks_keep_less_and_give_the_same_gradients(make_run: MakeRun, backbone: str) -> None:
    network = build(make_run(backbone=backbone, **SMALL).config).backbone
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    z, t, label = torch.randn(4, 1, 8, 8), torch.rand(4), {"label": torch.arange(4)}

    def measured() -> tuple[dict[str, torch.Tensor], int]:
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        network.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = network(z, t, label)
        out.square().mean().backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}, kept

    plain, kept = measured()
    recompute(network)
    again, kept_less = measured()
    assert kept_less < 0.7 * kept
    assert plain.keys() == again.keys()
    for name, grad in plain.items():
        assert torch.equal(grad, again[name]), name


def test_recomputed_blocks_are_the_same_run(make_run: MakeRun) -> None:
    plain = make_run("plain", backbone="dit", **SMALL)
    again = make_run("again", backbone="dit", trainer__activation_checkpointing=True, **SMALL)
    assert plain.path.name == again.path.name
    one, other = trained(plain)["backbone"], trained(again)["backbone"]
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_a_compiled_network_trains_the_same(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backend that generates no code; weights keep their names, and the teacher is compiled too."""
    monkeypatch.setattr(
        TrainingModule, "compile_networks", partialmethod(TrainingModule.compile_networks, backend="eager")
    )
    plain = make_run("plain", objective="shortcut", backbone="dit", **SMALL)
    fast = make_run("fast", objective="shortcut", backbone="dit", trainer__compile=True, **SMALL)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    assert execute(fast) == execute(plain) == 0
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] >= 2
    assert not counters["graph_break"]
    one, other = (checkpoints.newest(run.checkpoints).state["backbone"] for run in (plain, fast))
    assert one.keys() == other.keys()
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
