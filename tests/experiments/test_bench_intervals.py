from __future__ import annotations

import numpy as np

from experiments.bench.intervals import RESAMPLES, covered, of_means, table


def test_every_line_of_a_table_has_its_columns() -> None:
    lines = [line for line in table(studies=2) if line]
    tables = "\n".join(line if line.startswith("|") else "#" for line in lines).split("#")[1:]
    assert len(tables) == 4
    for one in tables:
        assert len({line.count("|") for line in one.strip().splitlines()}) == 1


def test_an_interval_holds_its_ends() -> None:
    low, high = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert covered(low, high, 1.0) == 2 / 3


def test_the_percentile_bootstrap_of_three_values_is_their_range_at_best() -> None:
    # From the least to the greatest of three: 1 − 2/2³ for a symmetric distribution.
    found = of_means(3, "normal", studies=400)
    assert RESAMPLES >= 999
    assert 0.66 < found["percentile"] < 0.79
    assert found["percentile"] < found["Student's t"] - 0.12
