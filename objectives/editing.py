"""Data carried to noise and back, inpainting, and image-to-image."""

from __future__ import annotations

import torch
from torch import Tensor

from objectives.condition import Condition
from objectives.draws import AnyDraws
from objectives.heads.base import rows
from objectives.paths import Path
from objectives.sampling import Sampler

_ITERATIONS = 32  # with each the error falls by (length of the last step · Lipschitz constant of the velocity)


@torch.no_grad()
def invert(sampler: Sampler, x: Tensor, condition: Condition, *, steps: int) -> Tensor:
    """(B, …) the noise from which sampling gives x: the ODE solved from the data to the noise.

    The sampler's step onto the data is inverted by fixed-point iteration, the other steps are the solver's own, taken
    backwards. Sampling from the result gives x again up to the solver's error.

    Args:
        sampler: objective, network, a deterministic solver, guidance and grid.
        x: (B, …) data.
        condition: None or a dict of tensors with leading B.
        steps: number of solver steps, at least 2.

    Raises:
        ValueError: a stochastic solver, an objective of steps towards the data alone, fewer than two steps, or so few
            that the last of them has no inverse by fixed-point iteration.

    Source: Song et al. 2021 (DDIM), §4.3 and Mokady et al. 2023 for the use.
    """
    objective = sampler.objective
    if not sampler.chosen.deterministic:
        raise ValueError(f"{sampler.chosen.name} draws noise on its way; only a deterministic solver can be inverted")
    if objective.needs.step or not objective.free_grid:
        raise ValueError(f"{objective.notation} is trained to step towards the data alone and cannot be inverted")
    if steps < 2:
        raise ValueError(f"inversion takes at least 2 steps, got {steps}")
    times = sampler.times(steps).flip(0)
    z = _last_step_inverted(sampler, x, condition, times)
    z, _ = sampler.run(z, times[1:], condition)
    return z / objective.prior(torch.ones(1, dtype=z.dtype, device=z.device))


def _last_step_inverted(sampler: Sampler, x: Tensor, condition: Condition, times: Tensor) -> Tensor:
    """z at times[1] whose step onto times[0] = 0 is x."""
    down, z, missed = times[:2].flip(0), x, []
    small = 100 * torch.finfo(x.dtype).eps
    for _ in range(_ITERATIONS):
        landed, _ = sampler.run(z, down, condition)
        missed.append(float((x - landed).abs().max()))
        if missed[-1] <= small * (1 + float(x.abs().max())):
            return z
        z = z + (x - landed)
    if not missed[-1] < missed[0] / 100:
        raise ValueError(f"the last step, from t = {float(times[1]):g}, is too long to be inverted: take more steps")
    return z


@torch.no_grad()
def inpaint(
    sampler: Sampler,
    x: Tensor,
    mask: Tensor,
    noise: Tensor,
    condition: Condition,
    *,
    steps: int,
    draws: AnyDraws | None = None,
) -> Tensor:
    """(B, …) samples that are x where the mask is True.

    After every step what is known is put back as it is on the path at that time, a(t)·x + b(t)·ε, with the noise ε that
    the sample started from. That conditions approximately: the network sees what is known and leans to what fits; a
    stochastic solver, which takes back some of what it did before, more so.
    Source: Lugmayr et al. 2022 (RePaint), eq. 8, without its resampling.

    Args:
        sampler: objective, network, solver, guidance and grid.
        x: (B, …) data; what the mask leaves out is not looked at.
        mask: bool, of x's shape or one that broadcasts to it; True where x is known.
        noise: (B, …) standard normal.
        condition: None or a dict of tensors with leading B.
        steps: number of solver steps.
        draws: random numbers, for stochastic solvers.

    Raises:
        ValueError: a mask that is not bool, shapes that do not fit.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"the mask must be bool (True where x is known), got {mask.dtype}")
    _same_shape(x, noise)
    known, path = mask.expand_as(x), sampler.objective.path

    def put_back(done: int, t: float, z: Tensor) -> Tensor:
        return torch.where(known, _on_path(path, x, noise, t), z)

    times = sampler.times(steps)
    start = torch.where(known, _on_path(path, x, noise, float(times[0])), sampler.objective.prior(noise))
    z, _ = sampler.run(start, times, condition, draws=draws, on_step=put_back)
    return z


@torch.no_grad()
def image_to_image(
    sampler: Sampler,
    x: Tensor,
    noise: Tensor,
    condition: Condition,
    *,
    t: float,
    steps: int,
    draws: AnyDraws | None = None,
) -> Tensor:
    """(B, …) samples that resemble x: x is noised to path time t and sampled from there.

    The times are t and those of the grid of `steps` steps that lie below it.
    Source: Meng et al. 2022 (SDEdit), §3.

    Args:
        sampler: objective, network, solver, guidance and grid.
        x, noise: (B, …) data and standard normal noise.
        condition: None or a dict of tensors with leading B.
        t: how much is made anew, from just above 0 (x itself) to the path's t_max.
        steps: number of solver steps of a whole way from noise to data.
        draws: random numbers, for stochastic solvers.

    Raises:
        ValueError: t out of range, or not of the grid of an objective that is sampled at times of its own; shapes that
            do not fit.
    """
    objective = sampler.objective
    if not 0 < t <= objective.path.t_max:
        raise ValueError(f"t must be above 0 and at most {objective.path.t_max:g}, got {t}")
    _same_shape(x, noise)
    times = sampler.times(steps)
    if not objective.free_grid and t not in times.tolist():
        own = ", ".join(f"{time:g}" for time in times.tolist()[:-1])
        raise ValueError(f"{objective.notation} in {steps} steps can start at t = {own}, got {t:g}")
    below = torch.cat((times.new_tensor([t]), times[times < t]))
    z, _ = sampler.run(_on_path(objective.path, x, noise, t), below, condition, draws=draws)
    return z


def _on_path(path: Path, x: Tensor, noise: Tensor, t: float) -> Tensor:
    """a(t)·x + b(t)·ε."""
    time = torch.full((len(x),), t, dtype=torch.float64, device=x.device)
    return rows(path.a(time), x) * x + rows(path.b(time), x) * noise


def _same_shape(x: Tensor, noise: Tensor) -> None:
    if x.shape != noise.shape:
        raise ValueError(f"x and noise must have one shape, got {tuple(x.shape)} and {tuple(noise.shape)}")
