"""Non-dominated sorting against brute force by the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.report.rank import fronts, fronts_by_control, global_rank


def brute_force(points: list[tuple[float, ...]]) -> list[int]:
    """Front by front, each point asked of each other one."""

    def dominated(i: int, among: set[int]) -> bool:
        return any(
            all(a <= b for a, b in zip(points[j], points[i], strict=True)) and points[j] != points[i] for j in among
        )

    left, front, index = set(range(len(points))), [0] * len(points), 0
    while left:
        index += 1
        best = {i for i in left if not dominated(i, left)}
        for i in best:
            front[i] = index
        left -= best
    return front


tables = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf]))
)


@given(tables)
def test_rank_is_the_mean_of_brute_force_fronts(costs: np.ndarray) -> None:
    expected = np.mean([brute_force([tuple(p) for p in costs[:, c]]) for c in range(costs.shape[1])], axis=0)
    np.testing.assert_array_equal(global_rank(costs), expected)


@pytest.mark.parametrize("seed", range(40))
def test_fronts_are_those_of_pymoo(seed: int) -> None:
    sorting = pytest.importorskip("pymoo.util.nds.non_dominated_sorting")
    rng = np.random.default_rng(seed)
    cells, metrics = rng.integers(1, 60), rng.integers(1, 5)
    points = rng.normal(size=(cells, metrics)) if seed % 2 else rng.integers(0, 4, (cells, metrics)).astype(float)
    expected = np.zeros(cells, dtype=int)
    for index, front in enumerate(sorting.NonDominatedSorting().do(points), 1):
        expected[front] = index
    np.testing.assert_array_equal(fronts(points), expected)


def test_the_rank_of_random_tables_is_that_of_pymoos_fronts() -> None:
    sorting = pytest.importorskip("pymoo.util.nds.non_dominated_sorting")
    for seed in range(10):
        costs = np.random.default_rng(seed).integers(0, 9, (16, 24, 2)).astype(float)
        expected = np.zeros((16, 24))
        for control in range(24):
            for index, front in enumerate(sorting.NonDominatedSorting().do(costs[:, control]), 1):
                expected[front, control] = index
        np.testing.assert_allclose(global_rank(costs), expected.mean(1), rtol=1e-12)


def test_a_cell_without_a_number_is_left_out_of_that_control_alone() -> None:
    costs = np.array([[[1.0, 1.0], [1.0, 9.0]], [[np.nan, 0.0], [2.0, 8.0]], [[2.0, 2.0], [3.0, 9.0]]])
    np.testing.assert_array_equal(fronts_by_control(costs), [[1, 1], [np.nan, 1], [2, 2]])


def test_equal_points_share_a_front_and_a_trade_off_does_not_dominate() -> None:
    assert fronts([(1, 4), (1, 4), (2, 3), (2, 4), (9, 9)]).tolist() == [1, 1, 1, 2, 3]


def test_no_cells_have_no_ranks() -> None:
    assert global_rank(np.empty((0, 2, 2))).shape == (0,)


@pytest.mark.parametrize("costs", [np.zeros((3, 2)), np.zeros((3, 0, 2)), np.full((1, 1, 1), np.nan)])
def test_what_cannot_be_ranked_is_refused(costs: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"costs must have shape|nan"):
        global_rank(costs)
