"""UNet: diffusers' convolutional U-Net as a backbone, for comparison with results that were had with one.

Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021 (arXiv 2105.05233), §3 ("ADM", the network of
many of EDM's and the consistency models' results); von Platen et al., diffusers, UNet2DModel. Shapes: B batch.
"""

from __future__ import annotations

import importlib
import math
from typing import Any, ClassVar

from torch import Tensor, nn

from backbones.base import Backbone, Complete, Spec
from backbones.checks import check_positive, check_scale, check_sides
from backbones.initialisation import ADALN_ZERO, Rules, ones, zeros
from backbones.layers.embedding import LabelEmbedding, PooledEmbedding, StepEmbedding, at_least_float32, sinusoid

EXTRA = "backbone=UNet is diffusers' U-Net, and diffusers is not installed here: pip install 'fewstep[unet]'"


class Code(nn.Module):
    """The sine-cosine code of a number, as diffusers' Timesteps gives it, but in the number's own dtype where finer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, t: Tensor) -> Tensor:
        """(B,) to (B, width)."""
        return sinusoid(t, self.width)


class Norm(nn.GroupNorm):
    """torch's group norm; its forward-mode derivative wants what it is given to be laid out without gaps."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, …) to the same."""
        return super().forward(input.contiguous())


class UNet(Backbone):
    """U-Net (diffusers' UNet2DModel, modulated as ADM); labels, a pooled vector or no condition. Needs fewstep[unet].

    Residual blocks whose norms are shifted and scaled by the vector y = time (+ pooled) (+ label) (+ step), with
    self-attention at some levels and in the middle. Time goes through diffusers' own embedding; the others are ours and
    enter where diffusers adds its class embedding. Each residual block and each attention starts as the identity, and
    the last convolution at zero, as ADM's; between levels it has diffusers' convolutions and not ADM's residual blocks.
    Samples of any sides are taken that can be halved between the levels.

    Args:
        spec: shape (C, H, W), number of classes, pooled width; filled in by the framework.
        step: whether the network is told the step size; filled in by the framework.
        channels: of each level, the highest resolution first.
        blocks: residual blocks of a level on the way down; the way up has one more.
        attention: the levels with self-attention, 0 being the highest resolution; the middle always has it.
        head_width: channels of an attention head; divides the channels where there is attention.
        time_scale: what t is multiplied by before its sine-cosine code.

    Raises:
        ValueError: a size that does not fit, data with context other than captions, or diffusers is not installed.
    """

    takes: ClassVar[tuple[str, ...]] = ("label", "pooled")
    rules: Rules = (
        ("network.conv_out.*", zeros),
        ("*.resnets.*.conv2.*", zeros),
        ("*.attentions.*.to_out.*", zeros),
        ("*norm*.weight", ones),
        *ADALN_ZERO,
    )

    def __init__(
        self,
        spec: Spec,
        *,
        step: bool = False,
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        attention: tuple[int, ...] = (1,),
        head_width: int = 32,
        time_scale: float = 1000.0,
    ) -> None:
        super().__init__(spec, step=step)
        check_positive(blocks=blocks, head_width=head_width)
        check_scale(time_scale)
        self.channels, self.blocks, self.attention, self.head_width = channels, blocks, attention, head_width
        self.time_scale = time_scale
        self._check_levels(spec)
        width = 4 * channels[0]
        self.y_embedder = LabelEmbedding(classes=spec.num_classes, width=width) if spec.num_classes else None
        self.pooled_embedder = PooledEmbedding(pooled=spec.pooled, width=width) if spec.pooled else None
        self.step_embedder = StepEmbedding(width=width, scale=time_scale) if step else None
        self.network = self._network(spec.shape[0], told=bool(spec.num_classes or spec.pooled or step))

    def _check_levels(self, spec: Spec) -> None:
        channels, levels = self.channels, len(self.channels)
        if len(spec.shape) != 3:
            raise ValueError(f"UNet takes images (C, H, W), and the samples are {spec.shape}; use backbone=DiT or MLP")
        if not channels or min(channels) < 1:
            raise ValueError(f"channels={list(channels)}; allowed: a number above 0 for each level, one level at least")
        if channels[0] % 2:
            raise ValueError(
                f"channels={list(channels)}: the first is the width of the time's code; allowed: even numbers"
            )
        sides = spec.shape[1:]
        if any(side % self.factor for side in sides):
            raise ValueError(
                f"channels={list(channels)} halve the sides {sides[0]}×{sides[1]} {levels - 1} times; "
                f"allowed: {_halvings(sides) + 1} levels or fewer"
            )
        wrong = [level for level in self.attention if not 0 <= level < levels]
        if wrong:
            allowed = f"0 … {levels - 1}, the first being the highest resolution"
            raise ValueError(f"attention={list(self.attention)}: there is no level {wrong[0]}; allowed: {allowed}")
        for level in {*self.attention, levels - 1}:
            if channels[level] % self.head_width:
                raise ValueError(
                    f"head_width={self.head_width} does not divide the {channels[level]} channels of level {level}"
                )

    def _network(self, channels: int, *, told: bool) -> nn.Module:
        try:
            diffusers: Any = importlib.import_module("diffusers")
        except ImportError as error:
            raise ValueError(EXTRA if error.name == "diffusers" else f"{EXTRA} ({error})") from error

        smallest = math.gcd(*self.channels)
        groups = max((n for n in range(1, 33) if smallest % n == 0 and smallest // n >= 4), default=1)
        attended = [level in self.attention for level in range(len(self.channels))]
        network: nn.Module = diffusers.UNet2DModel(
            in_channels=channels,
            out_channels=channels,
            block_out_channels=self.channels,
            layers_per_block=self.blocks,
            down_block_types=tuple("AttnDownBlock2D" if one else "DownBlock2D" for one in attended),
            up_block_types=tuple("AttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attended)),
            attention_head_dim=self.head_width,
            norm_num_groups=groups,
            attn_norm_num_groups=groups,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity" if told else None,
        )
        network.time_proj = Code(self.channels[0])
        for module in network.modules():
            if type(module) is nn.GroupNorm:
                module.__class__ = Norm
        return network

    @property
    def factor(self) -> int:
        """By how much a map is narrower at the lowest resolution."""
        return 2 ** (len(self.channels) - 1)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse other channels and axes than the data's, and sides that cannot be halved between the levels."""
        check_sides(shape, self.spec, self.factor)

    def compute(self, z: Tensor, t: Tensor, condition: Complete, step: Tensor | None) -> Tensor:
        """diffusers' forward pass, its class embedding being the sum of ours."""
        told: list[Tensor] = []
        if self.pooled_embedder is not None:
            told.append(self.pooled_embedder(condition.value["pooled"], condition.drop["pooled"]))
        if self.y_embedder is not None:
            told.append(self.y_embedder(condition.value["label"], condition.drop["label"]))
        if self.step_embedder is not None:
            assert step is not None
            told.append(self.step_embedder(step))
        time = self.time_scale * at_least_float32(t)
        return self.network(z, time, class_labels=sum(told) if told else None, return_dict=False)[0]


def _halvings(sides: tuple[int, ...]) -> int:
    """How often all sides can be halved."""
    gcd = math.gcd(*sides)
    return (gcd & -gcd).bit_length() - 1
