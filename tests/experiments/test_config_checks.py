"""Bad configurations: all faults at once, each with its place, what was given, what is allowed, file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.config import ConfigError, parse, read, resolve, sections


def refused(*overrides: str, file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(read(file, overrides))
    return str(caught.value)


BAD = [
    (["objective=shortcutt"], ["objective", "no objective is called 'shortcutt'", "did you mean 'shortcut'"]),
    (["backbone=DiT-S/3"], ["backbone", "DiT-S/2"]),
    (["data=cifar"], ["data", "digits, mnist, "]),
    (["optimizer=adam"], ["optimizer", "did you mean 'adamw'"]),
    (["schedule=cosin"], ["schedule", "did you mean 'cosine'"]),
    (["trainr.max_steps=1"], ["trainr", "did you mean 'trainer'"]),
    (["trainer.maxsteps=1"], ["trainer.maxsteps", "did you mean 'max_steps'"]),
    (["objective=shortcut", "objective.kk=1"], ["objective.kk", "did you mean 'k'"]),
    (["objective=shortcut", "objective.flow.condition_dropp=1"], ["objective.flow.condition_dropp", "condition_drop"]),
    (["objective.time.mm=1", "objective.time.name=lognorm"], ["objective.time.mm", "Allowed: m, s"]),
    (["trainer=3"], ["trainer", "expected a mapping"]),
    (["trainer.max_steps=ten"], ["trainer.max_steps", "given the text 'ten'; expected a whole number ≥ 1"]),
    (["trainer.max_steps=0"], ["trainer.max_steps", "given 0; allowed: a whole number ≥ 1"]),
    (["trainer.precision=16"], ["trainer.precision", "'32-true' or 'bf16-mixed'"]),
    (["ema.decays=0.9,1"], ["ema.decays.1", "< 1"]),
    (["seed=-1"], ["seed", "≥ 0"]),
    (["seed=null"], ["seed", "given null"]),
    (["origin=dit"], ["origin", "LAYOUT:SHA-256"]),
    (["name=a/b"], ["name", "letters, digits"]),
    (["optimizer.lr=-1"], ["optimizer", "lr"]),
    (["optimizer.lr=high"], ["optimizer.lr", "expected a number"]),
    (["objective=rf/mode(1.7520)"], ["objective", "1.7519"]),
    (["objective=rf/mode(-1.01)"], ["objective", "-1"]),
    (["objective.time=mode(2)"], ["objective.time", "1.7519"]),
    (["objective=rf/lognorm(0,0)"], ["objective", "lognorm"]),
    (["objective=rf/lognorm(0)"], ["objective", "(m, s)"]),
    (["objective=flow_matching", "objective.head=edm"], ["objective", "variance_exploding"]),
    (["objective=shortcut", "evaluation.steps=0"], ["evaluation.steps.0", "≥ 1"]),
    (["objective=shortcut", "evaluation.steps=1,129"], ["evaluation.steps", "129"]),
    (["objective=shortcut", "evaluation.solver=heun"], ["evaluation.solver", "allowed: euler"]),
    (["evaluation.solver=euler_maruyama(sde)"], ["evaluation.solver", "infinite at t = 1"]),
    (["evaluation.solver=dopri5(rtol=-1)"], ["evaluation.solver", "tolerances"]),
    (["objective=shortcut", "evaluation.grid=karras"], ["evaluation.grid", "times of its own"]),
    (["objective=edm/rf", "evaluation.grid=shifted(3)"], ["evaluation.grid", "pure noise"]),
    (["evaluation.grid=kerras"], ["evaluation.grid", "did you mean 'karras'"]),
    (["evaluation.guidance_interval=0.8,0.2"], ["evaluation.guidance_interval", "lowest time comes first"]),
    (["evaluation.guidance_rescale=1.5"], ["evaluation.guidance_rescale", "≤ 1"]),
    (["evaluation.solver=eulr"], ["evaluation.solver", "did you mean 'euler'"]),
    (["evaluation.metrics=frechet"], ["evaluation.metrics", "frechet_distance"]),
    (["evaluation.features=cnn"], ["evaluation.features", "digits_cnn"]),
    (["evaluation.weights=emma"], ["evaluation.weights", "'ema' or 'raw'"]),
    (["ema.decays=[]", "evaluation.weights=ema"], ["evaluation.weights", "only 'raw'"]),
    (["ema.decays=[]", "objective=shortcut"], ["ema.decays", "at least one"]),
    (["trainer.trackers=cvs"], ["trainer.trackers", "did you mean 'csv'"]),
    (["trainer.batch_size=63", "trainer.devices=2"], ["trainer.batch_size", "2 equal parts", "62 or 64"]),
    (
        ["trainer.batch_size=60", "trainer.devices=2", "trainer.nodes=2", "trainer.accumulate=2"],
        ["8 equal", "56 or 64"],
    ),
    (["objective=shortcut", "trainer.batch_size=66"], ["trainer.batch_size", "multiples of 4", "64 or 68"]),
    (["objective=shortcut", "trainer.batch_size=8", "trainer.devices=4"], ["multiples of 4", "2 each", "nearest: 16"]),
    (
        ["objective=shortcut", "objective.guidance=2", "data=points", "backbone=mlp"],
        ["data", "needs a condition", "points has none"],
    ),
    (
        ["objective=shortcut", "objective.guidance=2", "objective.flow.condition_drop=0"],
        ["objective", "condition_drop between 0 and 1, got 0"],
    ),
    (["objective=shortcut", "objective.clip=1"], ["objective", "more than 1, the noise's scale"]),
    (["backbone=dit", "backbone.patch=3"], ["backbone", "digits (1, 8, 8)", "patch"]),
    (["backbone=uvit", "backbone.patch=3"], ["backbone"]),
    (["backbone=mmdit", "backbone.patch=5"], ["backbone", "patch"]),
    (["data=mnist", "backbone.patch=8"], ["backbone", "patch"]),
    (["data=points", "backbone=mlp", "evaluation.guidance=2"], ["evaluation.guidance", "1 is allowed"]),
    (["trainer.clip=???"], ["trainer.clip", "a value is required"]),
]


@pytest.mark.parametrize(("overrides", "told"), BAD, ids=[" ".join(overrides) for overrides, _ in BAD])
def test_bad_input_is_refused_with_place_and_remedy(overrides: list[str], told: list[str]) -> None:
    message = refused(*overrides)
    for words in told:
        assert words in message
    assert "[override " in message, "it is told where that was written"


def test_all_faults_are_told_at_once_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "objective:\n"
        "  name: shortcut\n"
        "  kk: 0.25\n"
        "  flow: {name: rf, time: {name: mode, s: 2}}\n"
        "trainer:\n"
        "  max_steps: 1.5\n"
        "  clipp: 1\n"
        "evaluaton: {}\n"
        "seed: yes\n"
    )
    message = refused("optimizer.lr=fast", file=file)
    assert message.startswith("7 faults")
    for line, place in (
        (3, "objective.kk"),
        (4, "objective.flow.time"),
        (6, "trainer.max_steps"),
        (7, "trainer.clipp"),
        (8, "evaluaton"),
        (9, "seed"),
    ):
        (found,) = [text for text in message.splitlines() if text.strip().startswith(f"{place}:")]
        assert found.endswith(f"[{file}:{line}]")
    assert "[override optimizer.lr=fast]" in message


@pytest.mark.parametrize("steps", [1, 3, 127, 128])
def test_every_number_of_steps_up_to_m_is_legal_for_shortcut(steps: int) -> None:
    assert resolve(read(None, ["objective=shortcut", f"evaluation.steps={steps}"])).evaluation.steps == (steps,)


@pytest.mark.parametrize("scale", ["-1", "1.7519", "0"])
def test_modes_ends_are_legal(scale: str) -> None:
    assert resolve(read(None, [f"objective=rf/mode({scale})"]))


def test_without_an_average_the_raw_weights_alone_are_evaluated() -> None:
    assert resolve(read(None, ["ema.decays=[]"])).evaluation.weights == ("raw",)
    assert resolve(read(None, [])).evaluation.weights == ("ema", "raw")


def test_the_sections_without_plugins_are_read_alone() -> None:
    found = sections(parse({"objective": "whatever", "trainer": {"max_steps": 5}, "seed": 3}))
    assert (found["trainer"].max_steps, found["seed"], found["evaluation"].num) == (5, 3, 1024)
    with pytest.raises(ConfigError, match=r"trainer\.max_steps.*here:1"):
        sections(parse({"trainer": {"max_steps": 0}}, "here:1"))


def test_a_grid_of_cells_resolves_fast() -> None:
    import time

    overrides = ["objective=shortcut", "backbone=U-ViT"]
    resolve(read(None, overrides))
    start = time.perf_counter()
    hashes = {resolve(read(None, [*overrides, f"seed={seed}"])).hash for seed in range(200)}
    assert len(hashes) == 200
    assert time.perf_counter() - start < 4, "a cell that differs in its seed alone takes milliseconds"
