"""Point sets: reproducible, centred, of unit variance, and of the shape their names say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from datamodules.points import SHAPES, Distribution, Points

NAMES = list(SHAPES)


def points(distribution: Distribution, size: int = 4000, seed: int = 0) -> Tensor:
    return Points(distribution=distribution, size=size, seed=seed).dataset("train").x


@pytest.mark.parametrize("distribution", NAMES)
def test_mean_and_variance_are_as_declared(distribution: Distribution) -> None:
    x = points(distribution, size=40000).double()
    assert x.shape == (40000, 2)
    assert x.mean(dim=0).abs().max() < 5 / math.sqrt(40000) * 1.5
    assert float(x.var(dim=0).mean()) == pytest.approx(Points().spec.data_std ** 2, abs=0.02)


@pytest.mark.parametrize("distribution", NAMES)
def test_the_seed_makes_the_points_and_the_splits_differ(distribution: Distribution) -> None:
    data = Points(distribution=distribution, size=100)
    train, heldout = data.dataset("train"), data.dataset("validation")
    assert (len(train), len(heldout)) == (100, 25)
    assert torch.equal(train.x, points(distribution, 100))
    assert not torch.equal(train.x, points(distribution, 100, seed=1))
    assert torch.cdist(heldout.x, train.x).min() > 0
    assert set(train[torch.arange(3)]) == {"x", "index"}
    assert data.fingerprint == Points(distribution=distribution, size=100).fingerprint


def test_the_checkerboard_has_eight_even_squares() -> None:
    cells = ((points("checkerboard") / math.sqrt(3) + 1) * 2).floor().long()
    assert cells.min() >= 0
    assert cells.max() <= 3
    assert ((cells[:, 0] + cells[:, 1]) % 2 == 0).all()
    counts = torch.bincount(cells[:, 0] * 4 + cells[:, 1], minlength=16)
    counts = counts[counts > 0].double()
    assert len(counts) == 8
    assert ((counts - 500) ** 2 / 500).sum() < 29.9  # 7 degrees of freedom, level 1e-4


def test_the_mixture_is_eight_gaussians() -> None:
    x = points("mixture").double()
    angle = torch.arange(8) * (2 * math.pi / 8)
    means = math.sqrt(2 * (1 - 0.01)) * torch.stack([angle.cos(), angle.sin()], dim=1)
    away, nearest = torch.cdist(x, means.double()).min(dim=1)
    assert len(nearest.unique()) == 8
    assert float((away**2).mean() / 2) == pytest.approx(0.01, rel=0.1)


def test_the_moons_and_the_spirals_lie_on_their_curves() -> None:
    moons = points("moons").double() * math.sqrt((3 / 4 + 9 / 16 - 1 / math.pi) / 2 + 0.05**2)
    upper = ((moons + torch.tensor([0.5, 0.25])).norm(dim=1) - 1).abs()
    lower = ((moons + torch.tensor([-0.5, -0.25])).norm(dim=1) - 1).abs()
    assert torch.minimum(upper, lower).max() < 0.25
    spirals = points("spirals").double()
    along = torch.linspace(0, 1, 4000, dtype=torch.float64)
    arm = 2 * along[:, None] * torch.stack([(3 * math.pi * along).cos(), (3 * math.pi * along).sin()], dim=1)
    away, nearest = torch.cdist(spirals, torch.cat([arm, -arm])).min(dim=1)
    assert away.max() < 0.03 * 6
    assert float((nearest < 4000).double().mean()) == pytest.approx(0.5, abs=0.04)


def test_the_picture_shows_the_density_the_right_way_up() -> None:
    x = torch.tensor([[2.9, 2.9], [2.9, 2.9], [-2.9, -2.9], [float("nan"), 0.0], [9.0, 9.0]])
    picture = Points().to_images(x)
    assert picture.dtype == torch.uint8
    assert picture.shape == (1, 1, 64, 64)
    assert picture[0, 0, 1, 62] == 255
    assert picture[0, 0, 62, 1] == 128
    assert (picture > 0).sum() == 2
    assert Points().to_images(torch.full((2, 2), float("nan"))).sum() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"distribution": "ring"}, "checkerboard, moons, mixture, spirals"),
        ({"size": 3}, "size is 3"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_are_checked(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Points(**options)  # pyright: ignore[reportArgumentType]
