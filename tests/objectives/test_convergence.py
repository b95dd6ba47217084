"""The measure of orders: even times, and draws one at a time."""

from __future__ import annotations

import pytest
import torch

from objectives.convergence import FIRST, LAST, Convergence, OneAtATime, even_times
from objectives.paths import Cosine, LDMLinear, Straight, VarianceExploding


@pytest.mark.parametrize("path", [Straight(), Cosine(), LDMLinear(), VarianceExploding()], ids=str)
@pytest.mark.parametrize("even", ["tau", "log_snr"])
def test_times_are_even_and_end_where_they_should(path, even):
    times = even_times(path, 8, even)
    assert (float(times[0]), float(times[-1]), len(times)) == (FIRST, LAST, 9)
    assert times.dtype == torch.float64
    places = path.log_snr(times) if even == "log_snr" else path.clock(times)
    distances = places.diff()
    torch.testing.assert_close(distances, distances.mean().expand(8), rtol=1e-9, atol=0)


def test_the_order_is_that_of_the_last_doubling():
    assert Convergence((64, 128, 256), (1.0, 0.9, 0.225)).order == pytest.approx(2)


def test_draws_move_one_row_at_a_time():
    draws = OneAtATime(5)
    first, second = (draws.normal(name, (5, 1)) for name in ("a", "b"))
    assert (first[:, 0].tolist(), second[:, 0].tolist()) == ([0, 0, 1, 0, 0], [0, 0, 0, 1, 0])
