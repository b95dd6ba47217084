from fewstep_chord.power import Power
from hypothesis import strategies as st

from objectives.conformance import DensityConformance


class TestPower(DensityConformance):
    def densities(self):
        return st.builds(Power, st.floats(0.5, 3.0))
