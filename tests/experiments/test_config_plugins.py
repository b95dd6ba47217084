"""Plugins and identity: however a run is written it is one run, and another run is another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.config import Config, ConfigError, load, parse, read, resolve
from experiments.config.identity import canonical, digest, identity_fields, slug
from experiments.config.plugins import REQUIRED, options, resolve_plugin
from experiments.config.raw import SHIPPED
from experiments.config.schema import EMA, Evaluation, Trainer
from experiments.registry import GROUPS, entries


def config(*overrides: str, **data: Any) -> Config:
    return resolve(parse(data).override({}) if not overrides else read(None, overrides))


def test_notation_and_spelled_out_are_one_run() -> None:
    ways = [
        config("objective=rf/lognorm(0.50,1.00)"),
        config("objective=RF/LogNorm(0.5, 1)"),
        config("objective=flow_matching", "objective.time=lognorm(0.5)"),
        config("objective=flow_matching(time=lognorm(m=0.5))"),
        config("objective.name=flow_matching", "objective.time.name=lognorm", "objective.time.m=0.5"),
        config(objective={"name": "flow_matching", "path": "straight", "time": {"name": "lognorm", "m": "5e-1"}}),
        config(objective={"name": "rf", "time": {"name": "lognorm", "m": 0.5, "s": 1}, "condition_drop": 0.1}),
    ]
    assert len({way.hash for way in ways}) == 1
    assert len({way.run_name for way in ways}) == 1
    assert ways[0].run_name.startswith("rf_lognorm_0.50_1.00-DiT-digits-")


def test_preset_and_spelled_out_are_one_run() -> None:
    preset = config("backbone=DiT-S/2")
    spelled = config(backbone={"name": "dit", "patch": 2, "width": 384, "depth": 12, "heads": 6})
    assert preset.run_name == spelled.run_name
    assert "DiT-S_2" in preset.run_name
    assert config("backbone=DiT-S/2", "backbone.depth=3").hash != preset.hash


def test_a_default_written_out_is_no_difference() -> None:
    assert config().hash == config("objective=rf/lognorm(0,1)", "backbone=dit", "seed=0", "trainer.clip=1").hash
    written = config("objective.name=shortcut", "objective.flow=rf", "objective.k=0.25")
    assert written.hash == config("objective=shortcut").hash
    assert written.objective.identity()["arguments"] == {}


def test_an_option_alone_is_laid_over_the_default_plugin() -> None:
    found = config("objective.condition_drop=0.2", "optimizer.lr=1")
    assert found.objective.label == "rf/lognorm(0.00,1.00)"
    assert (found.objective.arguments["condition_drop"], found.optimizer.arguments["lr"]) == (0.2, 1.0)


def test_an_option_of_a_nested_plugin_is_laid_over_its_default() -> None:
    found = config("objective=shortcut", "objective.flow.condition_drop=0.2")
    assert found.objective.arguments["flow"]["condition_drop"] == 0.2
    assert found.objective.arguments["flow"]["time"] == {"name": "uniform"}


def test_an_option_further_down_is_laid_over_what_stands_there() -> None:
    flow = config("objective=scm", "objective.flow.path.sigma_data=0.75").objective.arguments["flow"]
    assert flow["path"] == {"name": "trig", "sigma_data": 0.75, "sigma_max": 80.0}
    assert flow["head"] == {"name": "trig"}
    preset = config("objective=rf/lognorm(0.5,1)", "objective.time.s=2").objective.arguments
    assert preset["time"] == {"name": "lognorm", "m": 0.5, "s": 2.0}


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        f"origin=dit:{64 * '0'}",
        "objective=rf",
        "objective.condition_drop=0.2",
        "backbone=U-ViT",
        "data=mnist",
        "optimizer.lr=0.5",
        "schedule=constant",
        "ema.decays=0.9",
        "ema.decays=[]",
        "ema.warmup=false",
        "trainer.max_steps=10",
        "trainer.batch_size=32",
        "trainer.precision=bf16-mixed",
        "trainer.clip=null",
    ],
)
def test_what_is_part_of_the_identity_makes_another_run(override: str) -> None:
    assert config(override).hash != config().hash


def test_where_and_how_a_run_runs_and_what_is_measured_is_no_part_of_its_identity() -> None:
    elsewhere = config(
        "trainer.devices=2",
        "trainer.accumulate=2",
        "trainer.compile=true",
        "trainer.strategy=ddp",
        "trainer.threads=1",
        "trainer.log_every=1",
        "trainer.trackers=csv",
        "trainer.sample_every=10",
        "evaluation.steps=2",
        "evaluation.weights=raw",
        "evaluation.num=10",
        "evaluation.guidance=2",
        "name=mine",
    )
    assert elsewhere.hash == config().hash
    assert elsewhere.run_name == f"mine-{config().hash}"


def test_the_marked_fields_are_the_contracts() -> None:
    assert list(identity_fields(Trainer)) == [
        "max_steps", "batch_size", "precision", "clip", "spike", "spike_factor", "spike_window",
    ]  # fmt: skip
    assert list(identity_fields(EMA)) == ["decays", "warmup", "profiles"]
    assert list(identity_fields(Evaluation)) == []


def test_the_hash_is_the_sha256_of_the_canonical_json() -> None:
    # printf %s '{"a":[1,2.5,null,true,"ε"],"b":{}}' | sha256sum: a change makes every run so far another run.
    assert digest({"a": [1, 2.5, None, True, "ε"], "b": {}}) == "8fc8b623771f"


options_drawn = st.fixed_dictionaries(
    {
        "m": st.floats(-3, 3).map(lambda value: round(value, 3)),
        "s": st.floats(0.1, 3).map(lambda value: round(value, 3)),
        "seed": st.integers(0, 2**32),
        "clip": st.one_of(st.none(), st.floats(0.01, 100)),
        "decays": st.lists(st.floats(0, 0.9999), max_size=3, unique=True),
        "steps": st.lists(st.integers(1, 128), min_size=1, max_size=4),
    }
)


@settings(max_examples=40)
@given(options_drawn)
def test_a_plain_configuration_reads_back_to_the_same_run(drawn: dict[str, Any]) -> None:
    first = resolve(
        parse(
            {
                "objective": {"name": "rf", "time": {"name": "lognorm", "m": drawn["m"], "s": drawn["s"]}},
                "seed": drawn["seed"],
                "ema": {"decays": drawn["decays"]},
                "trainer": {"clip": drawn["clip"]},
                "evaluation": {"steps": drawn["steps"]},
            }
        )
    )
    again = resolve(parse(json.loads(json.dumps(first.plain()))))
    assert again == first
    assert (again.hash, again.run_name, again.plain()) == (first.hash, first.run_name, first.plain())
    by_name = resolve(parse({**first.plain(), "objective": first.objective.label}))
    assert by_name.hash == first.hash


def test_a_file_written_from_plain_reads_back(tmp_path: Any) -> None:
    import yaml

    for overrides in (["objective=edm(-1.20,1.20)", "data=mnist", "backbone.patch=7"], ["backbone=mmdit"]):
        first = config(*overrides)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(first.plain(), sort_keys=False))
        assert load(tmp_path / "config.yaml") == first


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_configuration_loads(file: Any) -> None:
    assert load(file).hash


def test_built_objects_are_what_the_configuration_says() -> None:
    found = config("objective=shortcut", "objective.k=0.5", "data=digits", "backbone=dit", "backbone.depth=1")
    objective, data = found.objective.build(), found.data.build()
    assert (objective.k, objective.flow.notation) == (0.5, "rf")
    assert objective is not found.objective.build()
    network = found.backbone.build(spec=data.spec, step=True)
    assert sum(1 for name, _ in network.named_modules() if name.endswith(".0")) > 0


def test_every_plugin_is_described_by_its_signature() -> None:
    for group in GROUPS:
        for entry in entries(group).values():
            for option in options(entry.load(), group).values():
                assert option.annotation is not Any, f"{entry.target}: {option.name} has no type"
                assert option.allowed


def test_every_plugin_with_defaults_resolves_and_reads_back() -> None:
    for group in GROUPS:
        for entry in entries(group).values():
            if any(option.default is REQUIRED for option in options(entry.load(), group).values()):
                continue
            found = resolve_plugin(group, entry.name)
            assert resolve_plugin(group, found.plain()) == found
            assert found.identity()["arguments"] == {}, entry.target


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (3, "expected an objective"),
        ({"k": 1}, "which objective?"),
        ({"name": ["rf"]}, "which objective?"),
        ("shortcut(1,2,3,4,5,6,7,8,9)", "takes 8 arguments"),
        ("shortcut(rf, flow=rf)", "twice"),
        ("shortcut(kk=1)", "no such option of shortcut 'kk'; did you mean 'k'?"),
        ("shortcut(k=0.5, 3)", "follows one with a name"),
        ({"name": "shortcut", "flow": "shortcut"}, "flow: shortcut is no FlowMatching"),
        ({"name": "shortcut", "flow": {"name": "rf", "time": {"name": "mode", "s": 2}}}, "flow.time: mode"),
        ({"name": "shortcut", "flow": {"name": "rf", "time": {"name": "mode", "ss": 1}}}, "flow.time.ss: no such"),
        ({"name": "shortcut", "label": "fine"}, "expected 'finest' or 'zero'"),
        ({"name": "shortcut", "flow": 3}, "flow: expected an objective"),
        ({"name": "rf", "path": "variance_exploding", "head": "edmm"}, "did you mean 'edm'"),
    ],
)
def test_a_wrong_plugin_is_refused_at_its_place(written: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_plugin("objectives", written)
    assert told in str(caught.value)
    with pytest.raises(ConfigError) as again:
        resolve_plugin("objectives", written)
    assert caught.value.faults == again.value.faults, "a second time it comes from the cache"


def test_canonical_json_ignores_the_order_of_keys_and_refuses_nan() -> None:
    assert canonical({"b": 1, "a": {"d": 1, "c": 2}}) == canonical({"a": {"c": 2, "d": 1}, "b": 1})
    assert canonical({"a": 1}) != canonical({"a": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("nan"))


@given(st.text())
def test_a_slug_is_one_plain_path_component(text: str) -> None:
    found = slug(text)
    assert "/" not in found
    assert not found.startswith(".")
    assert slug(found) == found
