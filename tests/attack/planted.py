"""Readers that do what none may do: the attack has to find each of them.

``python -m tests.attack --readers tests.attack.planted``
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from minirpn.errors import InputError
from tests.attack.inputs import Reader
from tests.attack.judging import MOST, SECONDS, FindingError

SOUND = b'{"steps": 3, "names": ["cat", "dog"]}'


def _refuses(path: Path) -> object:
    if path.is_fifo() or not path.is_file() or path.stat().st_size > 10**6:
        raise InputError(f"{path.name!r}: no file")
    content = path.read_bytes()
    if content != SOUND:
        raise InputError("not what it was")
    return content


def _on_damage(what):
    """Return a reader that accepts the sound file, and does something else with a broken one."""

    def read(path: Path) -> object:
        try:
            return _refuses(path)
        except InputError:
            return what()

    return read


class _UnprintableError(InputError):
    """An error that forgets to make its message printable, as `InputError` does."""

    def __str__(self) -> str:
        return "\N{RIGHT-TO-LEFT OVERRIDE}"


def _raise(error: BaseException) -> object:
    raise error


def _compute() -> None:
    until = time.process_time() + 4 * SECONDS
    while time.process_time() < until:
        pass


def _swallow() -> None:
    """Do not even notice that it should stop."""
    try:
        _compute()
    except BaseException as error:
        raise ValueError("a reason") from error


def _use_memory() -> int:
    return len(bytearray(MOST + 2**26))


def _ask_for_memory() -> None:
    try:
        bytearray(2**40)
    except MemoryError as error:
        raise InputError("it is too large") from error


def _stop_listening() -> None:
    """Block where no signal of Python's is looked at."""
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF, signal.SIGALRM})
    time.sleep(3600)


# What is planted -> how it is called when it is found.
PLANTED = {
    "keyerror": (lambda: _raise(KeyError("steps")), "KeyError"),
    "exit": (lambda: _raise(SystemExit(3)), "SystemExit"),
    "status": (lambda: _raise(FindingError("status 5", "")), "status 5"),
    "unprintable": (
        lambda: _raise(_UnprintableError("")),
        "unprintable message",
    ),
    "computes": (_compute, "over 5 s"),
    "swallows": (_swallow, "over 5 s"),
    "allocates": (_use_memory, "over 1 GB"),
    "asks": (_ask_for_memory, "MemoryError, caught"),
    "dies": (os.abort, "died of -6"),
    "sleeps": (lambda: time.sleep(3600), "over 5 s"),
    "hangs": (_stop_listening, "over 20 s"),
}
SLOW = {"computes", "swallows", "sleeps", "hangs"}


def _reader(name: str, read) -> Reader:
    return Reader(name, lambda: [SOUND], ("json", "bytes"), read, share=1)


READERS = [_reader("sound", _refuses)]
READERS += [_reader(name, _on_damage(what)) for name, (what, _) in PLANTED.items()]
