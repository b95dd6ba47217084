"""Shards: every pair is a point of the flow map, and depends on its seed and number alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules.synthetic import Synthetic
from experiments.errors import RunFailed
from experiments.pairs.folder import Folder
from experiments.pairs.making import Maker
from objectives.conformance.common import mixture

Make = Callable[..., Any]


def whole(loaded: Any) -> dict[str, Tensor]:
    """All pairs of a recipe, shard after shard."""
    maker = Maker(loaded, Folder(Path("unused"), loaded.recipe))
    parts = [maker.pairs(number) for number in range(loaded.recipe.shards)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def off_the_map(pairs: dict[str, Tensor], path: Any) -> float:
    """Largest distance of an x from where the exact flow carries its noise."""
    z, one = pairs["noise"].double(), torch.ones(len(pairs["noise"]), dtype=torch.float64)
    return float((mixture().flow_map(path, z, one, 0 * one) - pairs["x"].double()).abs().max())


def test_pairs_of_the_exact_velocity_are_points_of_the_flow_map(exact: Make) -> None:
    loaded = exact(num=30, steps=256, solver="rk4")
    pairs = whole(loaded)
    assert pairs["x"].dtype == pairs["noise"].dtype == torch.float32
    assert off_the_map(pairs, loaded.objective.path) < 1e-4
    swapped = {"x": pairs["x"], "noise": pairs["noise"].roll(1, 0)}
    assert off_the_map(swapped, loaded.objective.path) > 1e-1


def test_noise_is_standard_normal_and_a_pairs_own_whatever_the_shards(exact: Make) -> None:
    small, large = whole(exact(shard=3)), whole(exact(shard=20))
    assert torch.equal(small["noise"], large["noise"])
    torch.testing.assert_close(small["x"], large["x"])
    more = whole(exact(num=40))
    assert torch.equal(more["noise"][:20], small["noise"])
    assert len(more["noise"].unique(dim=0)) == 40
    assert not torch.equal(whole(exact(seed=1))["noise"], small["noise"])
    many = whole(exact(num=4000, shard=4000, steps=1))["noise"]
    assert abs(float(many.mean())) < 4 / 8000**0.5
    assert abs(float(many.var()) - 1) < 4 * (2 / 8000) ** 0.5


def test_conditions_are_drawn_as_the_real_rows_have_them(exact: Make) -> None:
    data = Synthetic(shape=(2,), num_classes=5, context=(3, 4), pooled=6, size=40, seed=2)
    pairs = whole(exact(data=data, num=4000, shard=4000, steps=1))
    assert pairs["condition.context"].shape == (4000, 3, 4)
    assert pairs["condition.pooled"].shape == (4000, 6)
    shares = torch.bincount(pairs["condition.label"], minlength=5) / 4000
    real = torch.bincount(data.dataset("train")[torch.arange(40)]["condition"]["label"], minlength=5) / 40
    assert float((shares - real).abs().max()) < 4 * 0.5 / 4000**0.5
    few = whole(exact(data=data, num=20, shard=7, steps=1))
    assert torch.equal(few["condition.label"], pairs["condition.label"][:20])


def test_samples_that_are_not_finite_are_never_written(exact: Make, tmp_path: Path) -> None:
    loaded = exact()
    loaded.sampler = lambda **_: _Nowhere(type(loaded).sampler(loaded))
    maker = Maker(loaded, Folder.begin(tmp_path / "set", loaded.recipe))
    with pytest.raises(RunFailed, match="not finite") as caught:
        maker.make(0)
    assert caught.value.reason == "not finite"
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["recipe.json"]


class _Nowhere:
    """A sampler that loses its way in one sample."""

    def __init__(self, sampler: Any) -> None:
        self._sampler, self.chosen, self.times = sampler, sampler.chosen, sampler.times

    def run(self, z: Tensor, *_: Any, **__: Any) -> tuple[Tensor, int]:
        return torch.where(torch.arange(len(z))[:, None] == 2, torch.nan, z), 1


def test_a_stop_is_heard_after_every_solver_step(exact: Make) -> None:
    asked = []
    Maker(loaded := exact(steps=5), Folder(Path("unused"), loaded.recipe)).pairs(0, lambda: asked.append(1))
    assert len(asked) == 5
