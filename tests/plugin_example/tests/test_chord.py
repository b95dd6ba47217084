from fewstep_chord.chord import Chord
from hypothesis import strategies as st

from objectives.conformance import PathConformance


class TestChord(PathConformance):
    def paths(self):
        return st.just(Chord())
