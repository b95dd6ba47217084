"""Reflow: flow matching on the pairs of noise and sample that a trained flow has made."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from objectives.base import Loss, Network
from objectives.condition import Condition
from objectives.couplings import GivenPairs, Independent
from objectives.draws import AnyDraws
from objectives.flow_matching import FlowMatching
from objectives.over_flow import OverFlow
from objectives.paths import Straight

_RF = FlowMatching()


class Reflow(OverFlow):
    """Reflow: flow matching on pairs (x, ε) of a trained flow, x being where it ends that begins in ε.

        E w(t)·‖raw(z, t) − target(x, ε, t)‖², z = (1 − t)·x + t·ε, velocity ε − x.

    No pair of lines in such pairs need cross, so that the new flow is straighter, moves the same distributions into one
    another at no more transport cost, and takes fewer steps; reflowed again, fewer still. It is flow matching with the
    coupling ``given_pairs``, under its own name and on the straight path alone, where this is so.
    Source: Liu et al. 2022 (Rectified Flow), algorithm 1, theorem 3.5 and corollary 3.6.

    Where this departs from the public code of the shortcut paper: times are the flow's own, not rounded to 1/128; the
    noise is the pair's own, not times 1 − 10⁻⁵. Conditions are dropped as the flow says: pairs that were made with
    guidance have it from their conditions, and their dropped rows teach the mean over these.

    Args:
        flow: the flow-matching objective, on the straight path, coupled independently (what the pairs replace) or by
            given_pairs.

    Raises:
        ValueError: a flow on another path, or with another coupling.
    """

    version: ClassVar[int] = 1

    def __init__(self, flow: FlowMatching = _RF) -> None:
        super().__init__()
        if not isinstance(flow.path, Straight):
            raise ValueError(f"reflow needs a flow on the path straight, got {flow.path}")
        if not isinstance(flow.coupling, Independent | GivenPairs):
            raise ValueError(f"reflow's pairs are given, and a flow's own coupling stays out; got {flow.coupling}")
        self._name = _coupled(flow, Independent()).notation
        self.flow = _coupled(flow, GivenPairs())
        self.path, self.needs, self.solvers = self.flow.path, self.flow.needs, self.flow.solvers

    @property
    def batch_multiple(self) -> int:
        return self.flow.batch_multiple

    @property
    def notation(self) -> str:
        return "reflow" if self._name == "rf" else f"reflow/{self._name}"

    def loss(
        self,
        network: Network,
        x: Tensor,
        condition: Condition,
        draws: AnyDraws,
        *,
        teacher: Network | None = None,
        progress: float = 0.0,
    ) -> Loss:
        """The training loss. `draws` have the pairs' noise as "noise".

        Raises:
            ValueError: draws without it.
        """
        return self.flow.loss(network, x, condition, draws)


def _coupled(flow: FlowMatching, coupling: Independent | GivenPairs) -> FlowMatching:
    """The flow with another coupling."""
    return FlowMatching(flow.path, flow.time, flow.head, flow.condition_drop, flow.weighting, coupling)
