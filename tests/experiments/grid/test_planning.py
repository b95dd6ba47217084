from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.config import ConfigError, parse, resolve
from experiments.config.many import Resolver
from experiments.config.raw import Raw
from experiments.errors import UserError
from experiments.grid import planning, sources
from experiments.grid.language import Grid, read_grid
from experiments.grid.planning import configure, plan, plan_key, prepare, survey, vary_base
from experiments.grid.study import Study
from experiments.grid.values import lay

SMALL = """
name: small
base:
  data: points
  backbone: {name: mlp, width: 16}
  trainer: {max_steps: 5}
  evaluation: {metrics: [frechet_distance]}
product:
  objective: [rf, "rf/lognorm(0.00,1.00)"]
seeds: [0, 1]
"""


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    return read(tmp_path, SMALL)


def read(folder: Path, text: str) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return read_grid(file)


def test_a_plan_names_hashes_and_orders_its_cells(grid: Grid) -> None:
    cells = plan(grid)
    assert [cell.name for cell in cells] == [
        "rf seed=0", "rf/lognorm(0.00,1.00) seed=0", "rf seed=1", "rf/lognorm(0.00,1.00) seed=1",
    ]  # fmt: skip
    assert len({cell.hash for cell in cells}) == 4
    assert {(cell.data, cell.backbone, cell.max_steps) for cell in cells} == {("points", cells[0].backbone, 5)}


def test_a_worker_builds_the_very_configuration_that_was_planned(grid: Grid, tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    prepare(grid, study)
    again = Study.open(study.path)
    assert again.plan is not None
    for cell in again.cells:
        config = configure(again.plan["base"], cell.overrides)
        assert (config.hash, config.run_name) == (cell.hash, cell.run)


def test_what_is_no_part_of_the_identity_makes_no_second_run(tmp_path: Path) -> None:
    text = SMALL.replace("seeds: [0, 1]", "zip:\n  evaluation.num: [8, 16]")
    with pytest.raises(UserError, match="are the same run") as caught:
        plan(read(tmp_path, text))
    assert "evaluation.num make no difference to it" in str(caught.value)
    assert f"{tmp_path / 'grid.yaml'}:11" in str(caught.value)


def test_a_fault_of_a_cell_is_told_once_with_the_line_of_its_value(tmp_path: Path) -> None:
    text = SMALL.replace('"rf/lognorm(0.00,1.00)"]', "rff]") + "zip:\n  trainer.max_steeps: [1]\n"
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, text))
    told = [str(fault) for fault in caught.value.faults]
    assert len(told) == 2
    assert any("rff" in one and "grid.yaml:9" in one for one in told)
    assert any("max_steeps" in one and "did you mean 'max_steps'" in one and "grid.yaml:12" in one for one in told)


def test_a_fault_of_the_base_is_told_once_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(read(tmp_path, SMALL.replace("width: 16", "widht: 16")))
    (fault,) = caught.value.faults
    assert "grid.yaml:5" in str(fault)


def test_overrides_change_the_base_but_nothing_that_the_grid_varies(grid: Grid) -> None:
    assert {cell.max_steps for cell in plan(vary_base(grid, ["trainer.max_steps=7"]))} == {7}
    for text in ("objective=rf", "objective.k=1", "seed=3"):
        with pytest.raises(UserError, match="varies"):
            vary_base(grid, [text])


def test_a_plan_is_made_anew_only_for_another_grid_or_other_code(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "code_fingerprint", lambda: "some code")
    study = Study(tmp_path / "study")
    prepare(grid, study)
    made = (study.path / "cells.json").stat().st_mtime_ns
    prepare(grid, Study(study.path))
    assert (study.path / "cells.json").stat().st_mtime_ns == made
    assert plan_key(vary_base(grid, ["trainer.clip=2"])) != plan_key(grid)
    monkeypatch.setattr(planning, "code_fingerprint", lambda: "other code")
    prepare(grid, Study(study.path))
    assert (study.path / "cells.json").stat().st_mtime_ns > made


def test_the_code_fingerprint_sees_a_changed_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_plugins").mkdir()
    source = tmp_path / "some_plugins" / "__init__.py"
    source.write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "PACKAGES", ("some_plugins",))
    before = sources.code_fingerprint()
    assert sources.code_fingerprint() == before
    source.write_text("a = 12\n")
    assert sources.code_fingerprint() != before


STAGES = """
base:
  data: points
  backbone: {name: mlp, width: 16}
  trainer: {max_steps: 5}
  evaluation: {metrics: [frechet_distance]}
seeds: [0, 1]
grids:
  teachers:
    product: {backbone.width: [16, 32]}
  students:
    base: {objective: shortcut}
    product: {backbone.width: [32, 16], objective.k: [0.5, 0.25]}
    after: {teachers: [backbone, seed]}
  last:
    base: {objective: rf/cosmap}
    after: students
"""


def test_cells_wait_for_those_that_agree_with_them(tmp_path: Path) -> None:
    cells = plan(read(tmp_path, STAGES))
    of = {cell.hash: cell for cell in cells}
    students = [cell for cell in cells if cell.grid == "students"]
    assert len(students) == 8
    for cell in students:
        (needed,) = (of[hash] for hash in cell.needs)
        assert (needed.grid, needed.seed) == ("teachers", cell.seed)
        assert needed.overrides["backbone.width"] == cell.overrides["backbone.width"]
    assert [len(cell.needs) for cell in cells if cell.grid == "last"] == [8, 8]
    assert not any(cell.needs for cell in cells if cell.grid == "teachers")
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert students[0].name == "students: width=32 k=0.5 seed=0"


def test_a_cell_without_a_teacher_is_refused_with_its_line(tmp_path: Path) -> None:
    text = STAGES.replace("    base: {objective: shortcut}", "    base: {objective: shortcut}\n    seeds: [2]")
    with pytest.raises(ConfigError, match=r"no cell of the grid teachers agrees in .*seed=.*grid.yaml:15"):
        plan(read(tmp_path, text))


def test_two_grids_may_share_a_cell_unless_one_of_them_waits(tmp_path: Path) -> None:
    grids = "grids:\n  a: {product: {objective: [rf, shortcut]}}\n  b: {product: {objective: [rf]}}\n"
    shared = SMALL.partition("product:")[0] + grids
    assert [cell.name for cell in plan(read(tmp_path, shared))] == ["a: rf", "a: shortcut"]
    with pytest.raises(UserError, match="are the same run"):
        plan(read(tmp_path, shared.replace("[rf]}}", "[rf]}, after: a}")))


def test_one_factor_that_comes_back_to_the_baseline_is_one_cell(tmp_path: Path) -> None:
    text = SMALL.partition("product:")[0] + "one_at_a_time:\n  backbone.depth: [3, 2]\n  optimizer.lr: [1e-2, 2e-2]\n"
    cells = plan(read(tmp_path, text))  # 3 and 1e-3 are defaults of plugins, which no file says
    default = configure({"data": "points", "backbone": "mlp"}, {}).backbone.arguments["depth"]
    assert {cell.overrides.get("backbone.depth", default) for cell in cells} == {2, 3, default}
    assert len(cells) == len({cell.hash for cell in cells}) == 1 + len({2, 3} - {default}) + 2


def test_a_cell_asks_for_the_first_class_that_fits_it_or_its_grids_own(tmp_path: Path) -> None:
    classes = """
resources:
  wide: {match: {backbone.width: {">=": 32}}, gpus: 2}
  coupled: {match: [{objective: shortcut, seed: 1}], cpus: 4}
  own: {cpus: 1}
"""
    text = STAGES.replace("    after: students", "    after: students\n    resources: own") + classes
    grid = read(tmp_path, text)
    assert grid.asks() == {"wide": {"gpus": 2}, "coupled": {"cpus": 4}, "own": {"cpus": 1}}
    for cell in plan(grid):
        width = cell.overrides.get("backbone.width", 16)
        expected = "wide" if width >= 32 else "coupled" if (cell.objective, cell.seed) == ("shortcut", 1) else "default"
        assert cell.resources == ("own" if cell.grid == "last" else expected)
    with pytest.raises(
        ConfigError, match=r"no such value of objective in this grid 'shortcat'; did you mean 'shortcut'"
    ):
        plan(read(tmp_path, text.replace("objective: shortcut, seed", "objective: shortcat, seed")))


@pytest.mark.parametrize("text", [
    SMALL.replace("mlp, width: 16", "mlp, width: 0"),
    SMALL.replace("[rf,", "[shortcut,").replace("max_steps: 5", "max_steps: 5, batch_size: 6"),
    SMALL.replace("metrics", "metrcs"),
    SMALL + "zip: {evaluation.steps: [[1], [1000]], trainer.batch_size: [8, 16]}\n",
    SMALL.replace("[rf,", "[shortcut,") + "zip: {evaluation.steps: [[1], [1000]], trainer.batch_size: [8, 16]}\n",
])  # fmt: skip
def test_cells_are_checked_as_if_each_stood_alone(tmp_path: Path, text: str) -> None:
    """The same hashes, names and faults as from resolving every cell by itself."""
    grid = read(tmp_path, text)
    faults: list[str] = []
    hashes: list[str] = []
    for point in grid.combinations():
        try:
            config = resolve(lay(grid.base, point.values, point.sources))
            hashes.append(config.run_name)
        except ConfigError as error:
            faults += map(str, error.faults)
    if not faults:
        assert sorted(cell.run for cell in plan(grid)) == sorted(hashes)
        return
    with pytest.raises(ConfigError) as caught:
        plan(grid)
    assert {str(fault) for fault in caught.value.faults} == set(faults)


def test_interpolations_lead_from_section_to_section(tmp_path: Path) -> None:
    text = SMALL.replace("max_steps: 5", "max_steps: 5, log_every: '${seed}'").replace("[0, 1]", "[3, 4]")
    grid = read(tmp_path, text)
    for one in survey(grid):
        assert one.config.trainer.log_every == one.config.seed
        assert one.cell.hash == configure(grid.base.data, one.cell.overrides).hash


def test_ten_thousand_cells_are_planned_quickly(tmp_path: Path) -> None:
    """The documented figure is 2 s on a quiet machine; here it must not be resolved cell by cell (5 s and more)."""
    text = """
product:
  objective: [rf, "rf/lognorm(0,1)", "rf/mode(1.29)", rf/cosmap, "edm(-1.20,1.20)"]
  backbone: [dit, u-vit]
  data: [digits, mnist]
  optimizer.lr: {logrange: [1e-4, 1e-2, 25]}
  trainer.batch_size: [64, 128]
seeds: {range: [0, 9]}
"""
    grid = read(tmp_path, text)
    plan(read(tmp_path, text.replace("[0, 9]", "[0, 0]")))
    began = time.process_time()
    cells = plan(grid)
    took = time.process_time() - began
    assert len({cell.hash for cell in cells}) == 10_000
    assert took < 4, f"{took:.1f} s"


def test_planning_imports_neither_lightning_nor_what_else_is_slow(tmp_path: Path) -> None:
    read(tmp_path, SMALL)
    code = (
        "import sys; from pathlib import Path; from experiments.grid.language import read_grid; "
        "from experiments.grid.planning import plan; "
        f"plan(read_grid(Path({str(tmp_path / 'grid.yaml')!r}))); "
        "slow = {'lightning', 'lightning_fabric', 'pytorch_lightning', 'matplotlib', 'torch.distributed.tensor'}; "
        "print(*(({'torch'} | slow) & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["torch"]


def test_a_seed_that_cannot_be_does_not_spoil_the_others() -> None:
    """Cells that differ in the seed share all else, whichever comes first."""
    resolver, good, bad = Resolver(), Raw({"seed": 3}), Raw({"seed": -3})
    objective = Raw({"objective": "shortcut"})
    with pytest.raises(ConfigError, match="seed"):
        resolver.resolve({"objective": objective, "seed": bad})
    config, digest = resolver.resolve({"objective": objective, "seed": good})
    alone = resolve(parse({"objective": "shortcut", "seed": 3}))
    assert (config, digest) == (alone, alone.hash)
