"""Draws: the published generator, a function of (seed, step, position, name) alone, and the right distributions."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from objectives import Draws, FixedDraws
from objectives import draws as module
from objectives.draws import philox

LEVEL = 1e-4


def _reference(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in Python's unbounded integers."""
    for _ in range(10):
        low, high = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [(high >> 32) ^ counter[1] ^ key[0], high % 2**32, (low >> 32) ^ counter[3] ^ key[1], low % 2**32]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter


# Random123's published test vectors: zeros, ones, and the digits of π.
@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, words):
    assert tuple(philox([torch.tensor(word) for word in counter], key).tolist()) == words
    assert tuple(_reference(list(counter), list(key))) == words


@given(st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6), st.sampled_from(["cpu", "device"]))
def test_philox_agrees_with_unbounded_integers(words, where):
    counter, key = words[:4], words[4:]
    with pytest.MonkeyPatch.context() as patch:
        if where == "device":  # the operators of a device, which this machine need not have
            patch.setattr(module, "_rounds_on_cpu", module._rounds_on_device)
        result = philox([torch.tensor([word]) for word in counter], (key[0], key[1]))
    assert result[:, 0].tolist() == _reference(counter, key)


@given(st.integers(0, 2**40), st.integers(0, 10**9), st.permutations(range(12)), st.integers(1, 9))
def test_a_row_is_a_function_of_seed_step_position_and_name(seed, step, order, width):
    index = torch.arange(12)
    whole, shuffled = Draws(seed, step, index), Draws(seed, step, index[order], size=12)
    for method in ("uniform", "normal"):
        all_rows = getattr(whole, method)("noise", (12, width))
        torch.testing.assert_close(getattr(shuffled, method)("noise", (12, width)), all_rows[order], rtol=0, atol=0)
        for other in (Draws(seed + 1, step, index), Draws(seed, step + 1, index), Draws(seed, step, index + 12)):
            assert not torch.equal(getattr(other, method)("noise", (12, width)), all_rows)
        assert not torch.equal(getattr(whole, method)("time", (12, width)), all_rows)


@given(
    st.lists(st.integers(0, 40) | st.integers(2**32 - 20, 2**32 - 1), min_size=2, max_size=6),
    st.integers(1, 9),
    st.sampled_from([1, 100, 10**6]),
)
def test_draws_that_go_from_step_to_step_are_those_of_each_step(steps, width, many):
    index, rows = torch.arange(6), Draws(3, 0, torch.arange(6))
    with patch.object(module, "_MANY", many):
        for step in steps:
            alone, going = Draws(3, step, index), rows.at(step)
            for name in ("time", "drop"):
                values = going.uniform(name, (6, width))
                assert torch.equal(values, alone.uniform(name, (6, width)))
                values.zero_()  # whoever draws may keep it, or write into it
                assert torch.equal(going.uniform(name, (6, width)), alone.uniform(name, (6, width)))
                for dtype in (torch.float32, torch.float64):
                    normal = alone.normal(name, (6, width, 3), dtype)
                    assert torch.equal(going.given(noise=values).normal(name, (6, width, 3), dtype), normal)


def test_given_noise_changes_nothing_else():
    rows, noise = Draws(3, 5, torch.arange(6), 24), torch.randn(6, 2)
    other = rows.given(noise=noise)
    assert (other.seed, other.step, other.size) == (3, 5, 24)
    assert torch.equal(other.normal("noise", (6, 2)), noise)
    assert torch.equal(other.uniform("time", (6,)), rows.uniform("time", (6,)))


def test_small_draws_are_computed_once_for_many_steps(monkeypatch):
    calls, rows, whole = [], Draws(0, 0, torch.arange(6)), module.philox
    monkeypatch.setattr(module, "philox", lambda *args: calls.append(args) or whole(*args))
    for step in range(100, 132):
        rows.at(step).uniform("time", (6,))
    assert len(calls) == 2
    for step in range(4):
        rows.at(step).normal("noise", (6, 2**15))  # 2¹⁸ numbers are those of one step
    assert len(calls) == 6


def test_shapes_share_a_row_and_dtypes_agree():
    draws = Draws(0, 0, torch.arange(5))
    assert torch.equal(draws.uniform("a", (5, 2, 3)).flatten(1), draws.uniform("a", (5, 8))[:, :6])
    assert torch.equal(draws.normal("a", (5,)), draws.normal("a", (5, 4))[:, 0])
    double = draws.normal("a", (5, 4), torch.float64)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), draws.normal("a", (5, 4)), rtol=1e-5, atol=1e-6)


def test_uniforms_lie_inside_the_unit_interval():
    words = torch.tensor([0, 2**32 - 1])
    for dtype in (torch.float32, torch.float64):
        values = module._unit(words, dtype)
        assert values.dtype == dtype
        assert values.tolist() == [2.0**-24, 1 - 2.0**-24]


@pytest.mark.parametrize(("scale", "follows"), [(1.0, True), (1.05, False)])
def test_distributions(scale, follows):
    draws = Draws(1, 2, torch.arange(50_000))
    uniform = (draws.uniform("u", (50_000, 2), torch.float64) / scale).flatten()
    assert (stats.kstest(uniform.numpy(), "uniform").pvalue > LEVEL) == follows
    normal = scale * draws.normal("n", (50_000, 2), torch.float64)
    assert (stats.kstest(normal.flatten().numpy(), "norm").pvalue > LEVEL) == follows
    # Both halves of Box and Muller's pair are independent: their phases are uniform too.
    phase = torch.atan2(normal[:, 0], normal[:, 1]) / (2 * torch.pi) + 0.5
    assert stats.kstest(phase.numpy(), "uniform").pvalue > LEVEL


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 5))
def test_cycle_takes_all_values_evenly(period, every, seed):
    single = [int(Draws(seed, step, torch.arange(every)).cycle("c", period, every=every)[0]) for step in range(period)]
    assert sorted(single) == list(range(period))
    whole = Draws(seed, 3, torch.arange(period * every)).cycle("c", period, every=every)
    assert torch.equal(torch.bincount(whole, minlength=period), torch.full((period,), every))


def test_cycle_refuses_torn_groups():
    with pytest.raises(ValueError, match="whole groups of 4"):
        Draws(0, 0, torch.arange(2, 10)).cycle("c", 7, every=4)


def test_wrong_requests_are_refused():
    draws = Draws(0, 0, torch.arange(4))
    with pytest.raises(ValueError, match="start with the batch size 4"):
        draws.normal("noise", (3, 2))
    with pytest.raises(ValueError, match=r"\(B,\) int64"):
        Draws(0, 0, torch.arange(4.0))
    with pytest.raises(ValueError, match="step"):
        Draws(0, -1, torch.arange(4))


def test_fixed_draws_give_what_they_were_given():
    noise = torch.randn(3, 2)
    draws = FixedDraws(noise=noise)
    assert torch.equal(draws.normal("noise", (3, 2)), noise)
    assert not bool((draws.uniform("drop", (3,)) < 1).any())
    with pytest.raises(ValueError, match=r"no 'time'; given: noise"):
        draws.uniform("time", (3,))
    with pytest.raises(ValueError, match="shape"):
        draws.normal("noise", (4, 2))
    with pytest.raises(ValueError, match="no 'step'"):
        draws.cycle("step", 7)


def test_a_seeds_numbers_stay_what_they_are():
    """Runs made before are comparable with runs made after only as long as equal draws are equal."""
    draws = Draws(11, 3, torch.arange(2))
    uniform = [[0.63173586, 0.82671267, 0.98406464, 0.65043324, 0.10629088],
               [0.99100918, 0.46346444, 0.54758757, 0.66274983, 0.29455119]]  # fmt: skip
    normal = [[-0.87728590, 1.05424881, 0.62608194], [-0.47739857, 1.10306919, -0.43314695]]
    torch.testing.assert_close(draws.uniform("time", (2, 5)), torch.tensor(uniform), rtol=0, atol=1e-7)
    torch.testing.assert_close(draws.normal("noise", (2, 3)), torch.tensor(normal), rtol=0, atol=1e-6)
    assert draws.cycle("step", 7).tolist() == [3, 4]


def test_fixed_draws_of_dropping_are_ones_where_none_are_given():
    for draws, device in ((FixedDraws(), "cpu"), (FixedDraws(time=torch.zeros(3, device="meta")), "meta")):
        ones = draws.uniform("drop", (3,), torch.float64)
        assert (ones.device.type, ones.dtype, ones.shape) == (device, torch.float64, (3,))
    assert FixedDraws().uniform("drop", (3,)).tolist() == [1.0, 1.0, 1.0]
    given_ = FixedDraws(drop=torch.tensor([0.5]), step=torch.tensor([9.0]))
    assert given_.uniform("drop", (1,), torch.float64).dtype == torch.float64
    assert given_.cycle("step", 7).tolist() == [2]
    assert given_.has("drop")
    assert not given_.has("noise")


def test_given_noise_comes_in_the_dtype_asked_for():
    given_ = Draws(0, 0, torch.arange(3)).given(noise=torch.ones(3, 2))
    assert given_.normal("noise", (3, 2), torch.float64).dtype == torch.float64
    assert given_.normal("noise", (3, 2)).dtype == torch.float32
