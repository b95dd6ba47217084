"""SD3's names of formulations, read and written: "rf/lognorm(0.00,1.00)", "edm(-1.20,1.20)", …"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import TypedDict

from objectives.densities import CosMap, LogitNormal, Mode, TimeDensity, Uniform
from objectives.heads import EDMPreconditioned, Epsilon, Head, Velocity, VPrediction
from objectives.paths import Cosine, LDMLinear, Path, Straight, VarianceExploding

_RF, _EDM = (Straight(), Velocity()), (VarianceExploding(), EDMPreconditioned())


class Product(TypedDict):
    """The constructor arguments of FlowMatching that a name means."""

    path: Path
    time: TimeDensity
    head: Head


_Family = tuple[tuple[Path, Head], Callable[..., TimeDensity], tuple[str, ...]]
_FAMILIES: dict[str, _Family] = {
    "rf": (_RF, Uniform, ()),
    "rf/lognorm": (_RF, LogitNormal, ("m", "s")),
    "rf/mode": (_RF, Mode, ("s",)),
    "rf/cosmap": (_RF, CosMap, ()),
    "edm": (_EDM, LogitNormal, ("m", "s")),
    "edm/rf": (_EDM, Uniform, ()),
    "edm/cos": (_EDM, CosMap, ()),
    "eps/linear": ((LDMLinear(), Epsilon()), Uniform, ()),
    "v/linear": ((LDMLinear(), VPrediction()), Uniform, ()),
    "eps/cos": ((Cosine(), Epsilon()), Uniform, ()),
    "v/cos": ((Cosine(), VPrediction()), Uniform, ()),
}


def known() -> tuple[str, ...]:
    """The names that `parse` reads, with letters for their parameters."""
    return tuple(name + (f"({','.join(letters)})" if letters else "") for name, (_, _, letters) in _FAMILIES.items())


def parse(text: str) -> Product | None:
    """FlowMatching's `path`, `time` and `head` meant by a name; None if the text is not in this notation.

    Raises:
        ValueError: the text begins like one of these names ("rf", "edm", "eps/", "v/") but none is meant by it: a
            wrong rest, a wrong number of parameters, one that is no number or out of range.
    """
    compact = re.sub(r"\s+", "", text).lower().replace("−", "-")
    if not re.match(r"(rf|edm)(/|\(|$)|(eps|v)/", compact):
        return None
    match = re.fullmatch(r"([^()]*)(?:\(([^()]*)\))?", compact)
    name, inside = match.groups() if match else (compact, None)
    if match is None or name not in _FAMILIES:
        raise unknown(text)
    (path, head), density, letters = _FAMILIES[name]
    given = inside.split(",") if inside else []
    if len(given) != len(letters) or (inside is not None and not letters):
        asked = f"parameters ({', '.join(letters)})" if letters else "no parameters"
        raise ValueError(f"{name} takes {asked}, got {text!r}")
    time = density(*(_number(word, text) for word in given))
    return Product(path=path, time=time, head=head)


def write(path: Path, time: TimeDensity, head: Head) -> str:
    """The name that `parse` reads back to these three; a plain description where there is none."""
    for name, (product, density, letters) in _FAMILIES.items():
        if (path, head) == product and type(time) is density:
            numbers = ",".join(_written(float(getattr(time, letter))) for letter in letters)
            return f"{name}({numbers})" if letters else name
    return f"{path}/{head}/{time}"


def _number(word: str, text: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{word!r} in {text!r} is not a number") from None


def _written(value: float) -> str:
    """Two decimals, more only where needed to read the same float back."""
    short = f"{value + 0.0:.2f}"
    return short if float(short) == value else repr(value)


def unknown(text: str) -> ValueError:
    """The error for a name that is none, with the nearest one and the known ones."""
    name = text.split("(")[0].strip().lower()
    near = difflib.get_close_matches(name, _FAMILIES, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ValueError(f"unknown formulation {text!r}{hint}; known: {', '.join(known())}")
