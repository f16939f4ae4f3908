"""Stop politely: the first Ctrl-C asks, the second insists."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_NOTICE = b"\nstopping after this step; the checkpoint is kept (Ctrl-C again: stop at once)\n"


class InterruptRequest:
    """Inside the ``with`` block, SIGINT and SIGTERM set `requested` instead of ending the program.

    The loop looks at `requested` between steps, saves, and leaves. A second SIGINT raises
    ``KeyboardInterrupt`` where the program stands. On exit the handlers are what they were before.
    Python gives signals to the main thread alone: in any other the block changes nothing.

    >>> with InterruptRequest() as interrupt:
    ...     interrupt.requested
    False
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> InterruptRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        # A handler may run in the middle of a print: sys.stderr could raise here, a raw write not.
        os.write(2, _NOTICE)
