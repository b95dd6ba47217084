"""Position codes against their formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.layers.positions import check_positions, grid_positions

CPU = torch.device("cpu")


@given(grid=st.lists(st.integers(1, 5), min_size=1, max_size=3), quarter=st.integers(1, 4))
def test_codes_are_their_formula(grid: list[int], quarter: int) -> None:
    share = 2 * quarter
    codes = grid_positions(tuple(grid), share * len(grid), device=CPU, dtype=torch.float32)
    assert codes.shape == (math.prod(grid), share * len(grid))
    cells = torch.cartesian_prod(*[torch.arange(side) for side in grid]).view(-1, len(grid))
    for cell, code in zip(cells.tolist(), codes, strict=True):
        expected: list[float] = []
        for coordinate in reversed(cell):
            angles = [coordinate / 1e4 ** (i / quarter) for i in range(quarter)]
            expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert code.tolist() == pytest.approx(expected, abs=1e-5)


def test_indivisible_width_is_refused() -> None:
    check_positions("DiT", 96, 2)
    with pytest.raises(ValueError, match=r"width=98.*allowed: multiples of 4"):
        check_positions("DiT", 98, 2)
