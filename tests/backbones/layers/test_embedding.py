"""Codes of times, steps and labels against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.condition import Complete
from backbones.layers.embedding import (
    FREQUENCIES,
    LabelEmbedding,
    LabelTokens,
    PooledEmbedding,
    StepEmbedding,
    TimeEmbedding,
    sinusoid,
    vector,
)


@given(value=st.floats(-2, 1000, width=32), half=st.integers(1, 64))
def test_sinusoid_is_its_formula(value: float, half: int) -> None:
    code = sinusoid(torch.tensor([value], dtype=torch.float32), 2 * half)[0]
    angles = [value * math.exp(-math.log(1e4) * i / half) for i in range(half)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    assert code.tolist() == pytest.approx(expected, abs=3e-4)  # 1000 in float32 is 6e-5 wide


def test_codes_keep_float32_times_apart() -> None:
    """Under bf16 the code is still computed in float32, and a float64 time keeps its precision."""
    t = torch.tensor([0.5, 0.5005])
    with torch.autocast("cpu", torch.bfloat16):
        code = sinusoid(1000 * t, FREQUENCIES)
    assert code.dtype == torch.float32
    assert (code[0] - code[1]).abs().max() > 0.3
    assert sinusoid(t.double(), 8).dtype == torch.float64
    assert sinusoid(t.bfloat16(), 8).dtype == torch.float32


def test_time_scale() -> None:
    torch.manual_seed(0)
    thousand, one = TimeEmbedding(width=8), TimeEmbedding(width=8, scale=1.0)
    one.load_state_dict(thousand.state_dict())
    t = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(thousand(t), one(1000 * t))


def test_time_offset_and_the_frequencies_of_diffusers() -> None:
    torch.manual_seed(0)
    plain, other = TimeEmbedding(width=8), TimeEmbedding(width=8, scale=-1.0, offset=1.0)
    other.load_state_dict(plain.state_dict())
    t = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(other(t), plain((1 - t) / 1000))
    shifted = sinusoid(torch.tensor([2.0]), 8, shift=1)[0, :4]
    assert shifted.tolist() == pytest.approx([math.cos(2.0 * 1e4 ** (-i / 3)) for i in range(4)], abs=1e-6)


def test_halved_steps_have_distinct_codes() -> None:
    """The eight step sizes of M = 128 and the label 0 are far apart before the MLP."""
    seen: list[torch.Tensor] = []
    embedding = StepEmbedding(width=8)
    embedding.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    embedding(torch.tensor([2.0**-k for k in range(8)] + [0.0]))
    codes = seen[0] / seen[0].norm(dim=1, keepdim=True)
    similarity = codes @ codes.T - torch.eye(9)
    assert similarity.max() < 0.2


def test_tiny_steps_are_coded_as_zero() -> None:
    embedding = StepEmbedding(width=8)
    zero = embedding(torch.zeros(1))
    assert torch.equal(zero, embedding(torch.tensor([2.0**-16])))
    assert not torch.allclose(zero, embedding(torch.tensor([2.0**-15])))


def test_labels_read_their_row_and_null_the_last() -> None:
    embedding = LabelEmbedding(classes=3, width=4)
    table = embedding.embedding_table.weight
    rows = embedding(torch.tensor([0, 2, 1]), torch.tensor([False, False, True]))
    assert torch.equal(rows, table[[0, 2, 3]])
    assert LabelEmbedding(classes=0, width=4).embedding_table.weight.shape == (1, 4)


def test_labels_become_tokens() -> None:
    embedding, z = LabelTokens(classes=3, width=4), torch.zeros(3, 1)
    table = embedding.embedding_table.weight
    assert table.shape == (4, 16)
    given = Complete({"label": torch.tensor([0, 2, 1])}, {"label": torch.tensor([False, False, True])})
    assert torch.equal(embedding(given, z), table[[0, 2, 3]].view(3, 4, 4))
    constant = LabelTokens(classes=0, width=4, tokens=2)
    assert torch.equal(constant(Complete({}, {}), z), constant.embedding_table.weight.view(1, 2, 4).expand(3, 2, 4))


def test_a_dropped_pooled_vector_is_its_null() -> None:
    embedding, pooled = PooledEmbedding(pooled=5, width=4), torch.randn(2, 5)
    assert embedding.null.row is not None
    torch.nn.init.normal_(embedding.null.row)
    out = embedding(pooled, torch.tensor([False, True]))
    torch.testing.assert_close(out, embedding.mlp(torch.stack([pooled[0], embedding.null.row])))


def test_the_vector_is_a_sum() -> None:
    torch.manual_seed(0)
    time, steps = TimeEmbedding(width=4), StepEmbedding(width=4)
    label, pooled = LabelEmbedding(classes=3, width=4), PooledEmbedding(pooled=5, width=4)
    t, step, none = torch.rand(2), torch.rand(2), torch.tensor([False, True])
    value = {"label": torch.tensor([2, 1]), "pooled": torch.randn(2, 5)}
    given = Complete(value, {"label": none, "pooled": ~none})
    parts = [time(t), pooled(value["pooled"], ~none), label(value["label"], none), steps(step)]
    torch.testing.assert_close(vector(t, given, None, time=time, steps=None), parts[0])
    whole = vector(t, given, step, time=time, steps=steps, label=label, pooled=pooled)
    torch.testing.assert_close(whole, sum(parts[1:], parts[0]))
