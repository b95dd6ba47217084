"""The page in a real Chromium: what a reader does with it, and that it asks for nothing and complains of nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.report.page import page as render
from experiments.report.read import read
from experiments.report.rows import rows

REQUIRED = "FEWSTEP_REQUIRE_CHROMIUM"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; without it the tests are skipped, or fail where FEWSTEP_REQUIRE_CHROMIUM is set."""
    lacking = [] if shutil.which("chromium") else ["chromium (Debian: apt-get install chromium)"]
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
        lacking.append("playwright (pip install playwright)")
    if lacking or sync_playwright is None:
        told = f"there is no {', no '.join(lacking)}"
        pytest.fail(told) if os.environ.get(REQUIRED) else pytest.skip(told)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """``open_page(study)`` shows its page; at the end nothing may have been requested, logged or thrown."""
    told: list[str] = []
    contexts: list[Any] = []

    def show(folder: Path, address: str = "", *, reload_every: float | None = None, **options: Any) -> Any:
        found = read(folder)
        file = tmp_path / f"{folder.name}.html"
        file.write_text(render(found, rows(found), reload_every=reload_every))
        contexts.append(browser.new_context(**options))
        shown = contexts[-1].new_page()
        shown.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        shown.on("pageerror", lambda error: told.append(str(error)))
        shown.on("request", lambda request: told.append(request.url) if asks(request.url, file) else None)
        shown.goto(file.as_uri() + address)
        return shown

    yield show
    for context in contexts:
        context.close()
    assert told == []


def asks(url: str, file: Path) -> bool:
    """Whether an address is anything but the page itself and what stands in it."""
    return url.partition("#")[0] != file.as_uri() and not url.startswith("data:")


@pytest.fixture
def grid(study: Any, made: Any) -> Path:
    """Two objectives on two backbones with three seeds each; a seed of the last row failed."""
    cells = [
        made(o, b, seed=s, scale=1 + 0.1 * s + i, weights=("ema", "raw"), state="failed" if last else "done",
             message="loss is not finite" if last else None)
        for i, (o, b) in enumerate((o, b) for o in ("rf", "shortcut") for b in ("dit", "u-vit"))
        for s in range(3)
        for last in [(i, s) == (3, 2)]
    ]  # fmt: skip
    return study(*cells)


def column(shown: Any, index: int) -> list[str]:
    return shown.locator(f"#results-rows tbody tr > :nth-child({index + 1})").all_inner_texts()


def leading(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts]


def test_headers_sort_and_say_so(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    header = shown.locator("#results-rows thead th", has_text="4 steps")
    assert header.get_attribute("aria-sort") is None
    plan = column(shown, 3)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert leading(column(shown, 3)) == sorted(leading(plan))
    assert "sorted by 4 steps, ascending" in shown.locator("#results-count").inner_text()
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert leading(column(shown, 3)) == sorted(leading(plan), reverse=True)
    header.get_by_role("button").click()
    assert column(shown, 3) == plan


def test_it_is_sorted_from_the_keyboard_alone(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    stops = []
    for _ in range(40):
        shown.keyboard.press("Tab")
        stops.append(shown.evaluate("document.activeElement.dataset.column ?? document.activeElement.id"))
        if stops[-1] == "step.1":
            break
    assert stops[-1] == "step.1", stops
    assert stops.index("theme") < stops.index("words") < stops.index("label.0") < stops.index("step.0")
    shown.keyboard.press("Enter")
    assert shown.locator("th[aria-sort]").inner_text().startswith("4 steps")
    assert shown.evaluate("document.activeElement.dataset.column") == "step.1", "the focus stays where it was"
    outline = shown.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"


def test_words_and_factors_filter_table_figures_and_samples(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    shown.locator("#words").fill("shortcut u-vit")
    shown.wait_for_function("document.querySelectorAll('#results-rows tbody tr').length === 1")
    assert shown.locator("#results-count").inner_text() == "1 of 4 rows"
    assert column(shown, 1) == ["u-vit"]
    shown.locator("#quality").scroll_into_view_if_needed()
    shown.wait_for_selector("#quality-part svg")
    assert shown.locator("#quality-part .panel-title").all_inner_texts() == ["u-vit"]
    shown.locator("#samples").scroll_into_view_if_needed()
    shown.wait_for_selector("#samples-part .card")
    assert shown.locator("#samples-part .card").count() == 3
    shown.locator("#words").fill("failed")
    shown.wait_for_function("document.querySelectorAll('#results-rows tbody tr').length === 1")
    shown.locator("#words").fill("nowhere")
    shown.wait_for_function("document.querySelectorAll('#results-rows tbody tr').length === 0")
    assert shown.locator("#results-count").inner_text() == "0 of 4 rows"
    shown.locator("#words").fill("")
    shown.locator("#choices").get_by_label("backbone").select_option("dit")
    assert column(shown, 1) == ["dit", "dit"]


def test_metric_and_weights_change_the_numbers(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    before = column(shown, 2)
    shown.get_by_label("Metric").select_option(label="Precision")
    assert column(shown, 2) != before
    assert "Precision; ema weights; higher is better" in shown.locator("#results-rows caption").inner_text()
    shown.get_by_label("Weights").select_option("1")
    assert "raw weights" in shown.locator("#results-rows caption").inner_text()
    shown.get_by_label("Shown").select_option("interval")
    assert " to " in column(shown, 2)[0]


def test_the_slider_goes_through_the_steps(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    shown.locator("#samples").scroll_into_view_if_needed()
    first = shown.locator("#samples-part .card img").first
    first.wait_for()
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
        shown.locator(f"#{part}").scroll_into_view_if_needed()
        figure = shown.locator(f"#{part}-part svg[role=img]").first
        figure.wait_for()
        assert len(figure.get_attribute("aria-label")) > 40, part
        assert shown.locator(f"#{part}-part figcaption").first.inner_text()
        assert "NaN" not in shown.locator(f"#{part}-part").inner_html()
        shown.locator(f"#{part}-part details.numbers > summary").first.click()
        assert shown.locator(f"#{part}-part details.numbers tbody tr").count() > 1, part
    assert shown.locator("#quality-part .band").count() == 4, "a band for each row with several seeds"
    front = shown.locator("#pareto-part > .wide tbody tr > :first-child").all_inner_texts()
    assert set(front) == {"rf · dit", "shortcut · dit"}


def test_the_axes_of_the_heat_map_are_the_readers(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    shown.locator("#heatmap").scroll_into_view_if_needed()
    shown.wait_for_selector("#heatmap-part svg")
    assert shown.locator("#heatmap-part rect").count() == 4, "objective by backbone"
    shown.locator("#heatmap-controls").get_by_label("Columns").select_option("steps")
    shown.wait_for_function("document.querySelectorAll('#heatmap-part rect').length === 6")
    shown.locator("#heatmap-controls").get_by_label("Rows").select_option("steps")
    shown.get_by_text("Choose two different axes.").wait_for()


def test_a_cell_opens_with_its_difference_to_the_baseline(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    shown.locator("#cells").scroll_into_view_if_needed()
    shown.wait_for_selector("details.cell")
    assert shown.locator("details.cell").count() == 12
    last = shown.locator("details.cell").last
    assert "failed" in last.inner_text()
    assert "loss is not finite" in last.inner_text()
    last.locator("summary").first.click()
    rows_of = last.locator("table tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row) for row in rows_of] == [
        "backbone.name dit u-vit", "objective.name rf shortcut", "seed 0 2",
    ]  # fmt: skip
    shown.locator("#cells-controls").get_by_label("Baseline").select_option(label="shortcut-u-vit-0")
    assert [re.sub(r"\s+", " ", row) for row in last.locator("table tbody tr").all_inner_texts()] == ["seed 0 2"]
    last.get_by_text("The whole configuration").click()
    assert "optimizer.lr: 0.002" in last.locator("pre").inner_text()


def test_differences_to_the_baseline_are_shown_and_sorted_by(open_page: Open, study: Any, made: Any) -> None:
    scales = {"rf": 1.0, "edm": 1.5, "shortcut": 0.5}
    cells = [made(o, seed=s, scale=scale * (1 + 0.01 * s)) for o, scale in scales.items() for s in range(4)]
    shown = open_page(study(*cells))
    shown.get_by_label("Shown").select_option("difference")
    first, edm, shortcut = column(shown, 4)
    assert first == "baseline 15.4"
    assert re.fullmatch(r"\+7\.\d+ \[7\.\d, \d\.\d\] \* worse", edm)
    assert re.fullmatch(r"−7\.\d+ \[−\d\.\d, −7\.\d\] \* better", shortcut)
    assert "Holm" in shown.locator("#results-rows caption").inner_text()
    shown.locator("#results-rows thead th", has_text="128 steps").get_by_role("button").click()
    assert column(shown, 0) == ["shortcut", "edm", "rf"], "by the difference; the baseline has none"


def test_ranks_and_what_few_steps_cost_are_on_the_page(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    shown.locator("#statistics").scroll_into_view_if_needed()
    shown.wait_for_selector("#statistics-part table")
    titles = shown.locator("#statistics-part h3").all_inner_texts()
    assert {"Global rank", "What few steps cost"} <= set(titles)
    assert "1 is best" in shown.locator("#statistics-part caption").first.inner_text()
    assert "NaN" not in shown.locator("#statistics-part").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_systems_until_the_button_is_pressed(open_page: Open, grid: Path, scheme: str) -> None:
    shown = open_page(grid, color_scheme=scheme)
    paper = "getComputedStyle(document.body).backgroundColor"
    white, before = "rgb(255, 255, 255)", shown.evaluate(paper)
    assert (before == white) == (scheme == "light")
    shown.locator("#theme").click()
    after = shown.evaluate(paper)
    assert (after == white) != (scheme == "light")
    shown.reload()
    assert shown.evaluate(paper) == after, "kept"


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.body.appendChild(document.createElement("i"));
  const of = (name) => { probe.style.color = `var(${name})`; return light(getComputedStyle(probe).color); };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const lines = Array.from({ length: 8 }, (_, i) => `--c${i}`);
  const names = ["--ink", "--quiet", "--accent", "--bad", "--good", "--busy", ...lines];
  return names.map((name) => [name, ratio(of(name), of("--paper"))]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_paper(open_page: Open, grid: Path, scheme: str) -> None:
    # WCAG 2.2: 4.5 for text, and the names at the ends of lines are text in the colours of the lines.
    low = [name for name, ratio in open_page(grid, color_scheme=scheme).evaluate(CONTRAST) if ratio < 4.5]
    assert low == []


def test_every_control_has_a_name_and_no_two_elements_share_an_id(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    for part in ("quality", "pareto", "heatmap", "curves", "times", "samples", "cells"):
        shown.locator(f"#{part}").scroll_into_view_if_needed()
        shown.wait_for_selector(f"#{part}-part > *")
    named = "(e) => (e.labels?.[0]?.innerText ?? e.getAttribute('aria-label') ?? e.innerText).trim()"
    controls = shown.locator("button, select, input").all()
    assert len(controls) > 15
    assert all(control.evaluate(named) for control in controls)
    assert shown.evaluate("[...document.querySelectorAll('img')].every((image) => image.alt.length > 10)")
    assert shown.evaluate("[...document.querySelectorAll('table')].every((table) => table.caption?.innerText)")
    ids = shown.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    assert shown.locator("h1").count() == 1


def test_a_view_stands_in_the_address(open_page: Open, grid: Path) -> None:
    shown = open_page(grid)
    shown.locator("#results-rows thead th", has_text="4 steps").get_by_role("button").click()
    shown.get_by_label("Metric").select_option(label="Recall")
    shown.locator("#choices").get_by_label("objective").select_option("shortcut")
    before = (shown.locator("#results-rows").inner_text(), shown.url)
    shown.locator("nav a", has_text="Samples").click()
    shown.reload()
    assert (shown.locator("#results-rows").inner_text(), shown.url) == before
    assert column(shown, 0) == ["shortcut", "shortcut"]


def test_an_address_that_fits_no_more_is_no_fault(open_page: Open, grid: Path) -> None:
    shown = open_page(grid, "#metric=99&setting=x&curve=7&sort=step.9&is.gone=1&step=40&heat=9&across=a&down=b&else=1")
    assert len(column(shown, 0)) == 4
    for part in ("heatmap", "samples"):
        shown.locator(f"#{part}").scroll_into_view_if_needed()
        shown.wait_for_selector(f"#{part}-part > *")


def test_a_page_of_a_running_grid_comes_again_and_keeps_the_view(open_page: Open, grid: Path, tmp_path: Path) -> None:
    shown = open_page(grid, "#metric=3", reload_every=0.5)
    file = tmp_path / f"{grid.name}.html"
    file.write_text(file.read_text().replace("<h1>made</h1>", "<h1>made anew</h1>"))
    shown.get_by_role("heading", name="made anew").wait_for(timeout=15_000)
    assert "metric=3" in shown.url
    shown.locator("#reload").uncheck()
    shown.evaluate("window.same = true")
    shown.wait_for_timeout(1500)
    assert shown.evaluate("window.same"), "unchecked, it stays"


@pytest.mark.parametrize(
    "states", [[], ["done"], ["failed"], ["failed", "failed"], ["pending", "interrupted"], ["done", "pending"]]
)
@pytest.mark.parametrize("without", ["", "numbers"])
def test_whatever_there_is_is_shown_and_what_is_missing_is_said(
    open_page: Open, study: Any, made: Any, evaluation_file: Any, states: list[str], without: str
) -> None:
    cells = [made("rf" if at else "shortcut", state=state) for at, state in enumerate(states)]
    folder = study(*cells)
    for cell in cells:
        if without and cell.state == "done":
            file = evaluation_file(folder, cell)
            file.write_text(re.sub(r'"(frechet_distance|precision)": [\d.e-]+', r'"\1": NaN', file.read_text()))
    shown = open_page(folder)
    if not states:
        assert "The grid has no cells." in shown.locator("main").inner_text()
        return
    shown.evaluate("document.querySelectorAll('h2').forEach((heading) => heading.scrollIntoView())")
    text = shown.locator("#results-table").inner_text()
    for state in set(states) - {"done"}:
        assert state in text
    if "done" in states:
        assert ("not finite" in text) == bool(without)
    else:
        assert "Nothing has been evaluated yet" in shown.locator("main").inner_text()
    for part in shown.locator("section:not([hidden]) > .part").all():
        part.scroll_into_view_if_needed()
        shown.wait_for_function("(part) => part.childElementCount > 0", arg=part.element_handle())


def test_a_narrow_window_is_scrolled_in_one_direction_only(open_page: Open, grid: Path) -> None:
    shown = open_page(grid, viewport={"width": 360, "height": 700})
    for part in ("quality", "pareto", "heatmap", "curves", "samples", "cells"):
        shown.locator(f"#{part}").scroll_into_view_if_needed()
        shown.wait_for_selector(f"#{part}-part > *")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360


def test_500_cells_load_in_two_seconds(open_page: Open, study: Any, made: Any) -> None:
    """With -s it prints what docs/report.md says. The limit is wider here: other tests share the cores."""
    rates = [(("optimizer.lr", rate),) for rate in range(42)]
    cells = [
        made(o, b, seed=s, scale=1 + 0.01 * rate[0][1] + 0.1 * s, overrides=rate)
        for o in ("rf", "shortcut") for b in ("dit", "u-vit") for rate in rates for s in range(3)
    ][:500]  # fmt: skip
    folder = study(*cells)
    for sheet in folder.glob("runs/*/samples/*.png"):
        sheet.write_bytes(sheet.read_bytes() + os.urandom(12_000))  # each its own, of the size of real ones
    shown = open_page(folder)
    timing = "performance.getEntriesByType('navigation')[0]"
    ready, loaded = (shown.evaluate(f"{timing}.{name}") for name in ("domInteractive", "loadEventEnd"))
    click = "(() => { const from = performance.now(); document.querySelector('[data-column=\"step.0\"]').click();"
    sorting = shown.evaluate(click + "document.body.offsetHeight; return performance.now() - from; })()")
    size = shown.evaluate(f"{timing}.decodedBodySize") / 1e6
    rows_shown = shown.locator("#results-rows tbody tr").count()
    print(f"{rows_shown} rows, {size:.1f} MB: ready {ready:.0f} ms, loaded {loaded:.0f} ms, sorted {sorting:.0f} ms")
    assert rows_shown == 167
    assert loaded < 6000
    assert sorting < 1000
