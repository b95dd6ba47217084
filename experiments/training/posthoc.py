"""Any power profile after the training, from the snapshots of a few (EDM2, §3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from experiments import weights
from experiments.config.averages import PowerName
from experiments.errors import UserError
from experiments.runs import Run
from experiments.training.power import WIDEST, coefficients, discrepancy
from experiments.training.snapshots import Snapshot, snapshots


@dataclass(frozen=True)
class Reconstruction:
    """Averaged weights of one profile at one step.

    Attributes:
        weights: float32, on the CPU.
        coefficients: of the snapshots that they are the sum of.
        discrepancy: distance of that sum's profile from the wanted one, relative to its norm.
        notices: snapshots that were passed over, and why.
    """

    sigma_rel: float
    step: int
    weights: dict[str, Tensor]
    coefficients: dict[Snapshot, float]
    discrepancy: float
    notices: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What ``sample`` and ``evaluate`` call these weights."""
        return str(PowerName(self.sigma_rel, self.step))


def reconstruct(run: Run, sigma_rel: float, step: int | None = None) -> Reconstruction:
    """The average of relative width ``sigma_rel`` as it stood after ``step``, by default that of the newest snapshot.

    Sums in float64. Snapshots taken after ``step`` have no part in it.

    Raises:
        UserError: a width out of range, no snapshots, or a step at which there is none.
    """
    if not 0 < sigma_rel <= WIDEST:
        raise UserError(f"sigma_rel={sigma_rel:g}: a relative width above 0 and at most {WIDEST:.3f}.")
    known = snapshots(run.path)
    if not known:
        raise UserError(
            f"{run.path} has no snapshots of power profiles; a run keeps them where its configuration says "
            "ema.profiles=0.05,0.10."
        )
    times = sorted({snapshot.step for snapshot in known})
    step = times[-1] if step is None else step
    if step not in times:
        near = ", ".join(map(str, sorted(sorted(times, key=lambda time: abs(time - step))[:3])))
        raise UserError(f"step={step}: {run.path} has no snapshot of that step; the nearest are of {near}.")
    loaded, notices = _whole([snapshot for snapshot in known if snapshot.step <= step])
    if not loaded:
        raise UserError(f"{run.path} has no whole snapshot left up to step {step}: " + " ".join(notices))
    widths, steps = [one.sigma_rel for one in loaded], [one.step for one in loaded]
    x = coefficients(widths, steps, sigma_rel, step)
    summed: dict[str, Tensor] = {}
    for snapshot, weight in zip(loaded, x.tolist(), strict=True):
        for name, tensor in snapshot.load().items():
            summed[name] = summed.get(name, torch.zeros((), dtype=torch.float64)) + weight * tensor.double()
    return Reconstruction(
        sigma_rel,
        step,
        {name: tensor.float() for name, tensor in summed.items()},
        dict(zip(loaded, x.tolist(), strict=True)),
        discrepancy(widths, steps, sigma_rel, step),
        notices,
    )


def _whole(candidates: list[Snapshot]) -> tuple[list[Snapshot], list[str]]:
    """Those that can be read, and a notice for each that cannot. One is in memory at a time."""
    found, notices = [], []
    for snapshot in candidates:
        try:
            snapshot.load()
        except weights.DamagedWeights as damage:
            notices.append(f"Snapshot {damage}; it was not used.")
        else:
            found.append(snapshot)
    return found, notices
