"""Sheets and animations: every tile is a sample untouched, and what it is stands beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.evaluation.sampling import Samples
from experiments.evaluation.sheets import GAP, LINE, sheet, sheet_caption, told, write_png
from experiments.evaluation.trajectory import MOST, Trajectory
from objectives.paths import Straight, VarianceExploding


class Grey:
    """A stand-in for a datamodule: x in [0, 1] is a picture of 1 × 8 × 8."""

    def to_images(self, x: torch.Tensor) -> torch.Tensor:
        return (x.clamp(0, 1) * 255).round().byte().reshape(-1, 1, 8, 8)


DATA: Any = Grey()
LABELS = {"label": torch.tensor([3, 1, 4, 1])}


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(4, 64, generator=torch.Generator().manual_seed(0))


def tile(page: np.ndarray, i: int, *, lines: int, below: int) -> np.ndarray:
    top, left = (i // 2) * (32 + below + GAP) + lines * LINE, (i % 2) * (32 + GAP)
    return page[top : top + 32, left : left + 32, 0]


@pytest.mark.parametrize("condition", [None, LABELS])
@pytest.mark.parametrize("caption", ["", "4 steps", "4 steps · ema weights · w = 1.5"])
def test_tiles_are_the_samples_whatever_is_written(x: torch.Tensor, condition: Any, caption: str) -> None:
    page = sheet(DATA, x, condition=condition, caption=caption)
    plain, below = sheet(DATA, x), LINE if condition else 0
    lines = (len(page) - (2 * (32 + below) + GAP)) // LINE
    assert lines == {"": 0, "4 steps": 1}.get(caption, 3), "broken where the sheet is narrow"
    for i in range(4):
        np.testing.assert_array_equal(tile(page, i, lines=lines, below=below), tile(plain, i, lines=0, below=0))


def test_each_label_stands_below_its_tile(x: torch.Tensor) -> None:
    page = sheet(DATA, x, condition=LABELS)
    strips = [page[32 : 32 + LINE, left : left + 32] for left in (0, 32 + GAP)]
    second = page[2 * 32 + LINE + GAP :][:LINE]
    assert all(strip.min() < 60 for strip in strips), "something is written on the grey"
    np.testing.assert_array_equal(strips[1], second[:, 32 + GAP :])  # 1 and 1
    assert (strips[0] != second[:, :32]).any(), "3 is not 4"


def test_without_a_label_for_each_tile_none_is_written(x: torch.Tensor) -> None:
    plain = sheet(DATA, x)
    for condition in ({}, {"context": torch.zeros(4, 2)}, {"label": torch.zeros(9)}):
        np.testing.assert_array_equal(sheet(DATA, x, condition=condition), plain)


def test_a_caption_says_what_is_not_plain() -> None:
    assert sheet_caption(1, "ema") == "1 step · ema weights"
    assert sheet_caption(4, "raw", 1.5, "heun") == "4 steps · raw weights · w = 1.5 · heun"


def test_programs_find_caption_and_labels_in_the_file(x: torch.Tensor, tmp_path: Path) -> None:
    samples = Samples(x, LABELS, nfe=4, seconds_per_image=0.0)
    write_png(tmp_path / "a.png", sheet(DATA, x), told=told(samples, "4 steps · ε"))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["conditions"] == "3 1\n4 1"
        assert picture.info["caption"] == "4 steps · ε"
    assert told(Samples(x, None, 4, 0.0), "") == {}


@pytest.mark.parametrize("steps", [1, 4, 300])
def test_an_animation_goes_from_the_noise_to_the_samples(x: torch.Tensor, tmp_path: Path, steps: int) -> None:
    way = Trajectory(Straight(), steps)
    for done in range(steps + 1):
        for part in x.split(3):  # in batches
            way.watch(done, 1 - done / steps, part * done / steps)
    file = way.save(tmp_path / "a.png", DATA, condition=LABELS, caption="4 steps")
    with Image.open(file) as picture:
        assert picture.is_animated
        count = min(MOST, steps + 1)
        assert picture.n_frames == count + 1, "and the still picture"
        still = np.asarray(picture.convert("RGB"))
        picture.seek(1)
        first = np.asarray(picture.convert("RGB"))
        picture.seek(count)
        last = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(still, last)
    lines = (len(last) - 2 * (32 + LINE) - GAP) // LINE
    np.testing.assert_array_equal(tile(last, 3, lines=lines, below=LINE), tile(sheet(DATA, x), 3, lines=0, below=0))
    assert not tile(first, 3, lines=lines, below=LINE).any()


def test_exploding_noise_is_shown_in_the_size_of_data(x: torch.Tensor) -> None:
    way, path = Trajectory(VarianceExploding(), 1), VarianceExploding()
    time = path.t_max
    way.watch(0, time, x * float(path.b(torch.tensor([time], dtype=torch.float64))))
    way.watch(1, 0.0, x)
    (noise,), (end,) = (way._states[done] for done in (0, 1))
    torch.testing.assert_close(noise, x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(end, x)
