import torch
from fewstep_chord.antithetic import Antithetic
from fewstep_chord.chord import Chord
from fewstep_chord.gap import Gap
from fewstep_chord.power import Power
from hypothesis import strategies as st

from objectives import FixedDraws, FlowMatching
from objectives.conformance import ObjectiveConformance

OWN = FlowMatching(path=Chord(), time=Power(1.5), head=Gap())


class TestAntithetic(ObjectiveConformance):
    def objectives(self):
        return st.sampled_from((Antithetic(), Antithetic(OWN)))

    def network(self, objective, data):
        return data.network(objective.flow)


def test_it_is_the_mean_of_the_flows_losses_at_both_signs():
    noise = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    x, time = torch.sin(7 * noise), torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64)

    def network(z, t, condition, step=None):
        return z**2

    def losses(objective, sign):
        return objective.loss(network, x, None, FixedDraws(noise=sign * noise, time=time)).per_sample

    expected = (losses(OWN, 1) + losses(OWN, -1)) / 2
    torch.testing.assert_close(losses(Antithetic(OWN), 1), expected)
    assert not torch.allclose(expected, losses(OWN, 1))
