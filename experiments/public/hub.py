"""Models on the Hugging Face Hub, or in a folder as it keeps them: ``from_pretrained``, ``save_pretrained``,
``push_to_hub``.

::

    Model.from_run("runs/NAME-HASH").push_to_hub("me/digits-in-one-step")
    model = Model.from_pretrained("me/digits-in-one-step")          # or a folder
    model.sample(torch.randn(16, 1, 8, 8), {"label": torch.arange(16) % 10}, steps=1)
    run = model.to_run("runs")                                      # which fewstep sample, evaluate and resume take
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.checksums import checksum
from experiments.components import build
from experiments.config import parse, resolve
from experiments.errors import UserError
from experiments.evaluation.loaded import LoadedRun
from experiments.evaluation.sampling import network_dtype
from experiments.public.files import read_safetensors
from experiments.public.importing import finished_run
from experiments.runs import Run
from experiments.training.checkpoints import mismatches
from objectives import Guidance, sample

try:
    from huggingface_hub import PyTorchModelHubMixin  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise UserError("models on the Hugging Face Hub need huggingface_hub: pip install 'fewstep[hub]'") from error


class Model(nn.Module, PyTorchModelHubMixin, library_name="fewstep", tags=["flow-matching"]):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    """A run's network and objective with its configuration, as huggingface_hub's mixin keeps models.

    A folder of it holds config.json (the configuration, which names plugins and no code), model.safetensors
    (``backbone.*`` and ``objective.*``) and a model card. Nothing is read from pickles.

    Args:
        config: a run's configuration as plain data, as of ``Config.plain``.

    Raises:
        ConfigError: faults in the configuration.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.run_config = resolve(parse(config))
        parts = build(self.run_config)
        self.spec, self.objective, self.backbone = parts.data.spec, parts.objective, parts.backbone

    @classmethod
    def from_run(cls, run: Run | Path | str, *, weights: str = "ema") -> Model:
        """The model of a trained run, with these of its weights ("ema", "raw", or others by name)."""
        loaded = LoadedRun(run if isinstance(run, Run) else Run.open(run), device="cpu")
        model = cls(config=loaded.config.plain())
        model.backbone.load_state_dict(loaded.network(weights).state_dict())
        model.objective.load_state_dict(loaded.objective.state_dict())
        return model.eval()

    def forward(
        self, z: Tensor, t: Tensor, condition: dict[str, Tensor] | None = None, step: Tensor | None = None
    ) -> Tensor:
        """The network's raw output (B, …) at z (B, …), noise label t (B,), condition and step (B,)."""
        return self.backbone(z, t, condition, step)

    def sample(
        self,
        noise: Tensor,
        condition: dict[str, Tensor] | None = None,
        *,
        steps: int = 4,
        guidance: float | Guidance = 1.0,
        **options: Any,
    ) -> Tensor:
        """Samples (B, …) from standard normal noise (B, …); ``options`` as of ``objectives.sample``."""
        dtype = network_dtype(self.backbone)
        with torch.no_grad():
            return sample(
                self.objective, self.backbone, noise, condition,
                steps=steps, guidance=guidance, network_dtype=dtype, **options,
            )  # fmt: skip

    def to_run(self, root: Path | str = "runs") -> Run:
        """A run under ``root`` that holds this model, trained to its end: it samples, and training goes on from it."""
        own = {name: tensor.detach().cpu() for name, tensor in self.backbone.state_dict().items()}
        config = dataclasses.replace(self.run_config, origin=f"fewstep:{checksum(own)}")
        objective = {name: tensor.detach().cpu() for name, tensor in self.objective.state_dict().items()}
        return finished_run(config, own, own, root=root, facts={"layout": "fewstep"}, objective=objective)

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        """Load all that there is, or say all that differs: a model of half its weights is none."""
        del strict
        tensors = read_safetensors(Path(model_file))
        lines = mismatches(model.state_dict(), tensors)
        if lines:
            raise UserError(f"{model_file} does not hold the network of its config.json:\n  " + "\n  ".join(lines))
        model.load_state_dict(tensors)
        return model.to(map_location).eval()

    @classmethod
    def _load_as_pickle(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        raise UserError(f"{model_file} is a pickle, and there is no model.safetensors beside it: not read.")
