"""SD3's names: read and written back, refused with what is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import FlowMatching, formulation
from objectives.densities import CosMap, LogitNormal, Mode, Uniform
from objectives.heads import EDMPreconditioned, Epsilon, Velocity, VPrediction
from objectives.paths import Cosine, LDMLinear, Straight, VarianceExploding


@pytest.mark.parametrize(
    ("name", "path", "time", "head"),
    [
        ("rf", Straight(), Uniform(), Velocity()),
        ("rf/lognorm(0.00,1.00)", Straight(), LogitNormal(0, 1), Velocity()),
        ("rf/mode(1.29)", Straight(), Mode(1.29), Velocity()),
        ("rf/cosmap", Straight(), CosMap(), Velocity()),
        ("edm(-1.20,1.20)", VarianceExploding(), LogitNormal(-1.2, 1.2), EDMPreconditioned()),
        ("edm/rf", VarianceExploding(), Uniform(), EDMPreconditioned()),
        ("edm/cos", VarianceExploding(), CosMap(), EDMPreconditioned()),
        ("eps/linear", LDMLinear(), Uniform(), Epsilon()),
        ("v/linear", LDMLinear(), Uniform(), VPrediction()),
        ("eps/cos", Cosine(), Uniform(), Epsilon()),
        ("v/cos", Cosine(), Uniform(), VPrediction()),
    ],
)
def test_the_papers_names_are_read_and_written(name, path, time, head):
    objective = formulation(name)
    assert (objective.path, objective.time, objective.head) == (path, time, head)
    assert objective.notation == name
    assert formulation(f"  {name.upper()} ").notation == name
    assert formulation(name.replace("-", "−").replace(",", " , ")).notation == name
    assert FlowMatching(**FlowMatching.from_notation(name)).notation == name


@given(st.floats(-3, 3), st.floats(0.1, 3), st.sampled_from(("rf/lognorm", "edm")))
def test_any_parameters_come_back(m, s, family):
    written = formulation(f"{family}({m!r}, {s!r})").notation
    read = formulation(written).time
    assert (read.m, read.s) == (m, s)
    assert formulation(written).notation == written


def test_the_share_of_dropped_conditions_is_handed_on():
    assert formulation("rf", condition_drop=0.3).condition_drop == 0.3


@given(st.integers(-100, 175))
def test_two_decimals_stay_two(hundredths):
    name = f"rf/mode({hundredths / 100:.2f})"
    assert formulation(name).notation == name


def test_more_decimals_only_where_needed():
    assert formulation("rf/mode(1.2917)").notation == "rf/mode(1.2917)"
    assert formulation("rf/lognorm(-0.0,1)").notation == "rf/lognorm(0.00,1.00)"


@pytest.mark.parametrize("name", ["digits", "shortcut", "", "velocity", "rfx", "edmx(1,2)"])
def test_other_text_is_not_of_this_notation(name):
    assert FlowMatching.from_notation(name) is None
    with pytest.raises(ValueError, match=r"known: rf, rf/lognorm\(m,s\)"):
        formulation(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rf/lognrm(0,1)", "did you mean 'rf/lognorm'"),
        ("rf/lognorm(0)", r"takes parameters \(m, s\)"),
        ("rf/lognorm", r"takes parameters \(m, s\)"),
        ("rf/lognorm(0,1,2)", r"takes parameters \(m, s\)"),
        ("rf(1)", "takes no parameters"),
        ("rf/cosmap()", "takes no parameters"),
        ("rf/lognorm(0,1", "unknown formulation"),
        ("rf/lognorm(zero,1)", "'zero'.* is not a number"),
        ("rf/lognorm(0,0)", "standard deviation s"),
        ("rf/lognorm(0,nan)", "standard deviation s"),
        ("rf/lognorm(inf,1)", "mean m"),
        ("rf/mode(1.76)", r"\[-1, 1.7519\]"),
        ("rf/mode(-1.01)", r"\[-1, 1.7519\]"),
        ("eps/linear(1)", "takes no parameters"),
        ("eps/lineal", "did you mean 'eps/linear'"),
        ("v/rf", "unknown formulation"),
        ("edm/linear", "unknown formulation"),
        ("edm(10,0.001)", "of its mass"),
    ],
)
def test_wrong_names_are_refused_with_the_reason(name, message):
    with pytest.raises(ValueError, match=message):
        formulation(name)


def test_products_without_a_name_are_described():
    described = FlowMatching(path=VarianceExploding(sigma_max=10), head=EDMPreconditioned(sigma_data=1.0)).notation
    assert "sigma_max=10" in described
    assert "sigma_data=1.0" in described
