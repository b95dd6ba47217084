"""TensorBoard event files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from experiments.runs import Run
from experiments.trackers.hparams import session
from experiments.trackers.options import flat_options


class TensorBoard:
    """Scalars and pictures in ``tensorboard/``, options and final values for the HParams tab in ``tensorboard/final``.

    A resumed run purges what comes after its checkpoint. Over several runs, a grid's ``runs/`` being the log
    directory, the HParams tab is a table with one line for each run.
    """

    version: ClassVar[int] = 1
    _writer: Any

    def open(self, run: Run, *, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=first_step + 1)
        self.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self.flush()

    def image(self, step: int, name: str, pixels: Any) -> None:
        self._writer.add_image(name, pixels, step, dataformats="HWC")
        self.flush()

    def flush(self) -> None:
        """Write now: the writer's own thread would do so later, when the run may be another's."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def summary(self, run: Run, values: Mapping[str, float]) -> None:
        """One session in one event file, all of it; the file of an earlier summary goes away."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.path / "tensorboard" / "final"
        before = list(folder.glob("*tfevents*"))
        with SummaryWriter(str(folder)) as writer:
            for part in session(flat_options(run.config)):
                writer._get_file_writer().add_summary(part)
            for name, value in values.items():
                writer.add_scalar(f"final/{name}", value, run.config.trainer.max_steps)
        for file in before:
            file.unlink()
