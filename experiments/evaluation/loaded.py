"""A trained run in memory: what notebooks, ``fewstep sample`` and ``fewstep evaluate`` work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from experiments.components import build
from experiments.config import averages
from experiments.config.schema import Weights
from experiments.console import Reporter
from experiments.errors import UserError
from experiments.evaluation.edits import Edits
from experiments.evaluation.sampling import Samples, draw_samples, network_dtype, plugin
from experiments.evaluation.sheets import sheet, told, write_png
from experiments.other_runs import find
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.kept import beside, in_checkpoint
from experiments.training.module import check_fits
from objectives import Guidance
from objectives.sampling import Sampler
from objectives.solvers import Solver
from objectives.time_grids import TimeGrid


class LoadedRun(Edits):
    """The newest whole checkpoint of a run, its EMA and its raw weights, ready to be sampled and measured.

    Raises:
        UserError: where there is no whole checkpoint, or it is another architecture's.
    """

    def __init__(self, run: Run, *, reporter: Reporter | None = None, device: str | None = None):
        self.run, self.config = run, run.config
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        found = checkpoints.newest(run.checkpoints)
        for notice in found.notices:
            (reporter or Reporter("lines")).notice(notice)
        if found.path is None:
            raise UserError(f"{run.path} has no whole checkpoint yet: train it first (fewstep resume {run.path}).")
        parts = build(self.config)
        kept = averages.names(self.config.ema)
        check_fits(parts.backbone, parts.objective, len(kept), found.state, str(found.path))
        self.data, self.objective = parts.data, parts.objective.to(self.device)
        self.objective.load_state_dict(found.state["objective"])
        self._network = parts.backbone.to(self.device).eval().requires_grad_(False)
        self._weights = in_checkpoint(self.config, found.state)
        self._made: tuple[str, dict[str, torch.Tensor]] | None = None
        self.step: int = found.state["step"]

    def network(self, weights: Weights = "ema") -> torch.nn.Module:
        """The backbone with these weights. One network in memory: asking for others replaces them.

        "raw", "ema" (the first average), another average by its name ("ema-0.999", "power-0.10"), "best" (of the lowest
        validation loss), or any power profile made from the run's snapshots ("power-0.12", "power-0.12@4000").

        Raises a UserError for weights that the run has not.
        """
        name = averages.canonical(weights)
        self._network.load_state_dict(self._weights[name] if name in self._weights else self._others(name))
        return self._network

    def _others(self, name: str) -> dict[str, torch.Tensor]:
        """Weights that are not in the checkpoint; the last of them are remembered."""
        if self._made is None or self._made[0] != name:
            self._made = name, beside(self.run, name, self._weights)
        return self._made[1]

    def sampler(
        self,
        *,
        weights: Weights = "ema",
        guidance: float | Guidance = 1.0,
        solver: str | Solver | None = None,
        grid: str | TimeGrid | None = None,
        autoguide: LoadedRun | None = None,
    ) -> Sampler:
        """How to go from noise to samples with these weights; ``objectives.editing`` takes it.

        Args:
            weights: as of :meth:`network`.
            guidance: w, or a Guidance with interval and rescaling.
            solver, grid: a plugin's name, with options if need be ("dopri5(rtol=1e-6)", "shifted(3)"), or a plugin.
            autoguide: a weaker run with the same path and head, to guide away from; its weights of the same name.

        Raises a UserError for a solver, a grid or a guidance that the objective does not take.
        """
        guidance = guidance if isinstance(guidance, Guidance) else Guidance(guidance)
        if autoguide is not None:
            self._check_reference(autoguide)
            guidance = replace(guidance, reference=autoguide.network(weights))
        if guidance.scale != 1 and guidance.reference is None and not self.data.spec.conditional:
            raise UserError(
                f"guidance={guidance.scale:g}: {self.config.data.label} has no condition to guide by; only 1 works."
            )
        network = self.network(weights)
        chosen, times = plugin("solvers", "solver", solver), plugin("time_grids", "grid", grid)
        try:
            return Sampler(self.objective, network, chosen, guidance, times, network_dtype(network))
        except ValueError as error:
            raise UserError(str(error)) from error

    def teacher(self, run: str | Path | None = None, weights: Weights = "ema") -> Sampler | None:
        """How the teacher goes from noise to samples, by its own solver and grid; None where there is none.

        Args:
            run: the folder of any run on data of the same shape; None for the frozen teacher of this run's training.
            weights: of the run that is named; a frozen teacher has those that taught.

        Raises a UserError where the folder holds no such run.
        """
        found = Path(run) if run is not None else None
        if run is None and self.config.teacher is not None:
            found, weights = find(self.config.teacher, home=self.run.path), self.config.teacher.weights
            if found is None:
                raise UserError(f"the teacher of {self.run.path}, {self.config.teacher.run}, is not found any more.")
        if found is None:
            return None
        other = LoadedRun(Run.open(found), device=str(self.device))
        if other.data.spec != self.data.spec:
            raise UserError(
                f"{found} cannot teach {self.run.path}: they need data of one shape; given {other.config.data.label} "
                f"{other.data.spec} and {self.config.data.label} {self.data.spec}."
            )
        return other.sampler(weights=weights)

    def _check_reference(self, other: LoadedRun) -> None:
        own, its = (getattr(run.objective, "flow", run.objective) for run in (self, other))
        alike = own.path == its.path and getattr(own, "head", None) == getattr(its, "head", None)
        if not alike or self.objective.needs.step != other.objective.needs.step or self.data.spec != other.data.spec:
            raise UserError(
                f"{other.run.path} cannot guide {self.run.path}: they need one path, one head and data of one shape; "
                f"given {other.objective.notation} on {other.config.data.label} and {self.objective.notation} on "
                f"{self.config.data.label}."
            )

    def sample(
        self,
        steps: int = 4,
        *,
        num: int = 64,
        weights: Weights = "ema",
        guidance: float | Guidance = 1.0,
        solver: str | Solver | None = None,
        grid: str | TimeGrid | None = None,
        autoguide: LoadedRun | None = None,
        dtype: str = "float32",
        seed: int = 0,
        batch_size: int = 512,
        check: Callable[[int], None] = lambda done: None,
        watch: Callable[[int, float, torch.Tensor], None] | None = None,
    ) -> Samples:
        """``num`` samples in ``steps`` steps; ``x`` as the data are normalised (``images`` gives pictures).

        ``dtype`` is of the arithmetic around the network, ``watch`` is called with (steps done, path time, z_t) along
        the way (:class:`Trajectory` makes an animation of it); the rest as of :meth:`sampler`. Raises a UserError for a
        number of steps, a solver, a grid or a guidance that the objective does not take.
        """
        sampler = self.sampler(weights=weights, guidance=guidance, solver=solver, grid=grid, autoguide=autoguide)
        try:
            sampler.times(steps)
        except ValueError as error:
            raise UserError(str(error)) from error
        return draw_samples(
            self.objective, sampler.network, self.data, device=self.device, steps=steps, num=num,
            guidance=sampler.guidance, solver=sampler.solver, grid=sampler.grid, dtype=getattr(torch, dtype),
            seed=seed, batch_size=batch_size, check=check, watch=watch,
        )  # fmt: skip

    def images(self, samples: Samples) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Pictures (N, C, H, W), uint8."""
        return self.data.to_images(samples.x).numpy()

    def save_samples(self, samples: Samples, name: str, *, caption: str = "") -> tuple[Path, Path]:
        """Write ``samples/NAME.png``, a sheet, and ``samples/NAME.npz`` (x, images and the conditions).

        The sheet bears the caption and the class labels, which its PNG text holds too ("conditions").
        """
        folder = self.run.path / "samples"
        self.run.fence()
        pixels = sheet(self.data, samples.x, condition=samples.condition, caption=caption)
        write_png(folder / f"{name}.png", pixels, told=told(samples, caption))
        arrays: dict[str, Any] = {key: value.numpy() for key, value in (samples.condition or {}).items()}
        self.run.fence()
        np.savez_compressed(folder / f"{name}.npz", x=samples.x.numpy(), images=self.images(samples), **arrays)
        return folder / f"{name}.png", folder / f"{name}.npz"

    def evaluate(
        self,
        *,
        steps: Sequence[int] | None = None,
        weights: Sequence[Weights] | None = None,
        num: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        grid: str | None = None,
        metrics: Sequence[str] | None = None,
        features: str | None = None,
        dtype: Literal["float32", "float64"] | None = None,
        guidance_interval: tuple[float, float] | None = None,
        guidance_rescale: float | None = None,
        guidance_channels: int | None = None,
        reporter: Reporter | None = None,
    ) -> dict[str, Any]:
        """Measure the run and keep the result in ``evaluations/``; what is not given is as the configuration says."""
        from experiments.evaluation.evaluate import evaluate

        given = {
            "steps": steps and tuple(steps),
            "weights": weights and tuple(weights),
            "num": num,
            "guidance": guidance,
            "solver": solver,
            "grid": grid,
            "metrics": metrics and tuple(metrics),
            "features": features,
            "dtype": dtype,
            "guidance_interval": guidance_interval,
            "guidance_rescale": guidance_rescale,
            "guidance_channels": guidance_channels,
        }
        settings = replace(self.config.evaluation, **{key: value for key, value in given.items() if value is not None})
        return evaluate(self, settings, reporter=reporter or Reporter("none"))
