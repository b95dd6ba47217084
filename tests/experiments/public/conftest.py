"""Small public checkpoints as files, written with the layouts' own tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from backbones import DiT, MMDiT, UViT
from backbones.pretrained import LAYOUTS, Sizes, to_theirs
from experiments.files import write_json
from experiments.public.importing import Imported, import_weights

LABELS = Sizes((4, 8, 8), num_classes=5)
TEXT = Sizes((4, 8, 8), context=(5, 7), pooled=6)
SMALL: dict[str, Any] = {"patch": 2, "width": 16, "depth": 2, "heads": 2}
DDPM: dict[str, Any] = {"time_scale": 1000.0, "time_offset": -1.0, "learn_sigma": True}
SD3: dict[str, Any] = {"learned_null": False, "max_size": 6, "position_scale": 4 / 6}
NETWORKS: dict[str, tuple[Any, Sizes, dict[str, Any]]] = {
    "dit": (DiT, LABELS, {**SMALL, **DDPM}),
    "sit": (DiT, LABELS, {**SMALL, "time_scale": -1.0, "time_offset": 1.0, "learn_sigma": True}),
    "uvit": (UViT, LABELS, SMALL),
    "sd3": (MMDiT, TEXT, {**SMALL, **SD3, "width": 64, "depth": 1, "heads": 1}),
    "diffusers-dit": (DiT, LABELS, {**SMALL, **DDPM, "frequency_shift": 1, "mlp_norm_eps": 1e-5}),
    "diffusers-sd3": (MMDiT, TEXT, {**SMALL, **SD3}),
}


def network_of(name: str) -> Any:
    """A small network of a layout with no parameter at zero."""
    cls, sizes, options = NETWORKS[name]
    network, generator = cls(sizes, **options), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network.eval()


@pytest.fixture(scope="session")
def public_network() -> Callable[[str], Any]:
    return network_of


@pytest.fixture(scope="session")
def public_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file (for diffusers the folder) of a layout's small network; what no shape tells, ``bring`` adds."""
    root = tmp_path_factory.mktemp("public")

    def file_of(name: str) -> Path:
        layout, network, folder = LAYOUTS[name], network_of(name), root / name
        target = folder / "diffusion_pytorch_model.safetensors"
        if not target.exists():
            folder.mkdir()
            theirs = to_theirs(layout, network, network.state_dict())
            save_file({f"{layout.prefix}{key}": tensor.contiguous() for key, tensor in theirs.items()}, target)
            config = layout.config(network)
            if config is not None:
                write_json(folder / "config.json", config)
        return target if layout.config(network) is None else folder

    return file_of


@pytest.fixture
def bring(tmp_path: Path, public_file: Callable[[str], Path]) -> Callable[..., Imported]:
    """Imports a layout's small checkpoint, or ``file``, with what no shape of these small networks tells."""

    def bring(name: str, *overrides: str, file: Path | None = None, root: str = "runs") -> Imported:
        context = ["data.context=5,7"] if NETWORKS[name][1].context else []
        heads = ["backbone.heads=2"] if name in ("dit", "sit", "uvit") else []
        given = [*heads, "data.size=8", *context, *overrides]
        return import_weights(file or public_file(name), name, overrides=given, root=tmp_path / root)

    return bring
