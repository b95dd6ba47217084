"""What a job asks of SLURM: a class of resources, as a grid file has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from experiments.config.faults import ConfigError, Fault, Key, unknown

TIME = re.compile(r"\d+[mhd]|\d+:\d\d:\d\d|\d+-\d+(:\d\d){0,2}")
UNITS = {"m": "{}", "h": "{}:00:00", "d": "{}-0"}
MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)
GPUS = re.compile(r"(\w+:)?\d+")


@dataclass(frozen=True)
class Resources:
    """A class of resources. What is not given is left to the cluster's defaults.

    Attributes:
        partition, account, qos, constraint: as SLURM has them.
        time: limit of one job: 90m, 4h, 2d, or as SLURM has it: "12:30:00", "2-12". A cell that needs longer goes on
            when its job is started again.
        nodes: machines for each cell, in place of ``trainer.nodes``.
        gpus: on each node, a number or "type:number", and as many processes, in place of ``trainer.devices``.
        cpus: cores of each process, and threads in it.
        memory: on each node: "16G".
        modules: what is loaded by ``module load``.
        setup: lines of shell before the work starts.
        container: the command before Python's: "apptainer exec --nv image.sif".
        python: the interpreter that has fewstep.
        sbatch, srun: further options, as one types them.
        throttle: how many cells of this class run at a time.
        warning: seconds before the time limit at which a cell is told to write its checkpoint.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | None = None
    nodes: int | None = None
    gpus: str | None = None
    cpus: int | None = None
    memory: str | None = None
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    container: str | None = None
    python: str | None = None
    sbatch: tuple[str, ...] = ()
    srun: tuple[str, ...] = ()
    throttle: int | None = None
    warning: int = 90

    @property
    def gpus_per_node(self) -> int:
        return int(self.gpus.rpartition(":")[2]) if self.gpus else 0


_COUNTS = ("nodes", "cpus", "throttle", "warning")
_LISTS = ("modules", "setup", "sbatch", "srun")
_FORMS = {
    "time": (TIME, '90m, 4h, 2d, "hours:minutes:seconds" in quotes (YAML takes 12:30:00 for a number) or days-hours'),
    "memory": (MEMORY, 'a number with K, M, G or T: "16G"'),
    "gpus": (GPUS, 'a number, or "type:number"'),
}


def read(classes: Mapping[str, Any], where: Callable[[Key], str | None] = lambda key: None) -> dict[str, Resources]:
    """Every class of resources by name; ``where`` tells file and line of a key.

    Raises:
        ConfigError: every fault of every class at once.
    """
    faults: list[Fault] = []
    found: dict[str, Resources] = {}
    for name, given in classes.items():
        values, wrong = dict[str, Any](), list[tuple[Key, str]]()
        if not isinstance(given, Mapping):
            wrong.append(((), f"{given!r} is not a mapping of what a job asks for"))
            given = {}
        for key, value in given.items():
            try:
                values[str(key)] = _value(str(key), value)
            except ValueError as error:
                wrong.append(((str(key),), str(error)))
        faults += (Fault(key := ("resources", name, *inner), told, where(key)) for inner, told in wrong)
        if not wrong:
            found[name] = Resources(**values)
    if faults:
        raise ConfigError(faults)
    return found


def _value(key: str, value: Any) -> Any:
    """The value of a key in the form in which it is kept; ValueError for anything else."""
    known = [field.name for field in fields(Resources)]
    if key not in known:
        raise ValueError(unknown("key of a SLURM job", key, known))
    if key in _COUNTS:
        if type(value) is not int or value < 1:
            raise ValueError(f"{value!r} is not a whole number from 1")
        return value
    if key in _LISTS:
        lines = [value] if isinstance(value, str) else value
        if not isinstance(lines, list) or not all(isinstance(line, str) and line.strip() for line in lines):
            raise ValueError(f"{value!r} is not a list of lines")
        return tuple(lines)
    text = str(value) if type(value) is int and key in ("memory", "gpus") else value
    if key in _FORMS and not (isinstance(text, str) and _FORMS[key][0].fullmatch(text)):
        raise ValueError(f"{value!r} is not {_FORMS[key][1]}")
    if not isinstance(text, str) or not text.strip() or "\n" in text:
        raise ValueError(f"{value!r} is not a word")
    if key == "time" and text[-1] in UNITS:
        return UNITS[text[-1]].format(text[:-1])
    return text


def options(resources: Resources) -> Iterator[str]:
    """sbatch's options for what is asked for of one node and one process, and where."""
    for key in ("partition", "account", "qos", "constraint", "time"):
        if (value := getattr(resources, key)) is not None:
            yield f"--{key}={value}"
    if resources.gpus_per_node:
        yield f"--gres=gpu:{resources.gpus}"
    if resources.cpus:
        yield f"--cpus-per-task={resources.cpus}"
    if resources.memory:
        yield f"--mem={resources.memory}"
    yield from resources.sbatch
