"""Augmentation moves images as its draws say, and fills with background."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.augmentation import Augmentation
from datamodules.digits import Digits
from objectives.draws import Draws, FixedDraws


def images(rows: int = 4, side: int = 8) -> torch.Tensor:
    return torch.rand(rows, 1, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def draw_for(pixels: int, largest: int) -> float:
    """The uniform number that means a shift by `pixels`."""
    return (pixels + largest + 0.5) / (2 * largest + 1)


@settings(max_examples=25)
@given(largest=st.integers(1, 3), data=st.data())
def test_a_shift_is_a_shift_by_whole_pixels(largest: int, data: st.DataObject) -> None:
    move = st.integers(-largest, largest)
    right, down = data.draw(move), data.draw(move)
    x = images(1)
    draws = FixedDraws(
        shift_x=torch.tensor([draw_for(right, largest)]), shift_y=torch.tensor([draw_for(down, largest)])
    )
    moved = Augmentation(shift=largest)(x, draws)
    expected = torch.full_like(x, -1)
    side = x.shape[-1]
    expected[..., max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)] = x[
        ..., max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)
    ]
    assert torch.allclose(moved, expected, atol=1e-6)


def test_a_flip_mirrors_the_rows_that_are_drawn() -> None:
    x = images(3)
    flipped = Augmentation(flip=True)(x, FixedDraws(flip=torch.tensor([0.2, 0.8, 0.4])))
    assert torch.allclose(flipped[[0, 2]], x[[0, 2]].flip(-1), atol=1e-6)
    assert torch.allclose(flipped[1], x[1], atol=1e-6)


def test_a_quarter_turn_is_exact() -> None:
    x = images(2)
    turned = Augmentation(rotation=90)(x, FixedDraws(rotation=torch.tensor([1.0, 0.5])))
    assert torch.allclose(turned[0], x[0].rot90(1, dims=(-2, -1)), atol=1e-4)
    assert torch.allclose(turned[1], x[1], atol=1e-6)


def test_all_shifts_come_up_evenly() -> None:
    rows = 3000
    dot = torch.full((rows, 1, 5, 5), -1.0)
    dot[..., 2, 2] = 1
    moved = Augmentation(shift=1)(dot, Draws(0, 0, torch.arange(rows)))
    counts = (moved > 0).sum(dim=(0, 1))[1:4, 1:4].double()
    assert counts.sum() == rows
    chi_squared = ((counts - rows / 9) ** 2 / (rows / 9)).sum()
    assert chi_squared < 31.8  # 8 degrees of freedom, level 1e-4


def test_a_row_depends_on_its_own_position_alone() -> None:
    augmentation = Augmentation(shift=2, rotation=20, flip=True)
    x = images(6)
    whole = augmentation(x, Draws(7, 3, torch.arange(6)))
    part = augmentation(x[4:], Draws(7, 3, torch.arange(4, 6)))
    assert torch.allclose(whole[4:], part, atol=1e-6)
    assert whole.min() >= -1 - 1e-5
    assert whole.max() <= 1 + 1e-5


def test_it_is_off_by_default_and_draws_nothing() -> None:
    x = images()
    assert Augmentation()(x, FixedDraws()) is x


def test_the_datamodule_augments_x_and_leaves_the_rest() -> None:
    data = Digits(shift=1)
    batch = data.dataset("train")[torch.arange(16)]
    changed = data.augment(batch, Draws(0, 0, torch.arange(16)))
    assert not torch.equal(changed["x"], batch["x"])
    assert changed["condition"] is batch["condition"]
    assert torch.equal(data.dataset("train")[torch.arange(16)]["x"], batch["x"])
    assert torch.equal(Digits().augment(batch, Draws(0, 0, torch.arange(16)))["x"], batch["x"])


@pytest.mark.parametrize(("options", "said"), [({"shift": -1}, "shift is -1"), ({"rotation": 181.0}, "rotation is")])
def test_ranges_are_checked(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Digits(**options)  # pyright: ignore[reportArgumentType]
