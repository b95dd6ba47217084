"""Names of weights: one spelling each, read back to what they mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config import ConfigError, parse, read, resolve
from experiments.config.averages import PATTERN, canonical, ema_name, names, power, power_name
from experiments.config.schema import EMA


@given(st.floats(0, 1, exclude_max=True))
def test_a_decays_name_is_a_name_and_reads_back(decay: float) -> None:
    name = ema_name(decay)
    assert re.fullmatch(PATTERN, name)
    assert float(name.removeprefix("ema-")) == decay
    assert canonical(name) == name


@given(st.floats(1e-3, 0.28), st.none() | st.integers(0, 10**9))
def test_a_profiles_name_is_a_name_and_reads_back(sigma_rel: float, step: int | None) -> None:
    name = power_name(sigma_rel) + ("" if step is None else f"@{step}")
    assert re.fullmatch(PATTERN, name)
    wanted = power(name)
    assert wanted is not None
    assert (wanted.sigma_rel, wanted.step) == (sigma_rel, step)
    assert canonical(name) == str(wanted) == name


def test_the_names_of_a_configuration_and_their_other_spellings() -> None:
    assert names(EMA(decays=(0.999, 0.9999), profiles=(0.05, 0.1, 0.125))) == [
        "ema-0.999", "ema-0.9999", "power-0.05", "power-0.10", "power-0.125",
    ]  # fmt: skip
    assert canonical("power-0.1") == "power-0.10"
    assert canonical("ema-0.9990") == "ema-0.999"
    assert [canonical(name) for name in ("raw", "ema", "best")] == ["raw", "ema", "best"]


def weights(*overrides: str) -> tuple[str, ...]:
    return resolve(read(None, overrides)).evaluation.weights


def test_every_average_can_be_evaluated_by_name() -> None:
    asked = "evaluation.weights=raw,ema,best,ema-0.99,power-0.10,power-0.12,power-0.12@100"
    given = weights(asked, "ema.decays=0.999,0.99", "ema.profiles=0.05,0.10")
    assert given[3:5] == ("ema-0.99", "power-0.10")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["evaluation.weights=ema-0.5"], "kept are raw, ema-0.999"),
        (["evaluation.weights=power-0.12"], "ema.profiles is empty"),
        (["evaluation.weights=power"], "expected 'ema' or 'raw'"),
        (["ema.decays=0.9,0.9"], "0.9 is given twice"),
        (["ema.profiles=0.1,0.10"], "0.10 is given twice"),
        (["ema.profiles=0.3"], "> 0 and ≤ 0.28"),
    ],
)
def test_what_no_run_has_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        weights(*overrides)


def test_a_profile_alone_is_the_average_that_is_evaluated() -> None:
    assert weights("ema.decays=[]", "ema.profiles=0.05") == ("ema", "raw")
    assert weights("ema.decays=[]") == ("raw",)


def test_profiles_make_another_run_and_the_cadence_of_snapshots_does_not() -> None:
    plain, profiled, seldom = (
        resolve(parse({"ema": ema})) for ema in ({}, {"profiles": [0.05]}, {"profiles": [0.05], "snapshot_every": 7})
    )
    assert plain.hash != profiled.hash == seldom.hash
    assert "profiles" not in plain.identity()["ema"]
