"""The held-out loss by time and step against a loop over rows."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from experiments.errors import UserError
from experiments.metrics import LossTable, Measuring
from objectives import ConsistencyDistillation, Draws, FlowMatching, MeanFlow, ProgressiveDistillation, Reflow, Shortcut
from objectives.conformance.objectives import TinyNetwork
from objectives.densities import LogitNormal
from objectives.sampling import Sampler

EXACT = Measuring(seed=6, dtype=torch.float64)


@pytest.fixture
def network() -> Any:
    return TinyNetwork().double()


def by_hand(objective: Any, network: Any, data: Any, *, rounds: int, **parts: Any) -> dict[str, float]:
    """The same table with one loop after another: names by the definition, means by Python."""
    found: dict[str, list[float]] = {}
    x = data.dataset("validation").x.double()
    for step in range(rounds):
        draws = Draws(6, step, torch.arange(len(x)), len(x))
        with torch.no_grad():
            loss = objective.loss(network, x, None, draws, teacher=network, progress=1.0, **parts)
        steps = [None] * len(x) if loss.steps is None else loss.steps.tolist()
        for value, t, d in zip(loss.per_sample.tolist(), loss.times.tolist(), steps, strict=True):
            low = min(int(t * 4), 3) / 4
            name = f"loss_t{low:g}-{low + 0.25:g}"
            if d is not None:
                name += "_step_0" if d == 0 else f"_step_{2.0 ** round(math.log2(d)):g}"
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


@pytest.mark.parametrize(
    "objective", [Shortcut(M=8), MeanFlow(), FlowMatching(time=LogitNormal(0, 1))], ids=lambda one: one.notation
)
def test_it_is_the_mean_of_the_objectives_own_losses_in_each_bin(exact: Any, network: Any, objective: Any) -> None:
    model = exact(objective, network)
    found = LossTable(rounds=2)(model, EXACT)
    assert found == pytest.approx(by_hand(objective, network, model.data, rounds=2), rel=1e-9)
    assert set(found) <= set(LossTable().columns)
    assert list(found) == [name for name in LossTable().columns if name in found]


def test_a_shortcut_model_has_a_row_for_each_step_at_the_times_where_it_starts(exact: Any, network: Any) -> None:
    found = LossTable(rounds=4)(exact(Shortcut(M=8), network), EXACT)
    assert {name for name in found if name.endswith("_step_1")} == {"loss_t0.75-1_step_1"}
    assert {name for name in found if name.endswith("_step_0.5")} == {
        "loss_t0.5-0.75_step_0.5",
        "loss_t0.75-1_step_0.5",
    }
    assert sum(name.endswith("_step_0.125") for name in found) == 4


def test_a_fault_shows_in_its_own_bin(exact: Any) -> None:
    """A network that is exact but for steps of a half in the second half of time."""
    model = exact(Shortcut(M=8))
    good = model.network

    def faulty(z: Any, t: Any, condition: Any = None, step: Any = None) -> Any:
        wrong = ((step - 0.5).abs() < 1e-6) & (t > 0.8)
        return good(z, t, condition, step) + 2 * wrong[:, None]

    before, after = (LossTable()(exact(Shortcut(M=8), one), EXACT) for one in (good, faulty))
    assert after["loss_t0.75-1_step_0.5"] > before["loss_t0.75-1_step_0.5"] + 3.9
    assert before["loss_t0.75-1_step_0.5"] < 1e-10
    # The step of the whole path asks it as its teacher, and no other bin changes.
    changed = {name for name in before if after[name] != pytest.approx(before[name], rel=1e-6, abs=1e-12)}
    assert changed == {"loss_t0.75-1_step_0.5", "loss_t0.75-1_step_1"}


def test_batches_do_not_show_and_a_stop_is_heard(exact: Any, network: Any) -> None:
    model, done = exact(Shortcut(M=8, k=1 / 3), network), list[int]()
    whole = LossTable(rounds=2, num=50)(model, EXACT)
    parts = LossTable(rounds=2, num=50)(model, Measuring(seed=6, dtype=torch.float64, batch_size=20, check=done.append))
    assert parts == pytest.approx(whole, rel=1e-9)
    assert done == [18, 18, 12] * 2  # whole groups of 3 rows, two rows left over

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LossTable()(model, Measuring(dtype=torch.float64, check=stop))


def test_a_frozen_teacher_teaches(exact: Any, network: Any) -> None:
    objective = ConsistencyDistillation()
    other = TinyNetwork().double()
    for parameter in other.parameters():
        parameter.data *= 2
    teacher = Sampler(objective.flow, other)
    model = exact(objective, network, teacher=teacher)
    LossTable().check_model(model)
    found = LossTable(rounds=1)(model, EXACT)
    x = model.data.dataset("validation").x.double()
    draws = Draws(6, 0, torch.arange(len(x)), len(x))
    with torch.no_grad():
        loss = objective.loss(network, x, None, draws, teacher=other, average=network, progress=1.0)
    assert loss.times is not None
    inside = (loss.times * 4).long().clamp(0, 3) == 3
    mean = float(loss.per_sample[inside].mean())
    last = [value for name, value in found.items() if name.startswith("loss_t0.75-1")]
    if loss.steps is None:
        assert last == pytest.approx([mean], rel=1e-9)
    with pytest.raises(UserError, match="frozen teacher"):
        LossTable().check_model(exact(objective, network))


def test_what_has_no_held_out_loss_is_refused() -> None:
    LossTable().check(FlowMatching())
    with pytest.raises(ValueError, match="pairs with noise"):
        LossTable().check(Reflow())
    with pytest.raises(ValueError, match="in phases"):
        LossTable().check(ProgressiveDistillation())
    for given in ({"times": 0}, {"num": 0}, {"rounds": 0}):
        with pytest.raises(ValueError, match="counts of at least 1"):
            LossTable(**given)
