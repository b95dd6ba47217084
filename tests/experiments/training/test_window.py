"""A window of logged numbers survives another division of the work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.training.window import Entry, merge

counts = st.integers(1, 4)


def mean(windows: list[list[Entry]], name: str) -> float:
    """What the log says: the mean over the ranks of the mean over the entries."""
    columns = [torch.stack([entry[name] for entry in window if name in entry]).mean() for window in windows]
    return float(torch.stack(columns).mean())


@given(ranks=counts, then=counts, now=counts, world=counts, steps=counts, seed=st.integers(0, 99))
def test_the_logged_means_are_the_same(ranks: int, then: int, now: int, world: int, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    windows = [
        [
            {"loss": torch.rand((), generator=generator)}
            | ({"grad_norm": torch.rand((), generator=generator)} if (i + 1) % then == 0 else {})
            for i in range(steps * then)
        ]
        for _ in range(ranks)
    ]
    merged = merge(windows, then=then, now=now)
    assert len(merged) == steps * now
    rest: list[Entry] = [{"loss": torch.tensor(0.5)}] * (now - 1) + [
        {"loss": torch.tensor(0.5), "grad_norm": torch.tensor(2.0)}
    ]
    before: list[Entry] = [{"loss": torch.tensor(0.5)}] * (then - 1) + [
        {"loss": torch.tensor(0.5), "grad_norm": torch.tensor(2.0)}
    ]
    for name in ("loss", "grad_norm"):
        expected = mean([window + before for window in windows], name)  # one more step, as it was divided
        assert mean([merged + rest] * world, name) == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_finite_stays_so() -> None:
    windows: list[list[Entry]] = [[{"loss": torch.tensor(1.0)}], [{"loss": torch.tensor(float("nan"))}]]
    assert torch.isnan(merge(windows, then=1, now=1)[0]["loss"])


def test_nothing_is_nothing() -> None:
    assert merge([[], []], then=2, now=1) == []
