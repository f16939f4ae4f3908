"""The terminal: how far a loop is, Ctrl-C, and that it is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self, TextIO

from minirpn.console import for_bar, say

#: Seconds between two progress lines where there is no terminal to draw a bar on.
LINE_INTERVAL = 10.0
_NOTICE = b"\nstopping after this step; the checkpoint is kept (Ctrl-C again: stop at once)\n"


class Progress:
    """Shows how far a loop is: a bar on a terminal, otherwise a plain line now and then.

    Everything goes to stderr, so that stdout holds only results.

    Parameters
    ----------
    total
        Steps in all.
    done
        Steps done before, if a run is resumed.
    unit
        What is counted, such as ``"step"`` or ``"image"``.
    show
        False shows nothing.
    """

    def __init__(self, total: int, *, done: int = 0, unit: str = "step", show: bool = True) -> None:
        self.total, self.done, self.unit, self.show = total, done, unit, show
        self._began = self._shown = time.monotonic()
        self._first = done
        self._bar: Any = None
        if show and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            file = for_bar(sys.stderr)
            self._bar = tqdm(total=total, initial=done, unit=unit, dynamic_ncols=True, file=file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, words: str = "") -> None:
        """Count one more step; `words` such as "loss 0.71" describe it."""
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.update()
        elif self.show:
            now = time.monotonic()
            if now - self._shown >= LINE_INTERVAL or self.done == self.total:
                self._shown = now
                seconds = (now - self._began) / max(self.done - self._first, 1)
                left = round(seconds * (self.total - self.done))
                pace = f"{seconds:.2g} s/{self.unit}, {left} s left"
                parts = f"{self.unit} {self.done}/{self.total}", words, pace
                say(", ".join(filter(None, parts)))

    def write(self, line: str, file: TextIO) -> None:
        """Write a line to stdout or stderr past the bar, also if nothing is shown."""
        with self._without_bar():
            print(line, file=file)

    def say(self, message: str) -> None:
        """Show a line of its own, above the bar."""
        if self.show:
            with self._without_bar():
                say(message)

    @contextlib.contextmanager
    def _without_bar(self) -> Iterator[None]:
        """Take the bar away during the block; tqdm's own `write` fails if a terminal is closed."""
        if self._bar is not None:
            self._bar.clear()
        yield
        if self._bar is not None:
            self._bar.refresh()


class InterruptRequest:
    """Inside the ``with`` block, a signal sets `requested` instead of ending the program.

    The signals are SIGINT, SIGTERM and SIGHUP, which comes when the terminal is closed. A program
    that ``nohup`` started ignores the last, and goes on doing so. The loop looks at `requested`
    between steps, saves, and stops. A second SIGINT raises ``KeyboardInterrupt`` at once. At its
    end the block restores the handlers. Python gives signals to the main thread alone, so in any
    other thread the block changes nothing. With `quiet` a signal says nothing.

    >>> with InterruptRequest() as interrupt:
    ...     interrupt.requested
    False
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.requested = False
        self._quiet = quiet
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> InterruptRequest:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            for number in numbers:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if self._quiet:
            return
        # A handler may run in the middle of a print. Then sys.stderr could raise, os.write cannot.
        with contextlib.suppress(OSError):  # nobody may be there to read it
            os.write(2, _NOTICE)
