"""Ours and diffusers' do the same work in the bench, each is asked alone, and the bound is held in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from backbones import DiT, MMDiT
from backbones.pretrained import Sizes
from experiments.bench.backbones import BOUND, Case, Cost, Step, _line, cases, measure
from experiments.bench.timing import Paired
from experiments.cli.app import start

DOCUMENT = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
SMALL = {"patch": 2, "width": 128, "depth": 3, "heads": 2}
SMALL_CASES = [
    Case("dit", "diffusers-dit", DiT, Sizes((4, 16, 16), num_classes=5), 4,
         {**SMALL, "time_offset": -1.0, "frequency_shift": 1, "mlp_norm_eps": 1e-5}),
    Case("mmdit", "diffusers-sd3", MMDiT, Sizes((4, 16, 16), context=(9, 7), pooled=6), 4,
         {**SMALL, "max_size": 8, "learned_null": False, "qk_norm": True, "self_attention": (0,)}),
]  # fmt: skip


@pytest.fixture
def _diffusers() -> None:
    pytest.importorskip("diffusers", reason="pip install 'fewstep[test]' brings diffusers")


@pytest.mark.usefixtures("_diffusers")
@pytest.mark.parametrize("case", SMALL_CASES, ids=lambda case: case.name)
def test_a_step_holds_no_more_memory_than_diffusers(case: Case) -> None:
    found = measure(case, pairs=1)
    assert found.theirs > 2**20
    assert found.memory <= BOUND
    assert found.time.candidate[0] > 0


@pytest.mark.usefixtures("_diffusers")
@pytest.mark.parametrize("case", SMALL_CASES, ids=lambda case: case.name)
def test_work_that_differs_is_no_comparison(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case.family, "compute", lambda self, z, *_: z)
    with pytest.raises(RuntimeError, match="computes something else"):
        case.calls(torch.device("cpu"), compiled=False)


@pytest.mark.usefixtures("_diffusers")
def test_both_are_compiled_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: seen.append(type(self).__name__))
    SMALL_CASES[0].calls(torch.device("cpu"), compiled=True)
    assert seen == ["DiTTransformer2DModel", "DiT"]


def test_a_step_begins_without_gradients_and_leaves_them() -> None:
    network = nn.Linear(1000, 1000, bias=False)
    step = Step(network, lambda: network(torch.ones(1, 1000)))
    step()
    assert network.weight.grad is not None
    once = network.weight.grad.clone()
    step()
    torch.testing.assert_close(network.weight.grad, once)
    assert 4e6 <= step.peak() < 4.2e6  # the gradient of 10⁶ weights
    assert step.seconds() > 0


def test_without_diffusers_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert start(["bench", "backbones", "--pairs", "1"]) == 2
    assert "pip install 'fewstep[unet]'" in " ".join(capsys.readouterr().err.split())


def test_the_table_has_medians_and_ratios() -> None:
    cost = Cost("a", Paired("a", (1.0, 2.0, 4.0), (1.0, 3.0, 3.0)), 2**20, 3 * 2**20)
    assert _line(cost) == "| a | 2,000 | 3,000 | **1.000** | 0.750, 1.500 | 1.0 | 3.0 | **3.000** |"


def test_the_document_tells_of_every_case() -> None:
    section = DOCUMENT.split("## Backbones beside diffusers'")[1].split("\n## ")[0]
    assert all(f"| {case.name} |" in section for case in cases())


def test_cases_are_published_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Case, "network", lambda self: self.family(self.sizes, **self.options))
    with torch.device("meta"):
        counts: dict[str, Any] = {case.name: sum(p.numel() for p in case.network().parameters()) for case in cases()}
    dit, plain, full = counts.values()
    assert 32.8e6 < dit < 32.96e6
    assert full - plain == 3 * (4 * 384**2 + 4 * 384 + 3 * 384 * (384 + 1) + 2 * 64) + 6 * 4 * 64


def test_a_case_can_have_fewer_blocks() -> None:
    fewer = SMALL_CASES[1].of_depth(1)
    assert (fewer.name, fewer.options["depth"], fewer.options["self_attention"]) == ("mmdit, 1 blocks", 1, (0,))
    assert SMALL_CASES[0].of_depth(None) is SMALL_CASES[0]
