"""Study folders as a grid leaves them, with numbers made up by a formula."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

REQUIRED = "FEWSTEP_REQUIRE_CHROMIUM"
EVALUATION = "e" * 12
STEPS = (1, 4, 128)


@dataclass(frozen=True)
class Made:
    """One cell to be written; ``scale`` multiplies its distances, ``overrides`` come on top of the factors."""

    objective: str = "rf"
    backbone: str = "dit"
    seed: int = 0
    state: str = "done"
    scale: float = 1.0
    weights: tuple[str, ...] = ("ema",)
    overrides: tuple[tuple[str, Any], ...] = ()
    message: str | None = None

    @property
    def hash(self) -> str:
        import hashlib

        text = f"{self.objective} {self.backbone} {self.seed} {self.overrides}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def run(self) -> str:
        return f"{self.objective.replace('/', '_')}-{self.backbone}-digits-{self.hash}"

    def distance(self, steps: int) -> float:
        few = 10.0 if self.objective != "shortcut" else 0.3
        return self.scale * (15 + few * 15 / steps)


def write_study(folder: Path, made: Sequence[Made], name: str = "made") -> Path:
    """Write ``folder`` as `fewstep grid run` would have left it."""
    cells = [
        {
            "name": f"{cell.objective}-{cell.backbone}-{cell.seed}",
            "hash": cell.hash,
            "run": cell.run,
            "evaluation": EVALUATION,
            "objective": cell.objective,
            "backbone": cell.backbone,
            "data": "digits",
            "seed": cell.seed,
            "max_steps": 1000,
            "overrides": {"objective": cell.objective, "backbone": cell.backbone, **dict(cell.overrides)},
        }
        for cell in made
    ]
    (folder / "runs").mkdir(parents=True)
    (folder / "cells.json").write_text(json.dumps({"format": 1, "key": "", "name": name, "cells": cells}))
    for cell in made:
        if cell.state != "pending":
            _write_run(folder / "runs" / cell.run, cell)
    return folder


def _write_run(run: Path, cell: Made) -> None:
    (run / "evaluations").mkdir(parents=True)
    (run / "samples").mkdir()
    config = {
        "objective": {"name": cell.objective},
        "backbone": {"name": cell.backbone, "width": 96},
        "data": {"name": "digits"},
        "optimizer": {"name": "adamw", "lr": 0.002},
        "trainer": {"max_steps": 1000},
        "seed": cell.seed,
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    attempt = {"started": "2026-01-02T03:04:05+0000", "versions": {"torch": "2.13.0"}, "device": "cpu, 2 cores"}
    (run / "manifest.json").write_text(json.dumps({"attempts": [{**attempt, "command": ["fewstep", cell.run]}]}))
    step = 1000 if cell.state == "done" else 400
    status = {"state": cell.state, "step": step, "max_steps": 1000, "heartbeat": 1767322845.0, "message": cell.message}
    (run / "status.json").write_text(json.dumps(status))
    lines = [f"{at},train/loss,{2 / math.sqrt(at) + 0.3 + 0.01 * cell.seed}" for at in range(50, step + 1, 50)]
    lines += [f"{at},train/steps_per_second,50.0" for at in range(50, step + 1, 50)]
    lines += [f"{at},validation/loss_ema,{2 / math.sqrt(at) + 0.35}" for at in range(200, step + 1, 200)]
    (run / "metrics.csv").write_text("step,name,value\n" + "\n".join(lines) + "\n")
    if cell.state == "done":
        (run / "done.json").write_text(json.dumps({"step": 1000, "evaluations": [EVALUATION]}))
        (run / "evaluations" / f"{EVALUATION}.json").write_text(json.dumps(_evaluation(run, cell)))


def _evaluation(run: Path, cell: Made) -> dict[str, Any]:
    rows = []
    for weights in cell.weights:
        for steps in STEPS:
            sheet = run / "samples" / f"{weights}-{steps}.png"
            pixels = np.random.default_rng(steps).integers(0, 256, (32, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(sheet)
            far = cell.distance(steps)
            rows.append(
                {
                    "weights": weights,
                    "steps": steps,
                    "nfe": steps,
                    "solver": "euler",
                    "guidance": 1.0,
                    "num": 1024,
                    "frechet_distance": far,
                    "frechet_distance_heldout": far + 2,
                    "kernel_distance": far / 100,
                    "kernel_distance_heldout": far / 90,
                    "precision": 1 / far,
                    "recall": 0.5,
                    "memorisation": 0.02,
                    "seconds_per_image": 1e-4 * steps,
                    "sheet": str(sheet.relative_to(run)),
                }
            )
    times = [(i + 0.5) / 8 for i in range(8)]
    losses = [{"weights": w, "times": times, "loss": [1 + t for t in times], "mean": 1.5} for w in cell.weights]
    settings = {"steps": list(STEPS), "weights": list(cell.weights), "num": 1024, "solver": None, "seed": 0}
    return {"settings": settings, "rows": rows, "validation": losses}


@pytest.fixture
def made() -> type[Made]:
    return Made


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """``study(Made(...), Made(...))`` writes a folder and returns it."""
    return lambda *cells, name="made": write_study(tmp_path / "studies" / name, cells, name)


@pytest.fixture
def evaluation_file() -> Callable[[Path, Made], Path]:
    """The file that holds a made cell's evaluation."""
    return lambda folder, cell: folder / "runs" / cell.run / "evaluations" / f"{EVALUATION}.json"


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
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``open_page(study)`` shows its page; at the end nothing may have been requested, logged or thrown."""
    told: list[str] = []
    contexts: list[Any] = []

    def show(folder: Path, address: str = "", *, reload_every: float | None = None, **options: Any) -> Any:
        from experiments.report.page import page
        from experiments.report.read import read
        from experiments.report.rows import rows

        found = read(folder)
        file = tmp_path / f"{folder.name}.html"
        file.write_text(page(found, rows(found), reload_every=reload_every))
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(60_000)  # other tests may have the cores
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
