"""Draw mutants of objectives/ that mutmut makes, and count those that the tests of objectives/ kill.

    python tests/mutations/sample.py --size 400 --seed 0 --jobs 2
    python tests/mutations/sample.py --size 60 --only "objectives/heads/*"

Started in the repository's root. Prints the share killed with Wilson's 95 % interval, a line for each file, and the
survivors with what was changed; `mutmut show NAME` tells of one again.

mutmut makes the mutants, all in one copy of each file, and knows which tests call which function. Running them is ours:
pytest collects once, and a process is forked from there for each mutant, its tests in order of their duration, since to
collect anew, as `mutmut run` does, takes longer than most mutants live.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

SURVIVED, KILLED, NO_TESTS = 0, 1, 33  # mutmut's codes
CPU_SECONDS = 300


@dataclass(frozen=True)
class Mutant:
    """mutmut's name of a mutant, and the file that it is one of."""

    name: str
    file: str


class Forks:
    """A pytest plugin that runs, in place of the tests once, the tests of each mutant in a process of its own.

    Args:
        tests: for each mutant the node ids of its tests, in the order in which they are run.
        jobs: mutants at the same time.

    `codes` holds the outcome of each: SURVIVED, KILLED, NO_TESTS, or minus the signal that ended its process.
    """

    def __init__(self, tests: dict[str, list[str]], jobs: int) -> None:
        self.tests, self.jobs, self.codes = tests, jobs, {}
        self._running: dict[int, str] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for name, tests in self.tests.items():
            chosen = [items[test] for test in tests if test in items]
            if not chosen:
                self.codes[name] = NO_TESTS
                continue
            if len(self._running) == self.jobs:
                self._wait()
            pid = os.fork()
            if pid == 0:
                os._exit(_outcome(name, chosen, session))
            self._running[pid] = name
        while self._running:
            self._wait()
        return True

    def _wait(self) -> None:
        pid, status = os.wait()
        name = self._running.pop(pid)
        self.codes[name] = os.waitstatus_to_exitcode(status)
        done, dead = len(self.codes), sum(code not in (SURVIVED, NO_TESTS) for code in self.codes.values())
        print(
            f"{done:5}/{len(self.tests)}  {dead} killed  {self.codes[name]:3}  {name}", file=sys.__stderr__, flush=True
        )


def _outcome(name: str, chosen: Sequence[pytest.Item], session: pytest.Session) -> int:
    from mutmut.mutation.trampoline import set_mutant_under_test

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    set_mutant_under_test(name)
    try:
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return KILLED
    except BaseException:
        return KILLED
    return SURVIVED


def make(jobs: int) -> None:
    """Write the mutants into mutants/, and which tests call what, where that is not known yet."""
    import mutmut.__main__ as tool
    from mutmut.workers.isolation import get_mutant_runner

    tool.set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    tool.copy_src_dir()
    tool.copy_also_copy_files()
    tool.setup_source_paths()
    tool.create_mutants(jobs)
    tool.collect_or_load_stats(get_mutant_runner(jobs), apply_config_invalidation=True)


def mutants(only: str = "*") -> list[Mutant]:
    """The mutants of the files that match, in the order of their names."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.utils.file_utils import walk_mutatable_files

    found = []
    for path in walk_mutatable_files():
        if fnmatch(str(path), only):
            data = SourceFileMutationData(path=path)
            data.load()
            found += [Mutant(name, str(path)) for name in data.exit_code_by_key]
    return sorted(found, key=lambda mutant: mutant.name)


def drawn(found: Sequence[Mutant], size: int, seed: int) -> list[Mutant]:
    """So many of them at random, the same ones for the same seed; all where there are no more."""
    return random.Random(seed).sample(list(found), min(size, len(found)))


def tests_of(chosen: Sequence[Mutant], stats: Path, share: float) -> dict[str, list[str]]:
    """For each mutant the tests that call its function, the quickest first; the slowest beyond the share left out."""
    told = json.loads(stats.read_text(encoding="utf-8"))
    seconds, calls = told["duration_by_test"], told["tests_by_mangled_function_name"]
    found = {}
    for mutant in chosen:
        tests = sorted(calls.get(mutant.name.partition("__mutmut_")[0], []), key=lambda test: (seconds[test], test))
        found[mutant.name] = tests[: math.ceil(share * len(tests))]
    return found


def run(chosen: Sequence[Mutant], jobs: int, share: float) -> dict[str, int]:
    """Name → outcome; kept where mutmut keeps them too."""
    from mutmut.mutation.data import SourceFileMutationData

    forks, here = Forks(tests_of(chosen, Path("mutants/mutmut-stats.json"), share), jobs), Path.cwd()
    os.environ["MUTANT_UNDER_TEST"] = ""
    os.chdir("mutants")
    try:
        pytest.main(["-q", "-s", "--tb=no", "--rootdir=.", "-p", "no:cacheprovider", "tests/objectives"], [forks])
    finally:
        os.chdir(here)
    for file in {mutant.file for mutant in chosen}:
        data = SourceFileMutationData(path=file)
        data.load()
        data.exit_code_by_key |= {m.name: forks.codes[m.name] for m in chosen if m.file == file}
        data.save()
    return forks.codes


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96."""
    z, share = 1.959964, successes / trials
    centre, scale = share + z**2 / (2 * trials), 1 + z**2 / trials
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return (centre - reach) / scale, (centre + reach) / scale


def told(chosen: Sequence[Mutant], codes: dict[str, int]) -> str:
    """The share killed over all and in each file, and the survivors."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    alive = [mutant for mutant in chosen if codes[mutant.name] in (SURVIVED, NO_TESTS)]
    dead = len(chosen) - len(alive)
    low, high = wilson(dead, len(chosen))
    lines = [f"{dead} of {len(chosen)} killed: {dead / len(chosen):.1%} ({low:.1%} to {high:.1%})"]
    for file in sorted({mutant.file for mutant in chosen}):
        count = sum(mutant.file == file for mutant in chosen)
        lines.append(f"{count - sum(mutant.file == file for mutant in alive):5} of {count:4}  {file}")
    for mutant in alive:
        what = "no tests" if codes[mutant.name] == NO_TESTS else "survived"
        lines += ["", f"{what}: {mutant.name}", get_diff_for_mutant(mutant.name, path=mutant.file)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=400, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="*", help="a pattern of files")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--share", type=float, default=1.0, help="share of a mutant's tests to run, the quickest ones")
    given = parser.parse_args(arguments)
    if given.size < 1 or given.jobs < 1 or not 0 < given.share <= 1:
        parser.error("--size and --jobs take a whole number of at least 1, --share a number above 0 and up to 1")
    make(given.jobs)
    found = mutants(given.only)
    if not found:
        parser.error(f"no file that mutants are made of matches {given.only!r}")
    chosen = drawn(found, given.size, given.seed)
    print(f"{len(chosen)} of {len(found)} mutants, seed {given.seed}", flush=True)
    print(told(chosen, run(chosen, given.jobs, given.share)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
