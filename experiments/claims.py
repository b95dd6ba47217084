"""Who may work on a cell: claims with a fencing number. Imports no torch.

A claim is one file, ``claims/HASH/N.json``. The number N is one more than the highest that there is, and the file is
made by ``link``, which fails where the name exists: of any number of workers that reach for N, on any number of
machines that share the folder, exactly one gets it. The highest number owns the cell. An owner touches its file as a
heartbeat, and asks before every write whether number N + 1 exists: one that was paused, was taken over and goes on
finds itself fenced off and writes nothing more. (Between the question and the write lies one system call.)

A claim ends with an outcome written into its own file, so that the files of a cell are also its history. How long its
heartbeat may be silent before others take it for dead stands there too: it is the owner's promise, not the reader's
guess.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from experiments.errors import StoppedAtOnce
from experiments.files import read_json, write_json

OUTCOMES = ("done", "failed", "interrupted", "died", "released", "retried")
STALE_AFTER = float(os.environ.get("FEWSTEP_STALE_AFTER", "60"))
"""Seconds without a heartbeat after which a claim of this process may be taken over (not below what a network file
system's attribute cache may hold back; ``FEWSTEP_STALE_AFTER`` sets another)."""
HEARTBEAT_EVERY = STALE_AFTER / 12
LOOK_NOW = signal.SIGUSR1
"""What an owner on this machine is sent when there is news of its cell, if it listens."""
INHERITED = "FEWSTEP_CLAIM"
"""The claim under which a process was started, for its children: folder and number."""

_NUMBERED = re.compile(r"(\d{6})\.json")


class ClaimLost(StoppedAtOnce):
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
        """Still held: no outcome, a heartbeat as young as its owner promised, and no owner known to be dead."""
        return self.outcome is None and self.age < self.owner.get("stale_after", STALE_AFTER) and not self.dead

    @property
    def stalled(self) -> bool:
        """No outcome and no heartbeat, though the owner is not known to be dead: paused, cut off, or gone with its
        machine."""
        return self.outcome is None and not self.live and not self.dead

    @property
    def here(self) -> bool:
        """Whether the owner is a process of this machine."""
        return self.owner.get("machine") == _machine()

    @property
    def dead(self) -> bool:
        """Whether the owner is known to be gone: a process of this machine that is no more."""
        return self.here and _started(self.owner.get("pid", 0)) != self.owner.get("started")


@dataclass
class Claim:
    """The right to write a cell's files, held under a number."""

    folder: Path
    number: int
    owner: dict[str, Any] = field(repr=False)

    @property
    def file(self) -> Path:
        return _file(self.folder, self.number)

    @property
    def ours(self) -> bool:
        """Whether this is still the highest claim on the cell."""
        return self.file.exists() and not _file(self.folder, self.number + 1).exists()

    def check(self) -> None:
        """Raise :class:`ClaimLost` unless this is still the highest claim on the cell."""
        if not self.ours:
            highest = max(_numbers(self.folder), default=0)
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
        said = {**self.owner, "outcome": outcome, "message": message, "ended": time.time(), **facts}
        write_json(self.file, said, sync=False)  # after a power cut it reads as a death; what is done stands in the run


def claim(folder: Path, *, job: str | None = None, **facts: Any) -> Claim | None:
    """Reach for a cell's next claim; None while another's is live, or when another was quicker.

    ``folder`` is the cell's own folder under ``claims/``; ``facts`` are kept in the claim's file. ``job`` names a job
    of a scheduler that never runs twice at a time: what it claimed before it was started anew is not waited for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = latest(folder)
    if last is not None and last.live and (job is None or last.owner.get("job") != job):
        return None
    number = last.number + 1 if last else 1
    owner = {
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.time(),
        "stale_after": STALE_AFTER,
        "listens": signal.getsignal(LOOK_NOW) is not signal.SIG_DFL,
        **({"job": job} if job else {}),
        **facts,
    }
    draft = folder / f".{uuid.uuid4().hex}"
    draft.write_text(json.dumps(owner))  # unsynced: after a power cut its owner is gone as well
    try:
        os.link(draft, _file(folder, number))
    except FileExistsError:
        return None
    finally:
        draft.unlink()
    return Claim(folder, number, owner)


def history(folder: Path, now: float | None = None) -> list[Claimed]:
    """Every claim on a cell, the oldest first. ``now`` is :func:`clock`'s, where it has been asked already."""
    numbers = sorted(_numbers(folder))
    if numbers and now is None:
        now = clock(folder.parent)
    return [_read(folder, number, now or 0.0) for number in numbers]


def latest(folder: Path, now: float | None = None) -> Claimed | None:
    """The highest claim on a cell, or None; ``now`` as of :func:`history`."""
    numbers = _numbers(folder)
    return _read(folder, max(numbers), clock(folder.parent) if now is None else now) if numbers else None


def bury(folder: Path, pid: int, message: str, outcome: str = "died") -> bool:
    """Write how it ended into the claim that the dead process ``pid`` of this machine held on a cell, if it held one.

    Another worker may have seen the death first and hold the cell by now, under a higher number: that one goes on.
    """
    for one in history(folder):
        if one.outcome is None and one.here and one.owner.get("pid") == pid:
            facts = {"outcome": outcome, "message": message, "ended": time.time()}
            write_json(_file(folder, one.number), {**one.owner, **facts})
            return True
    return False


def retry(folder: Path, **facts: Any) -> bool:
    """Wipe the slate of a cell that nobody holds: its failures so far no longer count. False while somebody does."""
    held = claim(folder, **facts)
    if held is None:
        return False
    held.end("retried")
    return True


def inherited() -> Callable[[], None]:
    """The fence of the claim under which this process was started by its owner; nothing to ask where there is none."""
    told = os.environ.get(INHERITED)
    if told is None:
        return lambda: None
    folder, _, number = told.rpartition(":")
    return Claim(Path(folder), int(number), {}).check


class Heartbeat(threading.Thread):
    """Touches a claim's file until it is stopped; the main thread may be in a long step meanwhile.

    ``look`` is called with every beat: what the owner should hear of without being asked for a write.
    """

    def __init__(self, held: Claim, every: float = HEARTBEAT_EVERY, look: Callable[[], None] = lambda: None):
        super().__init__(name="heartbeat", daemon=True)
        self._claim, self._every, self._look, self._stop_event = held, every, look, threading.Event()

    def run(self) -> None:
        while not self._stop_event.wait(self._every):
            try:
                self._claim.beat()
            except FileNotFoundError:
                return
            self._look()

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


def clock(folder: Path) -> float:
    """The time by the clock that stamps the files of ``claims/``, which need not be this machine's."""
    file = folder / ".clock"
    try:
        file.touch()
        return file.stat().st_mtime
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
