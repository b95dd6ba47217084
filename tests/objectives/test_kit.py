"""The conformance kit over objectives, and over the densities, paths and heads that need nothing but the kit."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from objectives import (
    SCM,
    ConsistencyDistillation,
    ConsistencyTraining,
    FlowMatching,
    LiveReflow,
    MeanFlow,
    ProgressiveDistillation,
    Reflow,
    Shortcut,
    exact,
    exact_distilled,
    formulation,
)
from objectives.conformance import (
    DensityConformance,
    HeadConformance,
    ObjectiveConformance,
    PathConformance,
)
from objectives.densities import CosMap, LogitNormal, Mode, Uniform
from objectives.heads import Data, EDMPreconditioned
from objectives.paths import Straight, VarianceExploding


class TestUniform(DensityConformance):
    def densities(self):
        return st.just(Uniform())


class TestLogitNormal(DensityConformance):
    def densities(self):
        return st.builds(LogitNormal, st.floats(-2, 2), st.floats(0.1, 3))


class TestMode(DensityConformance):
    def densities(self):
        return st.builds(Mode, st.floats(-1, 1.7519))


class TestCosMap(DensityConformance):
    def densities(self):
        return st.just(CosMap())


class TestStraight(PathConformance):
    def paths(self):
        return st.just(Straight())


class TestVarianceExploding(PathConformance):
    def paths(self):
        return st.builds(VarianceExploding, st.floats(1e-3, 0.1), st.floats(5, 100), st.floats(1, 10))


class TestEDMPreconditioned(HeadConformance):
    def heads(self):
        return st.builds(EDMPreconditioned, st.floats(0.1, 2))

    def paths(self):
        return st.just(VarianceExploding())


NAMES = (
    "rf",
    "rf/lognorm(0.00,1.00)",
    "rf/mode(1.29)",
    "rf/cosmap",
    "edm(-1.20,1.20)",
    "edm/rf",
    "edm/cos",
    "eps/cos",
    "v/cos",
    "eps/linear",
    "v/linear",
)


def _formulation(name: str) -> type[ObjectiveConformance]:
    def objectives(self):
        return st.just(formulation(name))

    # Without brackets, which would end the class's name in a node id.
    title = re.sub(r"\W+", "_", f"Test {name}").strip("_")
    return type(title, (ObjectiveConformance,), {"objectives": objectives, "__module__": __name__})


for _class in map(_formulation, NAMES):
    globals()[_class.__name__] = _class


class TestFlowMatchingOnTheExplodingPathWithAVelocityHead(ObjectiveConformance):
    def objectives(self):
        return st.just(FlowMatching(path=VarianceExploding(), time=LogitNormal(0.0, 1.0)))


class TestShortcut(ObjectiveConformance):
    steps = 3
    rows = 6_000  # a multiple of 2, 3 and 4

    def objectives(self):
        return st.builds(
            Shortcut, M=st.just(64), k=st.sampled_from((0.5, 1 / 3, 0.25)), label=st.sampled_from(("finest", "zero"))
        )


class TestMeanFlow(ObjectiveConformance):
    steps = 2
    rows = 6_000

    def network(self, objective, data):
        """To 1e-5, which is enough for statistics."""
        return exact.mean_flow(data, objective, steps=16)

    def objectives(self):
        return st.builds(MeanFlow, ratio=st.sampled_from((1.0, 0.75, 0.25)), p=st.sampled_from((0.0, 1.0)))

    def unweighted(self):
        return st.builds(MeanFlow, ratio=st.sampled_from((1.0, 0.75, 0.25)), p=st.just(0.0))


class TestConsistencyTraining(ObjectiveConformance):
    steps = 1
    rows = 4_000

    def network(self, objective, data):
        """To 1e-5, which is enough for statistics."""
        return exact.consistency_training(data, objective, steps=16)

    def objectives(self):
        return st.builds(ConsistencyTraining, distance=st.sampled_from(("pseudo_huber", "square")))

    def unweighted(self):
        """At so many levels that what is left of the gradient at a finite number is below what is seen."""
        return st.just(ConsistencyTraining(s0=20_000, s1=20_000, distance="square"))


class TestSCM(ObjectiveConformance):
    steps = 2
    rows = 4_000

    def network(self, objective, data):
        """To 1e-5, which is enough for statistics."""
        return exact.scm(data, objective, steps=16)

    def objectives(self):
        return st.builds(SCM, warmup=st.sampled_from((0.0, 0.1)), normalised=st.booleans(), learned=st.booleans())

    def unweighted(self):
        return st.builds(SCM, warmup=st.just(0.0), normalised=st.just(False), learned=st.booleans())


class TestReflow(ObjectiveConformance):
    rows = 6_000

    def objectives(self):
        flows = (formulation("rf/lognorm(0.00,1.00)"), FlowMatching(head=Data()))
        return st.builds(Reflow, st.sampled_from(flows))


class TestLiveReflow(ObjectiveConformance):
    steps = 1
    rows = 6_000  # a multiple of 4 and 8

    def objectives(self):
        """With pairs of so many steps that the data's law is met."""
        return st.builds(LiveReflow, k=st.sampled_from((0.5, 0.25, 0.125)), steps=st.just(64))

    def unweighted(self):
        """Its reflowed rows vanish at any flow, so that it is the others that have to tell a wrong one."""
        return st.builds(LiveReflow, k=st.sampled_from((0.25, 0.125)), steps=st.just(4))


class TestConsistencyDistillation(ObjectiveConformance):
    steps = 1
    rows = 2_000

    def teacher(self, objective, data):
        return data.network(objective.flow)

    def objectives(self):
        return st.builds(ConsistencyDistillation, M=st.just(64), target=st.sampled_from(("ema", "online")))


class TestProgressiveDistillation(ObjectiveConformance):
    """In its last phase, at whose end one step is all of the first teacher's."""

    steps = 1
    rows = 2_000
    progress = 0.99

    def teacher(self, objective, data):
        return exact_distilled.progressive_distillation(data, objective, objective.phases - 1)

    def objectives(self):
        return st.builds(ProgressiveDistillation, M=st.just(64))
