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


def found(folder: Path, text: str) -> list[dict[str, Any]]:
    return [dict(point.values) for point in read(folder, text).combinations()]


def test_several_zips_multiply_and_ranges_stand_for_lists(folder: Path) -> None:
    text = """
    zip:
      - {trainer.batch_size: [64, 128], optimizer.lr: {logrange: [1e-3, 1e-2, 2]}}
      - {backbone.depth: {range: [1, 2]}, backbone.width: {powers_of_two: [16, 32]}}
    seeds: {range: [3, 4]}
    """
    cells = found(folder, text)
    assert len(cells) == 2 * 2 * 2
    assert {(c["trainer.batch_size"], c["optimizer.lr"]) for c in cells} == {(64, 1e-3), (128, 1e-2)}
    assert {(c["backbone.depth"], c["backbone.width"]) for c in cells} == {(1, 16), (2, 32)}
    assert [c["seed"] for c in cells] == [3] * 4 + [4] * 4


def test_one_factor_at_a_time_is_the_baseline_and_every_other_value_alone(folder: Path) -> None:
    text = """
    base: {trainer: {clip: 1.0}, backbone: DiT-S/2}
    product: {objective: [rf, shortcut]}
    one_at_a_time:
      trainer.clip: [0.5, 1.0, 2.0]
      backbone.depth: [12, 6]
      trainer.batch_size: [64, 32]
    """
    cells = found(folder, text)
    changes = [tuple(cell.items())[1:] for cell in cells if cell["objective"] == "rf"]
    assert changes == [
        (), (("trainer.clip", 0.5),), (("trainer.clip", 2.0),), (("backbone.depth", 6),), (("trainer.batch_size", 32),),
    ]  # fmt: skip
    assert len(cells) == 10


def test_only_what_fits_an_inclusion_stays(folder: Path) -> None:
    text = """
    product:
      objective: [rf, shortcut]
      trainer.max_steps: [10, 100, 1000]
    include:
      - {objective: rf, trainer.max_steps: {"<": 500}}
      - {objective: shortcut, trainer.max_steps: [1000]}
    exclude:
      - {trainer.max_steps: 10}
    """
    assert [tuple(cell.values()) for cell in found(folder, text)] == [("rf", 100), ("shortcut", 1000)]


@given(
    bound=st.integers(0, 5), sign=st.sampled_from(["<", "<=", ">", ">="]), values=st.sets(st.integers(0, 5), min_size=1)
)
def test_include_and_exclude_part_the_cells(folder: Path, bound: int, sign: str, values: set[int]) -> None:
    what = {"product": {"trainer.log_every": sorted(values), "objective": ["rf", "shortcut"]}}
    condition = [{"trainer.log_every": {sign: bound}, "objective": "rf"}]
    parts: list[list[dict[str, Any]]] = []
    for section in ("include", "exclude"):
        try:
            parts.append([dict(p.values) for p in read(folder, {**what, section: condition}).combinations()])
        except ConfigError:
            return  # no cell fits, or none is left: told elsewhere
    everything = [dict(p.values) for p in read(folder, what).combinations()]
    assert sorted(map(repr, parts[0] + parts[1])) == sorted(map(repr, everything))


def test_a_fair_search_gives_every_objective_the_same_steps_and_the_same_points(folder: Path) -> None:
    text = """
    product:
      objective: [rf, shortcut]
      trainer.max_steps: [100, 300]
    exclude:
      - {objective: rf, trainer.max_steps: 300}
    quasi_random:
      axes: {optimizer.lr: {loguniform: [1e-4, 1e-2]}}
      budget: {steps: 3200, over: objective}
    """
    cells = found(folder, text)
    spent = {name: sum(c["trainer.max_steps"] for c in cells if c["objective"] == name) for name in ("rf", "shortcut")}
    assert spent == {"rf": 1600, "shortcut": 1600}
    rates = [[c["optimizer.lr"] for c in cells if (c["objective"], c["trainer.max_steps"]) == key]
             for key in (("rf", 100), ("shortcut", 100), ("shortcut", 300))]  # fmt: skip
    assert rates[0][:4] == rates[1] == rates[2]
    assert len(rates[0]) == 16


def test_several_grids_have_bases_and_seeds_of_their_own(folder: Path) -> None:
    text = """
    base: {trainer: {max_steps: 10}}
    seeds: [0, 1]
    grids:
      short: {product: {objective: [rf, shortcut]}}
      long: {base: {trainer: {max_steps: 99}, objective: {name: shortcut, k: 0.5}}, seeds: [7]}
    """
    points = read(folder, text).combinations()
    assert [point.block for point in points] == ["short"] * 4 + ["long"]
    assert dict(points[-1].values) == {
        "trainer.max_steps": 99, "objective": {"name": "shortcut", "k": 0.5}, "seed": 7,
    }  # fmt: skip
    assert (points[-1].sources["trainer.max_steps"] or "").endswith("some.yaml:6")


def test_a_key_below_another_is_laid_over_it_wherever_it_stands(folder: Path) -> None:
    text = "product:\n  objective.k: [0.5]\n  objective: [shortcut]\n"
    assert list(found(folder, text)[0]) == ["objective", "objective.k"]


def test_every_item_of_a_list_is_told_with_its_own_line(folder: Path) -> None:
    point = read(folder, "product:\n  objective:\n    - rf\n    - shortcut\n").combinations()[1]
    assert (point.sources["objective"] or "").endswith(":4")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("exclude:\n  - {trainer.clip: {=>: 1}}\n", "no such comparison '=>'"),
        (
            "product:\n  trainer.clip: [1, 2]\nexclude:\n  - {trainer.clip: {'>': 2}}\n",
            "is > 2 in no cell of this grid",
        ),
        ("random: {axes: {optimizer.lr: {loguniform: [1, 2]}}}\n", "it needs samples: NUMBER"),
        ("random: {samples: 3}\n", "it needs axes"),
        ("random:\n  axes:\n    optimizer.lr: {logunifrm: [1, 2]}\n  samples: 3\n", "is no distribution"),
        (
            "product: {objective: [rf]}\nrandom:\n  axes: {optimizer.lr: {uniform: [1, 2]}}\n"
            "  budget: {runs: 4, over: objektive}\n",
            "no such axis 'objektive'; did you mean 'objective'? Allowed: objective [SOME:4]",
        ),
        ("random: {axes: {seed: {int: [0, 9]}}, samples: 20}\n", "20 different points are asked for; there are 10"),
        ("random: {}\nquasi_random: {samples: 1}\n", "needs axes"),
        ("one_at_a_time: {seed: [1]}\nproduct: {seed: [2]}\n", "stands under product too"),
        ("zip:\n  - {seed: [1]}\n  - {seed: [2]}\n", "stands under zip too"),
        ("product: {seed: {rnage: [1, 2]}}\n", "did you mean 'range'?"),
        ("grids: {a: 3}\n", "this is no grid"),
        ("grids: {a: {}}\nproduct: {seed: [1]}\n", "this belongs into one of them [SOME:2]"),
        ("grids:\n  a: {after: b}\n  bb: {}\n", "no such grid 'b'; did you mean 'bb'?"),
        ("grids:\n  a: {after: b}\n  b: {after: [a]}\n", "the grids wait for one another: a after b after a [SOME:2]"),
        ("grids:\n  a: {after: a}\n", "a grid cannot wait for itself"),
        ("grids:\n  a: {after: {b: 3}}\n  b: {}\n", "is not the name of a grid"),
        (
            "grids: {a: {resources: lage}}\nresources: {large: {cpus: 1}}\n",
            "no such class of resources 'lage'; did you",
        ),
        ("resources: {large: 3}\n", "this is no class of resources"),
        ("resources: {large: {match: 3}}\n", "is not a condition"),
        ("grids:\n  a:\n    produkt: {seed: [1]}\n", "did you mean 'product'?"),
    ],
)
def test_faults_of_what_a_grid_may_hold_besides(folder: Path, text: str, told: str) -> None:
    assert told in refused(folder, text).replace(str(folder / "some.yaml"), "SOME")


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
