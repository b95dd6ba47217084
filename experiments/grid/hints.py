"""How cells' last claims ended, to be read in a few listings: ``ended/WORD/HASH``. Imports no torch.

WORD is the outcome, or the key of the evaluation if the cell is done. A hint is no authority: it may be missing where a
worker died in between, and wrong where somebody has removed a run; see :func:`experiments.grid.taking.put_right`.
"""

from __future__ import annotations

from experiments.grid.study import Cell, Study, names


def told(study: Study) -> dict[str, str]:
    """Hash -> word, of every cell of which there is a hint."""
    folder = study.path / "ended"
    return {hash: word for word in names(folder) for hash in names(folder / word)}


def note(study: Study, cell: Cell, word: str) -> None:
    """Leave the hint that a cell's last claim has ended."""
    file = study.path / "ended" / word / cell.hash
    try:
        file.touch()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def forget(study: Study, cell: Cell, word: str) -> None:
    """Take a hint back."""
    (study.path / "ended" / word / cell.hash).unlink(missing_ok=True)
