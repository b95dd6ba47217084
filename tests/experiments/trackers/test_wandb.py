"""W&B: one run there for a run of ours, whatever ends its attempts, and each number once."""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import UserError
from experiments.files import read_json
from experiments.runs import Run
from experiments.trackers.chosen import chosen
from experiments.trackers.wandb import WandB

from .attempts import EXPECTED, LAST, Attempt, attempts, make
from .stand_ins import WandB as StandIn

MakeRun = Callable[..., Run]


def use(service: StandIn, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "wandb", service.module())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    use(found, monkeypatch)
    return found


def id_of(run: Run) -> str:
    state = read_json(run.path / "trackers" / "wandb.json")
    assert state is not None
    return state["id"]


def numbers(rows: list[dict[str, Any]]) -> list[tuple[tuple[int, str], Any]]:
    """((step, name), value) of every number in the rows, sorted: one that was sent twice stands here twice."""
    return sorted(
        ((row["step"], name), value) for row in rows for name, value in row.items() if name not in ("step", "_step")
    )


@settings(max_examples=40)
@given(attempts(), st.booleans())
def test_each_number_arrives_once_however_the_attempts_end(
    small_run: Callable[..., Run], several: list[Attempt], online: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        service, run = StandIn(online=online), small_run(Path(folder))
        use(service, patch)
        for attempt in several:
            tracker = WandB()
            make(run, tracker, attempt)
            tracker._there.kill(attempt.kept) if attempt.kept is not None else tracker.close()
        assert list(service.sessions) == [id_of(run)], "one run there"
        rows = service.rows(id_of(run))
        assert numbers(rows) == sorted(EXPECTED.items())
        assert not service.dropped
        assert [row["_step"] for row in rows] == sorted(row["_step"] for row in rows)


def test_a_number_that_is_owed_for_the_step_of_a_stop_is_not_lost(make_run: MakeRun, monkeypatch: Any) -> None:
    service, run = StandIn(online=True), make_run()
    use(service, monkeypatch)
    first, second = WandB(), WandB()
    make(run, first, Attempt(0, 4, None))
    first.close()
    second.open(run, first_step=4)
    second.log(4, {"validation/late": 1.0})
    second.close()
    assert ((4, "validation/late"), 1.0) in numbers(service.rows(id_of(run)))
    assert not service.dropped


def test_a_tracker_that_comes_later_gets_what_was_before(make_run: MakeRun, service: StandIn) -> None:
    from experiments.trackers.csv import CSV

    run = make_run()
    make(run, CSV(), Attempt(0, 7, None))
    tracker = WandB()
    make(run, tracker, Attempt(7, LAST, None))
    tracker.close()
    assert numbers(service.rows(id_of(run))) == sorted(EXPECTED.items())


def test_options_pictures_and_final_values(make_run: MakeRun, service: StandIn) -> None:
    run = make_run(objective="shortcut", objective__k=0.5)
    tracker = WandB(project="digits", entity="lab")
    tracker.open(run, first_step=0)
    tracker.image(3, "samples", np.zeros((4, 5, 3), np.uint8))
    tracker.close()
    tracker.open(run, first_step=0)
    tracker.image(3, "samples", np.zeros((4, 5, 3), np.uint8))
    tracker.close()
    tracker.summary(run, {"loss": 0.5, "frechet_distance/ema-4": 2.0})
    tracker.summary(run, {"loss": 0.25})
    sessions = service.sessions[id_of(run)]
    assert [row["samples"] for session in sessions for row in session.rows] == [(4, 5, 3)]
    assert sessions[-1].config["objective"]["k"] == 0.5
    assert sessions[-1].config["objective"]["name"] == run.config.objective.label
    assert sessions[-2].summary["final/frechet_distance/ema-4"] == 2.0
    assert sessions[-1].summary["final/loss"] == 0.25
    assert all(session.folder.is_dir() for session in sessions), "what was closed stays"


def test_without_the_package_the_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"wandb needs wandb.*pip install 'fewstep\[wandb\]'"):
        chosen(["tensorboard", "wandb(project=digits)"])


def test_a_refusal_is_told_in_one_message(make_run: MakeRun, service: StandIn) -> None:
    service.refusal = "no API key"
    with pytest.raises(UserError, match=r"W&B refuses: no API key.*WANDB_MODE=offline"):
        WandB().open(make_run(), first_step=0)


def history(file: Path) -> Iterator[dict[str, Any]]:
    """The history rows in a file of W&B's: a header of 7 bytes, then LevelDB's log format."""
    import json

    from wandb.proto import wandb_internal_pb2  # pyright: ignore[reportMissingImports]

    data, at, part = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part = (b"" if kind in (1, 2) else part) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record.FromString(part)
            if record.WhichOneof("record_type") == "history":
                items = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                yield {name: item for name, item in items.items() if name not in ("_timestamp", "_runtime")}


def test_with_the_package_itself(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = make_run()
    for attempt in (Attempt(0, 5, None), Attempt(5, LAST, None)):
        tracker = WandB()
        make(run, tracker, attempt)
        tracker.close()
    tracker.summary(run, {"loss": 0.25})
    (run.path / "wandb" / f"offline-run-20200101_000000-{id_of(run)}").mkdir()
    again = WandB()
    again.open(run, first_step=LAST)
    again.close()
    files = sorted((run.path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 4
    assert {file.stem for file in files} == {f"run-{id_of(run)}"}
    assert numbers([row for file in files for row in history(file)]) == sorted(EXPECTED.items())
