"""Why pairs cannot be made of a run's flow, by its configuration alone: neither the run nor its weights are needed."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.config import Config, Fault, RunPairs
from experiments.config.checks import sampling_refusal
from experiments.config.plugins import build_cached, resolve_plugin


def chosen_solver(wanted: RunPairs, other: Config) -> str:
    """The solver that makes the pairs: the one that is asked for, or the objective's own."""
    return wanted.solver or build_cached(other.objective).solvers[0]


def unfit(wanted: RunPairs, other: Config) -> Iterator[Fault]:
    """Every option of ``wanted`` that a run of the configuration ``other`` does not take; keys are the options'."""
    label, spec = other.objective.label, build_cached(other.data).spec
    solver = chosen_solver(wanted, other)
    if (message := sampling_refusal(other.objective, steps=wanted.steps)) is not None:
        yield Fault(("steps",), f"of {label}: {message}")
    if (message := sampling_refusal(other.objective, solver=solver)) is not None:
        yield Fault(("solver",), f"of {label}: {message}")
    elif not build_cached(resolve_plugin("solvers", solver)).deterministic:
        yield Fault(
            ("solver",),
            f"{solver} adds noise of its own, so that a sample of {label} is no function of the noise that it is "
            "paired with; pairs take a deterministic one",
        )
    if wanted.guidance != 1 and not (spec.num_classes or spec.context):
        yield Fault(
            ("guidance",), f"given {wanted.guidance:g}; {other.data.label} has no condition to guide by: 1 is allowed"
        )
