"""Figures, samples, statistics and cells in a real Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .reader import show, wait_for

Open = Callable[..., Any]


def test_the_slider_goes_through_the_steps(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    show(shown, "samples").locator(".card").first.scroll_into_view_if_needed()
    first = shown.locator("#samples-part .card img").first
    first.wait_for(state="attached")
    assert "128 steps" in first.get_attribute("alt")
    before = first.get_attribute("src")
    shown.locator("#steps").focus()
    shown.keyboard.press("Home")
    shown.wait_for_function("document.querySelector('#samples-part img').alt.includes('1 step,')")
    assert shown.locator("#steps").get_attribute("aria-valuetext") == "1 step"
    assert shown.locator(".slider output").inner_text() == "1 step"
    assert first.get_attribute("src") != before
    assert shown.evaluate("document.querySelector('#samples-part img').decode().then(() => true)")
    holes = shown.locator("#samples-part .hole").all_inner_texts()
    assert holes == ["failed"], "a cell without a sheet has a place that says why"


def test_the_figures_are_drawn_named_and_told_in_numbers(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    for part in ("quality", "pareto", "heatmap", "curves", "times"):
        drawn = show(shown, part)
        assert len(drawn.locator("svg[role=img]").first.get_attribute("aria-label")) > 40, part
        assert drawn.locator("figcaption").first.inner_text()
        drawn.locator("details.numbers > summary").first.click()
        drawn.locator("details.numbers tbody tr").nth(1).wait_for()
        assert "NaN" not in drawn.inner_html()
    assert shown.locator("#quality-part .band").count() == 4, "a band for each row with several seeds"
    front = shown.locator("#pareto-part > .wide tbody tr > :first-child").all_inner_texts()
    assert set(front) == {"rf · dit", "shortcut · dit"}


def test_the_axes_of_the_heat_map_are_the_readers(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    assert show(shown, "heatmap").locator("rect").count() == 4, "objective by backbone"
    shown.locator("#heatmap-controls").get_by_label("Columns").select_option("steps")
    wait_for(shown, "#heatmap-part rect", 6)
    shown.locator("#heatmap-controls").get_by_label("Rows").select_option("steps")
    shown.get_by_text("Choose two different axes.").wait_for()


def test_a_cell_opens_with_its_difference_to_the_baseline(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    show(shown, "cells")
    assert shown.locator("details.cell").count() == 12
    last = shown.locator("details.cell").last
    last.scroll_into_view_if_needed()
    assert "failed" in last.text_content()
    assert "loss is not finite" in last.text_content()

    def differing() -> list[str]:
        return sorted(re.sub(r"\s+", " ", row).strip() for row in last.locator("table tbody tr").all_inner_texts())

    last.locator("summary").first.click()
    last.locator("table").wait_for()
    assert differing() == ["backbone.name dit u-vit", "objective.name rf shortcut", "seed 0 2"]
    shown.locator("#cells-controls").get_by_label("Baseline").select_option(label="shortcut-u-vit-0")
    assert differing() == ["seed 0 2"]
    last.get_by_text("The whole configuration").click()
    assert "optimizer.lr: 0.002" in last.locator("pre").inner_text()


def test_ranks_and_what_few_steps_cost_are_on_the_page(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    show(shown, "statistics")
    titles = shown.locator("#statistics-part h3").all_inner_texts()
    assert {"Global rank", "What few steps cost"} <= set(titles)
    assert "1 is best" in shown.locator("#statistics-part caption").first.inner_text()
    assert "NaN" not in shown.locator("#statistics-part").inner_text()


def test_points_of_more_rows_than_colours_are_told_apart(open_page: Open, study: Any, made: Any) -> None:
    rates = [(("optimizer.lr", rate),) for rate in range(12)]
    shown = open_page(study(*(made(scale=1 + rate[0][1] / 10, overrides=rate) for rate in rates)))
    show(shown, "pareto")
    marks = shown.locator("#pareto-part .legend li")
    assert marks.count() == 12
    drawn = marks.locator("svg > :last-child").evaluate_all("(marks) => marks.map((mark) => mark.outerHTML)")
    assert len(set(drawn)) == 12
    show(shown, "quality")
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    colours = shown.locator("#quality-part .point").evaluate_all(
        "(marks) => marks.map(getComputedStyle).map((style) => [style.fill, style.stroke])"
    )
    assert len(colours) == 36
    assert all(set(colour) != {paper} for colour in colours), "a mark in the paper's colour"


def test_the_heat_map_starts_with_axes_that_cross(open_page: Open, study: Any, made: Any) -> None:
    alone = [made("rf"), made("shortcut", overrides=(("teacher", "rf"),))]
    shown = open_page(study(*alone))
    show(shown, "heatmap")
    assert shown.locator("#heatmap-controls").get_by_label("Columns").input_value() == "steps"
    assert shown.locator("#heatmap-part .hole-rect").count() == 0


def test_a_band_that_reaches_below_nought_leaves_the_axis_logarithmic(open_page: Open, study: Any, made: Any) -> None:
    shown = open_page(study(made(scale=0.1), made(seed=1, scale=3.0), made("shortcut"), made("shortcut", seed=1)))
    drawn = show(shown, "quality")
    assert "(log scale)" in drawn.locator(".axis-name").first.text_content()
    bands = drawn.locator(".band").evaluate_all("(bands) => bands.map((band) => band.getAttribute('d'))")
    assert bands
    assert "NaN" not in "".join(bands)
    axis = float(drawn.locator("line.axis[x1='46']").first.get_attribute("y1"))
    assert all(float(end) <= axis + 0.1 for band in bands for end in re.findall(r" ([\d.]+)(?=[LZ])", band))


def test_the_law_of_compute_and_the_coverage_of_intervals_are_on_the_page(
    open_page: Open, study: Any, made: Any, evaluation_file: Any
) -> None:
    cells = [made(seed=s, overrides=(("backbone.width", at),)) for at in range(5) for s in range(2)]
    folder = study(*cells)
    for at, cell in enumerate(cells):
        file, compute = evaluation_file(folder, cell), 1e12 * 4 ** (at // 2)
        value = json.loads(file.read_text()) | {"model": {"parameters": 1000 + at // 2, "training_flops": compute}}
        value["validation"][0] |= {"mean": 0.2 + 30 * compute**-0.1 * (1 + 0.01 * (-1) ** at), "path_length": 9.5 - at}
        file.write_text(json.dumps(value))
    shown = open_page(folder)
    drawn = show(shown, "laws")
    assert "L = a·C^−b + c" in drawn.locator("figcaption").inner_text()
    assert (drawn.locator(".band").count(), drawn.locator("circle").count()) == (1, 5)
    told = show(shown, "statistics")
    assert {"Path length", "How far intervals can be trusted"} <= set(told.locator("h3").all_inner_texts())
    assert "73.2 %" in told.inner_text(), "BCa of three seeds"


def test_a_metric_that_some_cells_lack_is_missing_there_alone(
    open_page: Open, study: Any, made: Any, evaluation_file: Any
) -> None:
    cells = [made(), made("shortcut")]
    folder = study(*cells)
    file = evaluation_file(folder, cells[1])
    value = json.loads(file.read_text())
    for row in value["rows"]:
        del row["frechet_distance"]
    file.write_text(json.dumps(value | {"validation": []}))
    shown = open_page(folder)
    lines = shown.locator("#results-rows tbody tr").all_inner_texts()
    assert ["–" in line for line in lines] == [False, True]
    assert [line.endswith("not evaluated") for line in lines] == [False, True]
    for part in shown.locator("section:not([hidden]) > .part").all():
        part.scroll_into_view_if_needed()
        shown.wait_for_function("(part) => part.childElementCount > 0", arg=part.element_handle())
