from fewstep_chord.chord import Chord
from fewstep_chord.gap import Gap
from hypothesis import strategies as st

from objectives.conformance import HeadConformance
from objectives.paths import Cosine, Straight, VarianceExploding


class TestGap(HeadConformance):
    def heads(self):
        return st.just(Gap())

    def paths(self):
        return st.sampled_from((Chord(), Straight(), Cosine(), VarianceExploding()))
