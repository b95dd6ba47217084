"""A data set whose training rows are pairs of samples and noise that a trained model made of it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from datamodules.base import DataError, DataModule, Rows, Split
from datamodules.pair_set import PairRows, PairSet
from datamodules.spec import DataSpec


class Pairs(DataModule):
    """Pairs (x, ε) that a trained run has made: each sample with the noise it came from.

    Training rows are the pairs, each with its "noise" and the condition that it was drawn under. All else is the
    original data's: spec, pictures, features, the held-out rows, and the training rows that distances and conditions
    of samples come from (`real`). Nothing is augmented: a flip or a shift of x alone would part it from its noise, and
    the model has learned the augmented data already.

    Iterated: a run that learned from pairs gives pairs too, of the same original data, and they its next rectification.
    Source: Liu et al. 2022 (Rectified Flow), algorithm 1.

    Args:
        of: the data that the model was trained on.
        made: the finished set.

    Raises:
        ValueError: the pairs are of data of another shape or with other conditions.
    """

    pairs: ClassVar[bool] = True

    def __init__(self, *, of: DataModule, made: PairSet) -> None:
        if of.spec != made.spec:
            raise ValueError(f"{made.folder} holds pairs of other data: {made.spec}; here they have {of.spec}")
        self.of, self.made = of, made
        self.features = of.features  # pyright: ignore[reportAttributeAccessIssue]
        self.cell = of.cell  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def spec(self) -> DataSpec:
        return self.of.spec

    @property
    def real(self) -> DataModule:
        return self.of

    def load(self) -> tuple[Rows, Rows]:
        here, there = self.of.fingerprint, self.made.recipe["fingerprint"]
        if here != there:
            raise DataError(
                f"{self.made.folder} holds pairs of another data set: {self.made.recipe['data']['name']} with the "
                f"fingerprint {there}; here they have {here}"
            )
        self.made.check()
        return PairRows(self.made), self.of.dataset("validation")

    def dataset(self, split: Split) -> Rows:
        return super().dataset(split) if split == "train" else self.of.dataset(split)

    def to_images(self, x: Tensor) -> Tensor:
        return self.of.to_images(x)

    @property
    def fingerprint(self) -> str:
        return self.made.digest
