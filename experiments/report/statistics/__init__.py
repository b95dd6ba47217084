"""What several seeds, and several cells, say together: numbers in, numbers out, nothing about studies. No torch."""

from __future__ import annotations

from experiments.report.statistics.correlation import Correlation, correlate
from experiments.report.statistics.intervals import Estimate, Interval
from experiments.report.statistics.paired import Difference, holm, paired, with_holm
from experiments.report.statistics.power_law import PowerLaw, fit_power_law
from experiments.report.statistics.summary import Summary, summarise

__all__ = [
    "Correlation",
    "Difference",
    "Estimate",
    "Interval",
    "PowerLaw",
    "Summary",
    "correlate",
    "fit_power_law",
    "holm",
    "paired",
    "summarise",
    "with_holm",
]
