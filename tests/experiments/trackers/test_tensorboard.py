"""TensorBoard, read back as TensorBoard itself reads: event files, and the table of the HParams tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.execute import execute
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.trackers.options import flat_options
from experiments.trackers.summary import final_values, summarise
from experiments.training.fit import fit

SETTINGS: dict[str, Any] = {
    "trainer__trackers": ["csv", "tensorboard"],
    "evaluation__steps": [1, 2],
    "evaluation__num": 32,
    "evaluation__metrics": ["energy_distance"],
}


class StopAfter(Callback):
    def __init__(self, steps: int, stop: Stop):
        self.steps, self.stop = steps, stop

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.stop.requested = self.stop.requested or batch_idx + 1 >= self.steps


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, small_run: Callable[..., Run]) -> list[Run]:
    """Two finished runs of a grid; the second was stopped in its training."""
    folder = tmp_path_factory.mktemp("study") / "runs"
    found = [
        small_run(folder, **SETTINGS),
        small_run(folder, objective={"name": "shortcut", "k": 0.5}, seed=3, **SETTINGS),
    ]
    stop = Stop()
    with pytest.raises(Interrupted):
        fit(found[1], stop=stop, reporter=Reporter("none"), extra=[StopAfter(6, stop)])
    for run in found:
        assert execute(run) == 0
    return found


def table(folder: Path) -> tuple[Any, dict[str, Any]]:
    """What the HParams tab shows of a log directory: (the columns, session groups by their session's name)."""
    from tensorboard import context
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    messages: Any = api_pb2
    events = EventMultiplexer().AddRunsFromDirectory(str(folder))
    events.Reload()
    data = MultiplexerDataProvider(events, str(folder))
    tab, asked = backend_context.Context(TBContext(data_provider=data)), context.RequestContext()
    none = data.list_hyperparameters(asked, experiment_ids=[""])
    columns = tab.experiment_from_metadata(asked, "", True, tab.hparams_metadata(asked, ""), none)
    request = messages.ListSessionGroupsRequest(allowed_statuses=[messages.STATUS_SUCCESS], slice_size=100)
    groups = list_session_groups.Handler(asked, tab, "", request).run().session_groups
    return columns, {group.sessions[0].name: group for group in groups}


def plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))


def test_the_table_of_a_grid_has_a_line_for_each_run(grid: list[Run]) -> None:
    columns, groups = table(grid[0].path.parent)
    assert sorted(groups) == sorted(f"{run.path.name}/tensorboard/final" for run in grid)
    for run in grid:
        group = groups[f"{run.path.name}/tensorboard/final"]
        (session,) = group.sessions
        told = {name: plain(value) for name, value in group.hparams.items()}
        assert told == flat_options(run.config)
        assert told["ema.warmup"] is True, "truth values stay what they are"
        found = {metric.name.tag.removeprefix("final/"): metric.value for metric in session.metric_values}
        assert found == pytest.approx(final_values(run), rel=1e-6)
        assert {metric.training_step for metric in session.metric_values} == {12}
    names = {info.name: info.differs for info in columns.hparam_infos}
    assert names["objective"]
    assert names["seed"]
    assert not names["backbone.width"]
    assert "objective.k" in names, "one run's option alone is a column too"
    assert {info.name.tag for info in columns.metric_infos} == {f"final/{name}" for name in final_values(grid[0])}


def test_what_a_run_came_to(grid: list[Run]) -> None:
    values = final_values(grid[1])
    (evaluation,) = grid[1].evaluations()
    for row in evaluation["rows"]:
        assert values[f"energy_distance/{row['weights']}-{row['steps']}"] == row["energy_distance"]
    assert len(evaluation["rows"]) == 4
    assert values["loss"] == [value for _, name, value in grid[1].metrics() if name == "train/loss"][-1]
    for row in evaluation["validation"]:
        assert values[f"validation/loss_{row['weights']}"] == row["mean"]
    assert not any(name.startswith(("steps", "nfe", "num", "guidance")) for name in values)


def test_scalars_of_a_resumed_run_stand_once(grid: list[Run]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(grid[1].path / "tensorboard"))
    events.Reload()
    for name in ("train/loss", "validation/loss_ema"):
        rows = [(step, value) for step, key, value in grid[1].metrics() if key == name]
        assert [(event.step, event.value) for event in events.Scalars(name)] == [
            (step, pytest.approx(value)) for step, value in rows
        ]


def test_a_summary_given_again_takes_the_place_of_the_last(grid: list[Run]) -> None:
    folder = grid[0].path / "tensorboard" / "final"
    (before,) = folder.iterdir()
    summarise(grid[0])
    (after,) = folder.iterdir()
    assert before != after
    assert len(table(grid[0].path.parent)[1]) == 2
