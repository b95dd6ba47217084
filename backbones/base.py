"""What every backbone is: a network (z, t, condition, step) → output of z's shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from backbones.checks import check_parts
from backbones.condition import Complete, Condition, complete
from backbones.initialisation import Rules, initial_value, initialise
from backbones.layers.text import TEXT_RULES, CaptionEncoder
from backbones.spec import Spec

__all__ = ["Backbone", "Complete", "Condition", "Spec"]


class Backbone(nn.Module, ABC):
    """A network, called as ``network(z, t, condition, step)``.

    A subclass names the parts of a condition that it ``takes``, gives its paper's initialisation as ``rules`` and
    computes its output in :meth:`compute`. Where the data's context comes as the word ids of captions, the network has
    a text encoder, which makes context and pooled vector of them before :meth:`compute` is asked. It has no buffers:
    tables are computed where they are used, so that a copy, a meta-device build or a sharded load holds nothing but
    parameters. Parameters hold arbitrary values until :meth:`initialise` or a checkpoint sets them.

    Args:
        spec: shape of the data and of its condition; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.

    Raises:
        ValueError: the data's condition has a part that this family does not take.
    """

    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ()
    rules: Rules = ()

    def __init__(self, spec: Spec, *, step: bool = False) -> None:
        super().__init__()
        check_parts(type(self).__name__, spec, self.takes)
        self.spec = spec
        self.step = step
        self.text_encoder = CaptionEncoder(spec) if spec.vocabulary else None

    @abstractmethod
    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """The output (B, *shape), given checked inputs, z being in the parameters' dtype."""

    def forward(self, z: Tensor, t: Tensor, condition: Condition | None = None, step: Tensor | None = None) -> Tensor:
        """Evaluate the network.

        Args:
            z: (B, *spec.shape) noisy samples, of any floating dtype; a family may take other sides too.
            t: (B,) path time, or whatever noise label the head asks for.
            condition: None (null in every row) or a dict that holds every part of the spec's condition; rows marked
                in its ``drop`` (B,) or (B, parts) are null.
            step: (B,) step sizes d ≥ 0 in path time, where the network was built with ``step=True``.

        Returns:
            The raw output, of z's shape and dtype.

        Raises:
            ValueError: a shape or a condition that the network was not built for.
        """
        self._check(z, t, step)
        inputs = z.to(next(self.parameters()).dtype)
        given = condition if self.text_encoder is None else self.text_encoder(condition, inputs)
        return self.compute(inputs, t, complete(given, self.spec, inputs), step).to(z.dtype)

    def initialise(self, seed: int) -> None:
        """Set every parameter from (seed, its qualified name) alone, by the published rules; the output is then 0."""
        initialise(self, (*TEXT_RULES, *self.rules), seed)

    def initial_value(self, name: str, seed: int) -> Tensor:
        """What :meth:`initialise` gives the parameter of this name, in float32 on the CPU; it may itself hold nothing.

        Where a network is divided among processes, each takes its own rows of it.
        """
        return initial_value(name, self.get_parameter(name).shape, (*TEXT_RULES, *self.rules), seed)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse samples of a shape (C, ...) that the network cannot take: here all but that of ``spec``.

        Raises:
            ValueError: with the shapes that it takes.
        """
        own = tuple(self.spec.shape)
        if shape != own:
            told, wanted = (", ".join(map(str, sides)) for sides in (shape, own))
            raise ValueError(f"z has shape (B, {told}); this network takes (B, {wanted})")

    def _check(self, z: Tensor, t: Tensor, step: Tensor | None) -> None:
        batch = z.shape[0]
        self.check_shape(tuple(z.shape[1:]))
        if tuple(t.shape) != (batch,):
            raise ValueError(f"t has shape {tuple(t.shape)}; it must be ({batch},)")
        if (step is not None) != self.step:
            given = "was given a step" if step is not None else "was given no step"
            raise ValueError(f"the network {given}, but was built with step={self.step}")
        if step is not None and tuple(step.shape) != (batch,):
            raise ValueError(f"step has shape {tuple(step.shape)}; it must be ({batch},)")
