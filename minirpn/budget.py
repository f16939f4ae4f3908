"""What reading one file may take: bytes of memory, values, nesting, seconds; counted on the way.

A small file can ask for much: a header may claim any size, a list may name the same bytes a
thousand times, a few letters may nest ten thousand deep. Nothing that a file claims is believed.
A reader counts what it really makes, before it makes it, and stops where no honest file gets.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterable
from typing import Any

MOST_VALUES = 1_000_000
"""Values in a file of text: ten times those in the records of 80,000 steps' validations."""

_FEW_VALUES, _BYTES_OF_A_VALUE, _MANY_VALUES = 10_000_000, 5, 50_000_000
_MOST_DOTS = 1000  # in a line of TOML
_DEEPEST_TABLE = 20  # tables in tables; settings need three
_TIME_EVERY = 256  # values between two looks at the clock


class OverBudgetError(ValueError):
    """A file asks for more than any honest one; the message is the reason alone."""


def values_in(size: int) -> int:
    """Return how many values a large JSON file of `size` bytes may hold.

    What minirpn writes takes 6 bytes a value or more, on average 12; hostile JSON takes 1.5. A
    value takes up to 90 bytes of memory, so 60 MB become 1 GB at most, and no file more than 5. The
    largest honest file has 45 million values in 530 MB: the detections, 300 an image, of the 11,540
    images of VOC 2012, 13 values each.
    """
    return min(max(_FEW_VALUES, size // _BYTES_OF_A_VALUE), _MANY_VALUES)


class Budget:
    """Counts what reading one file takes, and raises `OverBudgetError` at the first excess.

    Parameters
    ----------
    made
        Bytes of memory that it may be turned into.
    values
        Numbers, names, lists and so on, and steps of the reader's loops.
    depth
        Lists in lists in lists.
    seconds
        From the making of the budget on. They are a net under the others: a reader that loops over
        what it has counted never takes so long.
    """

    def __init__(
        self,
        *,
        made: int = 2**26,
        values: int = MOST_VALUES,
        depth: int = 50,
        seconds: float = 60.0,
    ) -> None:
        self.left, self.values_left, self.depth = made, values, depth
        self._ends = time.monotonic() + seconds
        self._seconds, self._until_clock = seconds, _TIME_EVERY

    def make(self, count: int) -> None:
        """Count bytes that are about to be made."""
        self.left -= count
        if self.left < 0:
            raise OverBudgetError("it would unpack to far more bytes than it has")

    def step(self, count: int = 1) -> None:
        """Count values, or steps of a loop."""
        self.values_left -= count
        if self.values_left < 0:
            raise OverBudgetError("it holds more values than any file of this kind")
        self._until_clock -= count
        if self._until_clock < 0:
            self._until_clock = _TIME_EVERY
            self.check_time()

    def check_time(self) -> None:
        """Look at the clock; `step` does now and then."""
        if time.monotonic() > self._ends:
            raise OverBudgetError(f"it takes longer than {self._seconds:g} s to read")

    def check_depth(self, depth: int) -> None:
        """Check how deep the reader is in lists in lists."""
        if depth > self.depth:
            raise OverBudgetError(f"it is nested deeper than {self.depth} levels")


def parse_json(content: bytes, budget: Budget | None = None) -> Any:
    """Return what JSON says, in UTF-8.

    Before it is parsed, the marks that come before values are counted, so that a file of a few
    megabytes does not become gigabytes of lists.

    Raises
    ------
    ValueError
        It is not JSON; `OverBudgetError`, which is one: it holds too many values, or is nested too
        deep. The message is one line, the reason alone.
    """
    budget = budget or Budget()
    budget.step(sum(map(content.count, (b",", b"[", b"{", b":"))))
    try:
        value = json.loads(content)
    except RecursionError:
        raise OverBudgetError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if content.count(b"[") + content.count(b"{") > budget.depth:
        _check_depth(value, budget)
    return value


def _check_depth(value: Any, budget: Budget) -> None:
    """Check how deep lists and tables are in one another: later code may walk them by recursion."""
    level, depth = [value], 1
    while level:
        budget.check_depth(depth)
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for values in inner for one in values if isinstance(one, list | dict)]
        depth += 1


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables that TOML says.

    Raises
    ------
    ValueError
        It is not TOML; or a name has too many parts, for which ``tomllib`` takes time by their
        square, or tables and lists are nested too deep. The message is one line, the reason alone.
    """
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise ValueError(f"a line with more than {_MOST_DOTS} dots")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    inside: list[Any] = [table]
    for _ in range(_DEEPEST_TABLE):
        inside = [part for one in inside for part in _parts(one)]
    if inside:
        raise ValueError(f"nested deeper than {_DEEPEST_TABLE} levels")
    return table


def _parts(value: Any) -> Iterable[Any]:
    """Return what is in a table or a list."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
