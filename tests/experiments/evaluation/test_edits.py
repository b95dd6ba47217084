"""What a loaded run does with given data, and how it is sampled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import experiments
from experiments.errors import UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.runs import Run, evaluation_key
from objectives import Guidance
from objectives.likelihood import log_likelihood
from objectives.solvers import Dopri5

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, small_run: MakeRun) -> LoadedRun:
    """An MLP on digits with labels, a few steps trained."""
    run = small_run(tmp_path_factory.mktemp("edits"), data="digits")
    assert execute(run) == 0
    return experiments.load(run.path, device="cpu")


@pytest.fixture(scope="module")
def batch(loaded: LoadedRun) -> dict[str, torch.Tensor]:
    return loaded.data.dataset("validation")[torch.arange(6)]


def test_data_go_to_noise_and_back(loaded: LoadedRun, batch: dict[str, torch.Tensor]) -> None:
    noise = loaded.invert(batch["x"], batch["condition"], steps=20, solver="rk4", batch_size=4)
    sampler = loaded.sampler(solver="rk4")
    back, _ = sampler.run(sampler.objective.prior(noise), sampler.times(20), batch["condition"])
    torch.testing.assert_close(back, batch["x"], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(noise, batch["x"], atol=3e-3)


def test_inpainting_and_image_to_image(loaded: LoadedRun, batch: dict[str, torch.Tensor]) -> None:
    x, condition = batch["x"], batch["condition"]
    mask = torch.zeros(x.shape[1:], dtype=torch.bool)
    mask[..., :4] = True
    filled = loaded.inpaint(x, mask, condition, steps=5, seed=3)
    assert torch.equal(filled[..., :4], x[..., :4])
    assert not torch.equal(filled[..., 4:], x[..., 4:])
    whole, parts = (loaded.image_to_image(x, condition, t=0.7, steps=5, batch_size=size) for size in (6, 4))
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)
    near = loaded.image_to_image(x, condition, t=0.01, steps=5)
    assert float((near - x).abs().mean()) < float((whole - x).abs().mean()) / 3
    with pytest.raises(UserError, match="t must be above 0"):
        loaded.image_to_image(x, condition, t=0.0)


def test_the_likelihood_is_that_of_the_chosen_weights(loaded: LoadedRun, batch: dict[str, torch.Tensor]) -> None:
    x, condition = batch["x"][:2], {"label": batch["condition"]["label"][:2]}
    exact = loaded.log_likelihood(x, condition, weights="raw", batch_size=1)
    expected = log_likelihood(loaded.objective, loaded.network("raw"), x, condition, solver=Dopri5(1e-5, 3e-6))
    torch.testing.assert_close(exact, expected, rtol=1e-3, atol=0.05)
    assert not torch.allclose(exact, loaded.log_likelihood(x, condition, weights="ema"), atol=1e-3)
    estimated = loaded.log_likelihood(x, condition, weights="raw", probes=2)
    assert not torch.equal(exact, estimated)


def test_a_weaker_run_guides(loaded: LoadedRun, tmp_path, small_run: MakeRun) -> None:
    weaker = small_run(tmp_path, data="digits", trainer__max_steps=2)
    assert execute(weaker) == 0
    other = experiments.load(weaker.path, device="cpu")
    plain, guided = loaded.sample(2, num=4), loaded.sample(2, num=4, guidance=3.0, autoguide=other)
    assert guided.nfe == 2 * plain.nfe
    weak = other.sample(1, num=4)
    expected = weak.x + 3.0 * (loaded.sample(1, num=4).x - weak.x)
    one = loaded.sample(1, num=4, guidance=3.0, autoguide=other)
    torch.testing.assert_close(one.x, expected, rtol=1e-4, atol=1e-4)
    edm = small_run(tmp_path, data="digits", objective="edm/rf", trainer__max_steps=2)
    assert execute(edm) == 0
    with pytest.raises(UserError, match="one path, one head"):
        loaded.sample(2, num=4, guidance=3.0, autoguide=experiments.load(edm.path, device="cpu"))


def test_solver_grid_guidance_and_dtype_reach_the_samples(loaded: LoadedRun) -> None:
    plain = loaded.sample(4, num=4).x
    for other in (
        {"solver": "midpoint"}, {"grid": "karras"}, {"guidance": Guidance(3.0)}, {"solver": "euler_maruyama(sine,2)"},
    ):  # fmt: skip
        assert not torch.equal(loaded.sample(4, num=4, **other).x, plain)
    narrow = loaded.sample(4, num=4, guidance=Guidance(3.0, interval=(0.4, 0.6)))
    assert narrow.nfe == 5
    exact = loaded.sample(4, num=4, dtype="float64").x
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), plain, rtol=1e-4, atol=1e-4)
    for wrong, told in (
        ({"solver": "edm_stochastic"}, "allowed: euler"), ({"grid": "karras(rho=0)"}, "grid=karras.*rho"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=told):
            loaded.sample(4, num=4, **wrong)


def test_an_evaluation_takes_them_and_those_from_before_keep_their_names(loaded: LoadedRun) -> None:
    before = loaded.config.evaluation
    result = loaded.evaluate(
        steps=[4], num=20, weights=["raw"], guidance=2.0, guidance_interval=(0.4, 0.6), grid="shifted(3)",
        dtype="float64",
    )  # fmt: skip
    inside = sum(0.4 <= t <= 0.6 for t in loaded.sampler(grid="shifted(3)").times(4)[:-1].tolist())
    assert [row["nfe"] for row in result["rows"]] == [4 + inside]
    assert result["settings"]["grid"] == "shifted(3)"
    old = {
        "steps": [1], "weights": ["ema"], "num": 8, "guidance": 1.0, "solver": None, "metrics": [], "features": None,
        "batch_size": 512, "seed": 0,
    }  # fmt: skip
    new = {"guidance_interval": None, "guidance_rescale": 0.0, "guidance_channels": None, "grid": None}
    new["dtype"] = "float32"
    assert evaluation_key({**old, **new}) == evaluation_key(old)
    assert evaluation_key({**old, **new, "grid": "karras"}) != evaluation_key(old)
    assert before == loaded.config.evaluation
