"""Captions: what they say of an image is true, and a closed list of words holds them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules import Rows
from datamodules.captions import TEMPLATES, Captions
from datamodules.digits import DIGITS, Digits
from datamodules.mnist import MNIST
from datamodules.points import Points


@pytest.fixture(scope="module")
def data() -> Captions:
    return Captions()


def test_a_caption_says_the_label_of_its_row(data: Captions) -> None:
    for split in ("train", "validation"):
        rows, labelled = data.dataset(split), Digits().dataset(split)
        assert torch.equal(rows.x, labelled.x)
        assert labelled.label is not None
        captions = data.decode(rows[torch.arange(len(rows))]["condition"]["context"])
        assert [DIGITS.index(next(word for word in c.split() if word in DIGITS)) for c in captions] == (
            labelled.label.tolist()
        )
        frames = [
            c.replace(f"the digit {DIGITS[label]}", "{}") for c, label in zip(captions, labelled.label, strict=True)
        ]
        assert set(frames) == set(TEMPLATES)
        counts = torch.tensor([frames.count(template) for template in TEMPLATES]).double()
        expected = len(frames) / len(TEMPLATES)
        assert ((counts - expected) ** 2 / expected).sum() < 25.7  # 5 degrees of freedom, level 1e-4


def test_a_batch_has_ids_and_no_label(data: Captions) -> None:
    batch = data.dataset("train")[torch.tensor([3, 0])]
    assert set(batch["condition"]) == {"context"}
    ids = batch["condition"]["context"]
    assert data.spec.context is not None
    assert (ids.dtype, tuple(ids.shape)) == (torch.int64, (2, data.spec.context[0]))
    assert 0 <= int(ids.min()) <= int(ids.max()) < data.spec.vocabulary == len(data.words)
    assert data.spec.num_classes == 0


def test_sentences_are_read_back_and_padded_at_the_end(data: Captions) -> None:
    ids = data.encode(["a photo of the digit seven", "The digit  ONE"])
    assert data.decode(ids) == ["a photo of the digit seven", "the digit one"]
    assert ids[1, 3:].tolist() == [0] * (data.length - 3)
    longest = max(len(template.format("the digit seven").split()) for template in TEMPLATES)
    assert data.length == longest


def test_two_encoders_read_the_same_words() -> None:
    data = Captions(encoders=2, width=8)
    spec = data.spec
    assert (spec.context, spec.pooled, spec.sections) == ((2 * data.length, 8), 16, (data.length, data.length))
    ids = data.encode(["the digit six"])
    assert torch.equal(ids[:, : data.length], ids[:, data.length :])
    assert data.decode(ids) == ["the digit six"]


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("the digit sevn", r"'sevn' is no word of these captions; did you mean 'seven'\? Known: a, an, by"),
        ("", "has 0 words; allowed: 1 to"),
        ("a " * 20, "has 20 words"),
    ],
)
def test_other_sentences_are_refused(data: Captions, caption: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        data.encode([caption])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"of": Points()}, "Points has no names for its classes"),
        ({"encoders": 3}, "encoders=3; allowed: 1, 2"),
        ({"width": 7}, "width=7; allowed: even"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Captions(**options)


def test_the_images_are_those_of_the_data_set_itself() -> None:
    class Fixed:
        def uniform(self, name: str, shape: tuple[int, ...], /) -> torch.Tensor:
            return torch.full(shape, 0.9)

    plain, captioned = MNIST(shift=2), Captions(MNIST(shift=2))
    assert (captioned.features, captioned.cell) == (plain.features, plain.cell)
    assert captioned.spec.shape == (1, 28, 28)
    x = torch.rand(2, 1, 28, 28)
    condition = {"context": captioned.encode(["the digit one"] * 2)}
    changed = captioned.augment({"x": x, "condition": condition}, Fixed())
    assert torch.equal(changed["x"], plain.augment({"x": x}, Fixed())["x"])
    assert changed["condition"] is condition
    assert torch.equal(captioned.to_images(x), plain.to_images(x))


def test_the_fingerprint_knows_the_captions(data: Captions) -> None:
    x, ids = torch.zeros(2, 1), torch.ones(2, 3, dtype=torch.int64)

    class One(Captions):
        def __init__(self, ids: torch.Tensor) -> None:
            super().__init__()
            self.ids = ids

        def load(self) -> tuple[Rows, Rows]:
            return Rows(x, context=self.ids), Rows(x, context=self.ids)

    assert One(ids).fingerprint == One(ids.clone()).fingerprint != One(ids + 1).fingerprint
    with pytest.raises(ValueError, match="2 samples, but 3 contexts"):
        Rows(x, context=torch.zeros(3, 1))
