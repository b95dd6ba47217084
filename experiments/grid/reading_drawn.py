"""The drawn axes of a grid file, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.config.faults import unknown
from experiments.grid.blocks import Block
from experiments.grid.drawn import SEQUENCES, Budget, Drawn, distribution
from experiments.grid.sheet import Place, Sheet, is_count, is_seed

KEYS = ("axes", "samples", "budget", "sequence", "seed", "shared")


def drawn_axes(sheet: Sheet, place: Place, data: Mapping[str, Any]) -> Drawn | None:
    """The ``random`` or ``quasi_random`` section of a grid, None where it has neither."""
    sections = [section for section in ("random", "quasi_random") if data.get(section) is not None]
    if len(sections) == 2:
        sheet.fault("a grid has `random` or `quasi_random`, not both", *place, "quasi_random")
    if not sections:
        return None
    section, at = sections[0], (*place, sections[0])
    inner = sheet.mapping(place, data, section)
    sheet.known(at, inner, KEYS, f"key of {section}")
    axes = {}
    for key, written in sheet.mapping(at, inner, "axes").items():
        try:
            axes[key] = distribution(written)
        except ValueError as error:
            sheet.fault(str(error), *at, "axes", key)
    if not inner.get("axes"):
        sheet.fault("it needs axes: {optimizer.lr: {loguniform: [1e-4, 1e-2]}}", *at)
    samples = sheet.take(at, inner, "samples", None, is_count, "a whole number from 1")
    budget = _budget(sheet, at, inner)
    if inner.get("samples") is None and inner.get("budget") is None:
        sheet.fault("it needs samples: NUMBER, or budget: {runs: NUMBER, over: AXIS}", *at)
    if samples is not None and budget is not None:
        sheet.fault("samples are given already; a budget gives them", *at, "budget")
    sequence = "random"
    if section == "quasi_random":
        sequence = sheet.take(at, inner, "sequence", "sobol", lambda v: v in SEQUENCES, "sobol or halton")
    elif "sequence" in inner:
        sheet.fault("only quasi_random follows a sequence", *at, "sequence")
    seed = sheet.take(at, inner, "seed", 0, is_seed, "a whole number from 0")
    shared = sheet.take(at, inner, "shared", True, lambda v: isinstance(v, bool), "true or false")
    return Drawn(axes, samples, budget, sequence, seed, shared)


def _budget(sheet: Sheet, at: Place, data: Mapping[str, Any]) -> Budget | None:
    written = data.get("budget")
    if written is None:
        return None
    units = [unit for unit in ("runs", "steps") if isinstance(written, Mapping) and unit in written]
    if len(units) != 1 or set(written) != {units[0], "over"} or not is_count(written[units[0]]):
        told = f"{written!r} is no budget: {{runs: NUMBER, over: AXIS}} or {{steps: NUMBER, over: AXIS}}"
        sheet.fault(told, *at, "budget")
        return None
    return Budget(written[units[0]], units[0], str(written["over"]))


def check_budget(sheet: Sheet, block: Block, budget: Budget) -> None:
    """A budget is split over an axis that is not drawn, and counted in what is known."""
    section = "random" if block.drawn and block.drawn.sequence == "random" else "quasi_random"
    place = (*block.place, section, "budget")
    axes = [*block.product, *(key for group in block.zips for key in group)]
    if budget.over not in axes:
        sheet.fault(unknown("axis", budget.over, axes), *place)
    if budget.unit == "steps" and block.drawn and "trainer.max_steps" in block.drawn.axes:
        sheet.fault("a budget in steps needs to know trainer.max_steps, and it is drawn", *place)
