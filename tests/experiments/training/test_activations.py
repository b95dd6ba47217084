"""Activations and attention logits against direct computation, on every backbone with attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Callback, LightningModule, Trainer

from experiments.config import ConfigError
from experiments.console import Reporter
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.activations import Watch, largest_logit
from experiments.training.blocks import blocks
from experiments.training.fit import fit
from experiments.training.module import TrainingModule

MakeRun = Callable[..., Run]
SIZE = {"data": "digits", "backbone__width": 32, "backbone__depth": 2, "backbone__heads": 2}


@given(st.integers(1, 600), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_the_largest_logit_is_that_of_the_whole_matrix(queries: int, keys: int, masked: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(2, 3, n, 4, generator=generator) for n in (queries, keys))
    mask = torch.rand(2, 1, 1, keys, generator=generator) < 0.5 if masked else None
    logits = (q @ k.transpose(-1, -2) / 2).abs()
    expected = (logits if mask is None else logits * mask).max()
    torch.testing.assert_close(largest_logit(q, k, attn_mask=mask), expected)


class Outputs(Callback):
    """The mean square of what each block puts out in a step, by hooks of its own."""

    def __init__(self) -> None:
        self.squares: dict[int, list[float]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        for block in blocks(pl_module.backbone):
            block.register_forward_hook(self._keep(pl_module))

    def _keep(self, module: TrainingModule) -> Callable[..., None]:
        def keep(block: Any, inputs: Any, output: Any) -> None:
            both = output if isinstance(output, tuple) else (output,)
            rows = torch.cat([part.detach().flatten() for part in both])
            if module.trainer.training and torch.is_grad_enabled():
                self.squares.setdefault(module.step + 1, []).append(float(rows.square().mean()))

        return keep


@pytest.mark.parametrize("backbone", ["dit", "u-vit", "mmdit", "crossdit"])
@pytest.mark.parametrize("recomputed", [False, True])
def test_logged_steps_tell_of_every_block(make_run: MakeRun, backbone: str, recomputed: bool) -> None:
    settings = {"trainer__activation_stats": True, "trainer__activation_checkpointing": recomputed}
    run, kept = make_run(objective="shortcut", backbone=backbone, **SIZE, **settings), Outputs()
    fit(run, stop=Stop(), reporter=Reporter("none"), extra=[kept])
    found = {(step, name): value for step, name, value in run.metrics() if name.startswith("activations/")}
    assert {step for step, _ in found} == {5, 10, 12}
    for step in (5, 10, 12):
        squares = kept.squares[step]
        for i, square in enumerate(squares):
            assert found[step, f"activations/rms_{i}"] == pytest.approx(square**0.5, rel=1e-5)
            assert found[step, f"activations/attention_logit_max_{i}"] > 0
        own = [value for (s, name), value in found.items() if s == step and "logit_max_" in name]
        assert len(own) == len(squares)
        assert found[step, "activations/attention_logit_max"] == max(own)


def test_the_logits_of_a_block_are_its_own_attentions(make_run: MakeRun) -> None:
    from experiments.components import build

    network = build(make_run(backbone="dit", objective="rf", **SIZE).config).backbone
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    inputs: list[torch.Tensor] = []
    for block in blocks(network):
        block.attn.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))  # pyright: ignore
    watch = Watch(network)
    watch.start()
    label = {"label": torch.arange(4), "drop": torch.zeros(4, dtype=torch.bool)}
    network(torch.randn(4, 1, 8, 8, generator=generator), torch.rand(4, generator=generator), label)
    one = torch.full((1, 1, 2, 8), 1e3)
    torch.nn.functional.scaled_dot_product_attention(one, one, one)  # a teacher's, say: inside none of the blocks
    watch.stop()
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in blocks(network))
    network(torch.randn(4, 1, 8, 8, generator=generator), torch.rand(4, generator=generator), label)
    for block, tokens, logit in zip(blocks(network), inputs[:2], watch.logits, strict=True):
        q, k, _ = block.attn.split(tokens)  # pyright: ignore
        expected = float((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).abs().max().detach())
        assert float(logit) == pytest.approx(expected, rel=1e-5)


class Hooks(Callback):
    """How many hooks the blocks have after a step's backward pass."""

    def __init__(self) -> None:
        self.left: list[int] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.left.append(sum(len(block._forward_hooks) for block in blocks(pl_module.backbone)))


def test_they_change_nothing_and_are_refused_of_a_compiled_network(make_run: MakeRun) -> None:
    runs = [make_run(str(on), backbone="dit", trainer__activation_stats=on, **SIZE) for on in (False, True)]
    losses = []
    for run in runs:
        hooks = Hooks()
        fit(run, stop=Stop(), reporter=Reporter("none"), extra=[hooks])
        assert hooks.left == [0] * 12
        losses.append([value for _, name, value in run.metrics() if name == "train/loss"])
    assert losses[0] == losses[1]
    with pytest.raises(ConfigError, match=r"activation_stats: .*compile"):
        make_run(trainer__activation_stats=True, trainer__compile=True)
