"""The shipped feature networks are what their files say, and tell digits from noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from datamodules.digits import Digits
from datamodules.images import ImageData
from datamodules.mnist import MNIST
from datamodules.points import Points
from experiments.features import FeatureExtractor, extract
from experiments.features.cnn import MNISTCNN, DigitCNN, DigitsCNN
from experiments.features.coordinates import Coordinates
from experiments.features.pixels import Pixels
from experiments.features.train_cnn import accuracy, main
from experiments.metrics import frechet_distance, memorisation, precision_recall


@pytest.fixture(scope="module", params=[(Digits, DigitsCNN), (MNIST, MNISTCNN)], ids=["digits", "mnist"])
def pair(request: pytest.FixtureRequest) -> tuple[ImageData, DigitCNN]:
    data, network = request.param
    return data(), network()


def test_the_network_is_the_one_its_data_ask_for(pair: tuple[ImageData, DigitCNN]) -> None:
    data, network = pair
    assert data.features == network.name
    assert data.spec.shape == (1, network.size, network.size)
    assert network.metadata()["data"] == data.fingerprint


def test_the_recorded_accuracy_is_the_true_one(pair: tuple[ImageData, DigitCNN]) -> None:
    data, network = pair
    share = accuracy(network, data.dataset("validation"))
    assert float(network.metadata()["heldout_accuracy"]) == pytest.approx(share, abs=0.0021)
    assert share >= 0.98


def test_the_weights_are_small_and_plain(pair: tuple[ImageData, DigitCNN]) -> None:
    _, network = pair
    assert len(network.weights_file().read_bytes()) < 1_000_000
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training


def test_features_are_alive(pair: tuple[ImageData, DigitCNN]) -> None:
    data, network = pair
    features = extract(network, data, data.dataset("train").x)
    assert features.shape == (len(data.dataset("train")), 64)
    assert features.dtype == torch.float32
    assert float((features.std(dim=0) > 0).double().mean()) > 0.9
    assert torch.linalg.matrix_rank(features - features.mean(dim=0)) > 50


def test_features_do_not_depend_on_batches(pair: tuple[ImageData, DigitCNN]) -> None:
    data, network = pair
    x = data.dataset("validation").x[:100]
    assert torch.allclose(extract(network, data, x, batch_size=7), extract(network, data, x), rtol=1e-4, atol=1e-4)
    assert torch.equal(extract(network, data, x), extract(network, data, x))


def test_held_out_digits_are_near_and_noise_is_far(pair: tuple[ImageData, DigitCNN]) -> None:
    data, network = pair
    train, heldout = (extract(network, data, data.dataset(split).x) for split in ("train", "validation"))
    noise = torch.randn(1000, *data.spec.shape, generator=torch.Generator().manual_seed(0))
    fake = extract(network, data, noise)
    near, far = frechet_distance(train, heldout), frechet_distance(train, fake)
    stated = {"digits_cnn": (10.8, 539), "mnist_cnn": (4.5, 978)}[network.name]
    assert (near, far) == pytest.approx(stated, rel=0.01)
    assert min(precision_recall(train, heldout)) > 0.8
    assert memorisation(train, heldout, train[:100]) == 1.0
    assert memorisation(train, heldout, fake) == 0.0


def test_fingerprints_tell_networks_apart() -> None:
    torch.manual_seed(0)
    prints = {
        extractor.fingerprint
        for extractor in (DigitsCNN(), MNISTCNN(), DigitsCNN(pretrained=False), Pixels(), Coordinates())
    }
    assert len(prints) == 5
    assert DigitsCNN().fingerprint == DigitsCNN().fingerprint


def test_pixels_are_the_bytes() -> None:
    data = Digits()
    x = data.dataset("validation").x[:9]
    features = extract(Pixels(), data, x)
    assert features.shape == (9, 64)
    assert torch.equal((features * 255).round().byte().view(9, 1, 8, 8), data.to_images(x))


def test_coordinates_are_the_samples() -> None:
    data = Points(size=40)
    x = data.dataset("train").x
    assert data.features == Coordinates.name
    assert torch.equal(extract(Coordinates(), data, x, batch_size=7), x)


@pytest.mark.parametrize(
    ("extractor", "given"),
    [
        (DigitsCNN(), torch.zeros(2, 1, 28, 28, dtype=torch.uint8)),
        (DigitsCNN(), torch.zeros(2, 1, 8, 8)),
        (MNISTCNN(), torch.zeros(2, 3, 28, 28, dtype=torch.uint8)),
        (Pixels(), torch.zeros(2, 1, 8, 8)),
        (Coordinates(), torch.zeros(2, dtype=torch.uint8)),
    ],
    ids=["size", "type", "channels", "pixels", "coordinates"],
)
def test_what_an_extractor_does_not_take_is_refused(extractor: FeatureExtractor, given: Tensor) -> None:
    with pytest.raises(ValueError, match=f"{extractor.name} takes"):
        extractor(given)


def test_no_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample"):
        extract(Pixels(), Digits(), torch.zeros(0, 1, 8, 8))


def test_the_training_script_is_deterministic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Forty steps, twice: the same weights; and they have learned something."""
    for name in ("one", "two"):
        main(["digits", "--steps", "40", "--out", str(tmp_path / name)])
    one, two = (load_file(tmp_path / name / "digits_cnn.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert float(capsys.readouterr().out.split()[-1]) > 0.3
