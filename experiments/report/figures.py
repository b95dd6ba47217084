"""The figures, as SVG text that takes its ink from the page: readable in light and in dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.report.read import Study
from experiments.report.rows import Rows
from experiments.report.statistics import summarise
from experiments.report.tables import name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, less black and yellow, which vanish on one of the two backgrounds.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#8a8a8a")
MARKERS = "os^Dv<>P"
DASHES = ("-", "--", ":", "-.")
# Stand-ins that become the page's own colours.
_INK, _RULE = "#010203", "#010204"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _RULE,
    "axes.titlesize": 11,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": _RULE,
    "grid.alpha": 0.4,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}


@dataclass(frozen=True)
class Curve:
    """One line: x rising, y, and where there are several seeds the ends of a band."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Drawing:
    """A figure on the page: what it shows in words, the SVG (None where there is nothing to draw), and its setting."""

    title: str
    caption: str
    svg: str | None
    setting: str | None = None


def distance(study: Study, rows: Rows, setting: str, metric: str) -> Drawing:
    """The distance against the number of solver steps, one panel for each backbone and data set."""
    steps = rows.steps(setting)
    panels: dict[str, dict[str, Curve]] = {}
    for panel, series, cells in _groups(study):
        found = [(n, summarise([rows.value(cell, setting, n, metric) for cell in cells], expected=1)) for n in steps]
        found = [(n, summary) for n, summary in found if summary.n]
        ends = [summary.interval() or (summary.mean, summary.mean) for _, summary in found]
        curve = Curve([n for n, _ in found], [s.mean for _, s in found], [a for a, _ in ends], [b for _, b in ends])
        panels.setdefault(panel, {})[series] = curve
    several = any(len(cells) > 1 for _, _, cells in _groups(study))
    band = " Bands: 95 % t interval over seeds." if several else ""
    svg = _draw(panels, xlabel="solver steps", ylabel=name(metric).split(" to ")[0], logx=True, ticks=steps)
    return Drawing(
        f"{name(metric)} against steps",
        f"Weights: {setting}. Both axes logarithmic; lower is better.{band}",
        svg,
        setting,
    )


def losses(study: Study, metric: str, title: str) -> Drawing:
    """A logged number against training steps: the mean over seeds, with a band from the least to the greatest."""
    panels: dict[str, dict[str, Curve]] = {}
    for panel, series, cells in _groups(study):
        seeds = [dict(cell.metrics.get(metric, ())) for cell in cells]
        steps = sorted({step for seed in seeds for step in seed})
        at = [[seed[step] for seed in seeds if math.isfinite(seed.get(step, math.nan))] for step in steps]
        kept = [(step, values) for step, values in zip(steps, at, strict=True) if values]
        panels.setdefault(panel, {})[series] = Curve(
            [step for step, _ in kept],
            [sum(values) / len(values) for _, values in kept],
            [min(values) for _, values in kept],
            [max(values) for _, values in kept],
        )
    svg = _draw(panels, xlabel="training steps", ylabel="loss")
    caption = "Each objective has its own loss: compare the shapes of lines of different colours, not their heights."
    return Drawing(title, caption, svg)


def loss_at_times(study: Study, weights: str) -> Drawing:
    """The validation loss at each of its times, the newest evaluation of each cell, mean over seeds."""
    panels: dict[str, dict[str, Curve]] = {}
    for panel, series, cells in _groups(study):
        entries = [
            [
                entry
                for evaluation in cell.evaluations
                for entry in evaluation.get("validation") or ()
                if entry["weights"] == weights
            ]
            for cell in cells
        ]
        newest = [found[-1] for found in entries if found and all(map(math.isfinite, found[-1]["loss"]))]
        if newest:
            columns = zip(*(entry["loss"] for entry in newest), strict=True)
            panels.setdefault(panel, {})[series] = Curve(newest[0]["times"], [sum(c) / len(c) for c in columns])
    svg = _draw(panels, xlabel="t (0: data, 1: noise)", ylabel="loss")
    caption = f"The head's own regression error on the held-out split, weights: {weights}."
    return Drawing("Validation loss against path time", caption, svg)


def _groups(study: Study) -> Iterable[tuple[str, str, list[Any]]]:
    """(panel, line, cells) of every group of seeds: panels are backbones, by data set where there are several."""
    several = len({cell.labels["data"] for cell in study.cells}) > 1
    found: dict[tuple[str, str], list[Any]] = {}
    for cell in study.cells:
        panel = cell.labels["backbone"] + (f" on {cell.labels['data']}" if several else "")
        found.setdefault((panel, cell.series), []).append(cell)
    return [(panel, series, cells) for (panel, series), cells in found.items()]


def _draw(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    ticks: Sequence[int] | None = None,
) -> str | None:
    panels = {name: {key: curve for key, curve in lines.items() if len(curve.x)} for name, lines in panels.items()}
    panels = {name: lines for name, lines in panels.items() if lines}
    if not panels:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(key for lines in panels.values() for key in lines))
    marks = all(len(curve.x) <= 12 for lines in panels.values() for curve in lines.values())
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    with mpl.rc_context(_STYLE):
        figure = Figure(
            figsize=(3.5 * across + 0.4, 2.7 * down + 0.3 + 0.22 * math.ceil(len(names) / 4)), layout="constrained"
        )
        axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
        for axis, (title, lines) in zip(axes, panels.items(), strict=False):
            axis.set_title(title)
            _axis(axis, logx=logx, ticks=ticks)
            for key, curve in lines.items():
                _line(axis, curve, names.index(key), key, marks=marks)
        for axis in axes[len(panels) :]:
            axis.remove()
        _logarithmic(axes[0], [y for lines in panels.values() for curve in lines.values() for y in curve.y])
        figure.supxlabel(xlabel, fontsize=10)
        figure.supylabel(ylabel, fontsize=10)
        handles = {str(line.get_label()): line for axis in figure.axes for line in axis.get_lines()}
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=min(4, across + 1))
        return _svg(figure)


def _axis(axis: Axes, *, logx: bool, ticks: Sequence[int] | None) -> None:
    if logx:
        axis.set_xscale("log", base=2)
    if ticks:
        axis.set_xticks(list(ticks), [str(tick) for tick in ticks])
        axis.minorticks_off()


def _logarithmic(axis: Axes, values: Sequence[float]) -> None:
    """Make the shared y axis logarithmic (where every value is positive), labelled with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    least, most = min(values), max(values)
    if least <= 0:
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if most > 5 * least else MaxNLocator(5))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _line(axis: Axes, curve: Curve, index: int, label: str, *, marks: bool) -> None:
    colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
    marker = MARKERS[index % len(MARKERS)] if marks else ""
    axis.plot(curve.x, curve.y, dash, marker=marker, color=colour, label=label)
    if curve.low is not None and curve.high is not None and list(curve.low) != list(curve.high):
        axis.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element in the page's colours, without header, metadata and fixed size."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "fewstep"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    width, height = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups()  # pyright: ignore[reportOptionalMemberAccess]
    svg = svg.replace(
        f'width="{width}pt" height="{height}pt"',
        f'style="max-width: {float(width) * 4 / 3:.0f}px" aria-hidden="true"',
        1,
    )
    return svg.replace(_INK, "var(--ink)").replace(_RULE, "var(--rule)")
