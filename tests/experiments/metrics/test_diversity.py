"""Diversity: the ratio of known spreads, and the collapse of flow matching's first step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.metrics import Diversity, SampleFeatures, base, diversity
from objectives import Draws, FlowMatching, Shortcut, sample

MIX = torch.tensor([[0.0, 0.0], [8.0, 0.0]], dtype=torch.float64)


def normal(rows: int, seed: int, width: int = 2) -> Tensor:
    return Draws(seed, 0, torch.arange(rows)).normal("data", (rows, width), torch.float64)


def test_it_is_the_ratio_of_the_mean_distances_between_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = normal(30, 0), normal(20, 1) + 5

    def spread(x: Tensor) -> float:
        return sum(float((p - q).norm()) for p in x for q in x) / (len(x) * (len(x) - 1))

    assert diversity(real, fake) == pytest.approx(spread(fake) / spread(real), rel=1e-10)
    assert diversity(real, 3 * real - 7) == pytest.approx(3, rel=1e-12)
    assert diversity(real, fake[:1].expand(10, 2)) == 0
    whole = diversity(real, fake)
    monkeypatch.setattr(base, "BLOCK", 7)
    assert diversity(real, fake) == pytest.approx(whole, rel=1e-12)


def test_one_step_of_flow_matching_collapses_and_one_of_an_exact_shortcut_does_not(exact: Any) -> None:
    noise = normal(200, 2)
    found = {}
    for objective in (FlowMatching(), Shortcut(M=64)):
        model = exact(objective)
        fake = sample(objective, model.network, noise, None, steps=1)
        real = model.data.dataset("validation").x
        found[type(objective).__name__] = Diversity()(SampleFeatures(real, real, fake))["diversity"]
    assert found["FlowMatching"] < 1e-6
    assert found["Shortcut"] == pytest.approx(1, abs=0.15)


def test_within_a_class_the_mean_of_a_class_has_none(exact: Any) -> None:
    label = torch.arange(40) % 2
    real = normal(40, 3) + MIX[label]
    means = torch.stack([real[label == i].mean(0) for i in range(2)])[label]
    found = Diversity()(SampleFeatures(real, real, means, label, label))
    assert tuple(found) == Diversity().columns
    assert found["diversity_within_class"] == pytest.approx(0, abs=1e-9)
    assert found["diversity"] > 0.7
    half = means + 0.5 * (real - means)
    assert Diversity()(SampleFeatures(real, real, half, label, label))["diversity_within_class"] == pytest.approx(0.5)
    # The classes count alike, however many samples each has.
    fewer = torch.cat((half[label == 0], half[label == 1][:5]))
    told = torch.cat((torch.zeros(20), torch.ones(5))).long()
    first, second = real[label == 0], real[label == 1]
    spreads = [diversity(first, 0.5 * first), diversity(second, half[label == 1][:5])]
    weights = [base.mean_over_pairs(base.distance, part) for part in (first, second)]
    expected = sum(s * w for s, w in zip(spreads, weights, strict=True)) / sum(weights)
    found = Diversity()(SampleFeatures(real, real, fewer, label, told))
    assert found["diversity_within_class"] == pytest.approx(expected, rel=1e-9)


def test_classes_without_two_rows_are_left_out_and_data_without_classes_have_one_number() -> None:
    real, fake = normal(6, 0), normal(6, 1)
    label = torch.tensor([0, 0, 0, 1, 1, 1])
    told = torch.tensor([0, 0, 0, 0, 0, 1])
    found = Diversity()(SampleFeatures(real, real, fake, label, told))
    assert found["diversity_within_class"] == pytest.approx(diversity(real[:3], fake[:5]), rel=1e-12)
    assert Diversity()(SampleFeatures(9 * real, real, fake)) == {"diversity": diversity(real, fake)}
    none = Diversity()(SampleFeatures(real, real, fake, torch.arange(6), torch.arange(6)))
    assert math.isnan(none["diversity_within_class"])


def test_what_is_not_finite_is_nan_and_labels_are_counted() -> None:
    real, fake = normal(6, 0), normal(5, 1)
    fake[2, 0] = math.inf
    label = torch.zeros(6).long()
    found = Diversity()(SampleFeatures(real, real, fake, label, label[:5]))
    assert all(math.isnan(value) for value in found.values())
    assert math.isnan(diversity(torch.ones(4, 2), real))
    with pytest.raises(ValueError, match="5 rows of features have labels of the shape"):
        SampleFeatures(real, real, fake, label, label)
