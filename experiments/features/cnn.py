"""Small convolutional classifiers whose last hidden layer serves as features of digits.

Shapes: images uint8 (N, 1, S, S); features (N, 64); logits (N, 10). `train_cnn` makes the weights.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from importlib.resources.abc import Traversable
from typing import ClassVar

import torch
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor, nn

from experiments.features.base import FeatureExtractor

WIDTH = 64


class DigitCNN(FeatureExtractor):
    """Three convolutions, then 64 features, then ten classes; SiLU, which leaves no unit dead as ReLU does.

    Each of the first two convolutions may halve the image; dropout on the features while training keeps all of them
    in use. Pixels enter as v/127.5 − 1.

    Args:
        pretrained: load the weights that the package ships, and never train them.
    """

    dim: ClassVar[int | None] = WIDTH
    size: ClassVar[int]
    strides: ClassVar[tuple[int, int, int]]

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.pretrained = pretrained
        first, second, third = self.strides
        side = self.size
        for stride in self.strides:
            side = -(-side // stride)
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=first, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=second, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, stride=third, padding=1),
            nn.SiLU(),
        )
        self.hidden = nn.Linear(64 * side**2, WIDTH)
        self.dropout = nn.Dropout(0.3)
        self.classes = nn.Linear(WIDTH, 10)
        if pretrained:
            self.load_state_dict(load(self.weights_file().read_bytes()))
            self.eval().requires_grad_(False)

    @classmethod
    def weights_file(cls) -> Traversable:
        """The shipped weights, safetensors, with the figures of their training in the metadata."""
        return importlib.resources.files("experiments.features").joinpath("weights", f"{cls.name}.safetensors")

    @classmethod
    def metadata(cls) -> dict[str, str]:
        """How the shipped weights were made, and what they score."""
        with importlib.resources.as_file(cls.weights_file()) as path, safe_open(path, framework="pt") as file:
            return file.metadata()

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(b"v/127.5-1")
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:12]}"

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, 64), float32, of images uint8 (N, 1, S, S)."""
        if x.dtype != torch.uint8 or x.shape[1:] != (1, self.size, self.size):
            raise ValueError(
                f"{self.name} takes uint8 images (N, 1, {self.size}, {self.size}), but was given {x.dtype} "
                f"{tuple(x.shape)}"
            )
        return self.features(x.float() / 127.5 - 1)

    def features(self, x: Tensor) -> Tensor:
        """Features (N, 64) of images (N, 1, S, S) in [−1, 1]."""
        return nn.functional.silu(self.hidden(self.convolutions(x).flatten(1)))

    def logits(self, x: Tensor) -> Tensor:
        """Class logits (N, 10) of images (N, 1, S, S) in [−1, 1]."""
        return self.classes(self.dropout(self.features(x)))


class DigitsCNN(DigitCNN):
    """Features of a classifier of the 8×8 digits (98.9 % of the held-out ones right).

    The 360 held-out digits are at Fréchet distance 10.8 from the 1,437 training ones, standard normal noise at 539.
    """

    name: ClassVar[str] = "digits_cnn"
    size: ClassVar[int] = 8
    strides: ClassVar[tuple[int, int, int]] = (1, 2, 1)


class MNISTCNN(DigitCNN):
    """Features of a classifier of the 28×28 MNIST digits (98.3 % of the held-out ones right).

    The 1,000 held-out digits are at Fréchet distance 4.5 from the 4,000 training ones, standard normal noise at 978.
    """

    name: ClassVar[str] = "mnist_cnn"
    size: ClassVar[int] = 28
    strides: ClassVar[tuple[int, int, int]] = (2, 2, 2)
