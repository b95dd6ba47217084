"""The tables of positions: their formula, and their coordinates read back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.layers.positions import grid_positions
from backbones.pretrained.grids import coordinates, square_table


def test_a_table_is_its_formula() -> None:
    table = square_table(3, 8, scale=0.5, offset=1.0)[0]
    for cell in range(9):
        row, column = (cell // 3 - 1) * 0.5, (cell % 3 - 1) * 0.5
        angles = [column, column / 100, row, row / 100]
        expected = [f(a) for pair in (angles[:2], angles[2:]) for f in (math.sin, math.cos) for a in pair]
        assert table[cell].tolist() == pytest.approx(expected, abs=1e-7)


def test_a_table_is_what_the_networks_compute() -> None:
    own = grid_positions((16, 16), 32, device=torch.device("cpu"), dtype=torch.float32)
    torch.testing.assert_close(square_table(16, 32)[0], own, rtol=0, atol=2e-6)


@given(side=st.integers(2, 24), base=st.integers(1, 24), half=st.booleans())
def test_coordinates_are_read_back(side: int, base: int, half: bool) -> None:
    scale = base / side
    if scale > 3:
        return
    table = square_table(side, 16, scale=scale).to(torch.float16 if half else torch.float32)
    assert coordinates(table) == (side, pytest.approx(scale, abs=1e-12), 0.0)


def test_an_offset_and_a_scale_of_no_ratio_are_read_back() -> None:
    side, scale, offset = coordinates(square_table(12, 16, scale=0.123, offset=2.0))
    assert (side, offset) == (12, pytest.approx(2.0, rel=1e-3))
    assert scale == pytest.approx(0.123, rel=1e-4)
