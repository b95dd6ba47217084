import pytest
from fewstep_chord.chord import Chord
from fewstep_chord.ralston import Ralston
from hypothesis import strategies as st

from objectives import FlowMatching, Shortcut
from objectives.conformance import ConvergenceConformance, SolverConformance
from objectives.paths import Straight

FLOWS = tuple(FlowMatching(path=path) for path in (Straight(), Chord()))


class TestRalston(SolverConformance):
    def solvers(self):
        return st.just(Ralston())

    def objectives(self):
        return st.sampled_from(FLOWS)

    def evaluations(self, steps):
        return 2 * steps


class TestOrder(ConvergenceConformance):
    order = 2

    def solvers(self):
        return st.just(Ralston())

    def objectives(self):
        return st.sampled_from(FLOWS)


def test_it_refuses_what_it_does_not_serve():
    with pytest.raises(ValueError, match="over a step"):
        Ralston().check(Shortcut())
