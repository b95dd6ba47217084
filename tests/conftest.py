"""Settings that every test shares: one thread per process and Hypothesis without luck."""

from __future__ import annotations

import os

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

collect_ignore = ["plugin_example"]  # a package with tests of its own: test_plugin_example.py installs it

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
