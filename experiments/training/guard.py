"""What is done, at the next logged step or checkpoint, about a step that leapt; and the way back."""

from __future__ import annotations

import shutil

import torch
import torch.distributed as dist
from lightning import Trainer

from experiments import weights
from experiments.errors import RunFailed
from experiments.manifest import note
from experiments.runs import Run
from experiments.training import checkpoints
from experiments.training.callbacks import AfterStep, due
from experiments.training.export import file_of
from experiments.training.module import TrainingModule
from experiments.training.spikes import RollBack

MOST = 10
"""Roll-backs in one run, after which it has failed."""


class Guard(AfterStep):
    """Stops or rolls back a training in which a step leapt. Comes before Record and before checkpoints are saved."""

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        settings = module.config.trainer
        if due(step, settings.log_every, module) or due(step, settings.checkpoint_every, module):
            first = first_leap(module, step)
            if first is not None and settings.spike == "stop":
                raise RunFailed(
                    f"{leapt(module, first)}. The last checkpoint before it is kept. Lower optimizer.lr or "
                    "trainer.clip, raise trainer.spike_factor, or set trainer.spike to skip or roll_back.",
                    "spike",
                )
            if first is not None and settings.spike == "roll_back":
                raise RollBack(leapt(module, first), step=first, count=module.roll_backs + 1)


def first_leap(module: TrainingModule, step: int) -> int | None:
    """The first step (counted from 1) in the window up to ``step`` that leapt."""
    flags = [entry["spikes"] for entry in module.window if "spikes" in entry]
    found = torch.stack(flags).nonzero().flatten().tolist() if flags else []
    return step - len(flags) + 1 + found[0] if found else None


def leapt(module: TrainingModule, step: int) -> str:
    factor = module.config.trainer.spike_factor
    return f"The gradient norm or the loss of step {step} is not finite or beyond {factor:g} times its median"


def go_back(run: Run, before: RollBack) -> str:
    """Make the newest checkpoint before the step that leapt the newest of all; what was done, in words.

    All ranks call it.

    One that a stop left between two regular ones is no goal if there is another, so that a run that was interrupted
    goes the same way as one that was not.

    Raises:
        RunFailed: no checkpoint is from before the step, or there were too many roll-backs.
    """
    if before.count > MOST:
        raise RunFailed(f"{before} after {MOST} roll-backs: this is no matter of luck. Lower optimizer.lr.")
    earlier = [step for step in checkpoints.steps(run.checkpoints) if step < before.step]
    regular = [step for step in earlier if step % run.config.trainer.checkpoint_every == 0]
    if not earlier:
        raise RunFailed(f"{before}, and there is no checkpoint from before it: lower trainer.checkpoint_every.")
    target = (regular or earlier)[0]
    told = f"{before}: back to step {target}, and on with other draws (roll-back {before.count})."
    _together()  # all have read what there is, and written what they were writing
    if not dist.is_initialized() or dist.get_rank() == 0:
        run.fence()
        for step in checkpoints.steps(run.checkpoints):
            if step > target:
                shutil.rmtree(checkpoints.folder(run.checkpoints, step))
        note(run, "roll_backs", {"leapt": before.step, "to": target, "count": before.count})
        best = file_of(run, "best")
        if int(weights.facts(best).get("step", 0)) > target:
            best.unlink()
    _together()
    return told


def _together() -> None:
    if dist.is_initialized():
        dist.barrier()
