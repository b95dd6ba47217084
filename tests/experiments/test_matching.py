"""Backbones of equal size: found, told, and kept in the grid that rests on it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import experiments
from experiments.cli.app import start
from experiments.config.plugins import resolve_plugin
from experiments.errors import UserError
from experiments.matching import Measure, match, size

GRID = Path(experiments.__file__).parent / "grids" / "sd3_backbones.yaml"


@given(to=st.floats(2e5, 5e6), by=st.sampled_from(get_args(Measure)))
@settings(max_examples=10)
def test_no_other_width_is_nearer(to: float, by: Measure) -> None:
    found = match("DiT(patch=2)", "digits", to=to, by=by)
    assert set(found.options) == {"patch", "width"}
    data, width = resolve_plugin("datamodules", "digits"), found.options["width"]

    def error(width: int) -> float:
        plugin = resolve_plugin("backbones", {"name": "DiT", "patch": 2, "width": width})
        return abs(math.log(getattr(size(plugin, data), by) / to))

    assert width % 12 == 0, "of 3 heads and of 4"
    assert all(error(width) <= error(other) for other in (width - 12, width + 12) if other)


def test_the_text_is_the_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    found = match("SimpleUViT(depth=3, blocks=1)", "digits", to=4e5, by="parameters")
    again = resolve_plugin("backbones", found.text)
    assert again == found.plugin
    assert (again.options["depth"], len(again.options["channels"])) == (3, 2)
    assert size(again, resolve_plugin("datamodules", "digits")) == found.size
    assert start(["match", "dit", "mmdit", "--to", "DiT(width=192)", "--by", "flops"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-1] == "1.000"
    assert "MMDiT(" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["dit", "--to", "0"], "a size is above 0"),
        (["dit", "--to", "nonsense"], "no backbone is called 'nonsense'"),
        (["dit", "--to", "1e6", "--by", "width"], "parameters or flops"),
        (["unet", "--to", "1e6"], "UNet has no width to vary"),
        (["ditt", "--to", "1e6"], "did you mean 'DiT'"),
        (["DiT(patch=3)", "--to", "1e6"], "patch=3 does not divide"),
    ],
)
def test_what_cannot_be_matched_is_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["match", *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_refusal_is_a_user_error() -> None:
    with pytest.raises(UserError, match="use backbone=MLP"):
        match("DiT", "points", to=1e6, by="parameters")


@pytest.mark.parametrize("by", get_args(Measure))
def test_the_shipped_grid_compares_equal_sizes(by: Measure) -> None:
    """All six architectures of SD3's comparison, within 6 % of one another."""
    grid: dict[str, Any] = yaml.safe_load(GRID.read_text())
    data = resolve_plugin("datamodules", grid["base"]["data"])
    cells = grid["grids"][by]["product"]["backbone"]
    assert [(one["name"], one.get("sets")) for one in cells] == [
        ("DiT", None), ("CrossDiT", None), ("U-ViT", None), ("SimpleUViT", None), ("MMDiT", None), ("MMDiT", 3),
    ]  # fmt: skip
    sizes = [getattr(size(resolve_plugin("backbones", one), data), by) for one in cells]
    assert max(sizes) < 1.06 * min(sizes), dict(zip([one["name"] for one in cells], sizes, strict=True))
