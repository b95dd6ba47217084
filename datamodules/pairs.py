"""Pairs of samples and noise from a trained model, to train on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor

from datamodules.base import DataError, DataModule, Rows, Split
from datamodules.named import alike, arguments, named
from datamodules.pair_set import RECIPE, PairRows, PairSet
from datamodules.spec import DataSpec


class Pairs(DataModule):
    """Pairs (x, ε) that `fewstep pairs` made from a trained run: each sample with the noise it came from.

    Training rows are the pairs, each with its "noise" and the condition that it was drawn under. All else is the
    original data's: spec, pictures, features, the held-out rows, and the training rows that distances and conditions
    of samples come from (`real`). Nothing is augmented: a flip or a shift of x alone would part it from its noise, and
    the model has learned the augmented data already.

    What enters a run's identity is what the set holds (`digest`), not where it lies: a folder that is moved is given
    anew as `path`, and the run is the same.

    Iterated: a run that learned from pairs gives pairs too, of the same original data, and they its next rectification.
    Source: Liu et al. 2022 (Rectified Flow), algorithm 1.

    Args:
        path: the folder that `fewstep pairs` wrote.
        of: the data that the model was trained on; null takes what the set's index says, and anything else is refused.
        digest: the set's own 16 digits; null takes those that are found, and other ones are refused.

    Raises:
        ValueError: there is no finished set in `path`; it holds pairs of other data than `of`, or another set than
            `digest`; the data of that name have another shape or other conditions here than where the set was made.
    """

    pairs: ClassVar[bool] = True
    places: ClassVar[tuple[str, ...]] = ("path", "of")
    contents: ClassVar[tuple[str, ...]] = ("digest",)

    def __init__(self, *, path: Path, of: DataModule | None = None, digest: str | None = None) -> None:
        self.path = Path(path)
        found = PairSet.find(self.path)
        if found is None:
            # A run that is done needs its pairs no more: it is sampled and measured by the original data alone.
            if of is None or digest is None:
                raise ValueError(_absent(self.path))
            self.of, self.digest = of, digest
        else:
            self.of, self.digest = _original(found, of), found.digest
            if digest not in (None, found.digest):
                raise ValueError(
                    f"{path} holds the pair set {found.digest}, but {digest} is asked for: pairs made otherwise are "
                    "another run's; give the path of that set, or leave the digest out for a new run"
                )
        self._found = found
        self.features = self.of.features  # pyright: ignore[reportAttributeAccessIssue]
        self.cell = self.of.cell  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def notation(self) -> str:
        """What it holds pairs of, and which set it is."""
        return f"pairs of {_name(self.of)} {self.digest[:6]}"

    @property
    def spec(self) -> DataSpec:
        return self.of.spec

    @property
    def real(self) -> DataModule:
        return self.of

    def load(self) -> tuple[Rows, Rows]:
        if self._found is None:
            raise DataError(_absent(self.path))
        here, there = self.of.fingerprint, self._found.recipe["fingerprint"]
        if here != there:
            raise DataError(
                f"{self.path} holds pairs of another data set: {self._found.recipe['data']['name']} with the "
                f"fingerprint {there}; here they have {here}"
            )
        self._found.check()
        return PairRows(self._found), self.of.dataset("validation")

    def dataset(self, split: Split) -> Rows:
        return super().dataset(split) if split == "train" else self.of.dataset(split)

    def to_images(self, x: Tensor) -> Tensor:
        return self.of.to_images(x)

    @property
    def fingerprint(self) -> str:
        return self.digest


def _original(found: PairSet, of: DataModule | None) -> DataModule:
    """The data that the pairs are of: those of the index, which `of` must be if it is given."""
    written = found.recipe["data"]
    original = named(written)
    if of is not None and not alike(of, original):
        raise ValueError(
            f"{found.folder} holds pairs of another data set: of {_told(**written)}, not of "
            f"{_told(_name(of), **arguments(of))}; leave `of` out to take what the set was made for"
        )
    if original.spec != found.spec:
        raise ValueError(
            f"{found.folder} holds pairs of another data set: of {_told(**written)} with {found.spec}; here they have "
            f"{original.spec}"
        )
    return original


def _name(data: DataModule) -> str:
    return type(data).__name__.lower()


def _told(name: str, **given: object) -> str:
    return f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})"


def _absent(path: Path) -> str:
    if (path / RECIPE).is_file():
        return f"the pair set in {path} is not finished; the `fewstep pairs` command that began it goes on with it"
    return f"there is no pair set in {path}; `fewstep pairs RUN --out {path}` makes one from a trained run"
