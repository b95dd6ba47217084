from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from experiments.config import ConfigError
from experiments.errors import UserError
from experiments.grid.language import Grid, read_grid

AXES = ("trainer.max_steps", "trainer.batch_size", "optimizer.lr", "objective", "schedule.warmup")
SHIPPED = sorted((Path(__file__).parents[3] / "experiments" / "grids").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grids")


def read(folder: Path, what: str | dict[str, Any]) -> Grid:
    file = folder / "some.yaml"
    file.write_text(what if isinstance(what, str) else yaml.safe_dump(what))
    return read_grid(file)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text).combinations()
    return str(caught.value)


@st.composite
def grids(draw: st.DrawFn) -> dict[str, Any]:
    keys = draw(st.lists(st.sampled_from(AXES), unique=True, max_size=4))
    cut = draw(st.integers(0, len(keys)))
    product = {key: list(range(draw(st.integers(1, 4)))) for key in keys[:cut]}
    together = draw(st.integers(1, 3))
    return {
        "base": {"data": "digits"},
        "product": product,
        "zip": {key: list(range(together)) for key in keys[cut:]},
        "cells": draw(st.lists(st.fixed_dictionaries({"backbone.depth": st.integers(1, 9)}), max_size=3)),
        "seeds": list(range(draw(st.integers(0, 3)))),
    }


@given(what=grids())
def test_counts_are_products_times_zips_plus_cells_times_seeds(folder: Path, what: dict[str, Any]) -> None:
    product, together, cells, seeds = what["product"], what["zip"], what["cells"], what["seeds"]
    block = 1
    for values in product.values():
        block *= len(values)
    if together:
        block *= len(next(iter(together.values())))
    if cells and not product and not together:
        block = 0
    grid = read(folder, what)
    points = grid.combinations()
    assert len(points) == (block + len(cells)) * max(1, len(seeds))
    assert [p.values.get("seed") for p in points] == sorted(
        (p.values.get("seed") for p in points), key=lambda seed: seed or 0
    )
    for point in points[: block if not seeds else 0]:
        assert len({point.values[key] for key in together}) <= 1, "what goes together does"


@given(what=grids(), data=st.data())
def test_exclusion_takes_exactly_the_matching_cells(folder: Path, what: dict[str, Any], data: st.DataObject) -> None:
    axes = {**what["product"], **what["zip"]}
    if not axes:
        return
    condition = {
        key: data.draw(st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1))
        for key, values in axes.items()
        if data.draw(st.booleans())
    } or {next(iter(axes)): 0}
    everything = [dict(p.values) for p in read(folder, what).combinations()]

    def matches(values: dict[str, Any]) -> bool:
        return all(
            values.get(key) in (wanted if isinstance(wanted, list) else [wanted]) for key, wanted in condition.items()
        )

    expected = [values for values in everything if not matches(values)]
    grid = read(folder, {**what, "exclude": [condition]})
    if expected:
        assert [dict(p.values) for p in grid.combinations()] == expected
    else:
        with pytest.raises(ConfigError, match=r"all \d+ cells are excluded"):
            grid.combinations()


def test_all_of_a_grid_for_one_seed_comes_before_the_next_seed(folder: Path) -> None:
    grid = read(folder, {"product": {"optimizer.lr": [1, 2]}, "cells": [{"optimizer.lr": 3}], "seeds": [5, 4]})
    found = [(p.values["seed"], p.values["optimizer.lr"]) for p in grid.combinations()]
    assert found == list(itertools.product([5, 4], [1, 2, 3]))


def test_conditions_see_the_base_match_plugins_by_name_and_ignore_case(folder: Path) -> None:
    text = """
    base: {data: digits}
    product:
      objective: [{name: shortcut, k: 0.5}, rf]
      backbone: [DiT, U-ViT]
    exclude:
      - {objective: Shortcut, backbone: dit, data: DIGITS}
    """
    found = [(p.values["objective"], p.values["backbone"]) for p in read(folder, text).combinations()]
    assert found == [({"name": "shortcut", "k": 0.5}, "U-ViT"), ("rf", "DiT"), ("rf", "U-ViT")]


def test_a_base_may_stand_in_a_file_beside_the_grid(folder: Path) -> None:
    (folder / "base.yaml").write_text("trainer: {max_steps: 7}\n")
    grid = read(folder, "base: base.yaml\nproduct: {seed: [1, 2]}\n")
    assert grid.base.data == {"trainer": {"max_steps": 7}}
    assert grid.base.where(("trainer", "max_steps")) == f"{folder / 'base.yaml'}:1"
    with pytest.raises(UserError, match="there is no file"):
        read(folder, "base: nowhere.yaml\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("product:\n  seed: [1, 2\n", "YAML syntax error"),
        ("product: {seed: [1]}\nproducts: {}\n", "no such key of a grid 'products'; did you mean 'product'?"),
        ("product:\n  seed: 3\n", "3 is not a list of values: [a, b, …], {range: [first, last]}"),
        ("product:\n  seed: []\n", "[] is not a list of values: it is empty [SOME:2]"),
        ("product:\n  seed: [1, 2, 1]\n", "the value 1 stands here twice [SOME:2]"),
        ("product: [1]\n", "product: this is not a mapping [SOME:1]"),
        ("\nzip:\n  seed: [1, 2]\n  data: [digits]\n", "must be equally long (seed: 2, data: 1) [SOME:2]"),
        ("product:\n  seed: [1]\nzip:\n  seed: [1]\n", "this key stands under product too [SOME:4]"),
        ("seeds: [1, 1]\n", "is not a list of different whole numbers"),
        ("seeds: [1]\nproduct:\n  seed: [1]\n", "varied by `seeds` already [SOME:3]"),
        ("name: a/b\n", "is not a name without slashes"),
        ("base: 3\n", "is neither a configuration nor the name of a file"),
        ("cells: [3]\n", "is not a list of mappings"),
        (
            "product:\n  seed: [1, 2]\nexclude:\n  - {seed: [1, 2]}\n",
            "all 2 cells are excluded: nothing is left to run",
        ),
        ("product:\n  seed: [1, 2]\nexclude:\n  - {seeed: 1}\n", "no cell of this grid says seeed [SOME:4]"),
        (
            "product:\n  data: [digits, points]\nexclude:\n  - data: digit\n",
            "no such value of data in this grid 'digit'; did you mean 'digits'? Allowed: digits, points [SOME:4]",
        ),
    ],
)
def test_what_is_no_grid_is_refused_with_its_line(folder: Path, text: str, told: str) -> None:
    assert told in refused(folder, text).replace(str(folder / "some.yaml"), "SOME")


def test_all_faults_are_told_at_once(folder: Path) -> None:
    message = refused(folder, "nome: a\nproduct: {seed: 1}\nseeds: x\n")
    assert message.startswith("3 faults")


def test_an_empty_grid_file_is_one_cell_of_defaults(folder: Path) -> None:
    assert [dict(p.values) for p in read(folder, "").combinations()] == [{}]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_grids_are_named_as_their_files(file: Path) -> None:
    assert read_grid(file).name == file.stem
