"""The most memory that a piece of work holds at once, to the byte."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from torch.autograd.profiler import profile

_EVENT = "[memory]"
"""What torch's profiler calls an allocation, and, with a negative number of bytes, what is given back."""


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most bytes on the CPU that `work` holds of torch's allocator at once, above those held before.

    Every allocation counts, at the size asked for: no sampling, nothing of other processes, of Python or of what the
    allocator keeps in reserve.
    """
    profiler = profile(profile_memory=True)
    gc.collect()  # what is garbage by now would be freed in the middle of the work, and taken off its own
    with profiler:
        work()
    results: Any = profiler.kineto_results
    changes = [event for event in results.events() if event.name() == _EVENT and event.device_type().name == "CPU"]
    held = most = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
