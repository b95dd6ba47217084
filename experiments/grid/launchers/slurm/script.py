"""The batch script of an array of cells, as a person would write it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.grid.launchers.slurm.resources import Resources, options
from experiments.grid.study import Cell, Study

TASK = "experiments.grid.launchers.slurm.task"


@dataclass(frozen=True)
class Array:
    """Cells that are submitted together: of one stage, and alike in what they ask for.

    ``nodes`` and ``devices`` are machines, and processes on each, for one cell; ``name`` tells the array from the
    others of its submission.
    """

    name: str
    stage: int
    resource_class: str
    resources: Resources
    nodes: int
    devices: int
    cells: Sequence[Cell]


def render(array: Array, study: Study, *, launch: str, attempts: int, throttle: int | None) -> str:
    """The script.

    The shell that runs it hears of the time limit, passes that on to the ranks, which write their checkpoint and end
    with 75, and puts the task back into the queue. It needs SLURM's commands; what runs in a container does not.
    """
    return "\n".join([*_head(array, study, launch, throttle), *_before(array, study, launch, attempts), *_RUN, ""])


def _head(array: Array, study: Study, launch: str, throttle: int | None) -> Iterator[str]:
    resources = array.resources
    stage = f", stage {array.stage + 1}" if array.stage else ""
    at_a_time = [number for number in (throttle, resources.throttle) if number is not None]
    yield "#!/usr/bin/env bash"
    yield f"# {len(array.cells)} cells of {_plain(study.path.name)}{stage}, resources {_plain(array.resource_class)}."
    yield "# Written by `fewstep grid run --launcher slurm`; array task I runs the I-th of the cells below, from 0."
    directives = [
        f"--job-name=fewstep-{_plain(study.path.name)}",
        f"--comment={launch}/{array.name}",
        f"--array=0-{len(array.cells) - 1}" + (f"%{min(at_a_time)}" if at_a_time else ""),
        f"--output={shlex.quote(str(study.path.resolve() / 'logs'))}/slurm-%A_%a.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR2@{resources.warning}",
        f"--nodes={array.nodes}",
        f"--ntasks-per-node={array.devices}",
        *options(resources),
    ]
    yield from (f"#SBATCH {directive}" for directive in directives)


def _before(array: Array, study: Study, launch: str, attempts: int) -> Iterator[str]:
    resources = array.resources
    yield ""
    yield "cells=("
    yield from (f"  {cell.hash}  # {number}: {_plain(cell.name)}" for number, cell in enumerate(array.cells))
    yield ")"
    yield ""
    if array.nodes > 1:
        yield 'export MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"'
    yield f"export OMP_NUM_THREADS={resources.cpus or 1}"
    if resources.cpus:
        yield f"export SRUN_CPUS_PER_TASK={resources.cpus}  # srun does not take it over from the job by itself"
    yield from (f"module load {shlex.quote(module)} || exit 2" for module in resources.modules)
    yield from resources.setup
    python = resources.python or ("python" if resources.container else sys.executable)
    words = [*shlex.split(resources.container or ""), python, "-P", "-m", TASK, str(study.path.resolve())]
    yield f"task=({shlex.join(words)}"
    yield f'  "${{cells[$SLURM_ARRAY_TASK_ID]}}" --launch {shlex.quote(launch)} --attempts {attempts}'
    yield f"  --nodes {array.nodes} --devices {array.devices})"
    yield from _SIGNALS
    srun = ["--kill-on-bad-exit=1", *resources.srun]
    yield f'srun {" ".join(srun)} "${{task[@]}}" &'


_SIGNALS = r"""
me="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
about_me() { squeue --noheader --jobs="$me" --format="$1"; }
trap 'kill -USR2 "$!"' USR2  # the time limit is near
trap 'kill -TERM "$!"; [ "$(about_me %r)" != TimeLimit ] || late' TERM
late() { "${task[@]}" --died 143 && scontrol requeue "$me"; }  # it has come, and the cell has not stopped
""".splitlines()

_RUN = r"""step=$!
while true; do
  wait "$step"
  code=$?
  kill -0 "$step" 2>/dev/null || break  # else it was a signal that ended the wait
done
trap - USR2 TERM

case "$code" in
  0 | 2 | 3) exit "$code" ;;                      # done; wrong input; failed for good: the cell's log says why
  75) ;;                                          # stopped in good order, to be continued
  *) "${task[@]}" --died "$code" || exit "$code" ;;  # died; counted, and refused once it has died too often
esac
# A job that is not RUNNING any more has been cancelled, or is being requeued already.
if [ "$(about_me %T)" = RUNNING ]; then
  scontrol requeue "$me"
fi
exit "$code"
""".splitlines()


def _plain(text: str) -> str:
    """On one line, for a comment."""
    return "".join(character if character.isprintable() else "?" for character in text)


def write(array: Array, study: Study, folder: Path, **facts: object) -> Path:
    """Write an array's script into a folder and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{array.name}.sh"
    file.write_text(render(array, study, **facts))  # pyright: ignore[reportArgumentType]
    file.chmod(0o755)
    return file
