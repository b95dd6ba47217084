"""Floating-point operations against the published counts, and peaks by name."""

from __future__ import annotations

import pytest

from experiments.config import parse, resolve
from experiments.flops import flops_per_sample, forward_flops, named_peak, passes_per_sample
from objectives import ConsistencyDistillation, LiveReflow, Objective, ProgressiveDistillation, Reflow


@pytest.mark.parametrize(("name", "published"), [("DiT-S/2", 6.06), ("DiT-B/4", 5.56), ("DiT-XL/2", 118.64)])
def test_a_forward_pass_costs_what_is_published(name: str, published: float) -> None:
    """DiT's Gflops (Peebles and Xie 2022, table 4) are multiply-adds, of which each is two operations."""
    config = resolve(parse({"backbone": name, "data": "synthetic"}))
    found = forward_flops(config.backbone, config.data.build().spec, step=False)
    assert found / 2e9 == pytest.approx(published, rel=5e-3)


@pytest.mark.parametrize(("objective", "passes"), [("rf", 3.0), ("shortcut", 3 + 2 * 0.25), ("edm(-1.20,1.20)", 3.0)])
def test_a_gradient_costs_three_passes_and_a_target_one_each(objective: str, passes: float) -> None:
    config = resolve(parse({"objective": objective, "backbone": "dit", "data": "digits"}))
    built, spec = config.objective.build(), config.data.build().spec
    once = forward_flops(config.backbone, spec, step=built.needs.step)
    assert flops_per_sample(built, config.backbone, spec) == pytest.approx(passes * once)


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (ConsistencyDistillation(), 5),
        (ConsistencyDistillation(guidance=2), 6),
        (ProgressiveDistillation(), 5),
        (ProgressiveDistillation(guidance=2), 5 + 2 / 7),  # one of seven phases is guided
        (Reflow(), 3),
        (LiveReflow(), 4),
        (LiveReflow(k=0.25, steps=4, guidance=2), 5),
    ],
    ids=["consistency", "consistency, guided", "progressive", "progressive, guided", "reflow", "live", "live, guided"],
)
def test_what_learns_from_a_flow_counts_its_teachers_and_its_pairs(objective: Objective, passes: float) -> None:
    spec = resolve(parse({"data": "digits"})).data.build().spec
    assert passes_per_sample(objective, spec) == pytest.approx(passes)


@pytest.mark.parametrize(("batch", "null"), [(64, 3), (28, 1), (4, 1)])
def test_guided_null_rows_count_by_the_batch(batch: int, null: int) -> None:
    """Of 16, 7 and 1 teacher's rows, 3, 1 and 1 at most take the step 2/M, and are asked for the null condition too."""
    config = resolve(parse({"objective": {"name": "shortcut", "guidance": 2, "bias": 0}, "data": "digits"}))
    built, spec = config.objective.build(), config.data.build().spec
    found = passes_per_sample(built, spec, batch=batch)
    assert found == pytest.approx(3 + 2 * (batch / 4 + null) / batch)


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989e12),
        ("NVIDIA H100 PCIe", "bf16-mixed", 756e12),
        ("NVIDIA A100-SXM4-80GB", "bf16-true", 312e12),
        ("NVIDIA A100-SXM4-80GB", "32-true", 19.5e12),
        ("NVIDIA A100-SXM4-80GB", "64-true", None),
        ("NVIDIA L40S", "bf16-mixed", 362e12),
        ("NVIDIA GeForce GTX 1080", "bf16-mixed", None),
    ],
)
def test_the_peak_of_a_device_goes_by_its_name(name: str, precision: str, expected: float | None) -> None:
    assert named_peak(name, precision) == expected
