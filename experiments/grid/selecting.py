"""Picking cells of a study by words: states, conditions and names. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments import code
from experiments.config.faults import unknown
from experiments.errors import UserError
from experiments.grid.states import STATES, CellState
from experiments.grid.study import Cell, Study
from experiments.grid.values import lookup, same

SHORTEST = 4
"""Digits of a hash that may stand for a cell."""
_FIELDS = ("name", "hash", "objective", "backbone", "data", "seed", "max_steps", "grid", "resources")

Selected = list[tuple[Cell, CellState]]


def select(study: Study, words: Sequence[str]) -> Selected:
    """The cells that fit all words, with their states; all cells where there is no word.

    A word is a state (several: any of them), ``key=value`` with a key that the cells say (``objective=shortcut``,
    ``objective.k=0.5``, ``seed=1``), ``code=changed`` (other code than now's), or the name or the first digits of the
    hash of a cell (several: any of them).

    Raises:
        UserError: a word that fits nothing that it could mean, with the nearest that there is.
    """
    states = [word for word in words if word in STATES]
    conditions = [word for word in words if "=" in word and not _names(study, word)]
    named = [cell.hash for word in words if word not in (*states, *conditions) for cell in _named(study, word)]
    keys = [_key(study, condition) for condition in conditions]
    return [
        (cell, state)
        for cell, state in study.states()
        if (not states or state.state in states)
        and (not named or cell.hash in named)
        and all(_fits(cell, state, key, value) for key, value in keys)
    ]


def one(study: Study, word: str) -> Cell:
    """The one cell that a name or the first digits of a hash mean; a :class:`UserError` for none or several."""
    found = _named(study, word)
    if len(found) > 1:
        raise UserError(f"{word!r} could be any of {', '.join(f'{cell.name} ({cell.hash})' for cell in found[:5])}")
    return found[0]


def changed(state: CellState) -> bool:
    """Whether a cell was worked on by other code than what is here now."""
    return state.code is not None and state.code != code.version()


def _names(study: Study, word: str) -> list[Cell]:
    exact = [cell for cell in study.cells if word in (cell.name, cell.hash, cell.run)]
    if exact or len(word) < SHORTEST:
        return exact
    return [cell for cell in study.cells if cell.hash.startswith(word)]


def _named(study: Study, word: str) -> list[Cell]:
    found = _names(study, word)
    if not found:
        allowed = [*STATES, *(cell.name for cell in study.cells)]
        told = unknown("cell or state", word, allowed)
        raise UserError(told.partition(" Allowed:")[0] + f" in {study.path}; `fewstep grid status` lists them")
    return found


def _key(study: Study, condition: str) -> tuple[str, Any]:
    import yaml

    key, _, text = condition.partition("=")
    value = yaml.safe_load(text) if text else ""
    if key == "code":
        if value != "changed":
            raise UserError(f"{condition}: only code=changed can be asked for")
        return key, value
    there = [_values(cell, key) for cell in study.cells]
    if not any(there):
        known = dict.fromkeys([*_FIELDS, *(key for cell in study.cells for key in cell.overrides)])
        raise UserError(f"{condition}: {unknown('key of these cells', key, list(known))}")
    if not any(same(one, value) for values in there for one in values):
        told = (one.get("name", one) if isinstance(one, dict) else one for values in there for one in values)
        allowed = list(dict.fromkeys(map(str, told)))
        raise UserError(f"{condition}: {unknown(f'value of {key} in this study', text, allowed)}")
    return key, value


def _values(cell: Cell, key: str) -> list[Any]:
    """What a cell says under a key: as the grid has it, and as tables show it."""
    told = [
        lookup(value, key[len(place) + 1 :]) for place, value in cell.overrides.items() if key.startswith(place + ".")
    ]
    told += [cell.overrides[key]] if key in cell.overrides else []
    told += [getattr(cell, key)] if key in _FIELDS else []
    return [value for value in told if value is not None]


def _fits(cell: Cell, state: CellState, key: str, wanted: Any) -> bool:
    if key == "code":
        return changed(state)
    return any(same(value, wanted) for value in _values(cell, key))
