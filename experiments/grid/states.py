"""The life of a cell: what its files come to. Imports no torch.

==========  ==========================================================================================================
running     a worker holds it and gives signs of life
stalled     a worker holds it and has given none for too long: paused, cut off, or gone with its machine
failed      it failed, or its worker died
preempted   the scheduler took the processor away; it goes on from its last checkpoint
interrupted somebody stopped it; it goes on from its last checkpoint
queued      it is submitted to a scheduler
pending     nobody has begun it, or it was given another chance; the message says what it waits for
cancelled   somebody cancelled it; ``fewstep grid retry`` takes that back
done        trained to the last step and evaluated as the plan asks
==========  ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.claims import Claimed

STATES = ("running", "stalled", "failed", "preempted", "interrupted", "queued", "pending", "cancelled", "done")
OPEN = ("stalled", "preempted", "interrupted", "queued", "pending")
"""States in which a worker may take a cell as a matter of course (a failed one only up to a cap)."""
HOPELESS = "not finite"
"""The reason of a failure that the same numbers would only give again: it is left to a person."""


@dataclass(frozen=True)
class CellState:
    """What a cell's files say.

    ``state`` is one of STATES; ``rate`` is steps/s; ``reason`` tells programs why it failed, where that is known;
    ``code`` is the version of the code that it was done with, or last worked on with; ``ready`` is False while cells
    that it needs are not done.
    """

    state: str
    step: int = 0
    message: str | None = None
    loss: float | None = None
    rate: float | None = None
    reason: str | None = None
    code: str | None = None
    ready: bool = True
    history: tuple[Claimed, ...] = field(default=(), repr=False)

    @property
    def last(self) -> Claimed | None:
        """The highest claim."""
        return self.history[-1] if self.history else None

    def failures(self, launch: str) -> int:
        """How often the cell failed under one launch; a claim that was dropped without a word is a death."""
        ours = [one for one in _since_retry(self.history) if one.owner.get("launch") == launch]
        return sum(one.outcome in ("failed", "died") or (one.outcome is None and not one.live) for one in ours)

    def given_up(self, launch: str, attempts: int) -> bool:
        """Whether the cell is left alone for the rest of a launch.

        It failed ``attempts`` times in it, or in a way that would only come again (``final`` in the claim's file); one
        whose numbers were not finite is left alone by every launch until somebody asks for a retry.
        """
        if self.state not in ("failed", "interrupted", "stalled") or self.last is None:
            return False
        owner = self.last.owner
        final = bool(owner.get("final") and owner.get("launch") == launch)
        return self.reason == HOPELESS or final or self.failures(launch) >= attempts


def state_of(
    history: tuple[Claimed, ...],
    status: Mapping[str, Any],
    *,
    cancelled: str | None = None,
    submitted: Mapping[str, Any] | None = None,
) -> CellState:
    """The state of a cell that is not done.

    Args:
        history: its claims.
        status: its run's status.json.
        cancelled: why it was cancelled, if it was.
        submitted: the newest submission that lists it and has not ended.
    """
    last = history[-1] if history else None
    owner = last.owner if last else {}
    name, message = _named(last, status)
    if cancelled is not None and name not in ("running", "stalled"):
        name, message = "cancelled", cancelled
    elif submitted is not None and (name == "pending" or _later(submitted, owner)) and name != "running":
        name, message = "queued", f"job {submitted.get('job')}"
    reason = owner.get("reason") or status.get("reason") if name == "failed" else None
    return CellState(
        name, status.get("step", 0), message, status.get("loss"), status.get("steps_per_second"), reason,
        owner.get("code"), history=history,
    )  # fmt: skip


def _named(last: Claimed | None, status: Mapping[str, Any]) -> tuple[str, str | None]:
    """State and message by the last claim and the run's status."""
    if last is not None and last.live:
        return "running", None
    if last is not None and last.stalled:
        return "stalled", f"no sign of life for {last.age:.0f} s from {str(last.owner.get('machine')).split()[0]}"
    outcome = last.outcome if last else None
    if outcome == "retried":
        return ("interrupted" if status.get("step") else "pending"), None
    if last is not None and outcome in ("failed", "died"):
        return "failed", last.owner.get("message") or status.get("message")
    if outcome != "interrupted" and status["state"] == "failed":
        return "failed", status.get("message")
    if last is not None and last.owner.get("preempted"):
        return "preempted", None
    return ("pending", None) if last is None and status["state"] == "pending" else ("interrupted", None)


def _later(submitted: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether a submission came after the last claim had ended."""
    return "outcome" in owner and submitted.get("submitted", 0.0) > owner.get("ended", 0.0)


def _since_retry(history: tuple[Claimed, ...]) -> tuple[Claimed, ...]:
    last = max((place for place, one in enumerate(history, start=1) if one.outcome == "retried"), default=0)
    return history[last:]
