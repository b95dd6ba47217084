"""Optimisers: which parameter moves how, one step for both of Muon's halves, and a state that comes back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from experiments.config import ConfigError, read, resolve
from experiments.config.checks import meta_backbone
from experiments.console import Reporter
from experiments.errors import Interrupted
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training import checkpoints
from experiments.training.callbacks import AfterStep
from experiments.training.fit import fit
from experiments.training.muon import Muon, MuonAdamW
from experiments.training.optimizers import AdamW
from experiments.training.parameter_groups import unmatched

MakeRun = Callable[..., Run]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"x_embedder": nn.Linear(3, 8), "hidden": nn.Linear(8, 8), "final_layer": nn.Linear(8, 2)})


def gradients(modules: Iterable[nn.Module], seed: int) -> None:
    """The same random gradients for all of them."""
    for module in modules:
        torch.manual_seed(seed)
        for parameter in module.parameters():
            parameter.grad = torch.randn_like(parameter)


def settings(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of every parameter by name."""
    of = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    return {name: of[id(parameter)] for name, parameter in module.named_parameters()}


@pytest.mark.parametrize(
    ("options", "count"), [({}, 1), ({"weight_decay": 0.1}, 2), ({"groups": {"hidden.*": {"lr": 0.5}}}, 2)]
)
def test_parameters_of_equal_settings_are_one_group_in_the_order_of_old(options: dict[str, Any], count: int) -> None:
    module = network()
    parameters = dict(module.named_parameters())
    made = AdamW(**options).create(module.named_parameters()).param_groups
    assert len(made) == count
    order = sorted(parameters, key=lambda name: ("groups" in options and "hidden" in name, parameters[name].ndim < 2))
    assert [id(p) for group in made for p in group["params"]] == [id(parameters[name]) for name in order]


@given(
    lr=st.floats(1e-5, 1), decay=st.floats(0, 1), factor=st.floats(0, 3), own=st.floats(0, 1),
    make=st.sampled_from([AdamW, Muon]),
)  # fmt: skip
def test_groups_set_what_their_patterns_match_and_nothing_else(
    lr: float, decay: float, factor: float, own: float, make: Any
) -> None:
    module = network()
    groups = {"hidden.*": {"lr": factor}, "*embedder*": {"weight_decay": own}, "*": {"lr": 1.0}}
    found = settings(make(lr=lr, weight_decay=decay, groups=groups).create(module.named_parameters()), module)
    assert found["hidden.weight"] == (pytest.approx(lr * factor), decay)
    assert found["hidden.bias"] == (pytest.approx(lr * factor), 0)
    assert found["x_embedder.weight"] == (lr, own)
    assert found["x_embedder.bias"] == (lr, 0)
    assert found["final_layer.weight"] == (lr, decay)


@pytest.mark.parametrize("make", [AdamW, Muon])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"groups": {"*": {"beta": 1.0}}}, "lr and weight_decay"),
        ({"groups": {"*": {"lr": -1.0}}}, "0 or more"),
        ({"beta1": 1.0}, "beta1"),
        ({"lr": float("nan")}, "lr"),
    ],
)
def test_what_is_out_of_range_is_refused(make: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make(**wrong)


def test_a_pattern_that_matches_nothing_is_refused_in_the_configuration() -> None:
    assert unmatched({"*": {}, "a*": {}}, ["a", "b"]) == ["a*"]
    with pytest.raises(ConfigError, match=r"optimizer\.groups.*adaLM.*first match of no parameter"):
        resolve(read(None, ["optimizer.groups={'*adaLM*': {lr: 0.5}}"]))
    config = resolve(read(None, ["optimizer.groups={'*adaLN*': {lr: 0.5}}"]))
    assert config.optimizer.identity()["arguments"] == {"groups": {"*adaLN*": {"lr": 0.5}}}
    assert config.hash != resolve(read(None, [])).hash


@pytest.mark.parametrize("steps", [1, 4])
def test_one_step_of_muon_is_torchs_muon_on_the_hidden_matrices_and_adamw_on_the_rest(steps: int) -> None:
    module, other = network(), network()
    recipe = Muon(lr=0.01, weight_decay=0.1)
    optimizer = recipe.create(module.named_parameters())
    rest = [p for name, p in other.named_parameters() if name != "hidden.weight"]
    matrices = [
        {"params": [p for p in rest if p.ndim > 1]},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0},
    ]
    separate = [
        torch.optim.Muon([other["hidden"].weight], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),  # pyright: ignore[reportIndexIssue]
        torch.optim.AdamW(matrices, lr=0.01, weight_decay=0.1, fused=True),
    ]
    for step in range(steps):
        gradients([module, other], step)
        optimizer.step()
        for one in separate:
            one.step()
    for (name, found), expected in zip(module.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(found, expected), name


def test_muons_update_is_nearly_orthogonal_and_as_large_as_adamws() -> None:
    module = nn.ModuleDict({"hidden": nn.Linear(64, 32, bias=False)})
    weight: Tensor = module["hidden"].weight  # pyright: ignore[reportAssignmentType]
    before = weight.detach().clone()
    optimizer = Muon(lr=0.01).create(module.named_parameters())
    gradients([module], 0)
    optimizer.step()
    update = (weight.detach() - before) / 0.01
    values = torch.linalg.svdvals(update / (0.2 * 64**0.5))
    assert 0.6 < values.min() < values.max() < 1.3  # the quintic's band around 1
    assert 0.1 < update.square().mean().sqrt() < 0.3


@pytest.mark.parametrize("make", [AdamW, Muon])
def test_a_loaded_state_goes_on_where_it_was_and_the_schedule_reaches_all_groups(make: Any) -> None:
    module = network()
    recipe = make(lr=0.01, groups={"hidden.*": {"lr": 0.5}})
    optimizer = recipe.create(module.named_parameters())
    scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for step in range(3):
        gradients([module], step)
        optimizer.step()
        scheduler.step()
    rates = {name: lr for name, (lr, _) in settings(optimizer, module).items()}
    assert rates["hidden.weight"] == pytest.approx(0.5 * 0.01 / 4)
    assert rates["x_embedder.bias"] == pytest.approx(0.01 / 4)
    twin = copy.deepcopy(module)
    again = recipe.create(twin.named_parameters())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(3, 6):
        gradients([module, twin], step)
        optimizer.step()
        again.step()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("backbone", ["dit", "u-vit", "mmdit", "mlp"])
def test_muon_has_the_hidden_matrices_and_adamw_the_first_and_last_layers(backbone: str) -> None:
    config = resolve(read(None, [f"backbone={backbone}", "objective=shortcut", "optimizer=muon"]))
    module = meta_backbone(config.backbone, config.data, step=True)
    recipe = config.optimizer.build()
    chosen = {name for name, parameter in module.named_parameters() if recipe.is_muons(name, parameter)}
    matrices = {name for name, parameter in module.named_parameters() if parameter.ndim == 2}
    assert all("block" in name for name in chosen), chosen
    inside = {name for name in matrices if "block" in name}
    assert chosen == inside
    assert matrices - chosen
    optimizer = recipe.create(module.named_parameters())
    assert isinstance(optimizer, MuonAdamW)
    counted = sum(len(group["params"]) for group in optimizer.param_groups if group["kind"] == "muon")
    assert counted == len(chosen)


def test_an_interrupted_run_with_muon_ends_as_one_never_interrupted(make_run: MakeRun) -> None:
    class StopAfter(AfterStep):
        def after_step(self, trainer: Any, module: Any, step: int) -> None:
            stop.requested = stop.requested or step == 5

    asked = {"optimizer": {"name": "muon", "groups": {"blocks.*": {"lr": 0.5}}}, "trainer__accumulate": 2}
    whole, pieces, stop = make_run(**asked), make_run("again", **asked), Stop()
    fit(whole, stop=Stop(), reporter=Reporter("none"))
    with pytest.raises(Interrupted):
        fit(pieces, stop=stop, reporter=Reporter("none"), extra=[StopAfter()])
    fit(pieces, stop=Stop(), reporter=Reporter("none"))
    one, other = (checkpoints.newest(run.checkpoints).state for run in (whole, pieces))
    assert one["step"] == other["step"] == 12
    for name, value in one["backbone"].items():
        assert torch.equal(value, other["backbone"][name]), name
    for key, state in one["optimizer"]["state"].items():
        assert all(torch.equal(value, other["optimizer"]["state"][key][name]) for name, value in state.items())
