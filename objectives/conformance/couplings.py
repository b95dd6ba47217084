"""The kit for couplings."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from objectives.condition import Condition
from objectives.conformance.common import EXACT, draws
from objectives.couplings import Coupling


class CouplingConformance:
    """Noise is reordered inside groups of consecutive rows, as the group's own rows say, and nothing else moves."""

    def couplings(self) -> st.SearchStrategy[Coupling]:
        """The couplings to test."""
        raise NotImplementedError

    def condition(self, rows: int) -> Condition:
        """What the samples are conditioned on: three classes by default."""
        return {"label": (draws(rows).uniform("label", (rows,)) * 3).long()}

    def batch(self, rows: int) -> tuple[Tensor, Tensor]:
        """(noise, x), each (rows, 2, 3)."""
        random = draws(rows)
        return random.normal("noise", (rows, 2, 3)), random.normal("data", (rows, 2, 3), torch.float64) + 1

    @EXACT
    @given(st.data(), st.integers(1, 3))
    def test_noise_is_reordered_inside_its_group(self, data: st.DataObject, groups: int) -> None:
        coupling = data.draw(self.couplings())
        rows = max(coupling.batch_multiple, 4) * groups
        noise, x = self.batch(rows)
        before = noise.clone(), x.clone()
        coupled = coupling.couple(noise, x, self.condition(rows))
        assert coupled.dtype == noise.dtype
        assert torch.equal(noise, before[0])
        assert torch.equal(x, before[1])
        for some in torch.arange(rows).split(coupling.batch_multiple):
            assert sorted(coupled[some].flatten(1).tolist()) == sorted(noise[some].flatten(1).tolist())

    @EXACT
    @given(st.data(), st.integers(2, 3))
    def test_a_group_is_coupled_by_its_own_rows(self, data: st.DataObject, groups: int) -> None:
        coupling = data.draw(self.couplings())
        rows = coupling.batch_multiple * groups
        (noise, x), condition = self.batch(rows), self.condition(rows)
        parts = []
        for some in torch.arange(rows).split(coupling.batch_multiple):
            own = None if condition is None else {name: value[some] for name, value in condition.items()}
            parts.append(coupling.couple(noise[some], x[some], own))
        assert torch.equal(torch.cat(parts), coupling.couple(noise, x, condition))
