"""When checkpoints are written, and how a training ends in good order."""

from __future__ import annotations

from contextlib import suppress

from lightning import LightningModule, Trainer
from torch.optim import Optimizer

from experiments.errors import RunFailed, StoppedAtOnce, failure_of
from experiments.runs import Run
from experiments.trackers.base import Tracker
from experiments.training import checkpoints
from experiments.training.background import Files, Writer
from experiments.training.callbacks import AfterStep, due
from experiments.training.heartbeat import beat
from experiments.training.module import TrainingModule
from experiments.training.ranks import Ranks

_GO_ON, _STOP, _FAILED = 0, 1, 2


class Save(AfterStep):
    """Checkpoints every ``checkpoint_every`` steps, at the end, and where a stop was asked for. Comes last.

    All ranks agree after each step whether one of them was asked to stop or failed to write, so that none waits for
    another that has left. A checkpoint gets its name after the trackers and ``files`` have put everything before it on
    the disk.
    """

    _writer: Writer

    def __init__(self, run: Run, ranks: Ranks, trackers: list[Tracker], files: Files):
        self.run, self.ranks, self.trackers, self.files = run, ranks, trackers, files

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self._settings = pl_module.config.trainer
        self._writer = Writer(
            self.run.checkpoints,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
            token=self.ranks.token,
            fence=self.run.fence,
            before=self._before,
            after=self._after,
        )

    def _before(self) -> None:
        self.run.fence()
        self.files.wait()
        for tracker in self.trackers:
            tracker.flush()

    def _after(self) -> None:
        checkpoints.prune(self.run.checkpoints, self._settings.keep_checkpoints, self._settings.keep_every)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._writer.hold()

    def after_step(self, trainer: Trainer, module: TrainingModule, step: int) -> None:
        level = self._agree(self._errors(wait=False))
        if level == _STOP or due(step, self._settings.checkpoint_every, module):
            if self.ranks.highest(int(not checkpoints.all_finite(module.own_tensors()))):
                told = f"Weights are not finite after step {step}. The last checkpoint before it is kept."
                raise RunFailed(told, "not finite")
            self._agree(self._errors(wait=True))
            self._writer.submit(step, module.checkpoint(), module.ranked())
        if level == _STOP:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._agree(self._errors(wait=True))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let a write that is going on come to its end, unless there is no time for that."""
        if not isinstance(exception, StoppedAtOnce) and hasattr(self, "_writer"):
            self._errors(wait=True)
            with suppress(Exception):  # what ends the training is told already
                self.files.wait()

    def _errors(self, *, wait: bool) -> Exception | None:
        try:
            self._writer.wait(beat) if wait else self._writer.check()
        except Exception as error:
            return failure_of(error) or error
        return None

    def _agree(self, error: Exception | None) -> int:
        """Raise on all ranks what failed on one; else whether to stop."""
        level = self.ranks.highest(_FAILED if error else int(self.ranks.stop.requested))
        if level == _FAILED:
            message = self.ranks.first(str(error) if error else None)
            raise error or RunFailed(str(message))
        return level
