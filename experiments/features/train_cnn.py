"""Train the feature networks that the package ships: python -P -m experiments.features.train_cnn digits|mnist.

Deterministic on one machine: one thread, seeded weights and dropout, the training order and the augmentation by
position. Trains on the training split alone, prints the held-out accuracy, and writes it into the file's metadata.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from datamodules.base import Rows
from datamodules.digits import Digits
from datamodules.images import ImageData
from datamodules.mnist import MNIST
from datamodules.order import TrainingOrder
from experiments.features.cnn import MNISTCNN, DigitCNN, DigitsCNN
from objectives.draws import Draws

SEED = 0
BATCH = 64
STEPS = {"digits": 3000, "mnist": 5000}


def train(network: DigitCNN, data: ImageData, steps: int) -> None:
    """AdamW (learning rate 2e-3, one cycle; weight decay 0.05) on the cross-entropy of augmented images."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    rows = data.dataset("train")
    order = TrainingOrder(len(rows), BATCH, SEED, max_steps=steps)
    network.train()
    for step, chosen in enumerate(order):
        batch = data.augment(rows[chosen], Draws(SEED, step, torch.arange(BATCH)))
        loss = nn.functional.cross_entropy(network.logits(batch["x"]), batch["condition"]["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    network.eval()


@torch.no_grad()
def accuracy(network: DigitCNN, rows: Rows) -> float:
    """Share of the images put into their class."""
    return float((network.logits(rows.x).argmax(dim=1) == rows.label).double().mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one network and write its weights."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", choices=sorted(STEPS))
    parser.add_argument("--steps", type=int, help="default: " + ", ".join(f"{k} {v}" for k, v in STEPS.items()))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights")
    given = parser.parse_args(arguments)
    steps = STEPS[given.data] if given.steps is None else given.steps
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    if given.data == "digits":
        data, network = Digits(shift=1, rotation=10.0), DigitsCNN(pretrained=False)
    else:
        data, network = MNIST(shift=2, rotation=12.0), MNISTCNN(pretrained=False)
    train(network, data, steps)
    share = accuracy(network, data.dataset("validation"))
    print(f"held-out accuracy {share:.4f}")
    record = {
        "heldout_accuracy": f"{share:.4f}",
        "data": data.fingerprint,
        "steps": str(steps),
        "seed": str(SEED),
        "made_by": f"python -P -m experiments.features.train_cnn {given.data}",
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), given.out / f"{network.name}.safetensors", metadata=record)


if __name__ == "__main__":
    main()
