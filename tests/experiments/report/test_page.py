"""The page of studies in every condition, as text: well-formed, self-contained, and nothing left out."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from experiments.report import pictures
from experiments.report.page import page, to_script
from experiments.report.read import read
from experiments.report.rows import rows

VOID = {"meta", "link", "br", "img", "input"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of order, and collects the page's text, addresses and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.scripts: dict[str | None, str] = {}
        self._script: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._script = dict(attrs).get("id")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif not self.open or self.open[-1] != "style":
            self.text += data + " "

    @property
    def data(self) -> Any:
        return json.loads(self.scripts["data"])

    @property
    def pictures(self) -> list[str]:
        return self.scripts.get("pictures", "").split()


def parsed(folder: Any, **options: Any) -> Balanced:
    found = read(folder)
    parser = Balanced()
    parser.feed(page(found, rows(found), **options))
    assert parser.open == []
    parser.text = re.sub(r"\s+", " ", parser.text)
    return parser


def test_every_cell_every_number_and_every_sheet_is_in_it(study: Any, made: Any) -> None:
    cells = [made(o, b) for o in ("rf", "shortcut") for b in ("dit", "u-vit")]
    html = parsed(study(*cells))
    assert [cell["run"] for cell in html.data["cells"]] == [cell.run for cell in cells]
    assert "4 cells: 4 done" in html.text
    at = [metric["key"] for metric in html.data["metrics"]].index("frechet_distance")
    found = [[summary[0] for summary in row] for row in html.data["values"][0][at]]
    assert found == [[pytest.approx(cell.distance(n), rel=1e-5) for n in (1, 4, 128)] for cell in cells]
    assert [len(curve["lines"]) for curve in html.data["curves"]] == [4, 4], "training and validation loss"
    assert len(html.data["times"][0]["lines"][0][0]) == 8
    lines = [line for cell in html.data["sheets"][0] for line in cell]
    assert len(lines) == 12
    assert all(html.pictures[line].startswith("data:image/png;base64,") for line in lines)


def test_equal_pictures_stand_in_it_once(study: Any, made: Any) -> None:
    assert len(parsed(study(made(), made("shortcut"))).pictures) == 3, "made sheets differ by steps alone"


def test_it_asks_the_network_for_nothing(study: Any, made: Any) -> None:
    html = parsed(study(made()))
    assert html.addresses
    assert all(address.startswith(("data:", "#")) for address in html.addresses)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html.scripts[None]), "only the name of SVG"


def test_text_is_escaped(study: Any, made: Any) -> None:
    html = parsed(study(made(state="failed", message="</script><script>alert(1)</script> & more")))
    assert html.data["cells"][0]["message"] == "</script><script>alert(1)</script> & more"
    assert "</" not in to_script(["</script>"])


@pytest.mark.parametrize("state", ["failed", "interrupted", "pending"])
def test_without_any_result_the_states_are_the_result(study: Any, made: Any, state: str) -> None:
    html = parsed(study(made(state=state), made("shortcut", state=state)))
    assert "Nothing has been evaluated yet" in html.text
    assert html.text.count(state) >= 3, "in the first line and once for each cell"
    assert html.data["metrics"] == []


def test_a_grid_without_cells_says_so(study: Any) -> None:
    html = parsed(study())
    assert "The grid has no cells." in html.text
    assert "0 cells" in html.text
    assert html.data["rows"] == []


def test_a_cell_without_numbers_stands_in_the_table_and_among_the_sheets(study: Any, made: Any) -> None:
    html = parsed(study(made(), made("edm", state="failed", message="boom")))
    assert "edm dit – – – failed" in html.text, "without scripts"
    assert html.data["rows"][1]["note"] == "failed"
    assert html.data["sheets"][0][1] == [None, None, None]
    assert html.data["cells"][1]["message"] == "boom"


def test_numbers_that_are_none_are_told_and_json_has_no_nan(study: Any, made: Any, evaluation_file: Any) -> None:
    folder = study(made())
    file = evaluation_file(folder, made())
    value = json.loads(file.read_text())
    for row in value["rows"]:
        row["frechet_distance"] = math.nan
        row["kernel_distance"] = math.inf
    value["validation"][0]["loss"][3] = math.nan
    file.write_text(json.dumps(value))
    (folder / "runs" / made().run / "metrics.csv").write_text("50,train/loss,nan\n100,train/loss,2\n")
    html = parsed(folder)
    keys = [metric["key"] for metric in html.data["metrics"]]
    for name in ("frechet_distance", "kernel_distance"):
        assert html.data["values"][0][keys.index(name)][0][0] == [None, None, None, None, 0, 1, 1]
    assert len(html.data["times"][0]["lines"][0][0]) == 7
    assert html.data["curves"][0]["lines"][0][0] == [100]
    assert html.data["curves"][0]["not_finite"] == 1


def test_a_long_curve_is_thinned_to_means_of_neighbours(study: Any, made: Any) -> None:
    folder = study(made())
    text = "".join(f"{step},train/loss,{step % 2}\n" for step in range(1000))
    (folder / "runs" / made().run / "metrics.csv").write_text(text)
    curve = parsed(folder).data["curves"][0]
    steps, means, _, _ = curve["lines"][0]
    assert curve["averaged"]
    assert len(steps) == 120
    assert all(0.4 <= mean <= 0.6 for mean in means)


def test_what_configurations_share_stands_in_it_once(study: Any, made: Any) -> None:
    data = parsed(study(made(), made("shortcut"))).data
    assert data["shared"]["optimizer.lr"] == "0.002"
    assert [cell["config"] for cell in data["cells"]] == [{"objective.name": "rf"}, {"objective.name": "shortcut"}]


def test_what_varies_becomes_an_axis(study: Any, made: Any) -> None:
    cells = [made(o, overrides=(("optimizer.lr", lr),)) for o in ("rf", "shortcut") for lr in (0.1, 0.2)]
    factors = parsed(study(*cells)).data["factors"]
    assert [factor["key"] for factor in factors] == ["objective", "optimizer.lr"]
    assert factors[1]["values"] == ["0.1", "0.2", "0.1", "0.2"]


def test_a_large_sheet_is_made_smaller_and_its_labels_are_told(
    study: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL.PngImagePlugin import PngInfo

    folder = study(made())
    told = PngInfo()
    told.add_text(pictures.CONDITIONS, "3 1\n4 1")
    Image.new("RGB", (1300, 1300), "red").save(folder / "runs" / made().run / "samples" / "ema-4.png", pnginfo=told)
    monkeypatch.setattr(pictures, "HEAVY", 3000)
    html = parsed(folder)
    assert [line.partition(";")[0] for line in html.pictures] == ["data:image/png", "data:image/webp", "data:image/png"]
    assert html.data["shrunk"] == 1
    assert html.data["conditions"] == {"digits": "3 1\n4 1"}


def test_a_sheet_that_is_no_picture_does_not_stop_the_report(study: Any, made: Any) -> None:
    folder = study(made())
    (folder / "runs" / made().run / "samples" / "ema-4.png").write_bytes(b"half")
    assert len(parsed(folder).pictures) == 3


def test_a_page_of_a_grid_that_goes_on_loads_itself_again(study: Any, made: Any) -> None:
    found = read(study(made()))
    assert 'http-equiv="refresh" content="10"' in page(found, rows(found), reload_every=10)
    assert "refresh" not in page(found, rows(found)).partition("<script")[0]
