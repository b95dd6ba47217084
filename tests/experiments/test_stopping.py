"""A first signal asks, a second Ctrl-C insists."""

from __future__ import annotations

import os
import signal

import pytest

from experiments.errors import Interrupted, StoppedAtOnce
from experiments.stopping import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_asks_for_a_stop(number: signal.Signals) -> None:
    stop = Stop()
    with stop.listening():
        stop.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            stop.check()


def test_a_second_ctrl_c_stops_at_once_and_a_second_term_does_not() -> None:
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedAtOnce):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_from_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop().listening():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
