"""The first signal asks, the second Ctrl-C insists, and afterwards all is as before."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from minirpn.training.terminal import InterruptRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks(number: int, capfd: pytest.CaptureFixture[str]):
    with InterruptRequest() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
    assert "stopping after this step" in capfd.readouterr().err


def test_the_second_ctrl_c_insists():
    with InterruptRequest() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # an impatient job scheduler is still served
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), InterruptRequest():
        _ = 1 / (signal.getsignal(signal.SIGINT) == before[0])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_are_left_alone():
    seen = []

    def work() -> None:
        with InterruptRequest() as interrupt:
            seen.append((interrupt.requested, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
