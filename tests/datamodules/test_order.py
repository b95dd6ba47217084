"""The training order is a function of (seed, step), divided among ranks and micro-batches without loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.order import Sequential, TrainingOrder, local_batch, permutation, positions

SPLITS = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))  # world, accumulate, local batch


def stream(size: int, batch: int, seed: int, steps: int) -> torch.Tensor:
    """Rows of the first steps, on one process without accumulation."""
    return torch.cat(list(TrainingOrder(size, batch, seed, max_steps=steps)))


@given(size=st.integers(1, 50), batch=st.integers(1, 70), seed=st.integers(-5, 2**63), epochs=st.integers(1, 3))
def test_every_epoch_holds_every_row_once(size: int, batch: int, seed: int, epochs: int) -> None:
    steps = -(-size * epochs // batch)
    rows = stream(size, batch, seed, steps)
    for epoch in range(epochs):
        assert rows[epoch * size : (epoch + 1) * size].sort().values.tolist() == list(range(size))


@given(split=SPLITS, size=st.integers(1, 40), seed=st.integers(0, 9), steps=st.integers(1, 5))
def test_the_global_batch_does_not_depend_on_its_division(
    split: tuple[int, int, int], size: int, seed: int, steps: int
) -> None:
    world, accumulate, local = split
    batch = world * accumulate * local
    expected = stream(size, batch, seed, steps).view(steps, batch)
    ranks = [
        list(TrainingOrder(size, batch, seed, rank=rank, world=world, accumulate=accumulate, max_steps=steps))
        for rank in range(world)
    ]
    for step in range(steps):
        parts = [part for rank in ranks for part in rank[step * accumulate : (step + 1) * accumulate]]
        assert all(len(part) == local for part in parts)
        assert torch.equal(torch.cat(parts), expected[step])


@given(size=st.integers(1, 40), batch=st.integers(1, 30), start=st.integers(0, 6), more=st.integers(0, 6))
def test_a_later_start_goes_on_where_the_order_was(size: int, batch: int, start: int, more: int) -> None:
    whole = list(TrainingOrder(size, batch, 3, max_steps=start + more))
    resumed = TrainingOrder(size, batch, 3, start_step=start, max_steps=start + more)
    assert len(resumed) == more
    assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in whole[start:]]
    assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in resumed]


@given(split=SPLITS, step=st.integers(0, 9))
def test_positions_are_consecutive_and_cover_the_step(split: tuple[int, int, int], step: int) -> None:
    world, accumulate, local = split
    batch = world * accumulate * local
    parts = [positions(step, batch, r, world, accumulate, m) for r in range(world) for m in range(accumulate)]
    assert all(part.tolist() == list(range(int(part[0]), int(part[0]) + local)) for part in parts)
    assert torch.cat(parts).tolist() == list(range(step * batch, (step + 1) * batch))


def test_rows_follow_positions() -> None:
    order = TrainingOrder(7, 6, 5, rank=1, world=3, accumulate=2, max_steps=9)
    for step in range(9):
        for micro in range(2):
            (position,) = positions(step, 6, 1, 3, 2, micro).tolist()
            assert order.rows(step, micro).tolist() == [int(permutation(7, 5, position // 7)[position % 7])]


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(permutation(50, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_permutation_is_the_one_it_has_always_been() -> None:
    assert permutation(8, 0, 0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


@pytest.mark.parametrize(("batch", "world", "accumulate"), [(10, 3, 1), (10, 1, 4), (12, 4, 2), (0, 1, 1), (4, 0, 1)])
def test_what_cannot_be_divided_is_refused(batch: int, world: int, accumulate: int) -> None:
    with pytest.raises(ValueError, match="multiple of"):
        local_batch(batch, world, accumulate)
    with pytest.raises(ValueError, match="multiple of"):
        TrainingOrder(20, batch, 0, world=world, accumulate=accumulate, max_steps=1)


def test_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        TrainingOrder(20, 4, 0, rank=2, world=2, max_steps=1)
    with pytest.raises(ValueError, match="start_step is 3"):
        TrainingOrder(20, 4, 0, start_step=3, max_steps=2)
    with pytest.raises(ValueError, match="0 rows"):
        TrainingOrder(0, 4, 0, max_steps=2)
    with pytest.raises(ValueError, match="micro-batch 1 of 1"):
        positions(0, 4, micro=1)


@given(size=st.integers(1, 30), batch=st.integers(1, 40))
def test_sequential_visits_each_row_once_in_order(size: int, batch: int) -> None:
    parts = list(Sequential(size, batch))
    assert len(parts) == len(Sequential(size, batch))
    assert torch.cat(parts).tolist() == list(range(size))
    assert max(map(len, parts)) <= batch
