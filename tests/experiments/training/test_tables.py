"""Losses in bins: against sums written out, and the same however a batch is divided."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.training import tables
from objectives import Loss

ROWS = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.integers(0, 17), st.floats(0, 9, width=32)), min_size=4, max_size=24
)


def loss_of(rows: list[tuple[float, int, float]]) -> Loss:
    times, levels, losses = (torch.tensor(column) for column in zip(*rows, strict=True))
    steps = torch.where(levels > 16, 0.0, 2.0 ** -levels.float())
    return Loss(losses, times=times, steps=steps)


@given(ROWS)
def test_each_bin_holds_the_mean_loss_of_its_rows(rows: list[tuple[float, int, float]]) -> None:
    expected: dict[str, list[float]] = {}
    for t, level, loss in rows:
        expected.setdefault(f"loss_t{min(int(t * 8), 7)}", []).append(loss)
        expected.setdefault(f"loss_step_{0 if level > 16 else 2.0**-level:g}", []).append(loss)
    found: dict[str, float] = {}
    for name, table in tables.tables(loss_of(rows)).items():
        found |= tables.read(name, table.flatten().tolist())
    assert found.keys() == expected.keys()
    for name, losses in expected.items():
        assert found[name] == pytest.approx(sum(losses) / len(losses), rel=1e-5, abs=1e-6), name


@given(ROWS)
def test_the_mean_of_two_halves_tables_is_the_whole_batchs(rows: list[tuple[float, int, float]]) -> None:
    rows = rows[: len(rows) // 2 * 2]
    halves = [tables.tables(loss_of(half)) for half in (rows[::2], rows[1::2])]
    for name, table in tables.tables(loss_of(rows)).items():
        torch.testing.assert_close(torch.stack([half[name] for half in halves]).mean(0), table)


def test_steps_between_two_powers_go_to_the_nearer_one() -> None:
    steps = torch.tensor([0.3, 0.4, 1e-9])
    found = tables.read(tables.BY_STEP, tables.by_step(torch.tensor([1.0, 2.0, 3.0]), steps).flatten().tolist())
    assert found == pytest.approx({"loss_step_0.25": 1.0, "loss_step_0.5": 2.0, "loss_step_1.52588e-05": 3.0})


def test_an_objective_that_tells_no_times_gives_no_table() -> None:
    assert tables.tables(Loss(torch.ones(4))) == {}
