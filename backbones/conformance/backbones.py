"""The kit for backbones."""

from __future__ import annotations

import copy
import typing
from fnmatch import fnmatchcase

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from backbones.base import Backbone
from backbones.conformance.common import FEW, SOME, Case, KitSpec, case, close, constructor, differs, refused, rows
from backbones.spec import Spec, inputs_of, parts_of

KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "label": ("label",),
    "pooled": ("pooled",),
    "context": ("context",),
    "all": ("label", "context", "pooled"),
}


class BackboneConformance:
    """What holds for every backbone, whatever its family, its data and its condition."""

    shapes: tuple[tuple[int, ...], ...] = ((1, 4, 6), (3, 4, 4))
    """Shapes of data that :meth:`backbone` builds networks for."""

    resized: tuple[tuple[int, ...], ...] = ()
    """Other shapes that a network built for the first of ``shapes`` takes."""

    refused_shapes: tuple[tuple[int, ...], ...] = ((2, 4, 6), (1, 4, 6, 4), (1, 4))
    """Shapes that a network built for the first of ``shapes`` does not take."""

    takes: tuple[str, ...] | None = None
    """The parts of a condition to test; where it is None, those that a network without any condition takes."""

    sections: tuple[int, ...] = ()
    """The sections of the context, for a family that tells them apart; their sum is its length."""

    ordered: bool = False
    """Whether the place of a context token among the others matters."""

    unread: tuple[str, ...] = ()
    """Patterns of parameters that the output does not depend on."""

    def backbone(self, spec: Spec, *, step: bool) -> Backbone:
        """A small network for this data, not initialised."""
        raise NotImplementedError

    def specs(self) -> list[KitSpec]:
        """Data of every shape and of every kind of condition that the family takes, captions included."""
        takes = self.takes or self.backbone(KitSpec(self.shapes[0]), step=False).takes
        found: dict[KitSpec, None] = {}
        for shape in self.shapes:
            for kind in KINDS.values():
                found.setdefault(self._spec(shape, tuple(part for part in kind if part in takes)))
        if "context" in takes:
            length = sum(self.sections) or 5
            pooled = 8 * max(len(self.sections), 1) * ("pooled" in takes)
            found.setdefault(KitSpec(self.shapes[0], 0, (length, 8), pooled, self.sections, vocabulary=11))
        return list(found)

    def _spec(self, shape: tuple[int, ...], parts: tuple[str, ...]) -> KitSpec:
        context = (sum(self.sections) or 5, 7) if "context" in parts else None
        sections = self.sections if context else ()
        return KitSpec(shape, 3 * ("label" in parts), context, 6 * ("pooled" in parts), sections)

    def _case(self, data: st.DataObject, *parts: str, step: bool = False) -> Case:
        """A network and inputs of drawn data that has these parts."""
        fitting = [spec for spec in self.specs() if all(part in parts_of(spec) for part in parts)]
        if not fitting:
            fitting = [KitSpec(self.shapes[0])]
        spec = data.draw(st.sampled_from(fitting), label="spec")
        return case(self.backbone(spec, step=step), data.draw(st.integers(0, 9), label="seed"))

    @SOME
    @given(st.data(), st.booleans())
    def test_output_is_exactly_zero_at_the_start(self, data: st.DataObject, step: bool) -> None:
        start = self._case(data, step=step)
        assert start().shape == start.z.shape
        assert bool(start().abs().amax() > 1e-3)
        start.network.initialise(3)
        assert torch.count_nonzero(start()) == 0
        assert torch.count_nonzero(start(condition=None)) == 0

    @SOME
    @given(st.data(), st.permutations(range(6)), st.integers(1, 5))
    def test_rows_are_independent(self, data: st.DataObject, order: list[int], count: int) -> None:
        whole, some = self._case(data, step=True), torch.tensor(order[:count])
        assert whole.step is not None
        part = whole(z=whole.z[some], t=whole.t[some], condition=rows(whole.condition, some), step=whole.step[some])
        close(part, whole()[some])

    @SOME
    @given(st.data(), st.lists(st.booleans(), min_size=6, max_size=6))
    def test_dropped_rows_are_null_rows(self, data: st.DataObject, dropped: list[bool]) -> None:
        of, drop = self._case(data), torch.tensor(dropped)
        if of.condition is None:
            return
        kept, null = of(), of(condition=None)
        close(of(condition={**of.condition, "drop": drop}), null.where(drop.view(-1, *[1] * (null.ndim - 1)), kept))
        assert differs(kept, null)
        parts = parts_of(of.network.spec)
        columns = torch.ones(6, len(parts), dtype=torch.bool)
        close(of(condition={**of.condition, "drop": columns}), null)
        for column in range(len(parts)):
            if parts[column] in of.network.takes:
                one = columns & (torch.arange(len(parts)) == column)
                assert differs(of(condition={**of.condition, "drop": one}), kept)

    @SOME
    @given(st.data(), st.permutations(range(5)))
    def test_masked_context_does_not_matter(self, data: st.DataObject, order: list[int]) -> None:
        """What masked tokens hold, where they stand and how many there are."""
        of = self._case(data, "context")
        spec, context = of.network.spec, (of.condition or {}).get("context")
        if context is None or spec.vocabulary or of.condition is None:
            return
        mask, drop = of.condition["context_mask"].clone(), torch.tensor([False] * 5 + [True])
        mask[:, -1] = False
        mask[:, 0] = True
        given = {**of.condition, "context_mask": mask, "drop": drop}
        expected = of(condition=given)
        garbage = context.where(mask[..., None], torch.nan)
        close(of(condition={**given, "context": garbage}), expected)
        close(of(condition={**given, "context": context[:, :-1], "context_mask": mask[:, :-1]}), expected)
        if not self.ordered:
            longer = torch.cat([garbage, garbage.new_full((6, 3, garbage.shape[2]), 1e3)], dim=1)
            wider = torch.cat([mask, mask.new_zeros(6, 3)], dim=1)
            close(of(condition={**given, "context": longer, "context_mask": wider}), expected)
            first = self.sections[0] if self.sections else 5
            shuffled = torch.tensor([place for place in order if place < first])
            shuffled = torch.cat([shuffled, torch.arange(len(shuffled), context.shape[1])])
            moved = {**given, "context": context[:, shuffled], "context_mask": mask[:, shuffled]}
            close(of(condition=moved), expected)
        seen = of(condition={**given, "context_mask": torch.ones_like(mask)})
        assert differs(seen[:5], expected[:5])
        close(seen[5:], expected[5:])

    @SOME
    @given(st.data())
    def test_a_row_without_any_token_is_null(self, data: st.DataObject) -> None:
        of = self._case(data, "context")
        if of.condition is None or "context_mask" not in of.condition or len(parts_of(of.network.spec)) > 1:
            return
        nothing = {**of.condition, "context_mask": torch.zeros_like(of.condition["context_mask"])}
        close(of(condition=nothing), of(condition=None))

    @SOME
    @given(st.data())
    def test_time_input_and_place_matter(self, data: st.DataObject) -> None:
        of = self._case(data)
        assert differs(of(t=of.t + 0.1), of())
        assert differs(of(z=of.z + 0.1), of())
        assert differs(of(z=of.z.flip(-1)).flip(-1), of())
        before = of.z.clone()
        of()
        assert torch.equal(of.z, before)

    @SOME
    @given(st.data(), st.booleans())
    def test_every_parameter_gets_a_gradient(self, data: st.DataObject, null: bool) -> None:
        """None is left out of the graph, whatever is dropped (DDP waits for all); each counts once gates are open."""
        of = self._case(data, step=True)
        given = of.condition
        if given is not None and not null:
            given = {**given, "drop": torch.arange(6) % 2 == 0}
        of(condition=None if null else given).square().mean().backward()
        named = dict(of.network.named_parameters())
        assert [name for name, parameter in named.items() if parameter.grad is None] == []
        if null and of.condition is not None:
            return
        still = [name for name, parameter in named.items() if not bool((parameter.grad != 0).any())]  # pyright: ignore[reportOptionalOperand]
        assert [name for name in still if not any(fnmatchcase(name, pattern) for pattern in self.unread)] == []

    @SOME
    @given(st.data())
    def test_step_is_read_where_it_was_asked_for(self, data: st.DataObject) -> None:
        of = self._case(data, step=True)
        outputs = [of(step=torch.full((6,), size, dtype=torch.float64)) for size in (0.0, 1 / 128, 1 / 64, 0.5, 1.0)]
        for i, output in enumerate(outputs):
            assert bool(output.isfinite().all())
            assert all(differs(output, other) for other in outputs[:i])
        assert "built with step=True" in refused(of, step=None)
        flow = case(self.backbone(of.network.spec, step=False), 0)
        assert not any("step" in name for name, _ in flow.network.named_parameters())
        assert "built with step=False" in refused(flow, step=torch.ones(6))
        of.network.initialise(0)
        of.network.load_state_dict(flow.network.state_dict(), strict=False)
        assert torch.equal(of(z=flow.z, t=flow.t, condition=flow.condition), flow())

    @FEW
    @given(st.data())
    def test_it_compiles_without_a_graph_break(self, data: st.DataObject) -> None:
        torch.compiler.reset()
        of = self._case(data, step=True)
        given = None if of.condition is None else {**of.condition, "drop": torch.arange(6) % 2 == 0}
        compiled = torch.compile(of.network, fullgraph=True, backend="eager")
        close(compiled(of.z, of.t, given, of.step), of(condition=given))
        for shape in self.resized[: of.network.spec.shape == self.shapes[0]]:
            z = torch.randn(6, *shape, dtype=torch.float64)
            close(compiled(z, of.t, given, of.step), of(z=z, condition=given))
        torch.compiler.reset()

    @SOME
    @given(st.data())
    def test_bfloat16_is_near_float32(self, data: st.DataObject) -> None:
        of = self._case(data, step=True)
        of.network.float()
        exact = of(z=of.z.float())
        with torch.autocast("cpu", torch.bfloat16):
            output = of(z=of.z.float())
        assert output.dtype == torch.float32
        assert bool((output - exact).norm() < 3e-2 * exact.norm())
        output.square().mean().backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in of.network.parameters())

    @SOME
    @given(st.data())
    def test_times_are_coded_in_float32_whatever_the_weights_are(self, data: st.DataObject) -> None:
        """0.5 and 0.501 are one number in bfloat16."""
        of = self._case(data)
        of.network.bfloat16()
        times = [torch.full((6,), value, dtype=torch.float64) for value in (0.5, 0.501)]
        outputs = [of(t=t) for t in times]
        assert outputs[0].dtype == of.z.dtype
        assert bool((outputs[0] != outputs[1]).flatten(1).any(1).all())

    @SOME
    @given(st.data())
    def test_forward_derivative_is_that_of_the_output(self, data: st.DataObject) -> None:
        """Forward mode, which objectives with ``needs.jvp`` ask for, against a difference quotient."""
        of = self._case(data)
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            tangents = (torch.ones_like(of.z), torch.ones_like(of.t))
            slope = jvp(lambda z, t: of(z=z, t=t), (of.z, of.t), tangents)[1]
            small = 1e-6
            quotient = (of(z=of.z + small, t=of.t + small) - of(z=of.z - small, t=of.t - small)) / (2 * small)
        assert bool((slope - quotient).norm() < 1e-4 * slope.norm())

    @SOME
    @given(st.data())
    def test_it_holds_parameters_alone_and_they_follow_seed_and_name(self, data: st.DataObject) -> None:
        of = self._case(data, step=True)
        with torch.device("meta"):
            planned = self.backbone(of.network.spec, step=True)
        assert list(planned.buffers()) == []
        assert all(parameter.is_meta for parameter in planned.parameters())
        planned.to_empty(device="cpu")
        planned.initialise(5)
        of.network.float().initialise(5)
        again = copy.deepcopy(of.network)
        for name, value in again.state_dict().items():
            assert torch.equal(value, planned.state_dict()[name]), name
            assert torch.equal(value, planned.initial_value(name, 5)), name

    @SOME
    @given(st.data())
    def test_other_sides_are_taken_and_misfits_refused(self, data: st.DataObject) -> None:
        spec = data.draw(st.sampled_from([spec for spec in self.specs() if spec.shape == self.shapes[0]]))
        own = case(self.backbone(spec, step=False), 0)
        for shape in self.resized:
            other = case(own.network, 0, shape=shape)
            assert other().shape == other.z.shape
            assert bool(other().isfinite().all())
            assert differs(other(z=other.z + 0.1), other())
        for shape in self.refused_shapes:
            assert "z has shape" in refused(own, z=torch.zeros(6, *shape, dtype=torch.float64))
        assert "t has shape" in refused(own, t=own.t[:, None])
        assert "for which this backbone has no" in refused(own, condition={"colour": own.t}) or spec.vocabulary
        for name, (shape, _) in inputs_of(spec).items():
            assert own.condition is not None
            wrong = own.condition[name].new_zeros(6, *shape[:-1], 99) if shape else own.condition[name][:3]
            assert name in refused(own, condition={**own.condition, name: wrong})

    def test_constructor_arguments_are_attributes(self) -> None:
        """What reads a network off its object, and `fewstep describe`, ask for them by name."""
        network = self.backbone(self.specs()[0], step=True)
        assert network.version >= 1
        assert network.step is True
        assert type(network).__doc__
        for name in constructor(typing.get_type_hints(type(network).__init__)):
            assert hasattr(network, name), name
