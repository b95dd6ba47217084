"""What ``trainer.precision`` means for weights and batches.

"bf16-mixed" is Lightning's: float32 weights, matrix products in bfloat16. The "true" ones are ours, since Lightning's
would cast the averages too, and the times: "bf16-true" keeps the backbone's weights, gradients and optimiser state in
bfloat16, the averages, the loss and the codes of times in float32; "64-true" is float64 throughout.
"""

from __future__ import annotations

import torch

WEIGHTS: dict[str, torch.dtype] = {"bf16-true": torch.bfloat16, "64-true": torch.float64}
BATCH: dict[str, torch.dtype] = {"64-true": torch.float64}
LIGHTNING: dict[str, str] = {"bf16-mixed": "bf16-mixed"}
"""What Lightning is told; "32-true" for all others, which is to leave everything as it is."""
