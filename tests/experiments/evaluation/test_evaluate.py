"""Sampling and measuring a trained run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import experiments
from experiments.console import Reporter
from experiments.errors import Interrupted, UserError
from experiments.evaluation.validation import TIMES, validation_losses
from experiments.execute import execute
from experiments.runs import Run, evaluation_key
from experiments.stopping import Stop
from experiments.training import checkpoints

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_run: MakeRun) -> Path:
    """An MLP on digits, trained for 12 steps and evaluated at 1 and 3 steps."""
    root = tmp_path_factory.mktemp("trained")
    run = small_run(root, data="digits", evaluation={"steps": [1, 3], "num": 70, "batch_size": 32})
    assert execute(run) == 0
    return run.path


@pytest.fixture
def digits_run(trained: Path, tmp_path: Path) -> Run:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / trained.name)
    return Run(tmp_path / trained.name)


def test_an_evaluation_holds_every_column_for_every_weights_and_steps(digits_run: Run) -> None:
    (evaluation,) = digits_run.evaluations()
    assert [(row["weights"], row["steps"], row["nfe"]) for row in evaluation["rows"]] == [
        ("ema", 1, 1), ("ema", 3, 3), ("raw", 1, 1), ("raw", 3, 3),
    ]  # fmt: skip
    columns = {
        "frechet_distance", "frechet_distance_heldout", "kernel_distance", "kernel_distance_heldout",
        "precision", "recall", "memorisation", "seconds_per_image",
    }  # fmt: skip
    for row in evaluation["rows"]:
        assert columns <= row.keys()
        assert all(np.isfinite(row[name]) for name in columns)
        assert row["seconds_per_image"] > 0
        with Image.open(digits_run.path / row["sheet"]) as sheet:
            assert min(sheet.size) > 200
    assert [entry["weights"] for entry in evaluation["validation"]] == ["ema", "raw"]
    assert all(len(entry["loss"]) == len(TIMES) == 8 for entry in evaluation["validation"])


def test_an_evaluation_tells_the_size_of_the_model_and_what_its_training_cost(digits_run: Run) -> None:
    (evaluation,) = digits_run.evaluations()
    network = experiments.load(digits_run.path).network("raw")
    linear = [weight.numel() for weight in network.parameters() if weight.ndim == 2]
    assert evaluation["model"]["parameters"] == sum(weight.numel() for weight in network.parameters())
    steps, batch, passes = 12, 16, 3
    # A multiply-add is two, and a table of labels is looked up, not multiplied.
    assert 0.5 < evaluation["model"]["training_flops"] / (2 * sum(linear) * passes * batch * steps) <= 1


def test_samples_do_not_depend_on_how_they_are_batched_and_are_written_as_npz(digits_run: Run) -> None:
    loaded = experiments.load(digits_run.path)
    whole, parts = loaded.sample(2, num=10), loaded.sample(2, num=10, batch_size=3)
    torch.testing.assert_close(whole.x, parts.x, rtol=1e-4, atol=1e-5)
    png, npz = loaded.save_samples(whole, "mine")
    assert png.is_file()
    with np.load(npz) as arrays:
        assert arrays["x"].shape == (10, 1, 8, 8)
        assert arrays["images"].dtype == np.uint8
        assert arrays["label"].shape == (10,)


def test_weights_guidance_and_seed_change_the_samples(digits_run: Run) -> None:
    loaded = experiments.load(digits_run.path)
    plain = loaded.sample(2, num=4)
    for other in (
        loaded.sample(2, num=4, weights="raw"), loaded.sample(2, num=4, guidance=3.0), loaded.sample(2, num=4, seed=1),
    ):  # fmt: skip
        assert not torch.equal(plain.x, other.x)
    assert loaded.sample(2, num=4, guidance=3.0).nfe == 2 * plain.nfe
    assert torch.equal(plain.x, loaded.sample(2, num=4).x)


def test_what_the_objective_does_not_take_is_refused(digits_run: Run) -> None:
    loaded = experiments.load(digits_run.path)
    with pytest.raises(UserError, match="got 0"):
        loaded.sample(0)
    with pytest.raises(UserError, match=r"solver=nonsense.*euler"):
        loaded.sample(2, solver="nonsense")
    checkpoints.prune(digits_run.checkpoints, 0)
    with pytest.raises(UserError, match="no whole checkpoint"):
        experiments.load(digits_run.path)


def test_data_without_a_condition_cannot_be_guided(make_run: MakeRun) -> None:
    run = make_run(evaluation={"steps": [1], "num": 20, "metrics": ["energy_distance", "frechet_distance"]})
    assert execute(run) == 0
    assert run.evaluations()[0]["rows"][0]["energy_distance"] > 0
    with pytest.raises(UserError, match="no condition to guide by"):
        experiments.load(run.path).sample(2, guidance=2.0)


def test_other_settings_are_evaluated_beside_the_first_and_the_same_are_not_repeated(digits_run: Run) -> None:
    experiments.load(digits_run.path).evaluate(steps=[2], weights=["raw"], num=20)
    assert [[row["steps"] for row in one["rows"]] for one in digits_run.evaluations()] == [[1, 3, 1, 3], [2]]
    file = digits_run.path / "evaluations" / f"{evaluation_key(digits_run.config.evaluation)}.json"
    before = file.stat().st_mtime_ns
    assert execute(digits_run) == 0
    assert file.stat().st_mtime_ns == before


def test_a_finished_run_costs_no_import_of_torch(digits_run: Run) -> None:
    code = (
        "import sys; from experiments.runs import Run; from experiments.execute import execute;"
        f"code = execute(Run.open({str(digits_run.path)!r})); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env=os.environ)


def test_a_stop_ends_an_evaluation_between_batches(digits_run: Run) -> None:
    from experiments.evaluation.evaluate import evaluate

    stop = Stop()
    stop.requested = True
    loaded = experiments.load(digits_run.path)
    with pytest.raises(Interrupted):
        evaluate(loaded, loaded.config.evaluation, reporter=Reporter("none"), stop=stop)


def test_validation_counts_every_row_once(digits_run: Run) -> None:
    """The mean over batches of any size is the mean over rows: the last, smaller batch weighs what it holds."""
    loaded = experiments.load(digits_run.path)
    losses = [
        validation_losses(loaded.objective, loaded.network(), loaded.data, device=torch.device("cpu"), batch_size=size)
        for size in (1000, 77)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
