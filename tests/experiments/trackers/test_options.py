"""A run's options under flat names: all of them, each a scalar, and a tree again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config import Config, read, resolve
from experiments.trackers.options import flat_options, nested_options


def config(*overrides: str) -> Config:
    return resolve(read(None, overrides))


def test_options_have_flat_names_and_labels() -> None:
    found = flat_options(config("objective=shortcut", "objective.flow=rf/lognorm(0,1)", "ema.decays=0.9,0.99"))
    assert found["objective"] == "shortcut/rf/lognorm(0.00,1.00)"
    assert found["objective.k"] == 0.25
    assert found["objective.flow"] == "rf/lognorm(0.00,1.00)"
    assert found["objective.flow.time.s"] == 1.0
    assert found["backbone"] == "DiT"
    assert found["data"] == "digits"
    assert found["ema.decays"] == "0.9,0.99"
    assert found["ema.warmup"] is True
    assert found["trainer.max_steps"] == 2000
    assert found["seed"] == 0
    assert flat_options(config("trainer.clip=null"))["trainer.clip"] == "null"


def test_what_is_no_part_of_the_identity_is_left_out() -> None:
    found = flat_options(config())
    assert not any(name.startswith(("evaluation", "trainer.log_every", "trainer.devices")) for name in found)


@pytest.mark.parametrize(
    "override",
    ["objective=rf/lognorm(0,2)", "backbone.depth=3", "optimizer.lr=0.5", "schedule.warmup=7", "ema.warmup=false",
     "trainer.batch_size=32", "trainer.spike=skip", "seed=4", "data=mnist"],
)  # fmt: skip
def test_runs_that_differ_differ_in_their_options(override: str) -> None:
    assert config(override).hash != config().hash
    assert flat_options(config(override)) != flat_options(config())


leaves = st.integers() | st.text(max_size=3) | st.booleans()
levels = [st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from("abc")]


@given(st.dictionaries(st.tuples(*levels), leaves, min_size=1), st.booleans())
def test_a_tree_is_flattened_and_comes_back(values: dict[tuple[str, ...], Any], labelled: bool) -> None:
    flat = {".".join(key): value for key, value in values.items()}
    if labelled:
        flat |= {key[0]: f"label of {key[0]}" for key in values}
    tree = nested_options(flat)
    for one, two, three in values:
        assert tree[one][two][three] == values[one, two, three]
    assert [part.pop("name", None) for part in tree.values()] == [
        f"label of {name}" if labelled else None for name in tree
    ]
    assert sum(len(inner) for part in tree.values() for inner in part.values()) == len(values)
