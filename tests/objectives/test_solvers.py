"""The conformance kits over every built-in solver, on every path that it serves; what solvers refuse."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import strategies as st

from objectives import SCM, ConsistencyTraining, FlowMatching, Shortcut, formulation, sample
from objectives.conformance import (
    AdaptiveConformance,
    ConvergenceConformance,
    SolverConformance,
    WeakConvergenceConformance,
)
from objectives.conformance.common import LEVEL, close, draws, mixture, to_uniforms, uniformity
from objectives.convergence import strong, weak
from objectives.paths import Cosine, LDMLinear, Straight, Trig, VarianceExploding
from objectives.solvers import (
    DDIM,
    DPMPP2M,
    RK4,
    SOLVERS,
    Consistency,
    Dopri5,
    EDMStochastic,
    Euler,
    EulerMaruyama,
    Heun,
    Midpoint,
)

PATHS = (Straight(), Cosine(), LDMLinear(), Trig(), VarianceExploding())
ORDERS = {Euler(): 1, DDIM(): 1, Heun(): 2, Midpoint(): 2, RK4(): 4, DPMPP2M(): 2}
EVALUATIONS = {
    Euler(): lambda n: n,
    DDIM(): lambda n: n,
    Heun(): lambda n: 2 * n - 1,
    Midpoint(): lambda n: 2 * n - 1,
    RK4(): lambda n: 4 * n - 3,
    DPMPP2M(): lambda n: n,
    Dopri5(1e-3, 1e-3): lambda n: None,
    EulerMaruyama(): lambda n: n,
    EulerMaruyama("sine"): lambda n: n,
}
NETWORK = mixture().network(FlowMatching())
NOISE = draws(16).normal("noise", (16, 2), torch.float64)


def _name(solver, path=None):
    """Without brackets, which would end the class's name in a node id."""
    told = f"Test {solver}" if path is None else f"Test {solver} on {path}"
    return re.sub(r"\W+", "_", told).strip("_")


def _on(solver, path):
    return {
        "solvers": lambda self: st.just(solver),
        "objectives": lambda self: st.just(FlowMatching(path=path)),
        "__module__": __name__,
    }


for _solver, _count in EVALUATIONS.items():

    def _evaluations(self, steps, count=_count):
        return count(steps)

    _objectives = st.sampled_from([*(FlowMatching(path=path) for path in PATHS), formulation("edm(0.00,1.20)")])
    _members = {
        "solvers": lambda self, solver=_solver: st.just(solver),
        "objectives": lambda self, objectives=_objectives: objectives,
        "evaluations": _evaluations,
        "__module__": __name__,
    }
    globals()[_name(_solver)] = type(_name(_solver), (SolverConformance,), _members)

for _solver, _order in ORDERS.items():
    for _path in PATHS:
        _members = {"order": _order, "even": "log_snr" if _solver == DPMPP2M() else "tau", **_on(_solver, _path)}
        _class = type(_name(_solver, _path), (ConvergenceConformance,), _members)
        globals()[_class.__name__] = _class

for _diffusion in ("sigma", "sine", "sde"):
    for _path in PATHS:
        _solver = EulerMaruyama(_diffusion)
        _class = type(_name(_solver, _path), (WeakConvergenceConformance,), _on(_solver, _path))
        globals()[_class.__name__] = _class

for _path in PATHS:
    _members = {"at": lambda self, tolerance: Dopri5(tolerance, tolerance), **_on(Dopri5(), _path)}
    _class = type(_name(Dopri5(), _path), (AdaptiveConformance,), _members)
    globals()[_class.__name__] = _class


class TestEDMStochastic(SolverConformance):
    def solvers(self):
        return st.builds(EDMStochastic, churn=st.floats(0, 80))

    def objectives(self):
        return st.just(formulation("edm(-1.20,1.20)"))

    def evaluations(self, steps):
        return 2 * steps - 1


class TestConsistency(SolverConformance):
    def solvers(self):
        return st.just(Consistency())

    def objectives(self):
        return st.sampled_from([ConsistencyTraining(), SCM()])

    def evaluations(self, steps):
        return steps


def test_every_solver_is_in_a_kit():
    tested = {type(solver) for solver in EVALUATIONS} | {EDMStochastic, Consistency}
    assert tested == set(SOLVERS.values())
    assert {type(solver) for solver in ORDERS} == {
        solver for solver in SOLVERS.values() if solver.deterministic and solver is not Dopri5
    }
    for path in PATHS:
        assert set(path.solvers) - {"edm_stochastic"} == set(SOLVERS) - {"edm_stochastic", "consistency"}


class _Stale(Midpoint):
    """A midpoint method whose second slope is asked for at the step's start."""

    def solve(self, objective, network, z, times, condition, *, draws=None, on_step=None):
        starts = iter(t for t in times.tolist() for _ in range(2))

        def stale(z, t, *rest):
            return network(z, torch.full_like(t, next(starts)), *rest)

        return super().solve(objective, stale, z, times, condition)


class _Forgetful(DPMPP2M):
    """A multistep method without its memory: every step is solved as if it were the first."""

    def solve(self, objective, network, z, times, condition, *, draws=None, on_step=None):
        for i in range(len(times) - 1):
            z = super().solve(objective, network, z, times[i : i + 2], condition)
        return z


def test_the_measure_of_order_sees_a_lost_one():
    assert abs(strong(_Stale(), FlowMatching()).order - 1) < 0.15
    assert abs(strong(_Forgetful(), FlowMatching(), even="log_snr").order - 1) < 0.15


@pytest.mark.parametrize("factor", [0.5, 1.1])
def test_the_weak_measure_sees_a_wrong_diffusion(factor):
    class Wrong(EulerMaruyama):
        def solve(self, objective, network, z, times, condition, *, draws=None, on_step=None):
            class Scaled:
                def normal(self, name, shape, dtype):
                    return factor * draws.normal(name, shape, dtype)

            return super().solve(objective, network, z, times, condition, draws=Scaled())

    assert weak(EulerMaruyama(), FlowMatching()).errors[-1] < 1e-2
    assert abs(weak(Wrong(), FlowMatching()).order - 1) > 0.5


@pytest.mark.parametrize("solver", [EulerMaruyama("sigma"), EulerMaruyama("sine", 2.0), EulerMaruyama("sde")])
@pytest.mark.parametrize("path", [Straight(), VarianceExploding()])
def test_euler_maruyama_meets_the_data(solver, path):
    if solver.diffusion == "sde" and path == Straight():
        return
    objective, rows = FlowMatching(path=path), 3_000
    network, noise = mixture().network(objective), draws(rows).normal("noise", (rows, 2), torch.float64)

    class Louder:
        def normal(self, name, shape, dtype):
            return 1.3 * draws(rows).normal(name, shape, dtype)

    for random, follows in ((draws(rows), True), (Louder(), False)):
        out = sample(objective, network, noise, None, steps=100, solver=solver, draws=random)
        assert (uniformity(to_uniforms(mixture(), out), 6) > LEVEL) == follows


def test_euler_maruyama_without_diffusion_is_euler():
    quiet = sample(FlowMatching(), NETWORK, NOISE, None, steps=7, solver=EulerMaruyama(scale=0.0), draws=draws(16))
    close(quiet, sample(FlowMatching(), NETWORK, NOISE, None, steps=7, solver="euler"))


def test_euler_maruyama_takes_fresh_noise_at_every_step():
    asked = []

    class Recorded:
        def normal(self, name, shape, dtype):
            asked.append(name)
            return draws(16).normal(name, shape, dtype)

    sample(FlowMatching(), NETWORK, NOISE, None, steps=4, solver="euler_maruyama", draws=Recorded())
    assert len(set(asked)) == len(asked) == 3


@pytest.mark.parametrize("path", PATHS)
def test_dpm_solver_agrees_with_its_paper(path):
    """Lu et al. 2022, algorithm 2, in the paper's variables: α, σ, λ = ln(α/σ), h, r."""
    objective = FlowMatching(path=path)
    network, times = mixture().network(objective), torch.tensor([0.9, 0.7, 0.45, 0.2]).double()
    alpha, sigma = path.a(times), path.b(times)
    lam = torch.log(alpha / sigma)
    x = [NOISE]
    data = []
    for i in range(3):
        data.append(objective.predict(network, x[i], times[i].expand(16), None)[0])
        h, mixed = lam[i + 1] - lam[i], data[i]
        if i > 0:
            r = (lam[i] - lam[i - 1]) / h
            mixed = (1 + 1 / (2 * r)) * data[i] - 1 / (2 * r) * data[i - 1]
        x.append(sigma[i + 1] / sigma[i] * x[i] - alpha[i + 1] * torch.expm1(-h) * mixed)
    close(DPMPP2M().solve(objective, network, NOISE, times, None), x[-1])


@pytest.mark.parametrize(("solver", "nodes"), [(Midpoint(), (0.8, 0.55)), (RK4(), (0.8, 0.55, 0.55, 0.3))])
def test_stages_are_asked_for_at_their_own_times(solver, nodes):
    seen = []

    def network(z, t, condition=None, step=None):
        seen.append(float(t[0]))
        return NETWORK(z, t)

    solver.solve(FlowMatching(), network, NOISE, torch.tensor([0.8, 0.3]).double(), None)
    assert seen == pytest.approx(nodes)


@pytest.mark.parametrize(
    "solver", [Euler(), Heun(), Midpoint(), RK4(), DDIM(), DPMPP2M(), EulerMaruyama()], ids=lambda solver: solver.name
)
def test_every_stage_is_told_the_length_of_its_step(solver):
    objective, lengths = FlowMatching(), []
    objective.needs = replace(objective.needs, step=True)

    def asked(whole):
        def wrapped(network, z, t, condition=None, step=None):
            lengths.append(step)
            return whole(network, z, t, condition)

        return wrapped

    flow = FlowMatching()
    objective.velocity, objective.predict = asked(flow.velocity), asked(flow.predict)
    solver.solve(objective, NETWORK, NOISE, torch.tensor([0.8, 0.3]).double(), None, draws=draws(rows=len(NOISE)))
    assert lengths
    for length in lengths:
        close(length, torch.full((len(NOISE),), 0.5).double())


def test_the_network_is_never_asked_beyond_the_grid():
    """Adaptive steps would overshoot the end, where EDM's noise label is the logarithm of a negative number."""
    for name in ("edm(0.00,1.20)", "rf"):
        objective, seen = formulation(name), []
        exact = mixture().network(objective)

        def network(z, t, condition=None, step=None, objective=objective, seen=seen, exact=exact):
            seen.append(float(objective.label_time(t)[0]))
            return exact(z, t)

        sample(objective, network, NOISE, None, steps=1, solver="dopri5")
        assert 0 < min(seen) <= max(seen) <= objective.path.t_max + 1e-12


def test_dopri5_does_not_depend_on_who_shares_the_batch_beyond_its_tolerance():
    together = sample(FlowMatching(), NETWORK, NOISE, None, steps=1, solver=Dopri5(1e-7, 1e-7))
    alone = sample(FlowMatching(), NETWORK, NOISE[:1], None, steps=1, solver=Dopri5(1e-7, 1e-7))
    close(together[:1], alone, 1e-5)


def test_a_network_that_blows_up_is_told():
    def network(z, t, condition=None, step=None):
        return z * math.nan

    with pytest.raises(FloatingPointError, match="finite"):
        sample(FlowMatching(), network, NOISE, None, steps=1, solver="dopri5")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: EulerMaruyama("brown"), "one of sigma, sine, sde"),
        (lambda: EulerMaruyama(scale=-1.0), "scale"),
        (lambda: Dopri5(rtol=0.0), "tolerances"),
        (lambda: Dopri5(sigma_min=0.5), "sigma_min"),
        (lambda: EulerMaruyama("sde").check(FlowMatching()), "infinite at t = 1"),
        (lambda: RK4().check(Shortcut()), "allowed: euler"),
        (lambda: sample(FlowMatching(), NETWORK, NOISE, None, steps=2, solver="euler_maruyama"), "needs draws"),
        (
            lambda: sample(FlowMatching(), NETWORK, NOISE.float(), None, steps=2, solver=Dopri5(1e-9, 1e-9)),
            "float32 a tolerance",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()
    EulerMaruyama("sde").check(FlowMatching(path=VarianceExploding()))


@pytest.mark.parametrize("solver", ORDERS | dict.fromkeys((Dopri5(), EulerMaruyama())), ids=str)
def test_every_solver_hands_on_the_condition(solver):
    """A network that looks at it alone: a constant velocity, which a deterministic solver follows exactly."""

    def network(z, t, condition, step=None):
        return condition["shift"][:, None].expand_as(z)

    objective, found = formulation("rf/lognorm(0.00,1.00)"), []
    for shift in (0.5, -0.25):
        condition = {"shift": torch.full((16,), shift, dtype=torch.float64)}
        found.append(sample(objective, network, NOISE, condition, steps=4, solver=solver, draws=draws(16)))
        if solver.deterministic:
            close(found[-1], NOISE - shift, 1e-9)
    assert not torch.allclose(*found, atol=0.1)


@pytest.mark.parametrize(("diffusion", "w"), [("sigma", lambda t: t), ("sine", lambda t: math.sin(math.pi * t) ** 2)])
def test_euler_maruyamas_diffusions_on_the_straight_path(diffusion, w):
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    expected = torch.tensor([3 * w(float(at)) for at in t], dtype=torch.float64)
    close(EulerMaruyama(diffusion, scale=3.0).strength(Straight(), t), expected, 1e-12)
