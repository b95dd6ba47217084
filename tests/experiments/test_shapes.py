from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from experiments.config import parse, resolve
from experiments.config.checks import meta_backbone
from experiments.flops import _condition, network_flops
from experiments.shapes import Shapes, Unknown


@pytest.mark.parametrize("step", [False, True])
@pytest.mark.parametrize(
    ("backbone", "data"),
    [(name, data) for name in ("dit", "u-vit", "mmdit", "crossdit", "mlp") for data in ("digits", "synthetic")]
    + [("mlp", "points"), ("mlp", "detour"), ("simpleuvit", "digits")],
)
def test_the_count_is_that_of_torchs_own_counter(backbone: str, data: str, step: bool) -> None:
    config = resolve(parse({"backbone": backbone, "data": data}))
    network = meta_backbone(config.backbone, config.data, step=step)
    z, t = (torch.empty(shape, device="meta") for shape in ((1, *network.spec.shape), (1,)))
    asked = (z, t, _condition(network.spec, 1, "meta"), t if step else None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*asked)
    with torch.no_grad(), Shapes() as shapes:
        out = network(*asked)
    assert shapes.flops == counter.get_total_flops() == network_flops(network)
    assert out.shape == z.shape


@given(size=st.integers(5, 12), kernel=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 2))
@settings(max_examples=20)
def test_a_convolution_has_the_shape_and_the_cost_that_torch_gives_it(
    size: int, kernel: int, stride: int, padding: int
) -> None:
    layer = nn.Conv2d(3, 5, kernel, stride=stride, padding=padding, device="meta")
    x = torch.empty(2, 3, size, size + 1, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        expected = layer(x)
    with torch.no_grad(), Shapes() as shapes:
        assert layer(x).shape == expected.shape
    assert shapes.flops == counter.get_total_flops()


def test_what_is_not_known_is_left_to_torchs_counter() -> None:
    x = torch.empty(2, 3, device="meta")
    with pytest.raises(Unknown), Shapes():
        _ = x @ x.T
    with pytest.raises(Unknown), Shapes():
        F.conv_transpose2d(torch.empty(1, 3, 4, 4, device="meta"), torch.empty(3, 2, 2, 2, device="meta"))


def test_counting_does_not_load_the_compiler() -> None:
    code = (
        "import sys; from experiments.config import parse, resolve; from experiments.grid.costs import Costs; "
        "found = Costs({}).of(resolve(parse({'objective': 'shortcut', 'backbone': 'mmdit'}))); "
        "print(found.flops > 0, not {'torch._dynamo', 'sympy'} & sys.modules.keys())"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["True", "True"]
