"""Numbers and arrays in words: as short as they can be, as long as they must be."""

from __future__ import annotations

from typing import Any

import numpy as np

from minirpn.testing.storage import storage

_MOST_ROWS = 24
_LARGEST_IN_FULL = 1e12
_FEWEST_DIGITS, _MOST_DIGITS = 4, 17


def plain(value: Any, digits: int = _FEWEST_DIGITS) -> str:
    """Return a number, an array or anything else as one short line.

    Parameters
    ----------
    value
        Anything; of an array at most 24 rows.
    digits
        Significant digits of numbers that are not whole.

    Examples
    --------
    >>> plain(np.array([[0.0, 0, 1, 0.3333333]]))
    '[[0, 0, 1, 0.3333]]'
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} = {plain(part, digits)}" for name, part in value.items())
    if isinstance(value, bool | np.bool_ | str) or value is None:
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(plain(part, digits) for part in value)})"
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "iuf":
        number = float(array[()]) + 0.0  # not -0
        whole = number.is_integer() and abs(number) < _LARGEST_IN_FULL
        return f"{number:.0f}" if whole else f"{number:.{digits}g}"
    if array.dtype.kind not in "biuf":
        return repr(value)
    rows = [plain(row[()] if row.ndim == 0 else row, digits) for row in array[:_MOST_ROWS]]
    if len(array) > _MOST_ROWS:
        rows.append(f"... {len(array) - _MOST_ROWS} more")
    return f"[{', '.join(rows)}]"


def arguments(question: dict[str, Any], most: int | None = None) -> str:
    """Return the arguments of a call with all their digits, and how odd arrays are held.

    Parameters
    ----------
    question
        The arguments by name.
    most
        Characters that there is room for: the longest arrays are told by dtype and shape, until
        the rest fits. None for any number.

    Examples
    --------
    >>> question = {"x": np.array([0.1 + 0.2, 1]), "n": 3}
    >>> arguments(question)
    'x = [0.30000000000000004, 1], n = 3'
    >>> arguments(question, most=30)
    'x = float64 (2,), n = 3'
    """
    told = {name: _in_full(value) for name, value in question.items()}
    for name in sorted(told, key=lambda name: -len(told[name])):
        if most is None or len(_joined(told)) <= most:
            break
        told[name] = min(told[name], _form(question[name]), key=len)
    return _joined(told)


def _joined(told: dict[str, str]) -> str:
    return ", ".join(f"{name} = {text}" for name, text in told.items())


def _form(value: Any) -> str:
    """Return the dtype and the shape of an array, of a dictionary its names; else three dots."""
    if isinstance(value, dict):
        return f"{{{', '.join(map(str, value))}}}"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "..."


def _in_full(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_in_full(part)}' for name, part in value.items())}}}"
    held = storage(value) if isinstance(value, np.ndarray) else ""
    return _exactly(value) + (f" ({held})" if held else "")


def _exactly(value: Any) -> str:
    """Return the fewest digits that read back as the same numbers."""
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        text = plain(value, digits)
        if _all_told(value, digits):
            return text
    return plain(value, _MOST_DIGITS)


def _all_told(value: Any, digits: int) -> bool:
    if isinstance(value, tuple):
        return all(_all_told(part, digits) for part in value)
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return True
    return all(array.dtype.type(f"{number:.{digits}g}") == number for number in array.flat)


def apart(one: Any, other: Any) -> tuple[str, str]:
    """Return two numbers with as many digits as it takes to tell them apart.

    Examples
    --------
    >>> apart(0.9999999, 1.0)
    ('0.9999999', '1')
    """
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        words = plain(one, digits), plain(other, digits)
        if words[0] != words[1]:
            return words
    return plain(one, _MOST_DIGITS), plain(other, _MOST_DIGITS)


def difference(got: Any, expected: Any, *, single: bool = False) -> str:
    """Return how an answer differs from the right one; an empty string if it does not.

    Numbers are equal up to the rounding of the dtype they came in, NaN to NaN. In float64 that
    leaves room for an epsilon of 1e-9.

    Parameters
    ----------
    got, expected
        Numbers, arrays, or dictionaries of them, of which the right one lists the names.
    single
        Whether the question had numbers in float32, so that the answer is no more exact.
    """
    if isinstance(expected, dict):
        # A forward of the wrong shape has no gradients: what is there is compared.
        parts = (
            (name, difference(got[name], right, single=single))
            for name, right in expected.items()
            if name in got
        )
        return next((f"{name}: {words}" for name, words in parts if words), "")
    mine, right = np.asarray(got), np.asarray(expected)
    if mine.shape != right.shape:
        return f"yours has the shape {mine.shape}, expected {right.shape}"
    single = single or (mine.dtype.kind == "f" and mine.dtype.itemsize < 8)
    with np.errstate(all="ignore"):
        largest = np.abs(right[np.isfinite(right)]).max(initial=1)
        relative, absolute = (1e-4, 1e-6 * largest) if single else (1e-8, 1e-8)
        wrong = ~np.isclose(mine, right, rtol=relative, atol=absolute, equal_nan=True)
    if not wrong.any():
        return ""
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    where = f"at {plain(list(place))} " if mine.size > 1 else ""
    words = apart(mine[place], right[place])
    return f"{where}yours gives {words[0]}, expected {words[1]}"
