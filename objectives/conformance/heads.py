"""The kit for heads."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.conformance.common import EXACT, close, draws
from objectives.heads import Head
from objectives.paths import Path


class HeadConformance:
    """Rule 2: raw output and (x̂, ε̂) invert one another; velocity, label and input scale agree with the path."""

    def heads(self) -> st.SearchStrategy[Head]:
        """The heads to test."""
        raise NotImplementedError

    def paths(self) -> st.SearchStrategy[Path]:
        """The paths that they stand on."""
        raise NotImplementedError

    @EXACT
    @given(st.data())
    def test_raw_and_prediction_invert_one_another(self, data: st.DataObject) -> None:
        path, head = data.draw(self.paths()), data.draw(self.heads())
        head.check(path)
        t = torch.linspace(0.02, 0.98 * path.t_max, 64, dtype=torch.float64)
        random = draws(64)
        x, noise, raw = (random.normal(name, (64, 3), torch.float64) for name in ("x", "noise", "raw"))
        a, b, (da, db) = path.a(t)[:, None], path.b(t)[:, None], path.rates(t)
        z = a * x + b * noise
        x_hat, noise_hat = head.decode(path, head.target(path, x, noise, t), z, t)
        close(x_hat, x, 1e-8)
        close(noise_hat, noise, 1e-8)
        x_hat, noise_hat = head.decode(path, raw, z, t)
        close(a * x_hat + b * noise_hat, z)
        close(head.target(path, x_hat, noise_hat, t), raw, 1e-8)
        close(head.velocity(path, raw, z, t), da[:, None] * x_hat + db[:, None] * noise_hat, 1e-8)

    @EXACT
    @given(st.data())
    def test_label_has_an_inverse_and_the_scale_is_positive(self, data: st.DataObject) -> None:
        path, head = data.draw(self.paths()), data.draw(self.heads())
        t = torch.linspace(0.01, path.t_max, 64, dtype=torch.float64)
        close(head.time(path, head.label(path, t)), t)
        scale = head.scale(path, t)
        assert scale is None or bool((scale > 0).all())
