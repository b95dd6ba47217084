"""Labelled images with captions in place of labels: "a photo of the digit seven"."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from datamodules.base import Batch, DataModule, Rows, Uniforms
from datamodules.digits import Digits
from datamodules.spec import DataSpec

TEMPLATES = (
    "a photo of {}",
    "a picture of {}",
    "an image that shows {}",
    "{} written by hand",
    "here is {}",
    "{}",
)
"""The captions that a class has; which one a row has, is a function of the row."""

_DIGITS = Digits()


class Captions(DataModule):
    """Images of another data set with captions, as word ids that a text encoder in the backbone reads.

    A row's caption is one of six sentences with the name of its class ("a photo of the digit seven", SD3 §5.1 with more
    than one sentence). The words are a closed list, sorted, numbered from 1; 0 fills a caption up to the longest one.
    The label itself is not in the condition. With two encoders each of them reads the same words, and the context is
    what they give, one behind the other (as CLIP's and T5's in SD3).

    Args:
        of: the data set, whose classes have names.
        encoders: text encoders in the backbone, 1 or 2; MM-DiT with three sets of weights takes 2.
        width: of a text encoder and of the tokens that it gives, even.

    Raises:
        ValueError: data whose classes have no names, another number of encoders, a width that is not even.
    """

    def __init__(self, of: DataModule = _DIGITS, encoders: int = 1, width: int = 32) -> None:
        if not of.names:
            raise ValueError(f"{type(of).__name__} has no names for its classes, so that nothing can be said of them")
        if encoders not in (1, 2):
            raise ValueError(f"encoders={encoders}; allowed: 1, 2")
        if width < 2 or width % 2:
            raise ValueError(f"width={width}; allowed: even numbers above 0")
        self.of, self.encoders, self.width = of, encoders, width
        self.features, self.cell = of.features, of.cell  # pyright: ignore[reportAttributeAccessIssue]
        sentences = [template.format(name) for template in TEMPLATES for name in of.names]
        self.words = ("", *sorted({word for sentence in sentences for word in sentence.split()}))
        self.length = max(len(sentence.split()) for sentence in sentences)

    @property
    def spec(self) -> DataSpec:
        spec = self.of.spec
        return DataSpec(
            shape=spec.shape,
            context=(self.encoders * self.length, self.width),
            pooled=self.encoders * self.width,
            sections=(self.length,) * self.encoders if self.encoders > 1 else (),
            vocabulary=len(self.words),
            data_std=spec.data_std,
        )

    def load(self) -> tuple[Rows, Rows]:
        train, heldout = (self.of.dataset(split) for split in ("train", "validation"))
        return self._captioned(train, key=0), self._captioned(heldout, key=1)

    def _captioned(self, rows: Rows, *, key: int) -> Rows:
        assert rows.label is not None
        chosen = np.random.Philox(key=key).random_raw(len(rows)) % len(TEMPLATES)
        labelled = zip(chosen.tolist(), rows.label.tolist(), strict=True)
        return Rows(rows.x, context=self.encode([TEMPLATES[i].format(self.of.names[label]) for i, label in labelled]))

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Captions as ids (B, L) int64, one section for each encoder.

        Raises:
            ValueError: a word that is not in the list, or a caption that is too long.
        """
        number = {word: index for index, word in enumerate(self.words) if word}
        found = torch.zeros(len(captions), self.length, dtype=torch.int64)
        for row, caption in enumerate(captions):
            words = caption.casefold().split()
            for word in words:
                if word not in number:
                    near = difflib.get_close_matches(word, number, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(f"{word!r} is no word of these captions{hint} Known: {', '.join(number)}")
            if not 1 <= len(words) <= self.length:
                raise ValueError(f"{caption!r} has {len(words)} words; allowed: 1 to {self.length}")
            found[row, : len(words)] = torch.tensor([number[word] for word in words])
        return found.repeat(1, self.encoders)

    def decode(self, ids: Tensor) -> list[str]:
        """The captions of ids (B, L), as the first encoder reads them."""
        return [" ".join(self.words[i] for i in row if i) for row in ids[:, : self.length].tolist()]

    def augment(self, batch: Batch, draws: Uniforms) -> Batch:
        """As the data set itself does."""
        return self.of.augment(batch, draws)

    def to_images(self, x: Tensor) -> Tensor:
        """As the data set itself does."""
        return self.of.to_images(x)
