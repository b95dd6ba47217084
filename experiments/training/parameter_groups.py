"""Parameter groups by patterns of names: another learning rate or weight decay for part of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

Groups = dict[str, dict[str, float]]
"""Pattern of parameter names -> {"lr": factor on the learning rate, "weight_decay": instead of the optimiser's}.

Patterns are the shell's (``*adaLN*``, ``blocks.?.mlp.*``); the first that matches a name counts.
"""

SETTINGS = ("lr", "weight_decay")


def check_groups(groups: Mapping[str, Mapping[str, float]]) -> None:
    """Raise ValueError for a setting that a group has not, or a value that is not a finite number ≥ 0."""
    for pattern, settings in groups.items():
        for name, value in settings.items():
            if name not in SETTINGS:
                raise ValueError(f"groups[{pattern!r}] has {name!r}; a group takes {' and '.join(SETTINGS)}")
            if not 0 <= value < float("inf"):
                raise ValueError(f"groups[{pattern!r}] has {name} = {value}: a finite number, 0 or more")


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """The first of the patterns that a parameter's name matches."""
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)


def unmatched(groups: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The patterns that are the first match of none of the names."""
    used = {first_match(name, groups) for name in names}
    return [pattern for pattern in groups if pattern not in used]


def partition(
    parameters: Iterable[tuple[str, Tensor]],
    groups: Mapping[str, Mapping[str, float]],
    *,
    lr: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """torch's parameter groups: those without a pattern first; matrices apart from biases and norms.

    Weight decay, a group's own included, is on parameters of two or more dimensions alone. Parameters that are divided
    among processes have groups apart from whole ones, for torch updates no group of both; if they come first among
    ``parameters``, the groups taken together have the order that they would have if nothing were divided.
    """
    from experiments.training.sharding import by_kind  # which loads DTensor: a second that planning does not need

    chosen: dict[tuple[str | None, bool], list[Tensor]] = {
        (pattern, decays): [] for pattern in (None, *groups) for decays in (True, False)
    }
    for name, parameter in parameters:
        chosen[first_match(name, groups), parameter.ndim > 1].append(parameter)
    made: list[dict[str, Any]] = []
    for (pattern, decays), members in chosen.items():
        settings = groups[pattern] if pattern is not None else {}
        decay = settings.get("weight_decay", weight_decay) if decays else 0.0
        rates = {"lr": lr * settings.get("lr", 1.0), "weight_decay": decay}
        for alike in by_kind(members):
            if made and _joins(made[-1], alike, rates):
                made[-1]["params"] += alike
            else:
                made.append({"params": alike, **rates})
    return made


def _joins(group: Mapping[str, Any], members: list[Tensor], rates: Mapping[str, float]) -> bool:
    """Whether parameters may be in this group: torch updates a group at once, and needs longer for two than for one."""
    from experiments.training.sharding import by_kind

    return {**group, **rates} == group and len(by_kind([*group["params"], *members])) == 1
