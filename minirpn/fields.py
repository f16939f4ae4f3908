"""Values in a file, checked where they are read, so that later code may trust them.

A check takes a value, as JSON gives it, and where it comes from. It returns the value, or raises
`InputError`: "PATH: line 7: recall: expected 0 to 1, got 7". Checks are made of others:
``table_of(list_of(measured(0, 1)))``. `Fields` is the check of an object whose keys are known.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minirpn.budget import Budget, OverBudgetError, parse_json
from minirpn.errors import InputError
from minirpn.files import one_line_errors, read_file

Value = TypeVar("Value")
Check = Callable[[Any, str], Value]

MOST_WHOLE = 10**12
"""No count in a file is larger; float64 holds each exactly."""
MOST_COUNT = 10**9
"""No setting that counts is larger: at a thousand steps a second, so many take eleven days."""
MOST_NUMBER = 1e200
"""No measured number is larger: beyond, the axes of diagrams overflow."""
MOST_TEXT = 10_000
"""Characters of a text in a file; the path of a file has at most 4,096."""
MOST_NAME = 300
"""Characters of a name: of an image, a class, a layer."""

_ABSENT = object()


class _Short(reprlib.Repr):
    """Writes any value in a few words, however large it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 100, 100

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to write thousands of digits.
        return repr(value) if value.bit_length() < 200 else f"a number of {value.bit_length()} bits"


_SHORT = _Short()


def shown(value: object) -> str:
    """Return what messages call a value that was got: its ``repr``, with the middle left out."""
    return _SHORT.repr(value)


def wrong(where: str, expected: str, value: object) -> InputError:
    """Return the error about a value."""
    return InputError(f"{where}: expected {expected}, got {shown(value)}")


# --- single values -------------------------------------------------------------------------------


def whole(least: int = 0, most: int = MOST_WHOLE) -> Check[int]:
    """Return the check of a whole number in a range, ends included."""

    def check(value: Any, where: str) -> int:
        # A bool is an int to Python.
        if type(value) is not int or not least <= value <= most:
            raise wrong(where, f"a whole number from {least} to {most}", value)
        return value

    return check


def number(least: float = -MOST_NUMBER, most: float = MOST_NUMBER) -> Check[float]:
    """Return the check of a finite number in a range, ends included."""

    def check(value: Any, where: str) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise wrong(where, f"a number from {least:g} to {most:g}", value)
        return float(value)

    return check


def measured(least: float = -MOST_NUMBER, most: float = MOST_NUMBER) -> Check[float]:
    """Return the check of such a number, or of null, which stands for one that was not finite.

    Null becomes nan.
    """
    finite = number(least, most)
    return lambda value, where: math.nan if value is None else finite(value, where)


def text(most: int = MOST_TEXT) -> Check[str]:
    """Return the check of a text of at most so many characters."""

    def check(value: Any, where: str) -> str:
        if type(value) is not str or len(value) > most:
            raise wrong(where, f"a text of at most {most:,} characters", value)
        return value

    return check


def choice(*values: Value) -> Check[Value]:
    """Return the check of a value that is one of these."""

    def check(value: Any, where: str) -> Value:
        for one in values:
            if type(value) is type(one) and value == one:
                return one
        raise wrong(where, " or ".join(map(repr, values)), value)

    return check


def check_count(name: str, count: int) -> None:
    """Raise ``ValueError("name: reason")`` unless a setting can be a number of things."""
    if not count >= 1:
        raise ValueError(f"{name}: expected at least 1, got {count}")
    if count > MOST_COUNT:
        raise ValueError(f"{name}: expected at most {MOST_COUNT:,}, got {count}")


# --- of several ----------------------------------------------------------------------------------


def optional(check: Check[Value]) -> Check[Value | None]:
    """Return the check of a value or null, which becomes None."""
    return lambda value, where: None if value is None else check(value, where)


def list_of(
    check: Check[Value], length: int | None = None, *, most: int | None = None
) -> Check[list[Value]]:
    """Return the check of a list, perhaps of one length or at most one; places count from 1."""

    def check_all(values: Any, where: str) -> list[Value]:
        if type(values) is not list:
            raise wrong(where, "a list", values)
        if length is not None and len(values) != length:
            raise InputError(f"{where}: expected {length} values, got {len(values)}")
        if most is not None and len(values) > most:
            raise InputError(f"{where}: expected at most {most} values, got {len(values)}")
        return [check(value, f"{where}: {place}") for place, value in enumerate(values, start=1)]

    return check_all


def array_of(kind: type, least: float, most: float) -> Check[np.ndarray]:
    """Return the check of a list of numbers, int or float, of any length: a quick `list_of`."""
    one = whole(int(least), int(most)) if kind is int else number(least, most)
    types = {int} if kind is int else {int, float}

    def check_all(values: Any, where: str) -> np.ndarray:
        is_right = type(values) is list and set(map(type, values)) <= types
        if not is_right or not all(least <= value <= most for value in values):
            values = list_of(one)(values, where)  # says which
        return np.array(values, np.int64 if kind is int else np.float64)

    return check_all


def table_of(check: Check[Value], names: int = MOST_NAME) -> Check[dict[str, Value]]:
    """Return the check of an object with keys of any name, of at most so many characters."""
    name = text(names)

    def check_all(values: Any, where: str) -> dict[str, Value]:
        if type(values) is not dict:
            raise wrong(where, "an object", values)
        return {name(key, where): check(value, f"{where}: {key}") for key, value in values.items()}

    return check_all


def object_of(**checks: Check[Any]) -> Check[dict[str, Any]]:
    """Return the check of an object that has these keys; others are left out."""

    def check_all(value: Any, where: str) -> dict[str, Any]:
        fields = Fields(value, where)
        return {key: fields.get(key, check) for key, check in checks.items()}

    return check_all


class Fields:
    """A JSON object whose keys are known, and where it comes from; it is a check itself.

    Parameters
    ----------
    plain
        What the file holds; an InputError says if that is no object.
    where
        The file, and the place in it: what messages begin with.
    """

    def __init__(self, plain: Any, where: str) -> None:
        if type(plain) is not dict:
            raise wrong(where, "an object", plain)
        self.plain: dict[str, Any] = plain
        self.where = where

    def __contains__(self, key: str) -> bool:
        return key in self.plain

    def get(self, key: str, check: Check[Value], default: Any = _ABSENT) -> Value:
        """Return the value of a key, checked; without the key, `default` as it is, if given."""
        if key in self.plain:
            return check(self.plain[key], f"{self.where}: {key}")
        if default is _ABSENT:
            raise InputError(f"{self.where}: {key}: missing")
        return default

    def wrong(self, reason: str) -> InputError:
        """Return the error about values that contradict each other."""
        return InputError(f"{self.where}: {reason}")


# --- files ---------------------------------------------------------------------------------------


def parsed(content: bytes, where: str, budget: Budget | None = None) -> Any:
    """Return what JSON says; an InputError says why it is none, or holds too much."""
    try:
        return parse_json(content, budget)
    except OverBudgetError as error:
        raise InputError(f"{where}: {error}") from error
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error


def read_json(path: Path, budget: Budget | None = None) -> Any:
    """Return what a JSON file says; an InputError says why it cannot be read."""
    with one_line_errors(path, "read"):
        content = read_file(path)
    return parsed(content, str(path), budget)
