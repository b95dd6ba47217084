"""Who may work on a cell: claims with a fencing number. Imports no torch.

A claim is one file, ``claims/HASH/N.json``. The number N is one more than the highest that there is, and the file is
made by ``link``, which fails where the name exists: of any number of workers that reach for N, on any number of
machines that share the folder, exactly one gets it. The highest number owns the cell. An owner touches its file as a
heartbeat, and asks before every write whether a higher number exists: one that was paused, was taken over and goes
on finds itself fenced off and writes nothing more. (Between the question and the write lies one system call.)

A claim ends with an outcome written into its own file, so that the files of a cell are also its history.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from experiments.errors import Interrupted
from experiments.files import read_json, write_json

OUTCOMES = ("done", "failed", "interrupted", "died", "released")
STALE_AFTER = 60.0
HEARTBEAT_EVERY = 5.0

_NUMBERED = re.compile(r"(\d{6})\.json")


class ClaimLost(Interrupted):
    """A higher claim on the cell exists: another worker took it over, and this one may write no more."""


@dataclass(frozen=True)
class Claimed:
    """What a claim's file says. ``age`` is seconds since its last heartbeat, by the file system's clock."""

    number: int
    age: float
    owner: dict[str, Any]

    @property
    def outcome(self) -> str | None:
        return self.owner.get("outcome")

    @property
    def live(self) -> bool:
        """Still held: no outcome, a heartbeat not older than STALE_AFTER, and no owner known to be dead."""
        return self.outcome is None and self.age < STALE_AFTER and not self._dead

    @property
    def _dead(self) -> bool:
        if self.owner.get("machine") != _machine():
            return False
        return _started(self.owner.get("pid", 0)) != self.owner.get("started")


@dataclass
class Claim:
    """The right to write a cell's files, held under a number."""

    folder: Path
    number: int
    owner: dict[str, Any] = field(repr=False)

    @property
    def file(self) -> Path:
        return _file(self.folder, self.number)

    def check(self) -> None:
        """Raise :class:`ClaimLost` unless this is still the highest claim on the cell."""
        highest = max(_numbers(self.folder), default=0)
        if highest != self.number:
            raise ClaimLost(
                f"the claim {self.number} on cell {self.folder.name} is lost: "
                + (f"claim {highest} took the cell over" if highest else "the claim's file is gone")
            )

    def beat(self) -> None:
        """Say that the owner is alive."""
        os.utime(self.file)

    def end(self, outcome: str, message: str | None = None, **facts: Any) -> None:
        """Give the claim up with an outcome; nothing is written when it is lost already."""
        assert outcome in OUTCOMES, outcome
        self.check()
        write_json(self.file, {**self.owner, "outcome": outcome, "message": message, "ended": time.time(), **facts})


def claim(folder: Path, **facts: Any) -> Claim | None:
    """Reach for a cell's next claim; None while another's is live, or when another was quicker.

    ``folder`` is the cell's own folder under ``claims/``; ``facts`` are kept in the claim's file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = latest(folder)
    if last is not None and last.live:
        return None
    number = last.number + 1 if last else 1
    owner = {
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.time(),
        **facts,
    }
    draft = folder / f".{uuid.uuid4().hex}"
    write_json(draft, owner)
    try:
        os.link(draft, _file(folder, number))
    except FileExistsError:
        return None
    finally:
        draft.unlink()
    return Claim(folder, number, owner)


def history(folder: Path) -> list[Claimed]:
    """Every claim on a cell, the oldest first."""
    numbers = sorted(_numbers(folder))
    now = _now(folder) if numbers else 0.0
    return [_read(folder, number, now) for number in numbers]


def latest(folder: Path) -> Claimed | None:
    """The highest claim on a cell, or None."""
    numbers = _numbers(folder)
    return _read(folder, max(numbers), _now(folder)) if numbers else None


def bury(folder: Path, pid: int, message: str) -> bool:
    """Write "died" into the claim that the dead process ``pid`` of this machine held on a cell, if it held one.

    Another worker may have seen the death first and hold the cell by now, under a higher number: that one goes on.
    """
    for one in history(folder):
        if one.outcome is None and (one.owner.get("machine"), one.owner.get("pid")) == (_machine(), pid):
            facts = {"outcome": "died", "message": message, "ended": time.time()}
            write_json(_file(folder, one.number), {**one.owner, **facts})
            return True
    return False


class Heartbeat(threading.Thread):
    """Touches a claim's file until it is stopped; the main thread may be in a long step meanwhile."""

    def __init__(self, held: Claim, every: float = HEARTBEAT_EVERY):
        super().__init__(name="heartbeat", daemon=True)
        self._claim, self._every, self._stop_event = held, every, threading.Event()

    def run(self) -> None:
        while not self._stop_event.wait(self._every):
            try:
                self._claim.beat()
            except FileNotFoundError:
                return

    def __enter__(self) -> Heartbeat:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [int(found[1]) for name in names if (found := _NUMBERED.fullmatch(name))]


def _read(folder: Path, number: int, now: float) -> Claimed:
    file = _file(folder, number)
    return Claimed(number, now - file.stat().st_mtime, read_json(file) or {})


def _now(folder: Path) -> float:
    """The time by the clock that stamps the files, which need not be this machine's."""
    clock = folder.parent / ".clock"
    try:
        clock.touch()
        return clock.stat().st_mtime
    except OSError:
        return time.time()


@cache
def _machine() -> str:
    """Where process numbers mean the same: the host, its boot and the namespace of its process numbers."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()} {boot.read_text().strip()} {namespace.readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process of this machine started (a number that is reused names another process); None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self").exists() else _alive(pid)
    return None if fields[0] in "ZX" else fields[19]


def _alive(pid: int) -> str | None:
    """Where there is no /proc: "alive" or None."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "alive"
    return "alive"
