"""Refusing sizes that a network cannot have, with what was given and what is allowed."""

from __future__ import annotations

import math

from backbones.spec import Spec, parts_of


def check_parts(family: str, spec: Spec, takes: tuple[str, ...]) -> None:
    """Refuse data whose condition has a part that the family has no parameters for.

    A caption is taken by what reads its pooled vector alone, too.
    """
    optional = ("context",) if spec.vocabulary and spec.pooled and "pooled" in takes else ()
    foreign = [part for part in parts_of(spec) if part not in (*takes, *optional)]
    if foreign:
        raise ValueError(f"{family} takes {' and '.join(takes)} as condition, but the data has {', '.join(foreign)}")


def check_positive(**sizes: float) -> None:
    """Refuse a size that is not above 0."""
    for name, size in sizes.items():
        if not size > 0:
            raise ValueError(f"{name}={size}; allowed: above 0")


def check_scale(time_scale: float) -> None:
    """Refuse a scale at which all times have one code."""
    if not (time_scale and math.isfinite(time_scale)):
        raise ValueError(f"time_scale={time_scale}; allowed: any finite number but 0")


def check_heads(width: int, heads: int) -> None:
    """Refuse heads that do not divide the width."""
    if heads < 1 or width % heads:
        allowed = [n for n in range(1, min(width, 64) + 1) if width % n == 0]
        raise ValueError(f"heads={heads} does not divide width={width}; allowed: {', '.join(map(str, allowed))}")


def check_sizes(
    *, width: int, depth: int, heads: int, mlp_ratio: float, time_scale: float, family: str, spec: Spec, patch: int
) -> None:
    """Refuse sizes that no transformer on patches can have."""
    check_positive(width=width, depth=depth, mlp_ratio=mlp_ratio)
    check_scale(time_scale)
    check_patches(family, spec.shape, patch)
    check_heads(width, heads)


def check_sides(shape: tuple[int, ...], spec: Spec, patch: int) -> None:
    """Refuse a sample of other channels or axes than the data's, or with a side that is not whole patches."""
    channels, *sides = spec.shape
    whole = all(side and not side % patch for side in shape[1:])
    if not whole or shape[0] != channels or len(shape) != len(spec.shape):
        wanted = ", ".join(["B", str(channels), *[f"{patch}·n"] * len(sides)])
        raise ValueError(f"z has shape (B, {', '.join(map(str, shape))}); this network takes ({wanted}) of any n ≥ 1")


def check_patches(family: str, shape: tuple[int, ...], patch: int) -> None:
    """Refuse data that has no patches, and a patch size that does not divide every side."""
    if not 2 <= len(shape) <= 4:
        raise ValueError(
            f"{family} cuts samples of shape (C, L), (C, H, W) or (C, T, H, W) into patches, and {shape} has "
            "none; use backbone=MLP"
        )
    sides = shape[1:]
    if patch < 1 or any(side % patch for side in sides):
        allowed = [p for p in range(1, min(sides) + 1) if all(side % p == 0 for side in sides)]
        raise ValueError(
            f"patch={patch} does not divide the sample's sides {'×'.join(map(str, sides))}; "
            f"allowed: {', '.join(map(str, allowed))}"
        )
