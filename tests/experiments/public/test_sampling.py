"""Imported checkpoints sample as the loops of their own libraries do, from the same noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import experiments
from objectives import Guidance, sample

diffusers = pytest.importorskip("diffusers", reason="pip install 'fewstep[test]' brings diffusers")

GENERATOR_SEED = 4


def noise_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(GENERATOR_SEED))


def close(own: Tensor, theirs: Tensor) -> None:
    assert bool(theirs.isfinite().all())
    assert float((own - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@torch.no_grad()
def test_diffusers_dit_as_its_pipeline_with_ddim(bring: Any, public_file: Any, guidance: float) -> None:
    """The loop of DiTPipeline: DDIM on DDPM's 1,000 steps, the learned variance left out, null id = number of classes.

    "trailing" timesteps begin at the last step and end at clean data, as the grid here does.
    """
    peer = diffusers.DiTTransformer2DModel.from_pretrained(public_file("diffusers-dit")).eval()
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="linear", beta_start=0.0001, beta_end=0.02, timestep_spacing="trailing", clip_sample=False
    )
    scheduler.set_timesteps(10)
    noise, label = noise_of((3, 4, 8, 8)), torch.tensor([0, 3, 4])
    z, doubled = noise.clone(), torch.cat((label, torch.full_like(label, 5)))
    for timestep in scheduler.timesteps:
        out = peer(torch.cat((z, z)), timestep=timestep.expand(6), class_labels=doubled).sample[:, :4]
        with_label, without = out.chunk(2)
        z = scheduler.step(without + guidance * (with_label - without), timestep, z).prev_sample
    loaded = experiments.load(bring("diffusers-dit").run.path)
    own = sample(
        loaded.objective, loaded.network(), noise, {"label": label}, steps=10, solver="ddim", guidance=guidance
    )
    close(own, z)


@torch.no_grad()
def test_diffusers_sd3_as_flow_match_euler(bring: Any, public_file: Any) -> None:
    """FlowMatchEulerDiscreteScheduler with SD3's shift, its sigmas given so that they are shifted once."""
    peer = diffusers.SD3Transformer2DModel.from_pretrained(public_file("diffusers-sd3")).eval()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 8, 8))
    noise = noise_of((2, 4, 8, 8))
    context, pooled = noise_of((2, 5, 7)), noise_of((2, 6))
    nulls = torch.cat((context, torch.zeros_like(context))), torch.cat((pooled, torch.zeros_like(pooled)))
    z = noise.clone()
    for timestep in scheduler.timesteps:
        out = peer(
            torch.cat((z, z)), encoder_hidden_states=nulls[0], pooled_projections=nulls[1], timestep=timestep.expand(4)
        ).sample
        given, without = out.chunk(2)
        z = scheduler.step(without + 5.0 * (given - without), timestep, z).prev_sample
    loaded = experiments.load(bring("diffusers-sd3").run.path)
    condition = {"context": context, "pooled": pooled}
    own = sample(loaded.objective, loaded.network(), noise, condition, steps=8, guidance=Guidance(5.0), grid="shifted")
    close(own, z)


@pytest.mark.parametrize("name", ["diffusers-dit", "diffusers-sd3"])
def test_diffusers_loads_what_is_exported(bring: Any, tmp_path: Any, name: str) -> None:
    from experiments.public.exporting import export_weights

    run = bring(name).run
    cls = {"diffusers-dit": diffusers.DiTTransformer2DModel, "diffusers-sd3": diffusers.SD3Transformer2DModel}[name]
    for shard in (None, 20_000):
        folder = export_weights(run, name, out=tmp_path / f"{name}-{shard}", shard=shard)
        peer, told = cls.from_pretrained(folder, output_loading_info=True)
        assert not told["missing_keys"]
        assert not told["unexpected_keys"]
        peer.save_pretrained(tmp_path / "again")
        assert bring(name, file=tmp_path / "again").run.path == run.path
