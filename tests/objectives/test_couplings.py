"""Couplings: the kit, the least cost against brute force, classes kept apart, pairs given, wrong batches refused."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from objectives import Draws, FixedDraws, FlowMatching, Shortcut
from objectives.conformance import CouplingConformance
from objectives.conformance.common import draws
from objectives.couplings import ClassAwareOT, GivenPairs, Independent, MinibatchOT


class TestIndependent(CouplingConformance):
    def couplings(self):
        return st.just(Independent())


class TestGivenPairs(CouplingConformance):
    def couplings(self):
        return st.just(GivenPairs())


class TestMinibatchOT(CouplingConformance):
    def couplings(self):
        return st.builds(MinibatchOT, st.integers(2, 40))

    def condition(self, rows):
        return None


class TestClassAwareOT(CouplingConformance):
    def couplings(self):
        return st.builds(ClassAwareOT, st.integers(2, 40))


def batch(rows, seed=0, dtype=torch.float64):
    random = Draws(seed, 0, torch.arange(rows))
    return random.normal("noise", (rows, 3), dtype), 2 * random.normal("data", (rows, 3), dtype)


def cost(x, noise):
    return float((x - noise).square().sum())


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_the_assignment_is_the_cheapest_of_all_permutations(rows, seed):
    noise, x = batch(rows, seed)
    best = min(cost(x, noise[list(order)]) for order in itertools.permutations(range(rows)))
    assert abs(cost(x, MinibatchOT(rows).couple(noise, x, None)) - best) < 1e-9
    assert best <= cost(x, noise)


@given(st.integers(0, 10_000))
def test_classes_are_each_matched_alone_and_keep_their_noise(seed):
    noise, x = batch(12, seed)
    label = torch.tensor([0, 1, 0, 2, 1, 0, 1, 0, 1, 1, 0, 1])
    coupled = ClassAwareOT(6).couple(noise, x, {"label": label})
    for start in (0, 6):
        for one in range(3):
            rows = start + (label[start : start + 6] == one).nonzero()[:, 0]
            if len(rows) > 1:
                expected = MinibatchOT(len(rows)).couple(noise[rows], x[rows], None)
                assert torch.equal(coupled[rows], expected)
            else:
                assert torch.equal(coupled[rows], noise[rows])


def test_plain_transport_makes_noise_depend_on_the_class_and_class_aware_does_not():
    """Two classes, left and right: by the plain coupling a class's noise is no longer standard normal."""
    rows = 4096
    noise = draws(rows).normal("noise", (rows, 1), torch.float64)
    label = torch.arange(rows) % 2
    x = (6.0 * label - 3.0)[:, None] + 0.1 * noise.flip(0)
    p_values = [
        stats.kstest(coupling.couple(noise, x, {"label": label})[label == 1, 0].numpy(), "norm").pvalue
        for coupling in (MinibatchOT(), ClassAwareOT())
    ]
    assert p_values[0] < 1e-4 < p_values[1]


@pytest.mark.parametrize("coupling", [MinibatchOT(8), ClassAwareOT(8)])
def test_a_loss_does_not_depend_on_how_the_batch_is_divided(coupling):
    flow = FlowMatching(coupling=coupling)
    _, x = batch(32)
    label = torch.arange(32) % 3

    def losses(rows):
        condition = {"label": label[rows]}
        return flow.loss(lambda z, t, c: torch.tanh(z), x[rows], condition, Draws(3, 5, rows, 32)).per_sample

    rows = torch.arange(32)
    torch.testing.assert_close(torch.cat([losses(part) for part in rows.split(8)]), losses(rows))
    plain = FlowMatching().loss(lambda z, t, c: torch.tanh(z), x, {"label": label}, Draws(3, 5, rows, 32)).per_sample
    assert not torch.allclose(plain, losses(rows))


def test_the_coupled_noise_is_what_is_mixed_and_regressed():
    noise, x = batch(8)
    t = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    coupled, seen = MinibatchOT(4).couple(noise, x, None), []
    flow = FlowMatching(coupling=MinibatchOT(4))
    loss = flow.loss(lambda z, t, c: seen.append(z) or z * 0, x, None, FixedDraws(noise=noise, time=t))
    torch.testing.assert_close(seen[0], (1 - t)[:, None] * x + t[:, None] * coupled)
    torch.testing.assert_close(loss.per_sample, (coupled - x).square().mean(1))
    assert not torch.equal(coupled, noise)


def test_transport_makes_paths_shorter():
    noise, x = batch(256)
    assert cost(x, MinibatchOT(64).couple(noise, x, None)) < 0.8 * cost(x, noise)


def test_given_pairs_take_the_batchs_noise_and_refuse_a_batch_without():
    noise, x = batch(4)
    flow, plain = FlowMatching(coupling=GivenPairs()), Draws(0, 0, torch.arange(4))
    assert flow.needs.pairs
    assert not FlowMatching().needs.pairs
    own = plain.given(noise=noise)
    torch.testing.assert_close(flow.noise(x, None, own), noise)
    assert torch.equal(own.uniform("time", (4,)), plain.uniform("time", (4,)))
    assert torch.equal(own.normal("other", (4, 2)), plain.normal("other", (4, 2)))
    with pytest.raises(ValueError, match="carry their own noise"):
        flow.loss(lambda z, t, c: z, x, None, plain)
    with pytest.raises(ValueError, match="has shape"):
        flow.loss(lambda z, t, c: z, x, None, plain.given(noise=noise[:, :2]))


def test_shortcut_couples_its_noise_too_and_takes_batches_of_both_multiples():
    objective = Shortcut(FlowMatching(coupling=MinibatchOT(6)), k=0.25)
    assert objective.batch_multiple == 12
    assert objective.needs.step
    assert Shortcut(FlowMatching(coupling=GivenPairs())).needs.pairs
    noise, x = batch(12)
    seen, t = [], torch.full((12,), 0.5, dtype=torch.float64)
    fixed = FixedDraws(noise=noise, time=t, step=torch.zeros(12))
    objective.loss(lambda z, t, c, d: seen.append(z) or z, x, None, fixed, teacher=lambda z, t, c, d: z)
    coupled = MinibatchOT(6).couple(noise, x, None)
    torch.testing.assert_close(seen[-1][1:4], 0.5 * (x + coupled)[1:4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MinibatchOT(1), "groups of 2 to 4096"),
        (lambda: ClassAwareOT(5000), "groups of 2 to 4096"),
        (lambda: FlowMatching(coupling=MinibatchOT(4)).noise(torch.zeros(6, 2), None, draws(6)), "multiple of 4"),
        (lambda: ClassAwareOT().couple(*batch(64), None), "condition with a label"),
        (lambda: ClassAwareOT().couple(*batch(64), {"pooled": torch.zeros(64, 2)}), "condition with a label"),
    ],
)
def test_wrong_groups_and_conditions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
