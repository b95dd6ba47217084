"""The page of studies in every condition: well-formed, self-contained, and nothing left out."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from experiments.report.page import page
from experiments.report.read import read
from experiments.report.rows import rows

VOID = {"meta", "link", "br", "img"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of order, and collects the page's text and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def parsed(folder: Any) -> Balanced:
    found = read(folder)
    parser = Balanced()
    parser.feed(page(found, rows(found)))
    assert parser.open == []
    return parser


def test_every_cell_every_figure_and_every_sheet_is_on_it(study: Any, made: Any) -> None:
    cells = [made(o, b) for o in ("rf", "shortcut") for b in ("dit", "u-vit")]
    html = parsed(study(*cells))
    assert sum(address.startswith("data:image/png") for address in html.addresses) == len(cells) * 3
    for words in ("Training loss.", "Validation loss against path time.", "against steps.", "4 (4 done)"):
        assert words in html.text, words
    for cell in cells:
        assert cell.run in html.text


def test_it_asks_the_network_for_nothing(study: Any, made: Any) -> None:
    addresses = parsed(study(made())).addresses
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_text_is_escaped(study: Any, made: Any) -> None:
    html = parsed(study(made(state="failed", message="<script>alert(1)</script> & more")))
    assert "<script>alert(1)</script> & more" in html.text


@pytest.mark.parametrize("state", ["failed", "interrupted", "pending"])
def test_without_any_result_the_states_are_the_result(study: Any, made: Any, state: str) -> None:
    html = parsed(study(made(state=state), made("shortcut", state=state)))
    assert "Nothing has been evaluated yet" in html.text
    assert html.text.count(state) >= 4


def test_a_grid_without_cells_says_so(study: Any) -> None:
    assert "The grid has no cells." in parsed(study()).text


def test_a_cell_without_numbers_stands_in_table_and_sheets(study: Any, made: Any) -> None:
    text = re.sub(r"\s+", " ", parsed(study(made(), made("edm", state="failed", message="boom"))).text)
    assert "edm dit – – – failed" in text
    assert "edm dit digits, seed 0 failed failed failed" in text
    assert "boom" in text


def test_numbers_that_are_none_are_said(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made())
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    for row in value["rows"]:
        row["frechet_distance"] = math.nan
    value["validation"][0]["loss"][3] = math.nan
    file.write_text(json.dumps(value))
    assert "not finite" in parsed(folder).text


def test_figures_take_their_ink_from_the_page(study: Any, made: Any) -> None:
    found = read(study(made()))
    html = page(found, rows(found))
    assert "var(--ink)" in html
    assert "#01020" not in html
