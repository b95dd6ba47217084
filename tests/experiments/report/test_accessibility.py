"""The page in Chromium under axe-core: what a screen reader, a keyboard or weak eyes would stumble over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from .reader import PARTS, show

Open = Callable[..., Any]

STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def faults() -> Callable[[Any], list[str]]:
    """``faults(shown)``: what axe-core finds wrong with a page, by rule and element."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        told = "there is no axe-core (pip install axe-playwright-python)"
        pytest.fail(told) if os.environ.get("FEWSTEP_REQUIRE_CHROMIUM") else pytest.skip(told)
    options = {"resultTypes": ["violations"], "runOnly": STANDARD}

    def find(shown: Any) -> list[str]:
        found: Iterable[Any] = Axe().run(shown, options=options).response["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {' '.join(node['target'])}: {node['failureSummary']}"
            for rule in found
            for node in rule["nodes"]
        ]

    return find


def unfolded(shown: Any) -> Any:
    """The page with every section drawn and every cell and table of numbers open."""
    for part in PARTS:
        show(shown, part)
    for folded in shown.locator("details > summary").all():
        folded.click()
    assert shown.locator("details[open]").count() > 5
    return shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_breaks_no_rule(open_page: Open, grid: Path, faults: Any, scheme: str) -> None:
    assert faults(unfolded(open_page(grid, color_scheme=scheme))) == []


def test_a_narrow_page_breaks_no_rule(open_page: Open, grid: Path, faults: Any) -> None:
    assert faults(unfolded(open_page(grid, viewport={"width": 380, "height": 800}))) == []


def test_a_page_without_results_breaks_no_rule(open_page: Open, study: Any, made: Any, faults: Any) -> None:
    assert faults(open_page(study(made(state="failed", message="loss is not finite")))) == []


def test_a_fault_is_found(open_page: Open, grid: Path, faults: Any) -> None:
    shown = open_page(grid)
    shown.evaluate("document.querySelector('select').labels.forEach((label) => label.replaceWith(...label.children))")
    shown.evaluate("document.querySelector('h1').style.color = '#ddd'")
    assert {fault.partition(":")[0] for fault in faults(shown)} >= {"select-name", "color-contrast"}
