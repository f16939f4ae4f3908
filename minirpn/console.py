"""The program's two streams: what cannot be written is lost, and the work goes on.

A training may take days. Meanwhile its terminal may be closed, the program that reads its output
may end, and the disk that its output goes to may become full. None of these makes the work wrong,
so none of them ends it. And what is written is printable, whoever gave the names in it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from minirpn.text import printable

_LAYOUT = re.compile(r"([\n\t]+)")  # what the program itself writes besides characters


class Unfailing:
    """A text stream that never fails.

    Parameters
    ----------
    stream
        Where the text goes.

    Attributes
    ----------
    lost
        Why nothing can be written any more; None as long as it can.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lost: OSError | None = None
        self._stream = stream
        self._is_terminal = stream.isatty()

    def write(self, text: str) -> int:
        """Write a text as it is."""
        if self.lost is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write what is kept back."""
        if self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Remember why; what Python keeps back goes nowhere, so that its end does not fail."""
        self.lost = error
        is_closed = error.errno == errno.EIO and self._is_terminal
        if is_closed or (error.errno == errno.EINVAL and os.name == "nt"):  # a pipe of Windows
            self.lost = BrokenPipeError(errno.EPIPE, "it was closed")
        with contextlib.suppress(OSError, ValueError):  # a stream that is no file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # isatty, fileno, encoding and so on


class Console(Unfailing):
    """A text stream that never fails, and writes escapes for what is not printable.

    Attributes
    ----------
    as_it_is
        The same stream for a progress bar, which goes back to the start of its line.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.as_it_is = Unfailing(stream)

    def write(self, text: str) -> int:
        """Write a text, with escapes for what is neither printable nor a line break or a tab."""
        if not text.isprintable():
            parts = _LAYOUT.split(text)  # texts and layout in turn
            parts[::2] = map(printable, parts[::2])
            text = "".join(parts)
        return super().write(text)


@contextlib.contextmanager
def consoles(*, silent: bool = False) -> Iterator[tuple[Console, Console]]:
    """Make consoles of stdout and stderr inside the block, and yield the two.

    If `silent`, what is written to them goes nowhere.
    """
    before = sys.stdout, sys.stderr
    streams = []
    for stream in before:
        if hasattr(stream, "reconfigure"):  # its encoding may not have all characters
            stream.reconfigure(errors="backslashreplace")
        # None: it was closed when the program began.
        nowhere = silent or stream is None
        streams.append(Console(io.StringIO() if nowhere else stream))
    sys.stdout, sys.stderr = streams
    try:
        yield streams[0], streams[1]
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before


def for_bar(stream: TextIO) -> Any:
    """Return the stream that a progress bar writes to."""
    return stream.as_it_is if isinstance(stream, Console) else stream


def occupy_closed_handles() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file that is opened gets the number of stderr, and messages go into it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)


def say(line: str) -> None:
    """Print a printable line on stderr, if there is one that can be written to."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed
        print(printable(line), file=sys.stderr, flush=True)
