"""Reading: YAML text with line marks, overrides, interpolation."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config import ConfigError, parse, read
from experiments.config.raw import assign
from experiments.config.reading import read_text
from experiments.errors import UserError


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_text(text, "train.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_every_key_knows_its_line() -> None:
    data, marks = read_text("seed: 1\ntrainer:\n  max_steps: 1e3\n  trackers: [csv]\n", "train.yaml")
    assert data == {"seed": 1, "trainer": {"max_steps": 1000.0, "trackers": ["csv"]}}
    assert marks["trainer", "max_steps"] == "train.yaml:3"
    assert marks["trainer", "trackers"] == "train.yaml:4"


def test_an_empty_file_is_an_empty_configuration() -> None:
    assert read_text("# nothing\n", "f") == ({}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\ntrainer: {max_steps: 3\n", "train.yaml:3"),
        ("seed: 1\n  trainer: 2\n", "train.yaml:2"),
        ("a: 1\nb: [1, 2\nc: 3\n", "train.yaml:3"),
        ("\tseed: 1\n", "train.yaml:1"),
        ("seed: \x00", "train.yaml"),
        ("a: !!python/object/apply:os.system [ls]\n", "train.yaml:1"),
    ],
)
def test_a_syntax_error_is_told_with_file_and_line(text: str, told: str) -> None:
    (message,) = faults(text)
    assert "YAML syntax error" in message
    assert told in message


def test_every_repeated_key_is_refused_with_both_lines() -> None:
    messages = faults("seed: 1\ntrainer:\n  clip: 1\n  clip: 2\nseed: 3\n")
    assert len(messages) == 2
    assert "lines 3 and 4" in messages[0]
    assert "trainer.clip" in messages[0]
    assert "lines 1 and 5" in messages[1]


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just text\n", "1: 2\n", "true: 2\n", "{a: 1}: 2\n"])
def test_what_is_no_mapping_of_names_is_refused(text: str) -> None:
    assert "train.yaml:1" in faults(text)[0]


def test_anchors_and_merged_keys_keep_their_lines() -> None:
    text = "base: &base\n  lr: 1\n  eps: 2\noptimizer:\n  <<: *base\n  lr: 3\n"
    data, marks = read_text(text, "f")
    assert data["optimizer"] == {"lr": 3, "eps": 2}
    assert (marks["optimizer", "eps"], marks["optimizer", "lr"]) == ("f:3", "f:6")


def test_overrides_are_laid_over_the_file_in_order(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("objective: rf\ntrainer: {max_steps: 10, clip: 1.0}\n")
    raw = read(file, ["objective=shortcut", "objective.k=0.25", "trainer.clip=null", "evaluation.steps=1,4,128"])
    assert raw.data["objective"] == {"name": "shortcut", "k": 0.25}
    assert raw.data["trainer"] == {"max_steps": 10, "clip": None}
    assert raw.data["evaluation"] == {"steps": "1,4,128"}
    assert raw.where(("trainer", "max_steps")) == f"{file}:2"
    assert raw.where(("trainer", "clip")) == "override trainer.clip=null"
    assert raw.where(("objective", "k", "deeper")) == "override objective.k=0.25"


def test_a_name_laid_over_a_mapping_sets_its_name() -> None:
    raw = parse({"objective": {"name": "shortcut", "k": 0.5}}, "f").override({"objective": "shortcut"}, "again")
    assert raw.data["objective"] == {"name": "shortcut", "k": 0.5}
    assert raw.where(("objective", "name")) == "again"


def test_a_mapping_with_a_name_takes_the_place_and_one_without_is_merged() -> None:
    raw = parse({"objective": {"name": "shortcut", "k": 0.5}, "trainer": {"clip": 1, "max_steps": 2}}, "f")
    assert raw.override({"objective": {"name": "rf"}}).data["objective"] == {"name": "rf"}
    assert raw.override({"objective": {"M": 8}}).data["objective"] == {"name": "shortcut", "k": 0.5, "M": 8}
    assert raw.override({"trainer": {"clip": 3}}).data["trainer"] == {"clip": 3, "max_steps": 2}
    assert parse({"objective": "rf"}).override({"objective": {"condition_drop": 0}}).data["objective"] == {
        "name": "rf",
        "condition_drop": 0,
    }


keys = st.lists(st.sampled_from(["a", "b", "name"]), min_size=1, max_size=3).map(tuple)
leaves = st.one_of(st.integers(), st.text(), st.none(), st.lists(st.integers()))
subtrees = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner))
trees = st.dictionaries(st.sampled_from(["a", "b", "name"]), subtrees)


@given(trees, keys, leaves.filter(lambda value: not isinstance(value, str)))
def test_assigning_is_read_back_and_leaves_its_argument_alone(tree: dict, key: tuple[str, ...], value: object) -> None:
    before = copy.deepcopy(tree)
    after = assign(tree, key, value)
    assert tree == before
    found = after
    for part in key:
        found = found[part]
    assert found == value
    assert {k: v for k, v in after.items() if k != key[0]} == {k: v for k, v in tree.items() if k != key[0]}


@pytest.mark.parametrize("text", ["seed", "=3", "trainer..clip=1", ".seed=1", "seed=", "trainer.clip={a: ", "a b =1"])
def test_an_override_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read(None, [text])


def test_all_wrong_overrides_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read(None, ["seed", "name=", "trainer.clip=1"])
    assert len(caught.value.faults) == 2


def test_an_interpolation_is_followed_into_the_defaults() -> None:
    raw = parse({"trainer": {"validate_every": "${trainer.max_steps}", "log_every": "${seed}"}, "seed": 7})
    assert raw.interpolated(lambda: {"trainer": {"max_steps": 50}, "name": None}) == {
        "trainer": {"validate_every": 50, "log_every": 7, "max_steps": 50},
        "seed": 7,
    }


@pytest.mark.parametrize("text", ["${nowhere}", "${trainer.nowhere}", "${oc.nothing:1}"])
def test_an_interpolation_that_leads_nowhere_is_refused_with_its_place(text: str) -> None:
    raw = parse({"trainer": {"clip": text}}, "f:3")
    with pytest.raises(ConfigError, match=r"trainer\.clip.*interpolation.*f:3"):
        raw.interpolated(dict)


def test_a_torn_interpolation_is_refused_with_its_line() -> None:
    assert "train.yaml:2" in faults("a: 1\nb: ${a\n")[0]


def test_a_missing_file_names_its_neighbours_and_what_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").touch()
    with pytest.raises(UserError, match=r"train\.yaml.*rf_digits"):
        read(tmp_path / "trian.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "latin.yaml")


def test_a_shipped_configuration_is_found_by_its_name() -> None:
    assert read("rf_points").data["data"] == "points"
