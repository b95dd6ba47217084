"""From a configuration to samples where the condition is no label: captions through a text encoder, observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import experiments
from datamodules.captions import Captions
from datamodules.detour import Detour
from experiments.config import parse, resolve
from experiments.config.faults import ConfigError
from experiments.evaluation.loaded import LoadedRun
from experiments.execute import execute
from experiments.runs import Run
from objectives import Guidance

MakeRun = Callable[..., Run]
SMALL = {"width": 16, "depth": 2, "heads": 2}
READERS: dict[str, dict[str, Any]] = {
    "DiT": SMALL,
    "CrossDiT": SMALL,
    "U-ViT": SMALL,
    "SimpleUViT": {**SMALL, "channels": [8]},
    "MMDiT": {**SMALL, "sets": 3},
    "MLP": {"width": 16, "depth": 1},
}
"""Backbones that take captions: as tokens, as tokens of two encoders apart, or as a pooled vector."""


@pytest.mark.parametrize("name", READERS)
def test_every_family_is_trained_on_captions_and_its_text_encoder_with_it(name: str, make_run: MakeRun) -> None:
    run = make_run(
        data="captions(encoders=2, width=8)", backbone={"name": name, **READERS[name]}, objective="shortcut",
        trainer__max_steps=6, trainer__checkpoint_every=6, trainer__validate_every=6, optimizer__lr=1e-2,
    )  # fmt: skip
    assert execute(run) == 0
    loaded = experiments.load(run.path, device="cpu")
    network = loaded.network("raw")
    named = [(key, value) for key, value in network.state_dict().items() if key.startswith("text_encoder.")]
    assert len(named) > 20
    for key, value in named:
        start = network.initial_value(key, loaded.config.seed)  # pyright: ignore[reportCallIssue]
        assert not torch.equal(value, start), key
    samples = loaded.sample(1, num=6, weights="raw", guidance=2.0)
    assert samples.x.isfinite().all()
    assert samples.condition is not None
    assert samples.condition["context"].shape == (6, 2 * loaded.data.length)  # pyright: ignore[reportAttributeAccessIssue]
    _says_what_is_asked(loaded)


def _says_what_is_asked(loaded: LoadedRun) -> None:
    """Other words in the caption change the output, words that are dropped do not."""
    data, network = loaded.data, loaded.network("raw")
    assert isinstance(data, Captions)
    z, t, step = torch.randn(1, 1, 8, 8), torch.tensor([0.5]), torch.tensor([0.5])
    one, two = ({"context": data.encode([text])} for text in ("the digit one", "the digit two"))
    dropped = [network(z, t, {**given, "drop": torch.tensor([True])}, step) for given in (one, two)]
    assert not torch.equal(network(z, t, one, step), network(z, t, two, step))
    assert torch.equal(*dropped)
    torch.testing.assert_close(dropped[0], network(z, t, None, step))


def test_three_sets_need_two_encoders() -> None:
    with pytest.raises(ConfigError, match="section"):
        resolve(parse({"data": "captions", "backbone": {"name": "MMDiT", "sets": 3}}))


def test_a_policy_is_guided_by_its_observation(make_run: MakeRun) -> None:
    run = make_run(
        data="detour(size=400)", objective="shortcut", evaluation__steps=[1, 4], evaluation__num=8,
        evaluation__guidance=1.5,
    )  # fmt: skip
    assert execute(run) == 0
    loaded = experiments.load(run.path, device="cpu")
    (evaluation,) = loaded.run.evaluations()
    assert [row["steps"] for row in evaluation["rows"]] == [1, 4, 1, 4]  # averaged and raw weights
    assert list((run.path / "samples").glob("*.png"))
    samples = loaded.sample(1, num=5, guidance=Guidance(2.0))
    assert samples.x.shape == (5, 2, 16)
    assert samples.condition is not None
    assert isinstance(loaded.data, Detour)
    assert loaded.data.success(samples.x, samples.condition["pooled"]).shape == (5,)
    alone = [loaded.network("raw")(samples.x[i : i + 1], torch.tensor([0.5]), _row(samples.condition, i), torch.ones(1))
             for i in range(5)]  # fmt: skip
    together = loaded.network("raw")(samples.x, torch.full((5,), 0.5), samples.condition, torch.ones(5))
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-5, atol=1e-6)


def _row(condition: dict[str, torch.Tensor], i: int) -> dict[str, torch.Tensor]:
    return {name: value[i : i + 1] for name, value in condition.items()}
