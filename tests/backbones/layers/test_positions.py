"""Position codes against their formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.layers.positions import Coordinates, check_positions, grid_positions, resample

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


def test_without_options_cells_are_counted() -> None:
    assert torch.equal(Coordinates().of(5, CPU), torch.arange(5.0))


@given(half=st.integers(1, 24), extra=st.integers(0, 24), side=st.integers(1, 48))
def test_coordinates_are_those_of_sd3(half: int, extra: int, side: int) -> None:
    """§5.3.2: places p of a table of h_max at (p − (h_max − s)/2)·256/S, S = 16 s, of which the middle is taken."""
    s, places = 2 * half, 2 * (half + extra)
    table = [(p - (places - s) / 2) * 256 / (16 * s) for p in range(places)]
    cells = min(side, places)
    first = (places - cells) // 2
    found = Coordinates(places, 16 / s, (places - s) / 2).of(cells, CPU)
    assert found.tolist() == pytest.approx(table[first : first + cells], rel=1e-5, abs=1e-5)


def test_grids_of_all_aspect_ratios_have_one_centre() -> None:
    coordinates = Coordinates(64, 0.25, 24.0)
    for cells in (2, 16, 40, 64):
        assert coordinates.of(cells, CPU).mean().item() == pytest.approx((31.5 - 24) * 0.25)


def test_codes_are_taken_at_the_coordinates() -> None:
    """A crop is the middle of the table's codes."""
    coordinates = Coordinates(10, 0.3, 2.0)
    whole = grid_positions((10, 10), 8, device=CPU, dtype=torch.float32, coordinates=coordinates).view(10, 10, 8)
    crop = grid_positions((4, 7), 8, device=CPU, dtype=torch.float32, coordinates=coordinates).view(4, 7, 8)
    torch.testing.assert_close(crop, whole[3:7, 1:8])
    moved = grid_positions((3, 3), 8, device=CPU, dtype=torch.float32, coordinates=Coordinates(0, 2.0, -1.0))
    counted = grid_positions((7, 7), 8, device=CPU, dtype=torch.float32).view(7, 7, 8)
    torch.testing.assert_close(moved.view(3, 3, 8), counted[2::2, 2::2])


def test_impossible_coordinates_are_refused() -> None:
    with pytest.raises(ValueError, match="max_size=-1"):
        Coordinates(-1)
    with pytest.raises(ValueError, match=r"position_scale=0\.0; allowed: above 0"):
        Coordinates(0, 0.0)


@given(grid=st.lists(st.integers(1, 6), min_size=1, max_size=3), data=st.data())
def test_resampling_keeps_linear_codes(grid: list[int], data: st.DataObject) -> None:
    """A code that is linear in the place within the area stays it; beyond the outermost centres it is held."""
    target = [data.draw(st.integers(1, 8)) for _ in grid]

    def centres(sides: list[int]) -> torch.Tensor:
        axes = [(torch.arange(side, dtype=torch.float64) + 0.5) / side for side in sides]
        return torch.cartesian_prod(*axes).view(-1, len(sides))

    found = resample(centres(grid)[None], tuple(grid), tuple(target))[0]
    least = torch.tensor([0.5 / side for side in grid], dtype=torch.float64)
    torch.testing.assert_close(found, centres(target).clamp(least, 1 - least), atol=1e-6, rtol=1e-6)
    codes = torch.randn(1, math.prod(grid), 3)
    assert torch.equal(resample(codes, tuple(grid), tuple(grid)), codes)
