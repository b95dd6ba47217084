"""The contract of a feature extractor, and how samples go through one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn


class FeatureExtractor(nn.Module, ABC):
    """A fixed map from samples to feature vectors.

    `takes` says what `forward` is given: "images" are uint8 (N, C, H, W) as the datamodule's `to_images` makes
    them, so that real and generated samples are quantised alike; "samples" are the normalised samples themselves.
    """

    version: ClassVar[int] = 1
    name: ClassVar[str]
    takes: ClassVar[Literal["images", "samples"]] = "images"
    dim: ClassVar[int | None]
    """Number of features; None where it follows from the sample's shape."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Names the map: equal fingerprints give equal features. Changes with the weights and the preprocessing."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D), float32.

        Raises:
            ValueError: for samples of a shape or type that this extractor does not take.
        """


class Pictures(Protocol):
    """What extraction needs of a datamodule."""

    def to_images(self, x: Tensor) -> Tensor: ...


def extract(extractor: FeatureExtractor, data: Pictures, x: Tensor, batch_size: int = 512) -> Tensor:
    """Features (N, D), float32 on the CPU, of normalised samples x (N, …), in batches.

    Raises:
        ValueError: if there is no sample, or the extractor does not take samples of this shape.
    """
    if len(x) == 0:
        raise ValueError("there is no sample to take features of")
    where = next((tensor.device for tensor in [*extractor.parameters(), *extractor.buffers()]), x.device)
    parts = []
    with torch.inference_mode():
        for batch in x.split(batch_size):
            given = data.to_images(batch) if extractor.takes == "images" else batch.float()
            parts.append(extractor(given.to(where)).cpu())
    return torch.cat(parts).clone()
