"""Numbers in words."""

from __future__ import annotations

import math


def share(value: float | None) -> str:
    """Return a share in three digits, "-" if it is not known."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Return a share in percent, "-" if it is not known."""
    return "-" if value is None else f"{value:.1%}"


def scientific(value: float | None) -> str:
    """Return a number of any size, "-" if it is not known."""
    return "-" if value is None else f"{value:.2e}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
