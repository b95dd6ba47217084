"""What a study gave: a page, a long table, Markdown, and the headline numbers. Imports no torch."""

from __future__ import annotations

from experiments.report.console import table
from experiments.report.rank import global_rank
from experiments.report.write import write_comparison, write_report

__all__ = ["global_rank", "table", "write_comparison", "write_report"]
