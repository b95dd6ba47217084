"""The feed-forward network against its formula."""

from __future__ import annotations

import torch
from torch.nn.functional import gelu

from backbones.layers.feed_forward import FeedForward


def test_formula() -> None:
    for approximate in ("none", "tanh"):
        layer, x = FeedForward(width=4, ratio=2.5, approximate=approximate), torch.randn(2, 3, 4)
        assert layer.fc1.out_features == 10
        torch.testing.assert_close(layer(x), layer.fc2(gelu(layer.fc1(x), approximate=approximate)))
