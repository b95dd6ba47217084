"""The fixed division of a labelled data set into training and held-out rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified(
    labels: npt.NDArray[np.int64], heldout: int, *, key: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Divide rows so that each class keeps its share on both sides, within one row.

    The division depends on the labels and on `key` alone, never on a run's seed: all runs hold out the same rows.

    Args:
        labels: (N,) class of each row.
        heldout: number of rows to hold out.
        key: which of the possible divisions; a data set fixes it once.

    Returns:
        Training rows and held-out rows, both ascending.

    Raises:
        ValueError: if `heldout` does not leave rows on both sides.
    """
    if not 0 < heldout < len(labels):
        raise ValueError(f"heldout is {heldout}; it must lie in 1 … {len(labels) - 1}")
    classes, counts = np.unique(labels, return_counts=True)
    ideal = counts * (heldout / len(labels))
    take = np.floor(ideal).astype(np.int64)
    largest_remainders = np.argsort(take - ideal, kind="stable")[: heldout - int(take.sum())]
    take[largest_remainders] += 1
    words = np.random.Philox(key=key).random_raw(len(labels))
    chosen = []
    for label, number in zip(classes, take, strict=True):
        rows = np.flatnonzero(labels == label)
        chosen.append(rows[np.argsort(words[rows], kind="stable")[:number]])
    validation = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), validation), validation
