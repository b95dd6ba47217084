"""Every registered backbone passes the kit; the kit rejects planted faults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from backbones import MLP, Backbone, CrossDiT, DiT, MMDiT, UViT
from backbones.base import Complete
from backbones.conformance import BackboneConformance
from backbones.initialisation import normal, zeros
from backbones.simple_uvit import SimpleUViT

ELSEWHERE = {"UNet"}
"""Registered backbones that need an extra: their test stands where it is known to be installed."""


class OnPatches(BackboneConformance):
    """A family on patches of two, of width 16."""

    family: ClassVar[type[Backbone]]
    options: ClassVar[dict[str, Any]] = {}
    resized = ((1, 6, 4), (1, 2, 2), (1, 8, 6))
    refused_shapes = (*BackboneConformance.refused_shapes, (1, 5, 6), (1, 4, 0))

    def backbone(self, spec: Any, *, step: bool) -> Backbone:
        size = {"patch": 2, "width": 16, "depth": 2, "heads": 2}
        return self.family(spec, step=step, **{**size, **self.options})


class TestDiT(OnPatches):
    family = DiT


class TestCrossDiT(OnPatches):
    family = CrossDiT


class TestCrossDiTWithSharedModulation(OnPatches):
    family = CrossDiT
    options: ClassVar[dict[str, Any]] = {"shared_adaln": True}


class TestUViT(OnPatches):
    family = UViT
    ordered = True


class TestMMDiT(OnPatches):
    family = MMDiT


class TestMMDiTWithEverything(OnPatches):
    """Normed queries and keys, patches that attend to one another alone, cropped positions."""

    family = MMDiT
    options: ClassVar[dict[str, Any]] = {
        "qk_norm": True,
        "self_attention": (0,),
        "max_size": 6,
        "position_scale": 0.5,
        "position_offset": 1.5,
    }
    unread = ("joint_blocks.1.context_block.attn.ln_q.weight",)


class TestMMDiTOfThreeSets(OnPatches):
    family = MMDiT
    options: ClassVar[dict[str, Any]] = {"sets": 3, "qk_norm": True}
    takes = MMDiT.takes
    sections = (2, 3)
    unread = ("joint_blocks.1.*context_block.attn.ln_q.weight",)

    def specs(self) -> list[Any]:
        return [spec for spec in super().specs() if spec.context]

    def test_each_section_has_weights_of_its_own(self) -> None:
        named = dict(self.backbone(self.specs()[0], step=False).named_parameters())
        first = {name for name in named if ".context_block." in name or name.startswith("context_embedder")}
        assert first == {name.replace("second_", "") for name in named if "second_" in name}


class TestSequences(OnPatches):
    family = DiT
    shapes = ((2, 8),)
    resized = ((2, 4), (2, 12))
    refused_shapes = ((2, 8, 8), (3, 8), (2, 7))


class TestVideo(OnPatches):
    family = MMDiT
    options: ClassVar[dict[str, Any]] = {"width": 24}
    shapes = ((2, 2, 4, 4),)
    resized = ((2, 4, 2, 6),)
    refused_shapes = ((2, 2, 4), (3, 2, 4, 4), (2, 3, 4, 4))


class TestSimpleUViT(BackboneConformance):
    shapes = ((1, 8, 8), (3, 8, 4))
    resized = ((1, 4, 8), (1, 12, 4))

    def backbone(self, spec: Any, *, step: bool) -> Backbone:
        return SimpleUViT(spec, step=step, channels=(8, 12), width=16, depth=2, heads=2)


class TestMLP(BackboneConformance):
    shapes = ((2,), (1, 4, 4))
    refused_shapes = ((3,), (2, 1))

    def backbone(self, spec: Any, *, step: bool) -> Backbone:
        return MLP(spec, step=step, width=16, depth=2)


def kits() -> list[type[BackboneConformance]]:
    return [kit for kit in globals().values() if isinstance(kit, type) and issubclass(kit, BackboneConformance)]


def test_every_registered_backbone_is_tested(make_spec: Any) -> None:
    table = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    registered = table["project"]["entry-points"]["fewstep.backbones"]
    tested = set()
    for kit in kits():
        if kit not in (BackboneConformance, OnPatches):
            network = kit().backbone(kit().specs()[0], step=False)
            tested.add(f"{type(network).__module__}:{type(network).__qualname__}")
    assert {target for name, target in registered.items() if name not in ELSEWHERE} <= tested


class Wrong(Backbone):
    """A linear network with one fault of choice."""

    takes: ClassVar[tuple[str, ...]] = ("label", "context", "pooled")
    fault: ClassVar[str] = ""
    rules = (("out.*", zeros), ("*", normal(0.1)))

    def __init__(self, spec: Any, *, step: bool = False) -> None:
        super().__init__(spec, step=step)
        channels = spec.shape[0]
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.time = nn.Linear(1, 8)
        self.place = nn.Parameter(torch.zeros(8, *spec.shape[1:]))
        self.label = nn.Embedding(spec.num_classes + 1, 8) if spec.num_classes else None
        self.pooled = nn.Linear(spec.pooled + 1, 8) if spec.pooled else None
        self.context = nn.Linear(spec.context[1] + 1, 8) if spec.context else None
        self.steps = nn.Linear(1, 8, bias=False) if step else None
        self.rules = (("steps.*", normal(0.1) if self.fault == "loud step" else zeros), *Wrong.rules)
        if self.fault == "starts anywhere":
            self.rules = self.rules[:1] + self.rules[2:]
        self.unused = nn.Parameter(torch.zeros(2)) if self.fault == "unused parameter" else None
        if self.fault == "buffer":
            self.register_buffer("table", torch.ones(1))
        self.out = nn.Conv2d(8, channels, 1)

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        times = t.to(z.dtype) if self.fault == "times in bfloat16" else t
        y = self.time(torch.stack([(20 * times).sin()], dim=1).to(z.dtype))
        value, drop = condition.value, {part: d.to(z.dtype)[:, None] for part, d in condition.drop.items()}
        if self.label is not None:
            label = value["label"] if self.fault == "null label" else torch.where(
                condition.drop["label"], self.spec.num_classes, value["label"]
            )  # fmt: skip
            y = y + self.label(label)
        if self.pooled is not None:
            y = y + self.pooled(torch.cat([value["pooled"] * (1 - drop["pooled"]), drop["pooled"]], dim=1))
        if self.context is not None:
            y = y + self.context(self._mean(value, drop["context"]))
        if self.steps is not None and step is not None:
            y = y + self.steps((step[:, None] + 1e-3).log().to(z.dtype))
        x = self.first(z) * (1 + y[:, :, None, None]) + self.place
        if self.fault == "rows mixed":
            x = x - x.mean(0)
        if self.fault == "graph break" and float(x.sum()) > 1e9:
            return z
        if self.fault == "detached":
            x = x.detach() + y[:, :, None, None] * 0.1 + self.first.weight.sum() + self.first.bias.sum() + self.place
        return self.out(x.tanh())

    def _mean(self, value: dict[str, Tensor], drop: Tensor) -> Tensor:
        mask = value.get("context_mask")
        weight = torch.ones_like(value["context"][..., :1]) if mask is None else mask[..., None].to(drop.dtype)
        if self.fault == "mask ignored":
            weight = torch.ones_like(weight)
        context = torch.where(weight > 0, value["context"], 0.0)
        drop = torch.maximum(drop, (weight.sum(1) == 0).to(drop.dtype))
        mean = context.sum(1) / (weight.shape[1] if self.fault == "padding counted" else weight.sum(1).clamp(min=1))
        return torch.cat([mean * (1 - drop), drop], dim=1)


FAULTS = {
    "rows mixed": "test_rows_are_independent",
    "null label": "test_dropped_rows_are_null_rows",
    "mask ignored": "test_masked_context_does_not_matter",
    "padding counted": "test_masked_context_does_not_matter",
    "starts anywhere": "test_output_is_exactly_zero_at_the_start",
    "unused parameter": "test_every_parameter_gets_a_gradient",
    "loud step": "test_step_is_read_where_it_was_asked_for",
    "graph break": "test_it_compiles_without_a_graph_break",
    "times in bfloat16": "test_times_are_coded_in_float32_whatever_the_weights_are",
    "buffer": "test_it_holds_parameters_alone_and_they_follow_seed_and_name",
    "detached": "test_forward_derivative_is_that_of_the_output",
}


def planted(fault: str) -> BackboneConformance:
    family = type("Planted", (Wrong,), {"fault": fault, "__doc__": "A fault."})
    return type("Kit", (BackboneConformance,), {"backbone": lambda self, spec, *, step: family(spec, step=step)})()


@pytest.mark.parametrize("test", sorted(set(FAULTS.values())))
def test_without_a_fault_the_stand_in_passes(test: str) -> None:
    getattr(planted(""), test)()


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_rejected(fault: str) -> None:
    with pytest.raises(BaseException):  # noqa: B017, PT011 (an assertion, or a group of the failures that Hypothesis found)
        getattr(planted(fault), FAULTS[fault])()
