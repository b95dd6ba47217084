"""Validation losses: every row of the split counts once, however many processes share the rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules.base import DataModule
from experiments.components import build
from experiments.config import parse, resolve
from experiments.evaluation import validation
from experiments.evaluation.validation import validation_losses

ROWS = 37


class Few:
    """The first rows of the validation split."""

    def __init__(self, data: DataModule):
        self.whole = data.dataset("validation")

    def dataset(self, split: str) -> Few:
        assert split == "validation"
        return self

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, rows: Tensor) -> Any:
        assert int(rows.max()) < ROWS
        return self.whole[rows]


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("batch", [5, 64])
@pytest.mark.parametrize("num", [None, 11])
def test_an_uneven_split_counts_once_on_any_number_of_processes(
    ranks: int, batch: int, num: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = build(resolve(parse({"objective": "rf", "backbone": {"name": "mlp", "width": 16}, "data": "points"})))
    data: Any = Few(parts.data)
    asked: list[int] = []

    def network(*args: Any, **named: Any) -> Tensor:
        asked[-1] += 1
        return parts.backbone(*args, **named)

    def losses(rank: int | None) -> Tensor:
        asked.append(0)
        monkeypatch.setattr(validation.dist, "is_initialized", lambda: rank is not None)
        monkeypatch.setattr(validation.dist, "get_rank", lambda: rank)
        device = torch.device("cpu")
        found = validation_losses(parts.objective, network, data, device=device, batch_size=batch, num=num, world=True)
        return torch.tensor(found, dtype=torch.float64)

    monkeypatch.setattr(validation.dist, "get_world_size", lambda: ranks)
    monkeypatch.setattr(validation.dist, "all_reduce", lambda sums: None)
    whole = losses(None)
    torch.testing.assert_close(sum(losses(rank) for rank in range(ranks)), whole, rtol=1e-6, atol=0)
    assert len(set(asked[1:])) == 1, "ranks that ask the network unequally often wait for one another for ever"


def test_the_first_rows_may_stand_for_the_split() -> None:
    parts = build(resolve(parse({"objective": "rf", "backbone": {"name": "mlp", "width": 16}, "data": "points"})))
    short: Any = Few(parts.data)
    cpu, size = torch.device("cpu"), len(short.dataset("validation"))
    assert size < len(parts.data.dataset("validation"))
    first = validation_losses(parts.objective, parts.backbone, parts.data, device=cpu, num=size)
    assert first == validation_losses(parts.objective, parts.backbone, short, device=cpu, num=10**6)
    assert first != validation_losses(parts.objective, parts.backbone, parts.data, device=cpu)
