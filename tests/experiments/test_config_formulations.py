"""Formulations in a configuration: nested densities, weightings and couplings by name, and what is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.config import ConfigError, parse, read, resolve
from experiments.execute import execute
from experiments.runs import Run
from experiments.training import checkpoints
from objectives.couplings import ClassAwareOT
from objectives.densities import LogitNormal, Mixture, Shifted, Uniform
from objectives.heads import Data
from objectives.paths import Cosine
from objectives.weightings import LearnedUncertainty, MinSNR


def objective(written: Any) -> Any:
    return resolve(parse({"objective": written})).objective.build()


def test_every_part_is_named_and_nested_in_yaml() -> None:
    found = objective(
        {
            "name": "flow_matching",
            "path": {"name": "cosine", "t_max": 0.99},
            "time": {"name": "mixture", "first": {"name": "shifted", "alpha": 2, "density": "lognorm(0.5,1)"}},
            "head": "data",
            "weighting": {"name": "learned", "weighting": "min_snr(3)", "features": 16},
            "coupling": "class_aware_ot(16)",
        }
    )
    assert (found.path, found.head, found.coupling) == (Cosine(0.99), Data(), ClassAwareOT(16))
    assert found.time == Mixture(Shifted(2.0, LogitNormal(0.5, 1.0)), Uniform(), 0.1)
    assert isinstance(found.weighting, LearnedUncertainty)
    assert (found.weighting.weighting, found.weighting.features) == (MinSNR(3.0), 16)


def test_a_papers_name_takes_more_options() -> None:
    found = resolve(read(None, ["objective=eps/linear", "objective.weighting=min_snr(5)"]))
    assert found.objective.label == "eps/linear + MinSNR(gamma=5.0)"
    assert resolve(parse(found.plain())).hash == found.hash
    plain = resolve(read(None, ["objective=eps/linear"]))
    assert (plain.objective.label, plain.hash != found.hash) == ("eps/linear", True)


def test_an_option_added_later_left_the_runs_before_it_what_they_were() -> None:
    identity = resolve(read(None, ["objective=rf"])).objective.identity()
    assert identity == {"name": "flow_matching", "version": 1, "arguments": {}}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["objective=flow_matching", "objective.head=epsilon"], ["objective", "some of the data is left"]),
        (["objective=flow_matching", "objective.path=cosine(2)"], ["objective.path", "t_max"]),
        (["objective.time=beta(0,1)"], ["objective.time", "alpha in [0.2, 100]"]),
        (["objective.time=mixture(lognorm, uniform, 1)"], ["objective.time", "share"]),
        (["objective.weighting=min_snr(-1)"], ["objective.weighting", "gamma"]),
        (["objective.weighting=minsnr"], ["objective.weighting", "did you mean 'min_snr'"]),
        (["objective.weighting=density_weight(mode(-1))"], ["objective.weighting", "finite"]),
        (["objective.coupling=minibatch_ot(48)"], ["trainer.batch_size", "multiples of 48", "48 or 96"]),
        (["objective.coupling=class_aware_ot", "data=points"], ["data", "needs class labels"]),
        (["objective.coupling=given_pairs"], ["pairs", "samples with their own noise"]),
        (["objective=shortcut", "objective.flow.weighting=min_snr"], ["objective", "takes no weighting"]),
    ],
)
def test_what_does_not_fit_is_refused_before_training(overrides: list[str], told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(read(None, overrides))
    assert all(part in str(caught.value) for part in told), str(caught.value)


def test_a_learned_weighting_is_optimised_and_saved_and_not_averaged(make_run: Callable[..., Run]) -> None:
    run = make_run(
        objective={"name": "rf", "weighting": {"name": "learned", "features": 4}, "coupling": "minibatch_ot(4)"}
    )
    assert execute(run, progress="none") == 0
    found = checkpoints.newest(run.checkpoints)
    assert found.path is not None
    coefficients = found.state["objective"]["weighting.coefficients"]
    assert isinstance(coefficients, torch.Tensor)
    assert bool((coefficients != 0).all())
    assert not any("coefficients" in name for average in found.state["emas"] for name in average)
