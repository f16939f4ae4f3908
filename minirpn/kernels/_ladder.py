"""Ladders: the rungs of one operation, from plain loops to the fastest, and which one runs.

A rung is one implementation. All rungs of a ladder take the same arguments and give equal results;
a test parametrised over every ladder holds them to that. Without a wish the fastest rung that
takes the arguments runs; `use_rung` wishes for another.
"""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from minirpn._typing import Array

_LADDERS: dict[str, Ladder] = {}
# (operation or "*") -> rung. A ContextVar, so that one thread's wish is not another's.
_WISHES: ContextVar[dict[str, str] | None] = ContextVar("minirpn_rungs", default=None)


@cache
def numba_present() -> bool:
    """Tell whether numba can be imported, without importing it."""
    return importlib.util.find_spec("numba") is not None


def each(takes: Callable[[Array], bool]) -> Callable[[Array | Sequence[Array]], bool]:
    """Make of `Rung.takes` for an array one for a list or tuple of arrays, all of that kind."""

    def takes_all(arrays: Array | Sequence[Array]) -> bool:
        return all(map(takes, arrays if isinstance(arrays, list | tuple) else [arrays]))

    return takes_all


@dataclass(frozen=True)
class Rung:
    """One implementation of an operation.

    Parameters
    ----------
    name
        What `use_rung` calls it.
    function
        The implementation.
    takes
        Tells from the first argument whether it takes arrays of this kind: `is_numpy` for plain
        loops and numba; any kind, if not said. Where that argument is a list of arrays: `each`.
    present
        Tells whether the library or device it needs is here.
    suits
        Tells from the arguments whether it pays to choose it; not asked about a wish.
    rounding
        How far a result may be from that of the loops, in machine epsilons times the largest
        result, or 1; None where both round alike, but for the order of sums.
    """

    name: str
    function: Callable[..., Any]
    takes: Callable[[Array], bool] = lambda array: True
    present: Callable[[], bool] = lambda: True
    suits: Callable[..., bool] = lambda *args, **kwargs: True
    rounding: float | None = None


@dataclass(frozen=True)
class Ladder:
    """An operation and its rungs, slowest first; calling it runs the chosen rung.

    The first positional argument is the array, or a list of arrays, whose kind decides which rungs
    are possible.
    """

    name: str
    rungs: tuple[Rung, ...]
    by_name: dict[str, Rung] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {rung.name: rung for rung in self.rungs})
        _LADDERS[self.name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.choose(*args, **kwargs).function(*args, **kwargs)

    def choose(self, *args: Any, **kwargs: Any) -> Rung:
        """Return the rung these arguments run on.

        Raises
        ------
        TypeError
            The rung wished for does not take arrays of this kind.
        RuntimeError
            The rung wished for needs a library or a device that is not here.
        """
        wished = self._wished()
        if wished is None:
            return next(
                rung
                for rung in reversed(self.rungs)
                if rung.takes(args[0]) and _is_here(rung) and rung.suits(*args, **kwargs)
            )
        if not wished.takes(args[0]):
            kind = f"{type(args[0]).__module__}.{type(args[0]).__qualname__}"
            raise TypeError(f"rung {wished.name!r} of {self.name} takes no {kind}")
        if not wished.present():
            raise RuntimeError(
                f"rung {wished.name!r} of {self.name} needs what is not installed here"
            )
        return wished

    def _wished(self) -> Rung | None:
        """Return the rung `use_rung` asks for, if this ladder has it."""
        wishes = _WISHES.get() or {}
        return self.by_name.get(wishes.get(self.name) or wishes.get("*", ""))


def _is_here(rung: Rung) -> bool:
    """Tell whether what a rung needs is installed; the first time that numba is not, warn."""
    if rung.present is numba_present and not numba_present():
        _warn_of_missing()
    return rung.present()


@cache
def _warn_of_missing() -> None:
    warnings.warn(
        "numba is not installed: slower rungs run instead, with the same results",
        RuntimeWarning,
        stacklevel=2,
    )


@contextlib.contextmanager
def use_rung(rung: str, *operations: str) -> Iterator[None]:
    """Run the named rung inside a ``with`` block.

    Parameters
    ----------
    rung
        Such as ``"loops"``, ``"xp"`` or ``"numba"``.
    operations
        The ladders it is wished for, such as ``"iou"``; none named means every ladder that has a
        rung of this name, while the others go on choosing for themselves.

    Raises
    ------
    ValueError
        There is no such operation, or a named operation (or, with none named, every operation) has
        no such rung.

    Examples
    --------
    >>> import numpy as np
    >>> from minirpn import boxes, kernels
    >>> with kernels.use_rung("loops"):
    ...     boxes.iou(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 1]])).item()
    0.5
    """
    for operation in operations:
        if operation not in _LADDERS:
            raise ValueError(f"no operation {operation!r}; there are {', '.join(sorted(_LADDERS))}")
    asked = operations or tuple(_LADDERS)
    having = [name for name in asked if rung in _LADDERS[name].by_name]
    if not having or (operations and len(having) < len(operations)):
        known = sorted({name for op in asked for name in _LADDERS[op].by_name})
        raise ValueError(f"no rung {rung!r} for {', '.join(asked)}; there are {', '.join(known)}")
    wishes = dict(_WISHES.get() or {})
    wishes.update(dict.fromkeys(operations, rung) if operations else {"*": rung})
    token = _WISHES.set(wishes)
    try:
        yield
    finally:
        _WISHES.reset(token)


def ladders() -> dict[str, Ladder]:
    """Return every ladder by name."""
    return dict(sorted(_LADDERS.items()))


def available(array: Array | None = None) -> dict[str, tuple[str, ...]]:
    """Return the rungs that can run on this machine, slowest first, for each operation.

    Parameters
    ----------
    array
        Of these, the rungs that take arrays of this one's kind; None for all of them.

    Examples
    --------
    >>> import numpy as np
    >>> from minirpn import kernels
    >>> kernels.available(np.zeros(1))["iou"][:2]
    ('loops', 'xp')
    """
    return {
        name: tuple(
            rung.name
            for rung in ladder.rungs
            if (array is None or rung.takes(array)) and rung.present()
        )
        for name, ladder in ladders().items()
    }
