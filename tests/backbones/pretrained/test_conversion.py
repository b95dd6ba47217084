"""Every layout there and back, bit for bit, and what does not fit refused with all reasons."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backbones import DiT, MMDiT, UViT
from backbones.pretrained import LAYOUTS, LayoutError, Sizes, to_ours, to_theirs

NAMES = list(LAYOUTS)


def theirs_of(case: Any, name: str, *, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    network = case.build()
    return to_theirs(LAYOUTS[name], network, {key: value.to(dtype) for key, value in network.state_dict().items()})


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_the_identity(case_of: Any, name: str) -> None:
    case, layout = case_of(name), LAYOUTS[name]
    own = case.build().state_dict()
    theirs = theirs_of(case, name)
    back = to_ours(layout, case.laid_out(), theirs)
    assert set(back) == set(own)
    for key, tensor in own.items():
        assert torch.equal(back[key], tensor), key
    again = to_theirs(layout, case.laid_out(), back)
    assert set(again) == set(theirs)
    for key, tensor in theirs.items():
        assert torch.equal(again[key], tensor), key


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_survives_as_float32(case_of: Any, name: str, dtype: torch.dtype) -> None:
    case, layout = case_of(name), LAYOUTS[name]
    theirs = theirs_of(case, name, dtype=dtype)
    wide = {key: tensor.float() for key, tensor in to_ours(layout, case.laid_out(), theirs).items()}
    again = to_theirs(layout, case.laid_out(), wide)
    assert all(torch.equal(again[key].to(dtype), tensor) for key, tensor in theirs.items())


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_read_off_the_shapes(case_of: Any, name: str) -> None:
    case, layout = case_of(name), LAYOUTS[name]
    config = layout.config(case.laid_out()) or {}
    found = layout.read(theirs_of(case, name), {**config, "num_attention_heads": case.options["heads"]})
    for option, value in case.options.items():
        assert found.options[option] == (pytest.approx(value) if isinstance(value, float) else value), option
    sizes = found.sizes()
    assert (sizes.shape, sizes.num_classes, sizes.pooled) == (
        case.sizes.shape, case.sizes.num_classes, case.sizes.pooled,
    )  # fmt: skip
    assert (sizes.context or (0, 0))[1] == (case.sizes.context or (0, 0))[1]
    assert found.asked == {}


def test_heads_of_an_unpublished_width_are_asked_for(case_of: Any) -> None:
    found = LAYOUTS["dit"].read(theirs_of(case_of("dit"), "dit"))
    assert "heads" not in found.options
    assert "the width 16 is no published model's" in found.asked["heads"]


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1152, 16), (1536, 24)])
def test_heads_of_the_published_widths(width: int, heads: int) -> None:
    theirs = {
        "x_embedder.proj.weight": torch.empty(width, 4, 2, 2), "pos_embed": torch.empty(1, 256, width),
        "final_layer.linear.weight": torch.empty(32, width),
    }  # fmt: skip
    found = LAYOUTS["dit"].read(theirs)
    assert found.options["heads"] == heads
    assert "as in the published models" in found.guessed["heads"]
    assert (found.shape, found.num_classes, found.options["learn_sigma"]) == ((4, 32, 32), 0, True)


@pytest.mark.parametrize("name", NAMES)
def test_missing_extra_and_misshaped_tensors_are_all_listed(case_of: Any, name: str) -> None:
    case, layout = case_of(name), LAYOUTS[name]
    theirs = theirs_of(case, name)
    first, second, third, *_ = (key for key in theirs if key.endswith("weight"))
    del theirs[first], theirs[second]
    theirs["blocks.9.nothing"] = torch.zeros(2, 3)
    theirs["other"] = torch.zeros(1)
    theirs[third] = theirs[third][:1]
    with pytest.raises(LayoutError) as caught:
        to_ours(layout, case.laid_out(), theirs)
    reasons = caught.value.reasons
    assert len(reasons) == 5
    assert reasons[0].startswith(f"{first} ")
    assert reasons[0].endswith("is missing")
    assert reasons[1].startswith(f"{second} ")
    assert reasons[2:4] == ("blocks.9.nothing 2×3 has no place", "other 1 has no place")
    assert reasons[4].startswith(f"{third} is 1")
    assert ", expected " in reasons[4]


@pytest.mark.parametrize(("name", "table"), [("dit", "pos_embed"), ("diffusers-sd3", "pos_embed.pos_embed")])
def test_positions_that_are_not_computed_here_are_refused(case_of: Any, name: str, table: str) -> None:
    theirs = theirs_of(case_of(name), name)
    theirs[table] = theirs[table] + 0.001
    with pytest.raises(LayoutError, match=f"{table} is no sine-cosine code of its grid: values differ by up to 0.001"):
        to_ours(LAYOUTS[name], case_of(name).laid_out(), theirs)


def test_copies_that_are_not_equal_are_refused(case_of: Any) -> None:
    theirs = theirs_of(case_of("diffusers-dit"), "diffusers-dit")
    other = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"
    theirs[other] = theirs[other] + 1
    with pytest.raises(LayoutError, match=rf"{other} is another than transformer_blocks\.0\.norm1\.emb"):
        to_ours(LAYOUTS["diffusers-dit"], case_of("diffusers-dit").laid_out(), theirs)


def test_sits_time_and_velocity_run_the_other_way(case_of: Any, inputs: Any) -> None:
    """SiT's own network is told t' = 1 − t and gives x − ε; DiT's code with scale 1 is that network."""
    case = case_of("sit")
    theirs = theirs_of(case, "sit")
    public = DiT(case.sizes, **{**case.options, "time_scale": 1.0, "time_offset": 0.0})
    public.load_state_dict({name: tensor for name, tensor in theirs.items() if name != "pos_embed"})
    z, t, condition = inputs(case.sizes)
    torch.testing.assert_close(case.build()(z, t, condition), -public(z, 1 - t, condition), rtol=1e-5, atol=1e-5)


def test_learned_null_rows_a_step_and_more_sets_have_no_place() -> None:
    size = {"patch": 2, "width": 64, "depth": 1, "heads": 1}
    sections = Sizes((4, 8, 8), context=(5, 7), pooled=6, sections=(2, 3))
    with torch.device("meta"):
        network = MMDiT(sections, step=True, sets=3, **size)
    with pytest.raises(LayoutError) as caught:
        to_theirs(LAYOUTS["sd3"], network, network.state_dict())
    told = "\n".join(caught.value.reasons)
    for name in (
        "step_embedder.mlp.0.weight",
        "null_context.row",
        "joint_blocks.0.second_context_block.attn.qkv.weight",
    ):
        assert f"{name}, which Stability AI's sd3.5 has not" in told
    with pytest.raises(LayoutError, match=r"the network here has step_embedder\.mlp\.0\.weight, which"):
        to_ours(LAYOUTS["sd3"], network, {})


@pytest.mark.parametrize(
    ("name", "cls", "sizes", "options", "told"),
    [
        ("dit", DiT, Sizes((4, 8, 6)), {}, "data of shape (4, 8, 6); the public code takes square images (C, S, S)"),
        ("dit", DiT, Sizes((4, 8, 8)), {"time_scale": 1.0}, "time_scale=1: facebookresearch/DiT has 1000"),
        ("dit", DiT, Sizes((4, 8, 8)), {"frequency_shift": 1}, "frequency_shift=1: facebookresearch/DiT embeds"),
        ("dit", DiT, Sizes((4, 8, 8)), {"mlp_norm_eps": 1e-5}, "mlp_norm_eps=1e-05: facebookresearch/DiT has 1e-06"),
        ("sit", DiT, Sizes((4, 8, 8)), {"time_scale": -1.0}, "time_offset=0: willisma/SiT is fed 1 − t"),
        ("diffusers-dit", DiT, Sizes((4, 8, 8)), {"frequency_shift": 1}, "data without labels"),
        ("diffusers-dit", DiT, Sizes((4, 8, 8), 3), {"mlp_ratio": 2.0, "frequency_shift": 1}, "mlp_ratio=2"),
        ("diffusers-dit", DiT, Sizes((4, 8, 8), 3), {}, "frequency_shift=0: diffusers' DiTTransformer2DModel embeds"),
        ("uvit", UViT, Sizes((4, 8, 8)), {"time_scale": 1.0}, "time_scale=1: baofff/U-ViT has 1000"),
        ("sd3", MMDiT, Sizes((4, 8, 8), context=(5, 7), pooled=3), {"learned_null": False}, "64·depth"),
        ("diffusers-sd3", MMDiT, Sizes((4, 8, 8), context=(5, 7), pooled=3),
         {"learned_null": False, "max_size": 6, "position_scale": 0.3}, "base is a whole number of patches"),
    ],
)  # fmt: skip
def test_what_the_public_code_would_compute_otherwise_is_refused(
    name: str, cls: Any, sizes: Any, options: dict[str, Any], told: str
) -> None:
    with torch.device("meta"):
        network = cls(sizes, patch=2, width=32, depth=2, heads=2, **options)
    assert any(told in reason for reason in LAYOUTS[name].misfits(network)), LAYOUTS[name].misfits(network)
    if network.spec.shape[1] == network.spec.shape[2]:
        to_theirs(LAYOUTS[name], network, network.state_dict(), anyhow=True)
    with pytest.raises(LayoutError):
        to_theirs(LAYOUTS[name], network, network.state_dict())


def test_a_uvit_with_captions_there_and_back() -> None:
    """The public caption model: 77 tokens between the time's and the patches, no label, no learned null."""
    sizes = Sizes((4, 8, 8), context=(77, 6))
    options = {"patch": 2, "width": 16, "depth": 2, "heads": 2, "mlp_ratio": 4.0, "conv": True, "learned_null": False}
    network = UViT(sizes, **options)
    network.initialise(0)
    theirs = to_theirs(LAYOUTS["uvit"], network, network.state_dict())
    assert theirs["pos_embed"].shape == (1, 1 + 77 + 16, 16)
    assert theirs["context_embed.weight"].shape == (16, 6)
    found = LAYOUTS["uvit"].read(theirs)
    assert found.sizes() == sizes
    assert {**found.options, "heads": 2} == options
    back = to_ours(LAYOUTS["uvit"], network, theirs)
    assert all(torch.equal(back[name], tensor) for name, tensor in network.state_dict().items())


def test_another_layouts_file_is_told_by_what_it_lacks(case_of: Any) -> None:
    with pytest.raises(LayoutError) as caught:
        LAYOUTS["sd3"].read(theirs_of(case_of("uvit"), "uvit"))
    assert "x_embedder.proj.weight is missing: every checkpoint of Stability AI's sd3.5 has it" in caught.value.reasons
    with pytest.raises(LayoutError, match=r"time_embed\.\* has no place"):
        LAYOUTS["uvit"].read({**theirs_of(case_of("uvit"), "uvit"), "time_embed.0.weight": torch.zeros(1)})
    with pytest.raises(LayoutError, match="activation_fn='geglu'; the DiT here has 'gelu-approximate'"):
        LAYOUTS["diffusers-dit"].read(theirs_of(case_of("diffusers-dit"), "diffusers-dit"), {"activation_fn": "geglu"})
