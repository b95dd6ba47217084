"""Sample sheets: many samples in one picture, with what they are written on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import DataModule

if TYPE_CHECKING:
    from experiments.evaluation.sampling import Samples

Pixels = NDArray[np.uint8]

GAP, LINE = 2, 14
_PAPER, _INK = 128, (0, 0, 0)


def sheet(
    data: DataModule,
    x: Tensor,
    *,
    columns: int | None = None,
    condition: Mapping[str, Tensor] | None = None,
    caption: str = "",
) -> Pixels:
    """Samples as one picture (H, W, 3), row by row, enlarged to at least 32 pixels a side.

    Args:
        data: where the samples belong; it makes pictures of them.
        x: (N, …) samples.
        columns: tiles in a row; about √N where None.
        condition: what they were drawn under; a class label stands below its tile.
        caption: lines that stand above the tiles, broken where the picture is narrow.
    """
    images = data.to_images(x).numpy()
    images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images[:, :3]
    scale = max(1, -(-32 // images.shape[-1]))
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    names = tile_names(condition, count)
    below = LINE if names else 0
    across, down = columns * (width + GAP) - GAP, math.ceil(count / columns) * (height + below + GAP) - GAP
    lines = _broken(caption, across)
    page = np.full((down + LINE * len(lines), across, 3), _PAPER, dtype=np.uint8)
    corners = [
        ((i // columns) * (height + below + GAP) + LINE * len(lines), (i % columns) * (width + GAP))
        for i in range(count)
    ]
    for image, (top, left) in zip(images, corners, strict=True):
        page[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    words = [(2, at * LINE, line) for at, line in enumerate(lines)]
    words += [(left + 2, top + height, name) for (top, left), name in zip(corners, names, strict=False)]
    return _written(page, words) if words else page


def sheet_caption(steps: int, weights: str, guidance: float = 1.0, solver: str | None = None) -> str:
    """ "4 steps · ema weights · w = 1.5 · heun": guidance and solver where they are not the plain ones."""
    parts = ["1 step" if steps == 1 else f"{steps} steps", f"{weights} weights"]
    parts += [f"w = {guidance:g}"] if guidance != 1 else []
    return " · ".join([*parts, *([solver] if solver else [])])


def tile_names(condition: Mapping[str, Tensor] | None, count: int) -> list[str]:
    """What is written below the tiles: their class labels, or nothing where they have none or share one picture."""
    labels = None if condition is None else condition.get("label")
    if labels is None or len(labels) != count:
        return []
    return [str(label) for label in labels.tolist()]


def told(samples: Samples, caption: str) -> dict[str, str]:
    """A sheet's PNG text: its caption, and the class labels of its tiles, row by row."""
    labels = None if samples.condition is None else samples.condition.get("label")
    names = [] if labels is None else [str(label) for label in labels.tolist()]
    columns = math.ceil(math.sqrt(len(names)))
    lines = [" ".join(names[at : at + columns]) for at in range(0, len(names), columns or 1)]
    return {key: text for key, text in (("caption", caption), ("conditions", "\n".join(lines))) if text}


def write_png(path: Path, pixels: Pixels, *, told: Mapping[str, str] | None = None) -> None:
    """Write a picture; ``told`` goes into the file as PNG text, for programs to read."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path.parent.mkdir(parents=True, exist_ok=True)
    information = PngInfo()
    for key, text in (told or {}).items():
        information.add_itxt(key, text)
    Image.fromarray(pixels).save(path, pnginfo=information)


def _broken(caption: str, width: int) -> list[str]:
    """The caption's lines, broken at " · " where they do not fit."""
    lines: list[str] = []
    for line in caption.splitlines():
        first, *others = line.split(" · ")
        lines.append(first)
        for part in others:
            longer = f"{lines[-1]} · {part}"
            lines[-1:] = [longer] if _width(longer) <= width - 4 else [lines[-1], part]
    return lines


def _width(text: str) -> float:
    return _font().getlength(text)


def _written(page: Pixels, words: Sequence[tuple[int, int, str]]) -> Pixels:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(page)
    pen = ImageDraw.Draw(picture)
    for left, top, text in words:
        pen.text((left, top), text, fill=_INK, font=_font())
    return np.array(picture)


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default()
