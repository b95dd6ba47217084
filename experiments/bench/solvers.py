"""How fast every solver converges on every path that it serves, measured against the exact flow of a mixture."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from experiments.registry import entries
from objectives import FlowMatching
from objectives.convergence import Convergence, even_times, plane, reference, strong, weak
from objectives.paths import Path
from objectives.solvers import DDIM, DPMPP2M, RK4, Dopri5, Euler, EulerMaruyama, Heun, Midpoint, Solver

THEORY: dict[Solver, int] = {Euler(): 1, DDIM(): 1, Heun(): 2, Midpoint(): 2, RK4(): 4, DPMPP2M(): 2}
"""Deterministic fixed-step solvers and their orders."""

WEAK: tuple[Solver, ...] = (EulerMaruyama("sigma"), EulerMaruyama("sine"), EulerMaruyama("sde"))
TOLERANCES = (1e-4, 1e-6, 1e-8)


def paths() -> dict[str, Path]:
    """Every registered path with its defaults."""
    return {name: entry.load()() for name, entry in entries("paths").items()}


def table() -> Iterator[str]:
    """Lines of two Markdown tables: measured orders, and dopri5's errors at its tolerances."""
    columns = paths()
    yield from _header("solver", "order", *columns)
    for solver, order in THEORY.items():
        even = "log_snr" if isinstance(solver, DPMPP2M) else "tau"
        found = [strong(solver, FlowMatching(path=path), even=even) for path in columns.values()]
        yield _line(solver.name, str(order), *map(_told, found))
    for solver in WEAK:
        found = [weak(solver, FlowMatching(path=path)) for path in columns.values()]
        yield _line(f"euler_maruyama({getattr(solver, 'diffusion', '')})", "1 (weak)", *map(_told, found))
    yield ""
    yield from _header("dopri5, tolerance", *columns)
    for tolerance in TOLERANCES:
        yield _line(f"{tolerance:g}", *(_adaptive(path, tolerance) for path in columns.values()))


def _adaptive(path: Path, tolerance: float) -> str:
    flow, calls = FlowMatching(path=path), 0
    exact = plane().network(flow)

    def counted(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return exact(*arguments)

    z, target = reference(path)
    out = Dopri5(tolerance, tolerance).solve(flow, counted, z, even_times(path, 1, "tau"), None)
    return f"{float((out - target).square().mean().sqrt()):.1e} ({calls} evaluations)"


def _told(found: Convergence) -> str:
    return f"{found.order:.2f} ({found.errors[-1]:.1e} at {found.steps[-1]})"


def _header(*columns: str) -> Iterator[str]:
    yield _line(*columns)
    yield _line(*(":--" for _ in columns))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
