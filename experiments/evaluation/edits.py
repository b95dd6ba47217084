"""What a trained run does with data that are given: likelihood, inversion, inpainting, image-to-image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from experiments.batches import to_device
from experiments.errors import UserError
from objectives import Draws
from objectives.condition import Condition
from objectives.editing import image_to_image, inpaint, invert
from objectives.likelihood import log_likelihood
from objectives.sampling import Sampler

Edit = Callable[[Sampler, Tensor, Condition, Draws], Tensor]


class Edits:
    """The methods of a loaded run on batches of data (N, …), normalised as the data module gives them, on the CPU.

    ``sampling`` stands for the arguments of :meth:`LoadedRun.sampler`. Every method raises a UserError for what the
    objective does not take.
    """

    device: torch.device
    sampler: Callable[..., Sampler]

    def log_likelihood(
        self,
        x: Tensor,
        condition: Condition = None,
        *,
        probes: int = 0,
        seed: int = 0,
        batch_size: int = 256,
        check: Callable[[int], None] = lambda done: None,
        **sampling: Any,
    ) -> Tensor:
        """(N,) ln p(x) in nats; by Hutchinson's estimate with ``probes`` random directions, exactly where 0.

        ``check`` is called with the number done after each batch.
        """

        def each(sampler: Sampler, x: Tensor, condition: Condition, draws: Draws) -> Tensor:
            return log_likelihood(
                sampler.objective, sampler.network, x, condition, divergence="hutchinson" if probes else "exact",
                probes=max(probes, 1), draws=draws, network_dtype=sampler.network_dtype,
            )  # fmt: skip

        return self.each(each, x, condition, seed=seed, batch_size=batch_size, check=check, **sampling)

    def invert(
        self,
        x: Tensor,
        condition: Condition = None,
        *,
        steps: int = 50,
        batch_size: int = 512,
        **sampling: Any,
    ) -> Tensor:
        """(N, …) the noise from which sampling in as many steps gives x."""

        def each(sampler: Sampler, x: Tensor, condition: Condition, draws: Draws) -> Tensor:
            return invert(sampler, x, condition, steps=steps)

        return self.each(each, x, condition, batch_size=batch_size, **sampling)

    def inpaint(
        self,
        x: Tensor,
        mask: Tensor,
        condition: Condition = None,
        *,
        steps: int = 50,
        seed: int = 0,
        batch_size: int = 512,
        **sampling: Any,
    ) -> Tensor:
        """(N, …) samples that are x where the mask, of one sample's shape or one that broadcasts to it, is True."""

        def each(sampler: Sampler, x: Tensor, condition: Condition, draws: Draws) -> Tensor:
            noise = draws.normal("sample", x.shape, x.dtype)
            return inpaint(sampler, x, mask.to(x.device), noise, condition, steps=steps, draws=draws)

        return self.each(each, x, condition, seed=seed, batch_size=batch_size, **sampling)

    def image_to_image(
        self,
        x: Tensor,
        condition: Condition = None,
        *,
        t: float,
        steps: int = 50,
        seed: int = 0,
        batch_size: int = 512,
        **sampling: Any,
    ) -> Tensor:
        """(N, …) samples that resemble x: noised to path time t and sampled from there."""

        def each(sampler: Sampler, x: Tensor, condition: Condition, draws: Draws) -> Tensor:
            noise = draws.normal("sample", x.shape, x.dtype)
            return image_to_image(sampler, x, noise, condition, t=t, steps=steps, draws=draws)

        return self.each(each, x, condition, seed=seed, batch_size=batch_size, **sampling)

    def each(
        self,
        edit: Edit,
        x: Tensor,
        condition: Condition,
        *,
        seed: int = 0,
        batch_size: int,
        check: Callable[[int], None] = lambda done: None,
        **sampling: Any,
    ) -> Tensor:
        """An edit of every batch of x, back on the CPU. Row i's random numbers are a function of (seed, i)."""
        sampler = self.sampler(**sampling)
        done = []
        for index in torch.arange(len(x)).split(batch_size):
            part = None if condition is None else {name: value[index] for name, value in condition.items()}
            draws = Draws(seed, 0, index.to(self.device), len(x))
            try:
                done.append(edit(sampler, x[index].to(self.device), to_device(part, self.device), draws).cpu())
            except ValueError as error:
                raise UserError(str(error)) from error
            check(len(index))
        return torch.cat(done)
