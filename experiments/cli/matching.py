"""``fewstep match``: backbones of equal size, for a comparison that is one of architectures."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import output, plain_table
from experiments.errors import UserError


def match(
    backbones: Annotated[list[str], typer.Argument(metavar="BACKBONE...", help="Names, with options in brackets.")],
    to: Annotated[str, typer.Option(metavar="SIZE|BACKBONE", help="The size, a number or that of a backbone.")],
    by: Annotated[str, typer.Option(metavar="parameters|flops", help="Which size.")] = "parameters",
    data: Annotated[str, typer.Option(metavar="NAME", help="The data.")] = "digits",
    step: Annotated[
        bool, typer.Option("--step", help="With a step embedding, as few-step objectives have it.")
    ] = False,
) -> None:
    """Find the widths at which backbones have equally many parameters, or FLOPs of a forward pass.

    The options that are given stay; the width and the channels of levels vary.

    Example: fewstep match "DiT(patch=2)" "MMDiT(patch=2)" --data captions --to "DiT(patch=2)" --by flops
    """
    from rich.text import Text

    from experiments.config.faults import ConfigError
    from experiments.config.plugins import resolve_plugin
    from experiments.matching import match, size

    if by not in ("parameters", "flops"):
        raise UserError(f"--by {by}: sizes are parameters or flops")
    try:
        wanted = float(to)
    except ValueError:
        try:
            like = size(resolve_plugin("backbones", to), resolve_plugin("datamodules", data), step=step)
        except ConfigError as error:
            raise UserError(f"--to {to} on {data}: {error}") from error
        wanted = float(getattr(like, by))
    if not wanted > 0:
        raise UserError(f"--to {to}: a size is above 0")
    table = plain_table("backbone", "parameters", "FLOPs forward", f"{by} / wanted")
    for name in backbones:
        found = match(name, data, to=wanted, by=by, step=step)  # pyright: ignore[reportArgumentType]
        ratio = getattr(found.size, by) / wanted
        table.add_row(Text(found.text), f"{found.size.parameters:,}", f"{found.size.flops:,}", f"{ratio:.3f}")
    output().print(table)
