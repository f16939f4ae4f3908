"""What a reader must not do: errors, time, memory, and messages that nobody can read."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = 5.0  # of computing, an input
PATIENCE = 5  # seconds in which nothing is computed: it waits, for a FIFO
SILENCE = 20.0  # seconds without a sign of life from Python
MOST = 10**9  # bytes an input
ADDRESSES = 3 * 2**30  # bytes beyond what the process has; asking for more is refused
LONGEST = 1000  # characters of a message
TIMED = f"over {SECONDS:g} s"


class TooSlowError(BaseException):
    """Raised in the middle of a reader that has computed for too long."""


class FindingError(Exception):
    """What a reader has to say about its own outcome: a status, a line on the console.

    Parameters
    ----------
    kind
        What was seen; findings of one kind are counted together.
    words
        More about it.
    """

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(words)
        self.kind = kind


_JOINERS = "\u200c\u200d"
_UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def trouble_with(line: str) -> str | None:
    """Return what is wrong with a message, or None."""
    if len(line) > LONGEST:
        return "long message"
    if any(unicodedata.category(c) in _UNSHOWN and c not in _JOINERS for c in line):
        return "unprintable message"
    return None


class Finding(NamedTuple):
    """What must not be."""

    kind: str  # an exception's type, or what was seen
    place: str  # the innermost line of minirpn, and of what it called
    words: str
    lines: list[str]  # the end of the traceback


def finding_of(error: BaseException, kind: str | None = None) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TooSlowError):
        frames = frames[:-1]  # that is our own signal's
    package = f"{os.sep}minirpn{os.sep}"
    own = [one for one in frames if package in one.filename] or frames
    # In a library that calls itself, every depth would be another place.
    place = f"{_short(own[-1].filename)}:{own[-1].lineno}" if own else "?"
    with contextlib.suppress(Exception):
        words = str(error)[:300]
    lines = [f"{_short(one.filename)}:{one.lineno} {one.name}: {one.line}" for one in frames[-6:]]
    return Finding(kind or type(error).__name__, place, words, lines)


def _short(name: str) -> str:
    for mark in (
        f"{os.sep}minirpn{os.sep}",
        f"{os.sep}tests{os.sep}",
        f"{os.sep}site-packages{os.sep}",
        f"{os.sep}lib{os.sep}",
    ):
        if mark in name:
            return (
                mark.strip(os.sep) + os.sep if "minirpn" in mark or "tests" in mark else ""
            ) + name.rpartition(mark)[2]
    return name


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


def judge(call: Callable[[], object]) -> tuple[str, Finding | None]:
    """Return "read", "refused" or "finding", and the finding."""
    from minirpn.errors import InputError

    try:
        call()
    except InputError as error:
        if any(isinstance(one, TooSlowError) for one in _chain(error)):
            return "finding", finding_of(error, TIMED)
        memory = next((one for one in _chain(error) if isinstance(one, MemoryError)), None)
        if memory is not None:
            return "finding", finding_of(memory, "MemoryError, caught")
        if trouble := trouble_with(str(error)):
            return "finding", finding_of(error, trouble)
        return "refused", None
    except TooSlowError as error:
        return "finding", finding_of(error, TIMED)
    except FindingError as error:
        return "finding", finding_of(error, error.kind)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: no reader may end the process
        # What our signal interrupted may have said something else about it.
        slow = any(isinstance(one, TooSlowError) for one in _chain(error))
        return "finding", finding_of(error, TIMED if slow else None)
    return "read", None


def memory() -> Callable[[], int]:
    """Return a function that gives the bytes that were needed since the last call, at most."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def value(name: str) -> int:
        text = status.read_text()
        return int(text.partition(f"{name}:")[2].split(None, 1)[0]) * 1024

    try:
        reset.write_text("5")
        value("VmHWM")
    except (OSError, ValueError, IndexError):  # no Linux, or not allowed
        unit = 1 if sys.platform == "darwin" else 1024
        last = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

        def grown() -> int:
            nonlocal last
            before, last = last, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            return last - before

        return grown
    base = value("VmRSS")

    def peak() -> int:
        nonlocal base
        highest = value("VmHWM")
        was, base = base, value("VmRSS")
        reset.write_text("5")
        return highest - was

    return peak


# --- limits --------------------------------------------------------------------------------------


class Guard:
    """Stops what computes or waits for too long, and ends the process that does not notice.

    Time is counted in what this process computes, so that a busy machine accuses nobody.
    """

    def __init__(self, crash: Any) -> None:
        self._crash = crash

    def __enter__(self) -> None:
        self._idle, self._computed = 0, time.process_time()
        signal.signal(signal.SIGPROF, self._stop)
        signal.signal(signal.SIGALRM, self._tick)
        faulthandler.dump_traceback_later(SILENCE, exit=True, file=self._crash)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()

    def _stop(self, *_: object) -> None:
        raise TooSlowError

    def _tick(self, *_: object) -> None:
        """Look, every second, whether anything was computed since the last look."""
        faulthandler.dump_traceback_later(SILENCE, exit=True, file=self._crash)
        before, self._computed = self._computed, time.process_time()
        self._idle += self._computed - before < 0.002
        if self._idle >= PATIENCE:
            raise TooSlowError


def limit_addresses() -> None:
    if sys.platform != "linux":  # elsewhere the limit is not kept, or counts what is not used
        return
    text = Path("/proc/self/status").read_text()
    now = int(text.partition("VmSize:")[2].split(None, 1)[0]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESSES, hard))
