"""Plant one fault at a time in a copy of the sources, and see whether the tests named for it fail.

    python tests/mutations/plant.py                     every fault of faults.toml
    python tests/mutations/plant.py Karras "sign of v"  those whose name contains one of these
    python tests/mutations/plant.py --jobs 4 --write    and renew the table in docs/mutations.md

Each fault's tests run in a process of their own, forked from one that has imported torch and pytest, but nothing of
ours.
Exit code 1 where a fault was not caught, or where its tests could not be run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("faults.toml")
PAGE = ROOT / "docs/mutations.md"
COPIED = ("objectives", "backbones", "datamodules", "experiments", "tests", "pyproject.toml")
BEGIN, END = "<!-- planted: begin -->", "<!-- planted: end -->"
PASSED, FAILED = 0, 1  # pytest's exit codes; any other says that nothing was tested
ELSEWHERE = 99  # the tests imported other sources than the copy
MINUTES = 20
QUIET = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
PRELOADED = ["torch", "scipy.optimize", "scipy.stats", "hypothesis", "pytest"]


@dataclass(frozen=True)
class Fault:
    """`old`, which stands in `file` exactly once, replaced by `new`; each of the `tests` is a path under tests/."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self, source: str) -> str:
        """The faulty source.

        Raises:
            ValueError: the text replaced does not stand in the source exactly once.
        """
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} holds {self.old!r} {source.count(self.old)} times, not once")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """pytest's exit code, the first test that failed, what it printed, and how long it took."""

    fault: Fault
    code: int
    caught_by: str
    printed: str
    seconds: float

    @property
    def verdict(self) -> str:
        return {PASSED: "NOT caught", FAILED: "caught"}.get(self.code, "not tested")


def faults(table: Path = TABLE) -> tuple[Fault, ...]:
    """A table's entries."""
    entries = tomllib.loads(table.read_text(encoding="utf-8"))["fault"]
    return tuple(Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries)


def plant(fault: Fault) -> Outcome:
    """Run the fault's tests against a copy of the sources that has it."""
    with TemporaryDirectory(prefix="fewstep-fault-") as folder:
        copy = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy)
        faulty = copy / fault.file
        faulty.write_text(fault.planted(faulty.read_text(encoding="utf-8")), encoding="utf-8")
        start = time.perf_counter()
        code, printed = _pytest(copy, fault.tests)
        failed = re.search(r"^FAILED tests/(.*?)(?: - |$)", printed, re.MULTILINE)
        seconds = time.perf_counter() - start
        return Outcome(fault, code, failed.group(1) if failed else "", printed, seconds)


def _pytest(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code and what it printed, in a new process that imports the copy."""
    report = copy / "report.txt"
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    process = server.Process(target=_test, args=(copy, report, [f"tests/{test}" for test in tests]))
    process.start()
    process.join(60 * MINUTES)
    if process.is_alive():
        process.kill()
        process.join()
    printed = report.read_text(encoding="utf-8") if report.exists() else "nothing was printed"
    return process.exitcode if process.exitcode is not None else -1, printed


def _test(copy: Path, report: Path, tests: list[str]) -> None:
    """Run tests in this process, from the copy, and end it with pytest's exit code."""
    with report.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(copy)
    # Before everything else on the path, so also before an editable installation.
    sys.path[:] = [str(copy), *(place for place in sys.path if Path(place).resolve() not in (ROOT, TABLE.parent))]
    os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    import pytest

    code = int(pytest.main(["-x", "-q", "--tb=short", "-p", "no:cacheprovider", *QUIET, *tests]))
    ours = sys.modules.get("objectives")
    if ours is not None and not Path(ours.__file__ or "").is_relative_to(copy):
        print(f"{ours.__file__} was tested in place of the copy in {copy}", flush=True)
        code = ELSEWHERE
    sys.exit(code)


def outcomes(chosen: Sequence[Fault], jobs: int) -> Iterator[Outcome]:
    """In the table's order, each printed as it comes."""
    with ThreadPoolExecutor(jobs) as pool:
        for number, outcome in enumerate(pool.map(plant, chosen), start=1):
            print(f"{number:3}/{len(chosen)}  {outcome.verdict:10}  {outcome.seconds:5.1f} s  {outcome.fault.name}")
            if outcome.code == FAILED:
                print(f"{'':29}by {outcome.caught_by}", flush=True)
            else:
                print(outcome.printed, flush=True)
            yield outcome


def rows(found: Sequence[Outcome]) -> str:
    """The table for the page."""
    lines = ["| fault | where | caught by | seconds |", "| :-- | :-- | :-- | --: |"]
    for outcome in found:
        where, caught = outcome.fault.file, outcome.caught_by.replace("|", "\\|")
        told = f"`{caught}`" if outcome.code == FAILED else f"**{outcome.verdict}**"
        lines.append(f"| {outcome.fault.name} | `{where}` | {told} | {outcome.seconds:.0f} |")
    return "\n".join(lines)


def write(found: Sequence[Outcome], page: Path = PAGE) -> None:
    """Put the table between the page's two marks."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{rows(found)}\n{END}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of faults' names; all where none is given")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table of faults")
    parser.add_argument("--jobs", type=int, default=1, help="faults at the same time")
    parser.add_argument("--write", action="store_true", help="renew the table in docs/mutations.md")
    given = parser.parse_args(arguments)
    known = faults(given.table)
    chosen = [fault for fault in known if not given.names or any(n.lower() in fault.name.lower() for n in given.names)]
    if not chosen:
        parser.error(f"no fault is called that; known: {', '.join(fault.name for fault in known)}")
    if given.write and (given.names or given.table != TABLE):
        parser.error("--write renews the whole table of docs/mutations.md and takes neither names nor another table")
    if given.jobs < 1:
        parser.error(f"--jobs takes a whole number of at least 1, got {given.jobs}")
    os.environ["OMP_NUM_THREADS"] = "1"
    found = list(outcomes(chosen, given.jobs))
    if given.write:
        write(found)
    caught = sum(outcome.code == FAILED for outcome in found)
    print(f"{caught} of {len(found)} caught")
    return 0 if caught == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
