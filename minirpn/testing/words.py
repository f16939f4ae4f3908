"""Arrays and differences in words short enough to read."""

from __future__ import annotations

from typing import Any

import numpy as np

_MOST_ROWS = 8
_LARGEST_IN_FULL = 1e12


def plain(value: Any) -> str:
    """Return a number, an array or anything else as one short line.

    Examples
    --------
    >>> plain(np.array([[0.0, 0, 1, 0.3333333]]))
    '[[0, 0, 1, 0.3333]]'
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} = {plain(part)}" for name, part in value.items())
    if isinstance(value, bool | np.bool_ | str) or value is None:
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(plain(part) for part in value)})"
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "iuf":
        number = float(array[()])
        whole = number.is_integer() and abs(number) < _LARGEST_IN_FULL
        return f"{number:.0f}" if whole else f"{number:.4g}"
    if array.dtype.kind not in "biuf":
        return repr(value)
    rows = [plain(row[()] if row.ndim == 0 else row) for row in array[:_MOST_ROWS]]
    if len(array) > _MOST_ROWS:
        rows.append(f"... {len(array) - _MOST_ROWS} more")
    return f"[{', '.join(rows)}]"


def difference(got: Any, expected: Any) -> str:
    """Return how an answer differs from the right one; an empty string if it does not.

    Numbers are equal up to the rounding of the dtype they came in, NaN to NaN.

    Parameters
    ----------
    got, expected
        Numbers, arrays, or dictionaries of them, of which the right one lists the names.
    """
    if isinstance(expected, dict):
        # A forward of the wrong shape has no gradients: what is there is compared.
        parts = (
            (name, difference(got[name], right)) for name, right in expected.items() if name in got
        )
        return next((f"{name}: {words}" for name, words in parts if words), "")
    mine, right = np.asarray(got), np.asarray(expected)
    if mine.shape != right.shape:
        return f"yours has the shape {mine.shape}, expected {right.shape}"
    rounding = 1e-9 if mine.dtype.kind != "f" or mine.dtype.itemsize == 8 else 1e-4
    wrong = ~np.isclose(mine, right, rtol=rounding, atol=rounding, equal_nan=True)
    if not wrong.any():
        return ""
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    where = f"at {plain(list(place))} " if mine.size > 1 else ""
    return f"{where}yours gives {plain(mine[place])}, expected {plain(right[place])}"
