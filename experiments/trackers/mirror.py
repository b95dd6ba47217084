"""What a service outside has of a run: so that one run there goes on over interruptions, and no step is sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.files import read_json, write_json
from experiments.runs import Run


class Mirror:
    """The run's id with a service, and for each name the last step that the service surely keeps.

    It stands in ``trackers/NAME.json`` in the run's folder. metrics.csv is what is on the disk before a checkpoint
    counts; :meth:`missing` gives what it has and the service has not, be it that a process was killed before the
    service wrote, or that the tracker came to the run later.

    Args:
        name: the tracker's name.
        spell: a value's name as the service takes it.
    """

    def __init__(self, run: Run, name: str, *, spell: Callable[[str], str] = str):
        self.run, self._file, self._spell = run, run.path / "trackers" / f"{name}.json", spell
        known: dict[str, Any] = read_json(self._file) or {}
        self.id: str | None = known.get("id")
        self.url: str | None = known.get("url")
        self.steps: dict[str, int] = known.get("steps", {})
        self.sessions: list[str] = known.get("sessions", [])
        self.clean: bool = known.get("clean", True)
        self.floor = -1  # the service says that it has every value up to this step

    def save(self, *, clean: bool = True) -> None:
        """Put it on the disk; call it when the service surely keeps what was sent.

        ``clean`` is false while more is being sent: whoever finds it so knows that the last session did not end.
        """
        self.run.fence()
        self._file.parent.mkdir(exist_ok=True)
        state = {"id": self.id, "url": self.url, "clean": clean, "steps": self.steps, "sessions": self.sessions}
        write_json(self._file, state)

    def new(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Those of ``values`` that were not sent yet, by the service's names; from now on they were."""
        spelt = {self._spell(name): value for name, value in values.items()}
        later = {name: value for name, value in spelt.items() if step > self.steps.get(name, -1)}
        self.steps |= dict.fromkeys(later, step)
        return later if step > self.floor else {}

    def missing(self, last_step: int) -> Iterator[tuple[int, dict[str, float]]]:
        """The rows of metrics.csv up to ``last_step`` that were not sent yet, by step; from now on they were."""
        rows: dict[int, dict[str, float]] = {}
        for step, name, value in self.run.metrics():
            if step <= last_step:
                rows.setdefault(step, {})[name] = value
        for step in sorted(rows):
            if found := self.new(step, rows[step]):
                yield step, found
