"""Guidance of some rows: what their null rows are asked."""

from __future__ import annotations

import torch

from objectives.shortcut_guidance import guided_rows


def test_parts_of_a_condition_are_dropped_together():
    """A condition with a column of `drop` for each of its parts has them all dropped in a null row."""
    asked = []

    def network(z, t, condition, step):
        asked.append(condition["drop"])
        return z

    drop = torch.tensor([[True, False], [False, False], [True, True]])
    ones = torch.ones(3)
    guided = guided_rows(network, 2.5, torch.tensor([False, True, True]), 2)
    guided(torch.zeros(3, 2), ones, {"drop": drop, "label": ones}, ones)
    assert torch.equal(asked[0], torch.cat((drop, torch.ones(2, 2, dtype=torch.bool))))
