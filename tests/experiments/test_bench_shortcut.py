"""The memory bench counts to the byte, and a shortcut step takes hardly more than flow matching's."""

from __future__ import annotations

import torch

from experiments.bench.memory import peak_bytes
from experiments.bench.shortcut import measure_memory

MEGABYTE = 2**20


def test_the_peak_is_the_most_that_is_held_at_once() -> None:
    kept = []

    def work() -> None:
        first = torch.empty(3 * MEGABYTE, dtype=torch.uint8)
        del first
        kept.append(torch.empty(2 * MEGABYTE, dtype=torch.uint8))
        second = torch.empty(4 * MEGABYTE, dtype=torch.uint8)
        del second

    assert peak_bytes(work) == 6 * MEGABYTE
    assert peak_bytes(lambda: None) == 0


def test_what_autograd_keeps_is_counted() -> None:
    weight = torch.ones(1000, dtype=torch.float64, requires_grad=True)

    def work(times: int) -> None:
        out = weight
        for _ in range(times):
            out = out.sin()
        out.sum().backward()
        weight.grad = None

    grown = peak_bytes(lambda: work(20)) - peak_bytes(lambda: work(10))
    assert grown == 10 * 8000


def test_a_shortcut_step_needs_hardly_more_memory_than_flow_matchings() -> None:
    found = list(measure_memory("dit", None, batch=64, threads=1))
    assert [case.name.partition(",")[0] for case in found] == ["shortcut"] * 3
    for case in found:
        assert case.flow > 10 * MEGABYTE
        assert case.flow < case.other < 1.05 * case.flow, case
