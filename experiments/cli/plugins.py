"""``fewstep list`` and ``fewstep describe``: which plugins there are, and what one means and takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from experiments.cli.console import output, plain_table, tell
from experiments.cli.train import ConfigFile, Overrides
from experiments.errors import UserError
from experiments.registry import GROUPS, entries, singular, stale_plugins
from experiments.registry.names import nearest

if TYPE_CHECKING:
    from experiments.config import Config, Plugin


def list_plugins(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help=f"One of {', '.join(GROUPS)}.")] = None,
) -> None:
    """List the plugins that are installed, with their presets and whose they are. Imports none of them."""
    console = output()
    for name in GROUPS if group is None else [_group(group)]:
        found = entries(name)
        if not found and group is None:
            continue
        console.print(Text(name, style="bold cyan"))
        table = plain_table("name", "what it is", "presets", "package")
        table.show_header = False
        for entry in found.values():
            told = entry.summary or f"({entry.target} has no docstring that can be read)"
            package = "" if entry.own else f"from {entry.distribution}"
            table.add_row(Text("  " + entry.name), Text(told), Text(", ".join(entry.presets)), Text(package))
        console.print(table if found else Text("  none"))
    stale = stale_plugins()
    if stale:
        lines = "\n  ".join(stale)
        tell(f"the installed plugin table is older than pyproject.toml; install again:\n  {lines}", style="yellow")


def _group(text: str) -> str:
    words = {word: group for group in GROUPS for word in (group, singular(group))}
    words["data"] = "datamodules"
    if text.casefold() in words:
        return words[text.casefold()]
    near = nearest(text, words)
    guess = f"; did you mean {near!r}?" if near else "."
    raise UserError(f"there is no group {text!r}{guess} Known: {', '.join(GROUPS)}")


def describe(
    overrides: Overrides = None,
    config: ConfigFile = None,
    gpus: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Plan the memory of a training on N GPUs.")
    ] = None,
    gpu_memory: Annotated[float, typer.Option(metavar="GB", min=0, help="Memory of a GPU, in 10⁹ bytes.")] = 80.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the objective's density, weight and path (svg, png, pdf).")
    ] = None,
) -> None:
    """Say what a plugin is, what it takes and what it becomes; without one named, the whole configuration.

    Examples: fewstep describe objective=shortcut; fewstep describe backbone=DiT-S/2 data=mnist;
    fewstep describe density="mode(1.29)"; fewstep describe --config sd3_8b --gpus 256;
    fewstep describe objective="rf/lognorm(0,1)" --out density.svg
    """
    from experiments.config import ConfigError, read, resolve
    from experiments.config.schema import PLUGINS
    from experiments.portrait import check_format

    if out is not None:
        check_format(out)

    given = overrides or []
    loose = [text for text in given if text.partition("=")[0].partition(".")[0] not in _sections()]
    for text in loose:
        _describe_loose(text)
    raw = read(config, [text for text in given if text not in loose])
    if loose and not raw.data:
        if out is not None:
            raise UserError(f"--out {out} draws an objective: name one, objective=…")
        return
    named = [section for section in PLUGINS if section in raw.data] if config is None else []
    for section in named:
        _describe_plugin(_section(raw.data, section))
    if out is not None or "objective" in named:
        _describe_portrait(raw.data, out)
    try:
        whole = resolve(raw)
    except ConfigError as error:
        if not named or any(fault.key[:1] not in (("backbone",), ("teacher",)) for fault in error.faults):
            raise
        tell(f"with the other sections as they are this is refused: {error}", style="yellow")
    else:
        _describe_facts(whole, named)
        if gpus is not None:
            from experiments.cli.memory import describe_memory

            describe_memory(whole, gpus, gpu_memory)


def _describe_portrait(data: Mapping[str, Any], out: Path | None) -> None:
    """The objective's density, weight and path in a line each, and as a picture in ``out``."""
    from experiments.config.plugins import build_cached
    from experiments.config.schema import PLUGINS
    from experiments.portrait import portrait, save

    chosen = _section({"objective": PLUGINS["objective"][1], **data}, "objective")
    curves = portrait(build_cached(chosen))
    table = plain_table("what", "", "over")
    table.show_header = False
    for curve in curves:
        table.add_row(Text(f"{curve.name} {curve.symbol}"), Text(curve.sparkline(), style="cyan"), Text(curve.told))
    output().print()
    output().print(table)
    if out is not None:
        tell(f"drawn: {save(curves, chosen.label, out)}")


def _sections() -> tuple[str, ...]:
    from experiments.config.schema import KEYS

    return KEYS


def _section(data: Mapping[str, Any], section: str) -> Plugin:
    """One section alone, so that it can be described where the whole configuration would be refused."""
    from dataclasses import replace

    from experiments.config import ConfigError
    from experiments.config.plugins import resolve_plugin
    from experiments.config.schema import PLUGINS

    group, default = PLUGINS[section]
    written = data[section]
    if isinstance(written, Mapping) and "name" not in written:
        written = {"name": default, **written}
    try:
        return resolve_plugin(group, written)
    except ConfigError as error:
        raise ConfigError(replace(fault.under((section,))) for fault in error.faults) from None


def _describe_loose(text: str) -> None:
    """A plugin of a group that is no section by itself: density="mode(1.29)"."""
    from experiments.config import ConfigError, read
    from experiments.config.plugins import resolve_plugin

    word, _, _ = text.partition("=")
    ((_, value),) = read(None, [text]).data.items()
    try:
        _describe_plugin(resolve_plugin(_group(word), value))
    except ConfigError as error:
        raise ConfigError(fault.under((word,)) for fault in error.faults) from None


def _describe_plugin(plugin: Plugin) -> None:
    from experiments.config.plugins import REQUIRED, options, plain

    console = output()
    place = plugin.entry.target if plugin.entry.own else f"{plugin.entry.target}, from {plugin.entry.distribution}"
    console.print(Text(f"{singular(plugin.group)} {plugin.label}", style="bold cyan"), Text(f"({place})"))
    console.print(Text(inspect.getdoc(plugin.cls) or ""), soft_wrap=True)
    table = plain_table("option", "value", "default", "allowed")
    known = options(plugin.cls, plugin.group)
    for name, option in known.items():
        default = "required" if option.default is REQUIRED else _short(plain(option.default))
        table.add_row(Text(name), Text(_short(plain(plugin.options[name]))), Text(default), Text(option.allowed))
    console.print()
    console.print(table if known else Text("no options"))
    if plugin.entry.presets:
        console.print(Text(f"presets: {', '.join(plugin.entry.presets)}"), soft_wrap=True)


def _short(value: Any) -> str:
    """A value in one line, as an override would write it."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}: {_short(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')}({inner})"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(_short, value))}]" if isinstance(value, list) else str(value)


def _describe_facts(config: Config, named: list[str]) -> None:
    """What only the parts together tell: sizes, counts, legal solvers, the run's name."""
    from experiments.config.checks import meta_backbone
    from experiments.config.plugins import build_cached

    objective, data = build_cached(config.objective), build_cached(config.data)
    table = plain_table("what", "value")
    table.show_header = False

    def row(what: str, value: object) -> None:
        table.add_row(Text(what, style="bold"), Text(str(value)))

    if not named or "objective" in named:
        row("objective", config.objective.label)
        row("needs", ", ".join(f"{key}: {_short(value)}" for key, value in vars(objective.needs).items()))
        row("solvers", ", ".join(objective.solvers))
    if not named or "data" in named:
        row("data", f"{config.data.label}, {data.spec}")
    if not named or "backbone" in named:
        network = meta_backbone(config.backbone, config.data, step=objective.needs.step)
        count = sum(parameter.numel() for parameter in network.parameters())
        row("backbone", f"{config.backbone.label}, {count:,} parameters on {config.data.label}")
        for what, value in _costs(network, config).items():
            row(what, value)
    row("run", config.run_name)
    output().print()
    output().print(table)


def _costs(network: Any, config: Config) -> dict[str, str]:
    """What one sample costs the network: a forward pass's FLOPs, and what its gradient keeps of that pass."""
    from experiments.flops import network_flops
    from experiments.memory import activation_bytes, compute_type

    dtype = compute_type(config)
    everything, checkpointed = (_scaled(size) + "B" for size in activation_bytes(network, 1, dtype))
    told = f"{everything}, {checkpointed} with blocks checkpointed; in {str(dtype).removeprefix('torch.')}"
    return {
        "forward pass": f"{_scaled(network_flops(network))}FLOPs for a sample, a multiply-add being two",
        "activations": f"kept of a sample for its gradient: about {told}",
    }


def _scaled(value: float) -> str:
    """Four digits and the prefix of a unit."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g} {prefix}"
    return f"{value:g} "
