"""The batch script: what it says, and what it does with each way in which a cell can end. SLURM is stubs here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.grid.launchers.slurm.resources import Resources
from experiments.grid.launchers.slurm.script import Array, render, write
from experiments.grid.study import Cell, Study


def cell(name: str) -> Cell:
    return Cell(name, f"{abs(hash(name)):012x}"[:12], name, "e" * 12, "rf", "dit", "digits", 0, 10, {})


def array(*cells: Cell, nodes: int = 1, devices: int = 1, stage: int = 0, **asked: object) -> Array:
    resources = Resources(**asked)  # pyright: ignore[reportArgumentType]
    return Array("default", stage, "default", resources, nodes, devices, cells)


def lines(found: Array, root: Path, throttle: int | None = None) -> list[str]:
    study = Study(root / "study")
    return render(found, study, launch="L", attempts=2, throttle=throttle).splitlines()


def test_what_a_class_asks_for_stands_in_the_script(tmp_path: Path) -> None:
    asked = array(
        cell("a"), cell("b"), nodes=2, devices=4, partition="gpu", account="me", qos="low", constraint="a100",
        time="4:00:00", gpus="a100:4", cpus=8, memory="64G", modules=("cuda/12.4",), setup=("ulimit -n 4096",),
        container="apptainer exec --nv 'my image.sif'", sbatch=("--exclusive",), srun=("--cpu-bind=cores",),
        warning=120,
    )  # fmt: skip
    found = lines(asked, tmp_path, throttle=7)
    for line in (
        "#SBATCH --array=0-1%7", "#SBATCH --requeue", "#SBATCH --open-mode=append", "#SBATCH --signal=B:USR2@120",
        "#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=4", "#SBATCH --partition=gpu", "#SBATCH --account=me",
        "#SBATCH --qos=low", "#SBATCH --constraint=a100", "#SBATCH --time=4:00:00", "#SBATCH --gres=gpu:a100:4",
        "#SBATCH --cpus-per-task=8", "#SBATCH --mem=64G", "#SBATCH --exclusive",
        f"#SBATCH --output={tmp_path}/study/logs/slurm-%A_%a.log",
        f"  {asked.cells[0].hash}  # 0: a", f"  {asked.cells[1].hash}  # 1: b",
        "export OMP_NUM_THREADS=8", "module load cuda/12.4 || exit 2", "ulimit -n 4096",
        'export MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"',
        'srun --kill-on-bad-exit=1 --cpu-bind=cores "${task[@]}" &',
    ):  # fmt: skip
        assert line in found
    (task,) = (line for line in found if line.startswith("task=("))
    assert task.startswith(
        "task=(apptainer exec --nv 'my image.sif' python -P -m experiments.grid.launchers.slurm.task"
    )
    assert found.index("ulimit -n 4096") > found.index("module load cuda/12.4 || exit 2")


def test_the_lower_throttle_holds(tmp_path: Path) -> None:
    for ours, theirs, told in ((3, 5, "%3"), (5, 3, "%3"), (None, 3, "%3"), (3, None, "%3"), (None, None, "")):
        assert f"#SBATCH --array=0-0{told}" in lines(array(cell("a"), throttle=theirs), tmp_path, throttle=ours)


def test_what_is_not_asked_for_is_left_to_the_cluster(tmp_path: Path) -> None:
    found = lines(array(cell("a")), tmp_path)
    for option in ("partition", "account", "qos", "time", "gres", "mem", "cpus-per-task"):
        assert not any(line.startswith(f"#SBATCH --{option}") for line in found)
    assert not any("MASTER_ADDR" in line or line.startswith("module") for line in found)


def test_a_name_cannot_leave_its_comment(tmp_path: Path) -> None:
    found = lines(array(cell("a\nrm -rf /")), tmp_path)
    assert not any(line.startswith("rm") for line in found)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the script in a plain shell; what its SLURM was asked for. ``code`` is what srun ends with."""

    def run(
        code: int, *, died: int = 0, state: str = "RUNNING", why: str = "None", told: str = "", module: str = "true"
    ) -> tuple[int, str]:
        programs = {
            "srun": f"trap 'exit 75' USR2; echo srun >> $TRACE; {told} exit {code}",
            "python": f'echo "python ${{@: -2}}" >> $TRACE; exit {died}',
            "squeue": f'case "$*" in *%T) echo {state} ;; *%r) echo {why} ;; esac',
            "scontrol": 'echo "scontrol $*" >> $TRACE',
        }
        bin = tmp_path / "bin"
        bin.mkdir(exist_ok=True)
        for name, body in programs.items():
            (bin / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (bin / name).chmod(0o755)
        trace = tmp_path / "trace"
        trace.write_text("")
        study = Study(tmp_path / "study")
        asked = array(cell("a"), python="python", setup=(f"module() {{ {module}; }}",), modules=("cuda",))
        file = write(asked, study, study.path / "slurm", launch="L", attempts=2, throttle=None)
        environment = {
            **os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "TRACE": str(trace), "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "0", "BASH_FUNC_module%%": f"() {{ {module}; }}",
        }  # fmt: skip
        done = subprocess.run([file], env=environment, capture_output=True, text=True, timeout=30)
        return done.returncode, trace.read_text() + done.stderr

    return run


@pytest.mark.parametrize("code", [0, 2, 3])
def test_what_has_ended_is_not_put_back(shell: Callable[..., tuple[int, str]], code: int) -> None:
    assert shell(code) == (code, "srun\n")


def test_what_is_to_be_continued_is_put_back_into_the_queue(shell: Callable[..., tuple[int, str]]) -> None:
    assert shell(75) == (75, "srun\nscontrol requeue 7_0\n")


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", ""])
def test_a_cancelled_job_is_not_put_back(shell: Callable[..., tuple[int, str]], state: str) -> None:
    assert shell(75, state=state) == (75, "srun\n")


def test_a_death_is_counted_and_put_back_while_it_may(shell: Callable[..., tuple[int, str]]) -> None:
    assert shell(137) == (137, "srun\npython --died 137\nscontrol requeue 7_0\n")
    assert shell(137, died=3) == (137, "srun\npython --died 137\n")


def test_the_warning_reaches_the_ranks_and_their_end_is_waited_for(shell: Callable[..., tuple[int, str]]) -> None:
    assert shell(0, told="kill -USR2 $PPID; sleep 5 >/dev/null 2>&1 & wait;") == (75, "srun\nscontrol requeue 7_0\n")


def test_what_does_not_stop_in_time_has_died(shell: Callable[..., tuple[int, str]]) -> None:
    deaf = "trap '' USR2 TERM; kill -USR2 $PPID; sleep 0.5; kill -TERM $PPID; sleep 0.5;"
    died = "python --died 143\nscontrol requeue 7_0\n"
    assert shell(137, told=deaf, state="COMPLETING", why="TimeLimit") == (137, f"srun\n{died}python --died 137\n")
    assert shell(137, told=deaf, state="COMPLETING") == (137, "srun\npython --died 137\n"), "scancel is obeyed"


def test_a_module_that_is_not_there_is_wrong_input(shell: Callable[..., tuple[int, str]]) -> None:
    assert shell(0, module="false") == (2, "")
