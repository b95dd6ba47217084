from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.config import Config, parse, resolve
from experiments.config.checks import meta_backbone
from experiments.flops import flops_per_sample, forward_flops, passes
from experiments.grid.built_on import BuiltOn
from experiments.grid.costs import Costs, costs_of, disk_bytes, kind_of
from experiments.grid.language import read_grid
from experiments.grid.measuring import measured
from experiments.grid.planning import prepare, survey
from experiments.grid.study import Study


def config(**settings: Any) -> Config:
    return resolve(parse({"data": "digits", "backbone": {"name": "dit", "width": 24, "heads": 2}, **settings}))


@pytest.mark.parametrize("objective", ["rf", "shortcut"])
def test_flops_are_those_of_every_sample_of_every_step(objective: str) -> None:
    one = config(objective=objective, trainer={"max_steps": 7, "batch_size": 12})
    each = flops_per_sample(one.objective.build(), one.backbone, one.data.build().spec)
    assert Costs({}).of(one).flops == pytest.approx(7 * 12 * each)


def test_time_is_known_by_kind_and_scaled_by_flops_for_other_kinds() -> None:
    small = config(trainer={"max_steps": 10, "batch_size": 16})
    large = config(trainer={"max_steps": 20, "batch_size": 64})
    assert Costs({}).of(small).seconds is None
    costs = Costs({kind_of(small): 0.5})
    costs.learn([small, large])
    assert costs.of(small).seconds == pytest.approx(5.0)
    assert costs.of(large).seconds == pytest.approx(0.5 * 4 * 20)


@pytest.mark.parametrize(
    ("trainer", "ema", "sets"),
    [
        ({"max_steps": 1000, "checkpoint_every": 100, "keep_checkpoints": 3}, {"decays": [0.9]}, 3 * 4 + 3),
        ({"max_steps": 150, "checkpoint_every": 100, "keep_checkpoints": 3}, {"decays": []}, 2 * 3 + 2),
        ({"max_steps": 1000, "checkpoint_every": 100, "keep_every": 500}, {"decays": [0.9]}, (3 + 2) * 4 + 3),
    ],
)
def test_disk_is_checkpoints_and_exports(trainer: dict[str, Any], ema: dict[str, Any], sets: int) -> None:
    one = config(trainer=trainer, ema=ema, evaluation={"weights": ["raw"]})
    network = meta_backbone(one.backbone, one.data, step=False)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert disk_bytes(one, count) == 4 * count * sets
    assert Costs({}).of(one).bytes == 4 * count * sets


def test_done_cells_tell_time_and_disk(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(
        "base: {data: points, backbone: mlp, trainer: {max_steps: 4}}\nproduct: {objective: [rf, shortcut]}\n"
    )
    grid, study = read_grid(file), Study(tmp_path / "study")
    prepare(grid, study)
    first, second = survey(grid)
    folder = study.run(first.cell).path
    folder.mkdir()
    (folder / "some").write_bytes(b"x" * 1000)
    (study.claims(first.cell)).mkdir(parents=True)
    claim = study.claims(first.cell) / "000001.json"
    claim.write_text('{"since": 100.0, "ended": 112.0, "outcome": "done", "start_up": 2.0}')
    costs = costs_of(study, [first, second], {first.cell.hash}, {})
    assert costs.of(first.config).seconds == pytest.approx(10.0)
    assert costs.of(first.config).bytes == costs.of(second.config).bytes == 1000
    ratio = costs.of(second.config).flops / costs.of(first.config).flops
    assert ratio > 1.1
    assert costs.of(second.config).seconds == pytest.approx(10.0 * ratio)


def test_measuring_trains_a_few_steps_of_each_kind_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.grid.measuring.SECONDS", 0.0)
    one = config(objective="shortcut", trainer={"batch_size": 8, "threads": 1})
    said: list[str] = []
    found = measured([one, replace(one, seed=1)], say=said.append)
    assert list(found) == [kind_of(one)]
    assert 0 < found[kind_of(one)] < 30
    assert len(said) == 1
    assert not list(tmp_path.iterdir())
    assert Costs(found).of(one).seconds is not None


SMALL, LARGE = {"name": "dit", "width": 24, "heads": 2}, {"name": "dit", "width": 48, "heads": 2}
STAGES = """
base: {{data: digits, trainer: {{max_steps: 4, batch_size: 8}}, evaluation: {{steps: [1]}}}}
grids:
  first: {{base: {{backbone: {{name: dit, width: 48, heads: 2}}, objective: rf}}}}
  second:
    base: {{backbone: {{name: dit, width: 24, heads: 2}}, {0}}}
    product: {{optimizer.lr: [1e-3, 1e-2]}}
    after: first
"""


def planned(folder: Path, second: str) -> list[Any]:
    (folder / "grid.yaml").write_text(STAGES.format(second))
    return survey(read_grid(folder / "grid.yaml"))


def forward(backbone: dict[str, Any]) -> float:
    one = config(backbone=backbone)
    return forward_flops(one.backbone, one.data.build().spec, step=False)


def test_a_frozen_teacher_counts_by_its_own_network(tmp_path: Path) -> None:
    cells = planned(tmp_path, "objective: consistency_distillation, teacher: {stage: first}")
    costs = costs_of(Study(tmp_path / "study"), cells, set(), {})
    one = config(objective="consistency_distillation", teacher="a-0123456789ab", evaluation={"steps": [1]})
    own, its = passes(one.objective.build(), one.data.build().spec, batch=8)
    assert its == 1
    for cell in cells[1:]:
        assert costs.of(cell.config).flops == pytest.approx(4 * 8 * (own * forward(SMALL) + its * forward(LARGE)))
    assert Costs({}).of(cells[1].config).flops == pytest.approx(4 * 8 * (own + its) * forward(SMALL)), (
        "not known: alike"
    )


def test_the_making_of_pairs_counts_once_by_the_network_that_makes_them(tmp_path: Path) -> None:
    given = "objective: {name: flow_matching, coupling: given_pairs}"
    cells = planned(tmp_path, f"{given}, pairs: {{stage: first, num: 100, steps: 5, solver: heun, guidance: 2}}")
    costs = costs_of(Study(tmp_path / "study"), cells, set(), {kind_of(cells[0].config): 0.5})
    training, making = 4 * 8 * 3 * forward(SMALL), 100 * 2 * (2 * 5 - 1) * forward(LARGE)
    found = [costs.of(cell.config) for cell in cells]
    assert sum(one.flops for one in found[1:]) == pytest.approx(2 * training + making)
    assert found[1].seconds == pytest.approx(found[0].seconds * found[1].flops / found[0].flops)  # pyright: ignore
    done = Costs({kind_of(cells[1].config): 0.5}, built_on=BuiltOn(cells), whole=[kind_of(cells[1].config)])
    done.learn([one.config for one in cells])
    assert done.of(cells[1].config).seconds == 2
