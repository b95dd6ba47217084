"""The page in Chromium under axe-core: what a screen reader, a keyboard or weak eyes would stumble over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from .reader import PARTS, show

Open = Callable[..., Any]

STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

UNFOLD = """async () => {
  const filled = () => new Promise((done) => setTimeout(done, 50));  // what is opened is filled, maybe with what folds
  for (let closed; (closed = document.querySelectorAll("details:not([open])")).length; await filled())
    for (const details of closed) details.open = true;
}"""


@pytest.fixture(scope="module")
def faults(browser: Any) -> Callable[[Any], list[str]]:
    """``faults(shown)``: what axe-core finds wrong with a page, by rule and element."""
    from axe_playwright_python.sync_playwright import Axe  # after the browser: skipped with it where playwright is not

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
    shown.evaluate(UNFOLD)
    assert shown.locator("details[open] > :nth-child(2)").count() > 5
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
