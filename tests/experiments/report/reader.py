"""What a reader does with an open page, so that what is looked at has been drawn."""

from __future__ import annotations

from typing import Any

PARTS = ("quality", "pareto", "heatmap", "curves", "times", "samples", "cells")
"""Sections that are drawn when they are scrolled to."""


def wait_for(shown: Any, selector: str, count: int) -> None:
    """Until so many elements are there."""
    shown.wait_for_function("([s, n]) => document.querySelectorAll(s).length === n", arg=[selector, count])


def show(shown: Any, part: str) -> Any:
    """Scroll to a section and give what was drawn there."""
    shown.locator(f"#{part}").scroll_into_view_if_needed()
    shown.wait_for_selector(f"#{part}-part > *")
    shown.locator(f"#{part}").scroll_into_view_if_needed()  # what was drawn above it may have moved it
    return shown.locator(f"#{part}-part")
