"""The first signal asks, the second Ctrl-C insists, and afterwards all is as before.

A terminal that is closed sends a signal, and nothing can be written to it any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

import pytest

from minirpn.training.terminal import InterruptRequest, Progress
from minirpn.training.train import train
from minirpn.training.trainer import Trainer

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in dir(signal)]


@pytest.mark.parametrize("number", SIGNALS)
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
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), InterruptRequest():
        _ = 1 / (signal.getsignal(signal.SIGINT) == before[0])
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_a_hang_up_that_is_ignored_stays_ignored():
    """As nohup asks."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with InterruptRequest() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


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


# --- the terminal is closed ----------------------------------------------------------------------


@contextlib.contextmanager
def terminal_of_its_own(monkeypatch):
    """Make a terminal of stderr, and yield the function that closes it."""
    pty = pytest.importorskip("pty")
    other_end, end = pty.openpty()
    with os.fdopen(end, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield lambda: os.close(other_end)
        with contextlib.suppress(OSError):  # what is still kept back
            stream.close()


def test_a_bar_outlives_its_terminal(monkeypatch):
    with terminal_of_its_own(monkeypatch) as close, Progress(3) as bar:
        bar.advance()
        close()
        for _ in range(2):
            bar.say("a line")
            bar.advance("loss 0.5")
    assert bar.done == 3


@pytest.mark.usefixtures("no_finish")
def test_a_training_outlives_its_terminal(new_run, small_config, monkeypatch):
    """Of a program that uses the library."""
    take, folder = Trainer.train_step, new_run("run")

    def closing(trainer, *args):
        if trainer.step == 2:
            close()
        return take(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", closing)
    with terminal_of_its_own(monkeypatch) as close:
        assert train(small_config, folder, progress=True).steps == 6
