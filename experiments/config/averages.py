"""Names of a run's weights: "raw", "ema", "ema-0.999", "power-0.10" and "power-0.12@4000"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.config.schema import EMA

EVERY = 10
"""Steps between the updates of every average but the first."""

PATTERN = r"raw|ema|best|ema-0(?:\.\d+)?|power-0\.\d+(?:@\d+)?"
"""What a name of weights looks like."""

TOLD = "'ema' or 'raw', or by name: best, ema-DECAY, power-SIGMA_REL, power-SIGMA_REL@STEP"


@dataclass(frozen=True)
class PowerName:
    """A power profile asked for by name: its σ_rel, and its step (None: the newest)."""

    sigma_rel: float
    step: int | None = None

    def __str__(self) -> str:
        return power_name(self.sigma_rel) + (f"@{self.step}" if self.step is not None else "")


def ema_name(decay: float) -> str:
    """The name of the average of a constant decay: "ema-0.999"."""
    return f"ema-{_digits(decay)}"


def power_name(sigma_rel: float) -> str:
    """The name of a power profile, with two decimals or as many as it needs: "power-0.10", "power-0.125"."""
    short = f"{sigma_rel:.2f}"
    return f"power-{short if float(short) == sigma_rel else _digits(sigma_rel)}"


def _digits(number: float) -> str:
    """A float by its shortest digits, without an exponent."""
    return format(Decimal(repr(number)), "f")


def names(settings: EMA) -> list[str]:
    """The names of a configuration's averages, in their order; the first is also called "ema"."""
    return [*map(ema_name, settings.decays), *map(power_name, settings.profiles)]


def canonical(weights: str) -> str:
    """The one spelling of a name: "power-0.1" is "power-0.10"."""
    kind, _, rest = weights.partition("-")
    if kind == "ema" and rest:
        return ema_name(float(rest))
    wanted = power(weights)
    return str(wanted) if wanted else weights


def power(weights: str) -> PowerName | None:
    """The power profile that a name asks for; None where it is another kind of weights."""
    match = re.fullmatch(r"power-([0-9.]+)(?:@(\d+))?", weights)
    return PowerName(float(match[1]), int(match[2]) if match[2] else None) if match else None


def refusal(weights: str, settings: EMA) -> str | None:
    """Why a run that keeps these averages has no weights of this name; None where it has, or may have."""
    kept = names(settings)
    if weights == "ema" and not kept:
        return "ema.decays is empty: only 'raw' is allowed"
    if weights.startswith("ema-") and canonical(weights) not in kept:
        return f"kept are {', '.join(['raw', *kept])}"
    if power(weights) and not settings.profiles:
        return "power profiles come from snapshots, and ema.profiles is empty (0.05,0.10 are EDM2's)"
    return None
