"""Run mutmut on a random sample of the mutants of objectives/, and say how many the tests kill.

    python tests/mutations/sample.py --size 400 --seed 0 --jobs 2
    python tests/mutations/sample.py --size 60 --only "objectives/heads/*"

Started in the repository's root. Prints the share killed with Wilson's 95 % interval, a line for each file, and the
survivors with what was changed; with ``--report FILE`` the same as JSON. `mutmut run` alone runs every mutant.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

KILLED = {"killed", "timeout", "segfault"}


@dataclass(frozen=True)
class Mutant:
    """mutmut's name of a mutant, and the file that it is one of."""

    name: str
    file: str


def mutants(only: str = "*") -> list[Mutant]:
    """Every mutant of the files that match, in the order of their names."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    found = []
    for path in walk_mutatable_files():
        if fnmatch(str(path), only):
            names = mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names
            found += [Mutant(get_mutant_name(path, name), str(path)) for name in names]
    return sorted(found, key=lambda mutant: mutant.name)


def drawn(found: Sequence[Mutant], size: int, seed: int) -> list[Mutant]:
    """So many of them at random, the same ones for the same seed; all where there are no more."""
    return random.Random(seed).sample(list(found), min(size, len(found)))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96."""
    z, share = 1.959964, successes / trials
    centre, scale = share + z**2 / (2 * trials), 1 + z**2 / trials
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return (centre - reach) / scale, (centre + reach) / scale


def verdicts(chosen: Sequence[Mutant]) -> dict[str, str]:
    """Name → "killed", "survived", "no tests", … of mutants that mutmut has run."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    codes: dict[str, int | None] = {}
    for file in sorted({mutant.file for mutant in chosen}):
        data = SourceFileMutationData(path=file)
        data.load()
        codes |= data.exit_code_by_key
    return {mutant.name: status_by_exit_code[codes.get(mutant.name)] for mutant in chosen}


def told(chosen: Sequence[Mutant], verdict: dict[str, str]) -> str:
    """The share killed over all and in each file, and the survivors."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    dead = [mutant for mutant in chosen if verdict[mutant.name] in KILLED]
    low, high = wilson(len(dead), len(chosen))
    lines = [f"{len(dead)} of {len(chosen)} killed: {len(dead) / len(chosen):.1%} ({low:.1%} to {high:.1%})"]
    for file in sorted({mutant.file for mutant in chosen}):
        count = sum(mutant.file == file for mutant in chosen)
        lines.append(f"{sum(mutant.file == file for mutant in dead):5} of {count:4}  {file}")
    for mutant in chosen:
        if verdict[mutant.name] not in KILLED:
            lines += ["", f"{verdict[mutant.name]}: {mutant.name}", get_diff_for_mutant(mutant.name, path=mutant.file)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=400, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="*", help="a pattern of files")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at the same time")
    parser.add_argument("--report", type=Path, help="a file for the verdicts, as JSON")
    given = parser.parse_args(arguments)
    found = mutants(given.only)
    if not found or given.size < 1:
        parser.error(f"nothing to draw: {len(found)} mutants in {given.only!r}, {given.size} asked for")
    chosen = drawn(found, given.size, given.seed)
    print(f"{len(chosen)} of {len(found)} mutants, seed {given.seed}", flush=True)
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(given.jobs)]
    code = subprocess.run([*command, *(mutant.name for mutant in chosen)]).returncode
    if code:
        return code
    verdict = verdicts(chosen)
    if given.report:
        given.report.write_text(json.dumps(verdict, indent=1) + "\n", encoding="utf-8")
    print(told(chosen, verdict))
    return 0


if __name__ == "__main__":
    sys.exit(main())
