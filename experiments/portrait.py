"""An objective at a glance: how often it draws a time, how it weighs a log-SNR, and the path that it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from objectives import Objective

POINTS = 401
REACH = 12.0
"""Log-SNRs from −REACH to REACH are shown, as far as the path has them."""
FORMATS = (".svg", ".png", ".pdf")
_BLOCKS = "▁▂▃▄▅▆▇█"
_COLOURS = ("#0072b2", "#c84e00")


@dataclass(frozen=True)
class Curve:
    """One function over an axis: ``name`` is what it is, ``symbol`` and ``over`` are its letter and its argument's.

    Values that are infinite or undefined are nan.
    """

    name: str
    symbol: str
    over: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    @property
    def told(self) -> str:
        """Where the axis begins and ends, and the greatest value with its place."""
        known = [(y, x) for x, y in zip(self.x, self.y, strict=True) if math.isfinite(y)]
        if not known:
            return "nowhere finite"
        greatest, place = max(known, key=lambda pair: pair[0])
        return (
            f"{self.over} from {min(self.x):.3g} to {max(self.x):.3g}; "
            f"at most {greatest:.3g}, at {self.over} = {place:.2f}"
        )

    def sparkline(self, width: int = 40) -> str:
        """The curve in ``width`` blocks of eight heights from 0 (or the least value) to the greatest; a gap for nan."""
        share = len(self.y) / width
        heights = [
            _mean([y for y in self.y[round(at * share) : round((at + 1) * share)] if math.isfinite(y)])
            for at in range(width)
        ]
        known = [height for height in heights if height is not None]
        if not known:
            return " " * width
        least, most = min(0.0, *known), max(known)
        scale = (len(_BLOCKS) - 1) / (most - least) if most > least else 0.0
        return "".join(" " if h is None else _BLOCKS[round((h - least) * scale)] for h in heights)


def portrait(objective: Objective) -> list[Curve]:
    """The curves of an objective: π(t), w(λ) at the start of training, a(t) and b(t); float64.

    w is that of the loss ½∫ w(λ)·E‖ε̂ − ε‖² dλ (:meth:`FlowMatching.log_snr_weight`). A few-step objective is shown by
    the flow that it builds on; one that builds on none has its path alone.
    """
    import torch

    from objectives import FlowMatching
    from objectives.log_snr import time_of_log_snr

    flow = objective if isinstance(objective, FlowMatching) else getattr(objective, "flow", None)
    path = objective.path
    t = torch.linspace(0, path.t_max, POINTS, dtype=torch.float64)
    curves: list[Curve] = []
    with torch.no_grad():
        if isinstance(flow, FlowMatching):
            ends = path.log_snr(t[[-1, 1]]).clamp(-REACH, REACH)
            levels = torch.linspace(float(ends[0]), float(ends[1]), POINTS, dtype=torch.float64)
            weight = flow.log_snr_weight(time_of_log_snr(path, levels))
            curves.append(_curve("density", "π(t)", "t", t, flow.time.pdf(t) / flow.time.cdf(t[-1:])))
            curves.append(_curve("weight", "w(λ)", "λ", levels, weight))
        curves.append(_curve("path, data", "a(t)", "t", t, path.a(t)))
        curves.append(_curve("path, noise", "b(t)", "t", t, path.b(t)))
    return curves


def check_format(file: Path) -> None:
    """Refuse a file that is no picture that can be written."""
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"--out {file}: the name must end in one of {', '.join(FORMATS)}")


def save(curves: Sequence[Curve], title: str, file: Path) -> Path:
    """Draw the curves side by side, those of the path in one panel, as the file's ending says.

    Raises:
        UserError: another ending.
    """
    check_format(file)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "fewstep", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.name.partition(",")[0], []).append(curve)
    with mpl.rc_context(style):
        figure = Figure(figsize=(3.6 * len(panels), 3.0), layout="constrained")
        figure.suptitle(title)
        for axis, (name, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            for line, colour in zip(lines, _COLOURS, strict=False):
                axis.plot(line.x, line.y, color=colour, label=line.symbol)
            greatest = max((y for line in lines for y in line.y if math.isfinite(y)), default=1.0)
            axis.set_yscale("symlog" if greatest > 10 and name == "path" else "linear")
            axis.set_ylim(bottom=min(0.0, *(y for line in lines for y in line.y if math.isfinite(y))))
            axis.set_title(f"{name} {', '.join(line.symbol for line in lines)}")
            axis.set_xlabel("log-SNR λ (noise left, data right)" if lines[0].over == "λ" else "t (0: data, 1: noise)")
            if len(lines) > 1:
                axis.legend(frameon=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Date": None} if file.suffix.lower() == ".svg" else None, dpi=160)
    return file


def _curve(name: str, symbol: str, over: str, x: Tensor, y: Tensor) -> Curve:
    values = tuple(value if math.isfinite(value) else math.nan for value in y.tolist())
    return Curve(name, symbol, over, tuple(x.tolist()), values)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
