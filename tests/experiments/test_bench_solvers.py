"""docs/solvers.md says of every solver and path what `fewstep bench solvers` measures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.bench.solvers import THEORY, TOLERANCES, WEAK, _told, paths
from objectives import FlowMatching
from objectives.convergence import strong
from objectives.solvers import SOLVERS, Consistency, Dopri5, EDMStochastic, Euler

DOCUMENT = (Path(__file__).parents[2] / "docs" / "solvers.md").read_text()
ROWS = {
    cells[0]: cells[1:]
    for line in DOCUMENT.splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) > 4
}


def test_every_solver_is_measured_on_every_path() -> None:
    assert {type(solver) for solver in (*THEORY, *WEAK)} | {Dopri5, EDMStochastic, Consistency} == set(SOLVERS.values())
    assert ROWS["solver"] == ["order", *paths()]
    for solver, order in THEORY.items():
        theory, *found = ROWS[solver.name]
        assert int(theory) == order
        assert [abs(float(cell.split()[0]) - order) < 0.15 for cell in found] == [True] * len(paths())
    for tolerance in TOLERANCES:
        assert all(float(cell.split()[0]) < 10 * tolerance for cell in ROWS[f"{tolerance:g}"])


def test_the_table_is_what_is_measured() -> None:
    assert ROWS["euler"][1 + list(paths()).index("straight")] == _told(strong(Euler(), FlowMatching()))


@pytest.mark.parametrize("name", re.findall(r"--(?:solver|grid) \"([^\"]+)\"", DOCUMENT))
def test_the_names_it_uses_are_read(name: str) -> None:
    from experiments.config.plugins import resolve_plugin

    resolve_plugin("solvers" if name.startswith("dopri5") else "time_grids", name).build()
