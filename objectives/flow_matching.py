"""Flow matching: the many-step objective, a product of path, time density, head, weighting and coupling."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from objectives import notation
from objectives.base import Loss, Needs, Network, Objective, count_steps
from objectives.condition import Condition, with_drop
from objectives.couplings import Coupling, Independent
from objectives.densities import TimeDensity, Uniform
from objectives.draws import AnyDraws
from objectives.heads import Head, Velocity
from objectives.heads.base import rows
from objectives.paths import Path, Straight
from objectives.weightings import TimeWeighting, Unweighted

_SMALLEST_MASS = 0.01
_STRAIGHT, _UNIFORM, _VELOCITY = Straight(), Uniform(), Velocity()
_UNWEIGHTED, _INDEPENDENT = Unweighted(), Independent()


class FlowMatching(Objective):
    """Flow matching: E w(t)·‖raw(z_t, t) − target(x, ε, t)‖² over t ~ density, z_t = a(t)·x + b(t)·ε.

    The formulations of SD3 are its instances; `formulation("rf/lognorm(0.00,1.00)")` reads their names. The density
    is cut at the path's `t_max`. Source: Lipman et al. 2023; Esser et al. 2024 (SD3), §2 and §3; Karras et al. 2022.

    Args:
        path: the path from data to noise.
        time: density of the training times.
        head: what the network's raw output means.
        condition_drop: share of samples whose condition is dropped, in [0, 1]; without a condition it does nothing.
        weighting: w, apart from how often a time is drawn.
        coupling: which noise goes with which sample.

    Raises:
        ValueError: a head that the path cannot take, a density that is a single point or has hardly any mass below
            the path's `t_max`, condition_drop out of range.
    """

    notation_names: ClassVar[tuple[str, ...]] = notation.known()
    """The names that `from_notation` reads, with letters for their parameters."""

    def __init__(
        self,
        path: Path = _STRAIGHT,
        time: TimeDensity = _UNIFORM,
        head: Head = _VELOCITY,
        condition_drop: float = 0.1,
        weighting: TimeWeighting = _UNWEIGHTED,
        coupling: Coupling = _INDEPENDENT,
    ) -> None:
        super().__init__()
        head.check(path)
        if not 0 <= condition_drop <= 1:
            raise ValueError(f"condition_drop must be in [0, 1], got {condition_drop}")
        self.path, self.time, self.head, self.condition_drop = path, time, head, condition_drop
        self.weighting, self.coupling = weighting, coupling
        self.needs, self.solvers = Needs(pairs=coupling.pairs, labels=coupling.labels), path.solvers
        self._mass = float(time.cdf(torch.tensor(path.t_max, dtype=torch.float64, device="cpu")))
        if self._mass < _SMALLEST_MASS:
            raise ValueError(
                f"{time} has only {self._mass:.1e} of its mass below t = {path.t_max:.4f}, the end of {path}; "
                f"at least {_SMALLEST_MASS} is needed"
            )

        quarters = time.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64, device="cpu"))
        if not 0 <= float(quarters[0]) < float(quarters[1]) <= 1:
            raise ValueError(f"{time} is no density on [0, 1]: half of its mass is between {quarters.tolist()}")

    @property
    def batch_multiple(self) -> int:
        return self.coupling.batch_multiple

    @classmethod
    def from_notation(cls, text: str) -> dict[str, object] | None:
        """Constructor arguments meant by one of SD3's names.

        Returns:
            path, time and head; None if the text is no such name.

        Raises:
            ValueError: a name of this notation that is incomplete, out of range or not available.
        """
        product = notation.parse(text)
        return None if product is None else dict(product)

    @property
    def notation(self) -> str:
        name = notation.write(self.path, self.time, self.head)
        more = [str(part) for part in (self.weighting, self.coupling) if part not in (_UNWEIGHTED, _INDEPENDENT)]
        return " + ".join((name, *more))

    def times(self, uniforms: Tensor) -> Tensor:
        """(B,) training times from (B,) uniforms: the density's quantiles, cut at the path's `t_max`."""
        return self.time.quantile(uniforms if self._mass == 1 else self._mass * uniforms)

    def dropped(self, condition: Condition, draws: AnyDraws, batch: int) -> Condition:
        """The condition with a share of its rows dropped, by the draw "drop"."""
        if condition is None or self.condition_drop == 0:
            return condition
        return with_drop(condition, draws.uniform("drop", (batch,)) < self.condition_drop)

    def noise(self, x: Tensor, condition: Condition, draws: AnyDraws) -> Tensor:
        """(B, …) the noise that goes with each row of x: the draw "noise", coupled; in x's dtype, float32 at least.

        Raises:
            ValueError: a batch that is not made of whole groups of the coupling; one without the noise or the label
                that it needs.
        """
        multiple = self.coupling.batch_multiple
        if len(x) % multiple:
            raise ValueError(f"{self.coupling} needs batches of a multiple of {multiple} rows, got {len(x)}")
        if self.coupling.pairs and not draws.has("noise"):
            raise ValueError(f"{self.coupling} needs batches that carry their own noise")
        return self.coupling.couple(draws.normal("noise", x.shape, working_dtype(x)), x, condition)

    def weighted(self, error: Tensor, t: Tensor) -> Tensor:
        """(B,) losses of the head's errors (B,) at times t (B,)."""
        return self.weighting.weigh(error, self.path, self.head, t)

    def log_snr_weight(self, t: Tensor) -> Tensor:
        """(B,) w(λ) at λ = log_snr(t): the loss is ½∫ w(λ)·E‖ε̂ − ε‖² dλ.

        w = 2·p(λ)·c, with p(λ) = π(t)/|dλ/dt| the law of λ under the density and c·‖ε̂ − ε‖² the weighted error.
        Whatever path, density and head are, two objectives of equal w (but for a constant) have equal minima.
        Source: Esser et al. 2024 (SD3), eq. 9; Kingma and Gao 2023.
        """
        path, (_, noise_gain) = self.path, self.head.gains(self.path, t)
        slope = 2 * (path.da(t) / path.a(t) - path.db(t) / path.b(t))
        law = self.time.pdf(t) / self._mass / slope.abs()
        return 2 * law * self.weighting.weight(path, self.head, t) / noise_gain**2

    def mix(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t = a(t)·x + b(t)·ε."""
        return rows(self.path.a(t), noise) * x + rows(self.path.b(t), noise) * noise

    def raw(
        self,
        network: Network,
        z: Tensor,
        t: Tensor,
        condition: Condition,
        step: Tensor | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The network's raw output at z in z's dtype; the network is fed in `dtype` (z's own where None)."""
        scale = self.head.scale(self.path, t)
        fed = z if scale is None else rows(scale, z) * z
        label = self.head.label(self.path, t).to(z.dtype)
        fed = fed if dtype is None else fed.to(dtype)
        raw = network(fed, label, condition) if step is None else network(fed, label, condition, step.to(z.dtype))
        return raw.to(z.dtype)

    def errors(self, raw: Tensor, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """(B,) mean squared error of raw outputs against the head's regression target."""
        return mean_square(raw - self.head.target(self.path, x.to(raw.dtype), noise, t))

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
        dtype = working_dtype(x)
        noise = self.noise(x, condition, draws)
        t = self.times(draws.uniform("time", x.shape[:1], dtype))
        condition = self.dropped(condition, draws, len(x))
        raw = self.raw(network, self.mix(x, noise, t), t, condition, dtype=x.dtype)
        error = self.errors(raw, x, noise, t)
        return Loss(self.weighted(error, t), {"loss_flow": error.detach().mean()}, times=t)

    def loss_at(
        self,
        network: Network,
        x: Tensor,
        condition: Condition,
        t: Tensor,
        noise: Tensor,
        step: Tensor | None = None,
    ) -> Tensor:
        noise = noise.to(working_dtype(x))
        t = t.to(noise.dtype)
        raw = self.raw(network, self.mix(x, noise, t), t, condition, step, dtype=x.dtype)
        return self.errors(raw, x, noise, t)

    def predict(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.head.decode(self.path, self.raw(network, z, t, condition, step), z, t)

    def velocity(
        self, network: Network, z: Tensor, t: Tensor, condition: Condition, step: Tensor | None = None
    ) -> Tensor:
        return self.head.velocity(self.path, self.raw(network, z, t, condition, step), z, t)

    def time_grid(self, steps: int) -> Tensor:
        return self.path.grid(count_steps(steps))

    def label_time(self, label: Tensor) -> Tensor:
        return self.head.time(self.path, label)


def formulation(name: str, *, condition_drop: float = 0.1) -> FlowMatching:
    """The flow-matching objective that SD3's paper calls `name`: "rf/lognorm(0.00,1.00)", "edm(-1.20,1.20)", "rf".

    Raises:
        ValueError: an unknown name (the message lists the known ones), a parameter out of range.
    """
    product = notation.parse(name)
    if product is None:
        raise notation.unknown(name)
    return FlowMatching(**product, condition_drop=condition_drop)


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype of a loss's arithmetic: x's, float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)


def mean_square(error: Tensor) -> Tensor:
    """(B,) mean over each sample's elements of the square."""
    return (error * error).flatten(1).mean(1)
