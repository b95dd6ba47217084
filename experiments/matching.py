"""Networks of one size: each backbone as wide as it takes to have a given number of parameters, or of FLOPs.

Families differ in what a block of equal width holds (18·D² in a DiT, 36·D² in an MM-DiT, besides what convolutions
have), so that equal widths or depths compare sizes and not architectures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.config.faults import ConfigError
from experiments.config.plugins import Plugin, build_cached, resolve_plugin
from experiments.errors import UserError

Measure = Literal["parameters", "flops"]

STEP = 4
"""Widths are multiples of this and of the heads: small enough to meet a size within some per cent."""

WIDEST = 2**15
"""The largest width that is tried."""


@dataclass(frozen=True)
class Size:
    """Parameters of a network, and FLOPs of one sample's forward pass (a multiply-add is two)."""

    parameters: int
    flops: int


@dataclass(frozen=True)
class Match:
    """A backbone that was made as large as another: what a configuration calls it, its options, its size."""

    plugin: Plugin
    options: Mapping[str, Any]
    size: Size

    @property
    def text(self) -> str:
        """The backbone as a command line or a YAML file has it: "DiT(depth=4, width=96, heads=6)"."""
        return f"{self.plugin.name}({', '.join(f'{name}={_written(value)}' for name, value in self.options.items())})"


def size(backbone: Plugin, data: Plugin, *, step: bool = False) -> Size:
    """The size of a backbone on these data, laid out without memory.

    Raises:
        UserError: the backbone refuses the data.
    """
    from experiments.config.checks import meta_backbone
    from experiments.flops import network_flops

    try:
        network = meta_backbone(backbone, data, step=step)
    except ValueError as error:
        raise UserError(f"{backbone.label} on {data.label} {build_cached(data).spec.shape}: {error}") from error
    return Size(sum(parameter.numel() for parameter in network.parameters()), network_flops(network))


def match(name: str, data: str, *, to: float, by: Measure, step: bool = False) -> Match:
    """A backbone of about the wanted size: its width varies, and the channels of levels in proportion to it.

    All other options that the name gives ("MMDiT(depth=4, heads=4, sets=3)") stay.

    Args:
        name: a backbone, as a configuration has it.
        data: a data module, as a configuration has it.
        to: parameters, or FLOPs of a forward pass.
        by: which of the two.
        step: whether the network is told the step size.

    Raises:
        UserError: unknown names, a backbone without a width, or one that refuses the data.
    """
    try:
        plugin, on = resolve_plugin("backbones", name), resolve_plugin("datamodules", data)
    except ConfigError as error:
        raise UserError(str(error)) from error
    if "width" not in plugin.options:
        raise UserError(f"{plugin.name} has no width to vary, by which it could be matched")
    unit = math.lcm(STEP, plugin.options.get("heads", 1))

    def at(count: int) -> Match:
        options = _grown(plugin, unit * count)
        grown = Plugin(plugin.entry, {**plugin.options, **options})
        own = {option: value for option, value in grown.options.items() if value != _default(plugin, option)}
        return Match(grown, {**own, **options}, size(grown, on, step=step))

    def reached(count: int) -> int:
        return getattr(at(count).size, by)

    low, high = 1, 2
    while reached(high) < to and high * unit < WIDEST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reached(middle) < to else (low, middle)
    return min((at(low), at(high)), key=lambda one: abs(math.log(getattr(one.size, by) / to)))


def _grown(plugin: Plugin, width: int) -> dict[str, Any]:
    """The width, and channels in their proportion to it, in fours."""
    options: dict[str, Any] = {"width": width}
    if "channels" in plugin.options:
        each = [max(4, 4 * round(count * width / plugin.options["width"] / 4)) for count in plugin.options["channels"]]
        options["channels"] = tuple(each)
    return options


def _default(plugin: Plugin, option: str) -> Any:
    return resolve_plugin(plugin.group, plugin.name).options[option]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, (list, tuple)) else str(value)
