"""The shipped image sets: what they declare is what they hold."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from datamodules import DataModule, DataSpec, Sequential, TrainingOrder
from datamodules.digits import Digits
from datamodules.images import ImageData, to_bytes
from datamodules.mnist import MNIST

SIZES = {"Digits": (1437, 360), "MNIST": (4000, 1000)}
FINGERPRINTS = {"Digits": "8d3531567dd110e8", "MNIST": "56f7d1c0da58f202"}


@pytest.fixture(scope="module", params=[Digits, MNIST], ids=["digits", "mnist"])
def data(request: pytest.FixtureRequest) -> ImageData:
    module: ImageData = request.param()
    module.setup()
    return module


def name(data: DataModule) -> str:
    return type(data).__name__


def test_the_spec_is_what_the_data_are(data: ImageData) -> None:
    train = data.dataset("train")
    assert train.x.shape[1:] == data.spec.shape
    assert train.label is not None
    assert set(train.label.tolist()) == set(range(data.spec.num_classes))
    assert float(train.x.double().std()) == pytest.approx(data.spec.data_std, abs=5e-4)
    assert (float(train.x.min()), float(train.x.max())) == (-1, 1)
    assert data.spec.conditional


def test_the_splits_are_fixed_and_share_no_image(data: ImageData) -> None:
    train, heldout = data.dataset("train"), data.dataset("validation")
    assert (len(train), len(heldout)) == SIZES[name(data)]
    assert torch.cdist(heldout.x.flatten(1), train.x.flatten(1)).min() > 0.1
    assert train.label is not None
    assert heldout.label is not None
    ideal = torch.bincount(torch.cat([train.label, heldout.label])) / 5
    assert (torch.bincount(heldout.label) - ideal).abs().max() <= 1
    assert data.fingerprint == FINGERPRINTS[name(data)]


def test_a_batch_follows_the_contract(data: ImageData) -> None:
    rows = torch.tensor([5, 2, 2])
    batch = data.dataset("validation")[rows]
    assert set(batch) == {"x", "index", "condition"}
    assert batch["x"].shape == (3, *data.spec.shape)
    assert batch["x"].dtype == torch.float32
    assert torch.equal(batch["index"], rows)
    assert batch["condition"]["label"].dtype == torch.int64
    assert torch.equal(batch["x"][1], batch["x"][2])


def test_pictures_invert_the_normalisation(data: ImageData) -> None:
    x = data.dataset("validation").x
    pictures = data.to_images(x)
    assert pictures.dtype == torch.uint8
    assert pictures.shape == x.shape
    assert torch.allclose(pictures.float() / 127.5 - 1, x, atol=0.5 / 127.5 + 1e-6)
    if name(data) == "MNIST":
        assert torch.equal(((x + 1) * 127.5).round().byte(), pictures)
    else:
        levels = ((x + 1) * 8).round()
        assert torch.equal((pictures.float() / 255 * 16).round(), levels)


def test_setup_loads_once(data: ImageData) -> None:
    before = data.dataset("train")
    data.setup()
    assert data.dataset("train") is before
    with pytest.raises(ValueError, match="split is 'test'"):
        data.dataset("test")  # pyright: ignore[reportArgumentType]


def test_the_loader_hands_over_the_order(data: ImageData) -> None:
    order = TrainingOrder(len(data.dataset("train")), 8, 1, accumulate=2, max_steps=3)
    state = torch.get_rng_state()
    batches = list(data.loader("train", order))
    assert torch.equal(torch.get_rng_state(), state)
    assert [batch["index"].tolist() for batch in batches] == [rows.tolist() for rows in order]
    assert batches[0]["x"].shape == (4, *data.spec.shape)


def test_workers_give_the_same_batches() -> None:
    data = Digits()
    order = Sequential(len(data.dataset("validation")), 100)
    ours, theirs = list(data.loader("validation", order)), list(data.loader("validation", order, workers=1))
    assert [len(batch["x"]) for batch in ours] == [100, 100, 100, 60]
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["condition"]["label"], other["condition"]["label"])


def test_what_is_no_pixel_still_makes_a_picture() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, float("nan"), float("inf"), -float("inf")])
    assert to_bytes(x).tolist() == [0, 0, 128, 255, 255, 128, 255, 0]


def test_the_spec_costs_no_loading() -> None:
    program = (
        "import sys; from datamodules.digits import Digits; from datamodules.mnist import MNIST; "
        "from datamodules.points import Points; [kind().spec for kind in (Digits, MNIST, Points)]; "
        "print([name for name in ('sklearn', 'mlxtend', 'kornia', 'lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_spec_is_free_of_torch_and_checked() -> None:
    with pytest.raises(ValueError, match="shape is"):
        DataSpec(shape=())
    with pytest.raises(ValueError, match="shape is"):
        DataSpec(shape=(1, 0, 3))
    with pytest.raises(ValueError, match="data_std is 0"):
        DataSpec(shape=(2,), data_std=0)
    with pytest.raises(ValueError, match="num_classes is -1"):
        DataSpec(shape=(2,), num_classes=-1)
    with pytest.raises(ValueError, match="context is"):
        DataSpec(shape=(2,), context=(0, 4))
    assert not DataSpec(shape=(2,)).conditional
    assert DataSpec(shape=(2,), context=(4, 8)).conditional
