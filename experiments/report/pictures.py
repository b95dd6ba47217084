"""The sample sheets as text that an HTML file can carry, each picture once and none too large."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.report.read import Cell, Study
from experiments.report.rows import Rows

HEAVY = 100_000
"""Bytes of a sheet from which on it is made smaller for the page: 1,500 of them make a page of 200 MB."""
LARGEST = 640
"""Pixels across of a sheet that was made smaller."""
CONDITIONS = "conditions"
"""The PNG text that lists the tiles' labels, row by row."""


@dataclass
class Pictures:
    """``lines`` are data URIs; ``sheets`` holds for each setting, cell and number of steps the number of its line."""

    lines: list[str] = field(default_factory=list)
    sheets: list[list[list[int | None]]] = field(default_factory=list)
    conditions: dict[str, str] = field(default_factory=dict)
    shrunk: int = 0
    _known: dict[bytes, int] = field(default_factory=dict, repr=False)

    def add(self, cell: Cell, file: Path) -> int | None:
        """The line of the picture in ``file``; None where there is no picture."""
        try:
            content = file.read_bytes()
        except OSError:
            return None
        key = hashlib.sha256(content).digest()
        if key not in self._known:
            self._known[key] = len(self.lines)
            self.lines.append(self._uri(content, cell.labels["data"]))
        return self._known[key]

    def _uri(self, content: bytes, data: str) -> str:
        from PIL import Image

        kind = "png"
        try:
            with Image.open(io.BytesIO(content)) as picture:
                if told := picture.info.get(CONDITIONS):
                    self.conditions.setdefault(data, told)
                if len(content) > HEAVY:
                    content, kind = _smaller(picture), "webp"
                    self.shrunk += 1
        except OSError:
            pass  # no picture, or half of one: the browser shows what it can, and the alternative text
        return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def pictures(study: Study, rows: Rows) -> Pictures:
    """Every sheet of the study."""
    found = Pictures()
    for setting in rows.settings:
        steps = rows.steps(setting)
        found.sheets.append([[_sheet(found, rows, cell, setting, n) for n in steps] for cell in study.cells])
    return found


def _sheet(found: Pictures, rows: Rows, cell: Cell, setting: str, steps: int) -> int | None:
    named = [row["sheet"] for row in rows.of(cell, setting, steps) if row.get("sheet")]
    return found.add(cell, cell.path / named[-1]) if cell.path and named else None


def _smaller(picture: Any) -> bytes:
    small, text = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((LARGEST, LARGEST))
    small.save(text, "webp", quality=80)
    return text.getvalue()
