"""The memory plan against arithmetic by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from backbones.layers.attention import Attention
from datamodules import DataSpec
from experiments.bench.memory import peak_bytes
from experiments.cli.app import start
from experiments.config import read, resolve
from experiments.config.checks import meta_backbone
from experiments.errors import UserError
from experiments.memory import Plan, activation_bytes, copied_bytes, gathered_bytes, local_elements, memory_plan
from experiments.training.blocks import blocks, recompute


class Block(nn.Module):
    """SiLU(Wx): keeps x and Wx."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.linear(x))


class Small(nn.Module):
    """A first layer 3 → W, K blocks, a last layer W → 3."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.spec, self.step = DataSpec((3,)), False
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])

    def forward(self, z: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        x = self.first(z)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


@given(
    width=st.integers(1, 40), depth=st.integers(1, 5), samples=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)  # fmt: skip
def test_activations_of_a_small_network_by_hand(width: int, depth: int, samples: int, dtype: torch.dtype) -> None:
    with torch.device("meta"):
        network = Small(width, depth)
    everything, checkpointed = activation_bytes(network, samples, dtype)
    # z; x and Wx of each block; what the last layer reads
    assert everything == samples * dtype.itemsize * (3 + 2 * depth * width + width)
    # z; x of each block; what the last layer reads; Wx of the one block that is computed again
    assert checkpointed == samples * dtype.itemsize * (3 + depth * width + width + width)


class OneAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spec, self.step = DataSpec((10, 8)), False
        self.attention = Attention(width=8, heads=2)

    def forward(self, z: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        return self.attention(z)


def test_attention_keeps_no_scores() -> None:
    with torch.device("meta"):
        network = OneAttention()
    everything, _ = activation_bytes(network, 3, torch.bfloat16)
    # x, q, k, v and the result, N = 10 tokens of D = 8; a float32 for each of 2 heads' rows
    assert everything == 3 * (5 * 10 * 8 * 2 + 2 * 10 * 4)


@given(rows=st.integers(1, 300), columns=st.integers(1, 5), gpus=st.integers(1, 300))
def test_the_fullest_gpu_has_the_first_chunk_of_each_parameter(rows: int, columns: int, gpus: int) -> None:
    parameter = torch.empty(rows, columns, device="meta")
    assert local_elements(parameter, gpus) == torch.chunk(torch.zeros(rows, columns), gpus)[0].numel()


def plan(*overrides: str, gpus: int = 2) -> Plan:
    asked = ["backbone=mlp", "backbone.width=16", "backbone.depth=2", "data=points", "trainer.batch_size=8"]
    return memory_plan(resolve(read(None, [*asked, *overrides])), gpus)


def mlp() -> nn.Module:
    config = resolve(read(None, ["backbone=mlp", "backbone.width=16", "backbone.depth=2", "data=points"]))
    return meta_backbone(config.backbone, config.data, step=False)


def test_states_of_a_small_network_by_hand() -> None:
    network, found = mlp(), plan("ema.decays=0.9,0.99", "ema.profiles=0.05")
    half = sum(-(-p.shape[0] // 2) * (p.numel() // p.shape[0]) for p in network.parameters())
    assert found.count == sum(p.numel() for p in network.parameters())
    assert found.count / 2 <= half < found.count / 2 + 40
    assert (found.parameters, found.gradients, found.optimizer) == (4 * half, 4 * half, 8 * half)
    assert found.averages == 4 * 3 * half
    assert found.samples == 4
    mixed = plan("trainer.precision=bf16-mixed")
    states = mixed.parameters + mixed.gradients + mixed.optimizer + mixed.averages + mixed.gathered
    assert mixed.total(checkpointing=False) == states + mixed.copies + mixed.activations
    assert mixed.total(checkpointing=True) == states + mixed.copies_checkpointed + mixed.checkpointed
    assert plan("trainer.accumulate=4").samples == 1


def test_moments_of_muon_are_one_for_its_matrices() -> None:
    matrices = sum(p.numel() for name, p in mlp().named_parameters() if p.ndim == 2 and "blocks" in name)
    assert plan("optimizer=muon", gpus=1).optimizer == plan(gpus=1).optimizer - 4 * matrices


def test_whole_weights_of_a_small_network_by_hand() -> None:
    with torch.device("meta"):
        network = Small(5, 3)
    block, rest = 5 * 5 + 5, (3 * 5 + 5) + (5 * 3 + 3)
    assert len(blocks(network)) == 3
    assert gathered_bytes(network, 4, 4, teacher=False) == 2 * 4 * (rest + 2 * block)
    assert gathered_bytes(network, 4, 2, teacher=True) == 2 * 2 * (rest + 2 * block) + 4 * 2 * block
    assert gathered_bytes(network, 1, 4, teacher=True) == 0
    assert copied_bytes(network, 2) == (2 * (3 * block + rest), 2 * (block + rest))


def test_mixed_precision_halves_activations_copies_the_weights_and_leaves_the_states() -> None:
    single, mixed = plan(), plan("trainer.precision=bf16-mixed")
    assert (mixed.parameters, mixed.optimizer, mixed.averages) == (single.parameters, single.optimizer, single.averages)
    assert 0.4 * single.activations < mixed.activations < 0.8 * single.activations
    assert (single.copies, mixed.copies) == (0, 2 * mixed.count)
    assert 0 < mixed.copies_checkpointed < mixed.copies


@pytest.mark.parametrize("backbone", ["dit", "u-vit", "mmdit", "crossdit", "mlp"])
def test_every_backbone_is_counted_and_checkpointing_keeps_less(backbone: str) -> None:
    config = resolve(read(None, [f"backbone={backbone}", "objective=shortcut", "trainer.batch_size=8"]))
    network = meta_backbone(config.backbone, config.data, step=True)
    assert len(blocks(network)) > 1
    everything, checkpointed = activation_bytes(network, 4, torch.float32)
    assert 0 < checkpointed < everything
    twice, _ = activation_bytes(network, 8, torch.float32)
    assert twice == pytest.approx(2 * everything, rel=0.02)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("backbone", ["dit", "u-vit", "mmdit", "crossdit", "mlp"])
def test_the_plan_is_what_a_real_forward_pass_keeps(backbone: str, mixed: bool) -> None:
    """Exactly in float32; in mixed precision autocast keeps some tensors in float32, which the plan does not know."""
    config = resolve(read(None, [f"backbone={backbone}"]))
    network = config.backbone.build(spec=config.data.build().spec, step=False)
    network.initialise(0)
    own, kept = {p.untyped_storage().data_ptr() for p in network.parameters()}, {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=mixed, cache_enabled=False)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        network(torch.randn(64, 1, 8, 8), torch.rand(64), {"label": torch.zeros(64, dtype=torch.int64)})
    meta, dtype = meta_backbone(config.backbone, config.data, step=False), torch.bfloat16 if mixed else torch.float32
    planned = activation_bytes(meta, 64, dtype)[0] + (copied_bytes(meta, 2)[0] if mixed else 0)
    assert planned == pytest.approx(sum(storage.nbytes() for storage in kept.values()), rel=0.1 if mixed else 1e-9)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("backbone", ["dit", "u-vit", "mmdit", "crossdit", "simpleuvit", "mlp"])
def test_the_estimate_is_near_the_peak_that_a_step_reaches(backbone: str, checkpointing: bool) -> None:
    """All that torch's allocator holds at once in a forward and a backward pass, but for weights and gradients.

    The backward pass adds the gradients of what it is at, which the estimate leaves out: at most a sixth here.
    """
    config = resolve(read(None, [f"backbone={backbone}"]))
    network = config.backbone.build(spec=config.data.build().spec, step=False)
    network.initialise(0)
    if checkpointing:
        recompute(network)
    z, t, condition = torch.randn(256, 1, 8, 8), torch.rand(256), {"label": torch.zeros(256, dtype=torch.int64)}

    def work() -> None:
        network(z, t, condition).sum().backward()

    work()  # the gradients are there from now on
    planned = activation_bytes(meta_backbone(config.backbone, config.data, step=False), 256, torch.float32)
    measured = peak_bytes(work) + z.nbytes
    assert planned[checkpointing] <= measured < 7 / 6 * planned[checkpointing]


def test_a_tenth_is_left_free() -> None:
    found = plan()
    total = found.total(checkpointing=False)
    assert found.fits(total / 0.9 + 1, checkpointing=False)
    assert not found.fits(total / 0.9 - 1, checkpointing=False)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match="3 equal parts"):
        plan(gpus=3)


def test_the_largest_model_of_sd3_is_laid_out(capsys: Any) -> None:
    d, width = 38, 64 * 38
    published = width**2 * (36 * d - 9) + width * (30 * d + 6526) + 64
    count = published + 4096 + 2048 + d * 2 * 2 * 64  # null rows of context and pooled vector; scales of QK-norm
    assert start(["describe", "--config", "sd3_8b", "--gpus", "256"]) == 0
    out = capsys.readouterr().out
    assert f"{count:,} parameters on 256 GPUs" in out
    assert "16 samples on each" in out
    shards = {line.split("  ")[0]: line.split()[-1] for line in out.splitlines() if line.split()}
    assert float(shards["parameters"]) == pytest.approx(4 * count / 256 / 1e9, abs=0.01)
    assert float(shards["optimiser's moments"]) == pytest.approx(8 * count / 256 / 1e9, abs=0.01)
    assert float(shards["gradients"]) == float(shards["averages, float32"]) == float(shards["parameters"])
    block = 36 * width**2 + 30 * width + 2 * 2 * 64  # two streams; the last block has 13 width² less, for no context
    rest = count - (d - 1) * block - (block - 13 * width**2)
    assert float(shards["gathered weights and gradients"]) == pytest.approx(2 * 4 * (rest + 2 * block) / 1e9, abs=0.01)
    assert float(shards["bfloat16 copies of the weights"]) == pytest.approx(2 * (rest + block) / 1e9, abs=0.01)
    inputs = 16 * (16 * 16 + 154) * width * 2 * d  # of each block: 16 samples' tokens of the image and of the text
    assert inputs / 1e9 < float(shards["activations (estimate)"]) < 2 * inputs / 1e9
    assert "yes" in out.splitlines()[-1]
    assert start(["describe", "--config", "sd3_8b", "--gpus", "8", "--gpu-memory", "40"]) == 0
    assert "no" in capsys.readouterr().out.splitlines()[-1].split()[-2:]
    assert start(["describe", "--config", "sd3_8b", "--gpus", "3"]) == 2
