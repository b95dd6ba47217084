"""``fewstep describe … --gpus N``: what a training needs of each GPU's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from experiments.cli.console import output, plain_table

if TYPE_CHECKING:
    from experiments.config import Config

GB = 1e9


def describe_memory(config: Config, gpus: int, gpu_memory: float) -> None:
    """Print the plan of a configuration on ``gpus`` GPUs of ``gpu_memory`` GB (10⁹ bytes)."""
    from experiments.memory import RESERVE, memory_plan

    plan = memory_plan(config, gpus)
    table = plain_table("GB on each GPU", "all kept", "blocks checkpointed")
    rows = {
        "parameters": plan.parameters,
        "gradients": plan.gradients,
        "optimiser's moments": plan.optimizer,
        "averages, float32": plan.averages,
        **({"teachers, float32": plan.teachers} if plan.teachers else {}),
        "gathered weights and gradients": plan.gathered,
    }
    for name, size in rows.items():
        table.add_row(Text(name), *[Text(f"{size / GB:.2f}")] * 2)
    copies = (plan.copies, plan.copies_checkpointed)
    table.add_row("bfloat16 copies of the weights", *(f"{size / GB:.2f}" for size in copies))
    table.add_row("activations (estimate)", *(f"{size / GB:.2f}" for size in (plan.activations, plan.checkpointed)))
    totals = [plan.total(checkpointing=checkpointing) for checkpointing in (False, True)]
    table.add_row(Text("total", style="bold"), *(Text(f"{total / GB:.2f}", style="bold") for total in totals))
    fits = [plan.fits(gpu_memory * GB, checkpointing=checkpointing) for checkpointing in (False, True)]
    table.add_row(f"fits {gpu_memory:g} GB, {100 * RESERVE:.0f} % left free", *("yes" if fit else "no" for fit in fits))
    output().print()
    shared = "shared by FSDP2" if gpus > 1 else "not shared"
    output().print(
        Text(f"{plan.count:,} parameters on {gpus} GPUs, {shared}; {plan.samples} samples on each at a time")
    )
    output().print(table)
