"""A pytest plugin for mutmut: the quickest tests come first, so that a mutant that dies dies soon.

mutmut keeps how long each test took, but its fork server hands a mutant's tests over in no order. Where the environment
names a share, QUICKEST=0.9 say, only that share of a mutant's tests is run, the slowest being left out: a first sieve,
after which the survivors are run again with all.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

TIMES = Path("mutmut-stats.json")  # where mutmut runs pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if TIMES.exists():
        seconds = json.loads(TIMES.read_text(encoding="utf-8"))["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
        del items[math.ceil(len(items) * float(os.environ.get("QUICKEST", "1"))) :]
