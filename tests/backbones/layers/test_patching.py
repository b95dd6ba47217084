"""Patches: cut and laid out again."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.layers.patching import PatchEmbed, grid_of, patch_features, unpatchify

shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(1, 3), min_size=1, max_size=3)
)  # channels, patch, grid


@given(sizes=shapes)
def test_unpatchify_inverts_an_identity_embedding(sizes: tuple[int, int, list[int]]) -> None:
    channels, patch, grid = sizes
    dims = len(grid)
    shape = (channels, *(patch * side for side in grid))
    features = patch_features(shape, patch)
    assert features == channels * patch**dims
    embed = PatchEmbed(channels=channels, patch=patch, width=features, dims=dims)
    # The convolution reads features as (C, p1, …, pn), the output writes them as (p1, …, pn, C).
    weight = torch.eye(features).view(features, *[patch] * dims, channels).movedim(-1, 1)
    z = torch.randn(2, *shape)
    with torch.no_grad():
        embed.proj.weight.copy_(weight)
        assert embed.proj.bias is not None
        embed.proj.bias.zero_()
        tokens = embed(z)
        assert tokens.shape == (2, math.prod(grid), features)
        torch.testing.assert_close(unpatchify(tokens, grid_of(shape, patch), patch), z)


def test_order_of_tokens_and_features() -> None:
    """In two dimensions: rows of the grid first, then within a patch rows, columns, channels."""
    x = torch.arange(2 * 3 * 8.0).view(1, 6, 8)
    image = unpatchify(x, (2, 3), 2)
    assert image.shape == (1, 2, 4, 6)
    for row in range(4):
        for column in range(6):
            token, feature = (row // 2) * 3 + column // 2, ((row % 2) * 2 + column % 2) * 2
            assert image[0, :, row, column].tolist() == x[0, token, feature : feature + 2].tolist()
