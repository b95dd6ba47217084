"""Norms and losses of a real training against direct computation, and that nothing waits for the device in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.console import Reporter
from experiments.runs import Run
from experiments.stopping import Stop
from experiments.training.fit import fit
from experiments.training.module import TrainingModule
from objectives import draws

MakeRun = Callable[..., Run]


def train(run: Run, *extra: Callback) -> dict[str, dict[int, float]]:
    """What was logged: name -> step -> value."""
    fit(run, stop=Stop(), reporter=Reporter("none"), extra=extra)
    found: dict[str, dict[int, float]] = {}
    for step, name, value in run.metrics():
        assert step not in found.setdefault(name, {})
        found[name][step] = value
    return found


def flat(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


class Keep(Callback):
    """The weights before and after each step, the gradients, and each step's losses by sample."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from objectives import Shortcut

        self.before: dict[int, torch.Tensor] = {}
        self.after: dict[int, torch.Tensor] = {}
        self.grads: dict[int, torch.Tensor] = {}
        self.losses: list[Any] = []
        loss = Shortcut.loss

        def kept(objective: Any, *args: Any, **kwargs: Any) -> Any:
            self.losses.append(loss(objective, *args, **kwargs))
            return self.losses[-1]

        monkeypatch.setattr(Shortcut, "loss", kept)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.before[pl_module.step + 1] = flat(pl_module.backbone.parameters())
        self.grads[pl_module.step + 1] = flat(p.grad for p in pl_module.backbone.parameters() if p.grad is not None)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        assert isinstance(pl_module, TrainingModule)
        self.after[pl_module.step] = flat(pl_module.backbone.parameters())


@pytest.mark.parametrize(("clip", "accumulate"), [(0.5, 1), (None, 2)])
def test_what_is_logged_is_what_happened(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, clip: float | None, accumulate: int
) -> None:
    kept = Keep(monkeypatch)
    settings = {"trainer__clip": clip, "trainer__accumulate": accumulate, "objective": "shortcut"}
    logged = train(make_run(**settings), kept)
    for step in (5, 10, 12):
        size = float(kept.before[step].norm())
        assert logged["train/parameter_norm"][step] == pytest.approx(size, rel=1e-5)
        moved = float((kept.after[step] - kept.before[step]).norm())
        assert logged["train/update_ratio"][step] == pytest.approx(moved / size, rel=1e-4)
        window = range(step, step + 1) if clip is None else {5: range(1, 6), 10: range(6, 11), 12: range(11, 13)}[step]
        norms = [float(kept.grads[s].norm()) for s in window]
        assert logged["train/grad_norm"][step] == pytest.approx(sum(norms) / len(norms), rel=1e-5)
    last = kept.losses[-2 * accumulate :]
    losses, times, steps = (torch.cat([getattr(e, n).detach() for e in last]) for n in ("per_sample", "times", "steps"))
    for i in range(8):
        inside = (times * 8).long().clamp(max=7) == i  # t = 1 is met, and belongs to the last
        if bool(inside.any()):
            assert logged[f"train/loss_t{i}"][12] == pytest.approx(float(losses[inside].mean()), rel=1e-5)
    met = sorted(set(steps.tolist()))
    assert len(met) > 2
    for length in met:
        mean = float(losses[steps == length].mean())
        assert logged[f"train/loss_step_{length:g}"][12] == pytest.approx(mean, rel=1e-5)


def test_health_can_be_left_out_and_changes_nothing(make_run: MakeRun) -> None:
    seen, unseen = make_run(), make_run("unseen", trainer__health=False)
    assert seen.path.name == unseen.path.name
    logged = [train(run) for run in (seen, unseen)]
    assert not [name for name in logged[1] if "loss_t" in name.removeprefix("validation/loss_") or "ratio" in name]
    assert logged[0]["train/loss"] == logged[1]["train/loss"]


class Waits(Callback):
    """Counts, by step, what would make the host wait for a device: values read out of tensors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: dict[int, int] = {}
        self._step = 0
        counted = self

        class Mode(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
                    counted.note()
                return func(*args, **(kwargs or {}))

        self.mode = Mode()
        self._within = False
        for name in ("tolist", "numpy", "cpu"):
            original = getattr(torch.Tensor, name)

            def read(tensor: Any, *args: Any, original: Any = original, **kwargs: Any) -> Any:
                self.note()
                return original(tensor, *args, **kwargs)

            monkeypatch.setattr(torch.Tensor, name, read)

    def note(self) -> None:
        if self._within:
            self.count[self._step] = self.count.get(self._step, 0) + 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, TrainingModule)
        self._step, self._within = pl_module.step + 1, True
        self.mode.__enter__()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        self.mode.__exit__(None, None, None)
        self._within = False


@pytest.mark.parametrize("spike", [None, "skip", "roll_back"])
def test_nothing_is_read_from_the_device_between_logged_steps(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, spike: str | None
) -> None:
    monkeypatch.setattr(draws, "_rounds_on_cpu", draws._rounds_on_device)  # which needs no values on the host
    waits = Waits(monkeypatch)
    settings = {"trainer__validate_every": 100, "trainer__checkpoint_every": 100, "trainer__spike": spike}
    train(make_run(trainer__spike_factor=50.0, **settings), waits)
    assert waits.count.keys() == {5, 10, 12}
