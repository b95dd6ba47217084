"""How often the report's intervals hold what they should: coverage over simulated studies, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.report.statistics.correlation import pearson_interval, spearman_interval
from experiments.report.statistics.intervals import BOOTSTRAP_FROM, interquartile_mean, t_quantile
from experiments.report.statistics.power_law import PowerLaw, fit_power_law

Array = NDArray[np.float64]

SEEDS = (2, 3, 5, 10, 20, 50)
RESAMPLES = 999
SHAPES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Array], float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
}
"""What a seed's number is drawn from, and the mean of that."""


def covered(low: Array, high: Array, truth: float) -> float:
    """The share of intervals that hold the truth."""
    return float(np.mean((low <= truth) & (truth <= high)))


def student(values: Array) -> tuple[Array, Array]:
    """Student's intervals of the means of (studies, n)."""
    n = values.shape[1]
    middle, half = values.mean(1), t_quantile(n - 1) * values.std(1, ddof=1) / math.sqrt(n)
    return middle - half, middle + half


def bootstrap(values: Array, method: str, statistic: Callable[..., Any] = np.mean) -> tuple[Array, Array]:
    """Bootstrap intervals of a statistic of (studies, n), by SciPy."""
    from scipy.stats import bootstrap

    options: dict[str, Any] = {"n_resamples": RESAMPLES, "method": method, "axis": -1, "vectorized": True}
    options["rng"] = np.random.default_rng(1)
    parts = np.array_split(values, max(1, values.size // 4000))
    found = [bootstrap((part,), statistic, **options) for part in parts]
    ends = [one.confidence_interval for one in found]
    return np.concatenate([pair.low for pair in ends]), np.concatenate([pair.high for pair in ends])


def of_means(n: int, shape: str, *, studies: int, seed: int = 0) -> dict[str, float]:
    """Coverage of the intervals of a mean over n seeds: Student's t, percentile and BCa bootstrap."""
    draw, truth = SHAPES[shape]
    values = draw(np.random.default_rng(seed), (studies, n))
    methods = {"Student's t": student(values), "percentile": bootstrap(values, "percentile")}
    if n > 2:
        methods["BCa"] = bootstrap(values, "BCa")
    return {name: covered(*ends, truth) for name, ends in methods.items()}


def of_interquartile_means(n: int, *, studies: int, seed: int = 0) -> float:
    """Coverage of the BCa interval of the interquartile mean over n normal seeds."""
    values = np.random.default_rng(seed).normal(size=(studies, n))
    return covered(*bootstrap(values, "BCa", interquartile_mean), 0.0)


def of_correlations(n: int, rho: float, *, studies: int, seed: int = 0) -> tuple[float, float]:
    """Coverage of Pearson's and Spearman's interval over n normal pairs of correlation rho."""
    from scipy.stats import rankdata

    x, e = np.moveaxis(np.random.default_rng(seed).normal(size=(studies, 2, n)), 1, 0)
    y = rho * x + math.sqrt(1 - rho**2) * e
    ranks = 6 / math.pi * math.asin(rho / 2)  # Spearman's correlation of normal pairs
    pearson = pearson_interval(_correlation(x, y), n)
    spearman = spearman_interval(_correlation(rankdata(x, axis=1), rankdata(y, axis=1)), n)
    return covered(*pearson, rho), covered(*spearman, ranks)


def of_power_laws(
    amounts: int, error: float, floor: float, *, ahead: float, studies: int, seed: int = 0
) -> tuple[float, float]:
    """Coverage of the interval of one further run at ``ahead`` times the most compute, and its median relative width.

    Losses a·C^−0.3 + c with normal relative errors at ``amounts`` of compute that span two decades, each twice; the
    floor c is given as a share of the loss at the least compute.
    """
    rng = np.random.default_rng(seed)
    x = np.repeat(np.geomspace(1.0, 100.0, amounts), 2)

    def truth(compute: Any) -> Any:
        return (1 - floor) * compute**-0.3 + floor

    held, widths, target = 0, [], truth(100.0 * ahead)
    for _ in range(studies):
        losses = truth(x) * (1 + error * rng.normal(size=len(x)))
        found = fit_power_law(x.tolist(), losses.tolist())
        run = target * (1 + error * rng.normal())
        low, high = found.next_run(100.0 * ahead) if isinstance(found, PowerLaw) else (0.0, math.inf)
        held += low <= run <= high
        widths.append((high - low) / target)
    return held / studies, float(np.median(widths))


def table(*, studies: int = 2000) -> Iterator[str]:
    """Lines of Markdown tables: coverage of 95 % intervals by kind and number of seeds, in per cent."""
    for shape in SHAPES:
        yield from ("", f"Of the mean of {shape} values", "")
        yield from _header("interval", *(f"n = {n}" for n in SEEDS))
        found = [of_means(n, shape, studies=studies) for n in SEEDS]
        for name in found[1]:
            yield _line(name, *(_percent(one.get(name)) for one in found))
        if shape == "normal":
            means = (of_interquartile_means(n, studies=studies) if n >= BOOTSTRAP_FROM else None for n in SEEDS)
            yield _line("BCa of the interquartile mean", *map(_percent, means))
    yield from ("", "Of correlations of normal pairs", "")
    pairs, rhos = (4, 6, 10, 20, 60), (0.0, 0.5, 0.9)
    yield from _header("interval", "correlation", *(f"n = {n}" for n in pairs))
    held = {(n, rho): of_correlations(n, rho, studies=studies) for n in pairs for rho in rhos}
    for at, name in enumerate(("Pearson", "Spearman")):
        for rho in rhos:
            yield _line(name, f"{rho:g}", *(_percent(held[n, rho][at]) for n in pairs))
    yield from ("", "Of one further run, by a power law (the median width of the interval over the loss behind it)", "")
    aheads = (1.0, 3.0, 10.0)
    yield from _header("points", "error of a run", "floor", *(f"{ahead:g} × the most compute" for ahead in aheads))
    for amounts, error, floor in ((4, 0.01, 0.3), (5, 0.02, 0.3), (8, 0.02, 0.3), (8, 0.02, 0.0), (8, 0.05, 0.3)):
        ends = [of_power_laws(amounts, error, floor, ahead=ahead, studies=studies) for ahead in aheads]
        cells = (f"{_percent(share)} ({width:.2f})" for share, width in ends)
        yield _line(f"{amounts} × 2", f"{error:.0%}", f"{floor:.0%}", *cells)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _header(*columns: str) -> Iterator[str]:
    yield _line(*columns)
    yield _line(":--", *("--:" for _ in columns[1:]))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _correlation(x: Array, y: Array) -> Array:
    x, y = (side - side.mean(1, keepdims=True) for side in (x, y))
    return (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
