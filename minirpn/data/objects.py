"""One ``<object>`` of a VOC annotation: read, checked, and repaired where that is safe."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree.ElementTree import Element

from minirpn._typing import ImageSize
from minirpn.data.findings import Kind

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# Tags of the format that some tools leave out, and what is taken then.
_OPTIONAL = {"pose": "Unspecified", "truncated": "0", "difficult": "0"}


class VOCObject(NamedTuple):
    """One ``<object>``; `corners` are ``(xmin, ymin, xmax, ymax)``, 1-based and inclusive."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool = False
    truncated: bool = False


class Note(NamedTuple):
    """Something about a value; the caller knows of which file and object."""

    kind: Kind
    reason: str


class BadValueError(ValueError):
    """A value that is missing or wrong, and why."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.note = Note(kind, reason)


def read_object(element: Element, image_size: ImageSize) -> tuple[VOCObject, list[Note]]:
    """Return an object and what was repaired about it.

    Parameters
    ----------
    element
        The ``<object>``.
    image_size
        (height, width) of its image.

    Raises
    ------
    BadValueError
        It is not sound.

    Notes
    -----
    Repaired is what can mean only one thing:

    - Fractions are read as they are, blanks around a text are dropped, and a missing
      ``difficult`` or ``truncated`` means 0.
    - A far edge less than one pixel beyond the image is clipped to it. The far edge is ``width``
      in 1-based inclusive coordinates and in 0-based half-open ones, and ``width - 1`` in 0-based
      inclusive ones; an overhang of a fraction fits none of them, so that it is not a convention
      but a rounding, and clipping brings the box nearer to the object.

    Not repaired: a coordinate below 1, because it makes it likely that *every* box of the file is
    0-based, and so off by one; an overhang of whole pixels, because it speaks of another
    convention or another image; swapped corners, because it is not known what else the tool that
    wrote them did.
    """
    written = element.findtext("name") or ""
    name = text_of(element, "name")
    if not name:
        raise BadValueError(Kind.UNREADABLE_OBJECT, "no <name>")
    notes = [Note(Kind.BLANKS, f"<name> is {written!r}, read as {name!r}")] * (name != written)
    corners = [number_of(element, f"bndbox/{tag}") for tag in _CORNERS]
    texts = [text_of(element, f"bndbox/{tag}") for tag in _CORNERS]
    fractions = [
        f"{tag} {text}" for tag, text in zip(_CORNERS, texts, strict=True) if not text.isdigit()
    ]
    if fractions:
        notes.append(Note(Kind.FRACTION, f"{', '.join(fractions)}: read as written"))
    xmin, ymin, xmax, ymax = corners
    height, width = image_size
    xmax = _checked_end("x", xmin, xmax, "width", width, notes)
    ymax = _checked_end("y", ymin, ymax, "height", height, notes)
    missing = [tag for tag in _OPTIONAL if not text_of(element, tag)]
    if missing:
        taken = ", ".join(f"{_OPTIONAL[tag]} for <{tag}>" for tag in missing)
        notes.append(Note(Kind.MISSING_TAG, f"taken: {taken}"))
    difficult, truncated = _flag(element, "difficult"), _flag(element, "truncated")
    return VOCObject(name, (xmin, ymin, xmax, ymax), difficult, truncated), notes


def _checked_end(
    axis: str, low: float, high: float, side: str, end: int, notes: list[Note]
) -> float:
    """Return `high`, at most `end`, or raise if the box is not sound along this axis."""
    if low < 1:
        reason = f"{axis}min {low:g} is below 1, where VOC pixels start (0-based?)"
        raise BadValueError(Kind.ZERO_BASED if low > -1 else Kind.OUTSIDE, reason)
    if high >= end + 1:
        reason = f"{axis}max {high:g} is beyond the image's {side} {end}"
        raise BadValueError(Kind.OUTSIDE, reason)
    if high > end:
        notes.append(Note(Kind.CLIPPED, f"{axis}max {high:g}: clipped to the {side} {end}"))
        high = float(end)
    if low >= high:
        reason = f"{axis}min {low:g} >= {axis}max {high:g}, a box without {side}"
        raise BadValueError(Kind.SWAPPED if low > high else Kind.NO_AREA, reason)
    return high


def text_of(element: Element, tag: str) -> str:
    """Return the text of a child, blanks around it dropped; "" where there is none."""
    return " ".join((element.findtext(tag) or "").split())


def number_of(element: Element, tag: str) -> float:
    """Return the finite number that a child holds.

    Raises
    ------
    BadValueError
        There is no such child, or no such number in it.
    """
    text = text_of(element, tag)
    if not text:
        raise BadValueError(Kind.UNREADABLE_OBJECT, f"no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        reason = f"<{tag}> is {text!r}, not a number"
        raise BadValueError(Kind.UNREADABLE_OBJECT, reason) from None
    if not math.isfinite(value):
        raise BadValueError(Kind.UNREADABLE_OBJECT, f"<{tag}> is {text!r}, not a finite number")
    return value


def _flag(element: Element, tag: str) -> bool:
    text = text_of(element, tag) or "0"
    if text not in {"0", "1"}:
        raise BadValueError(Kind.UNREADABLE_OBJECT, f"<{tag}> is {text!r}, neither 0 nor 1")
    return text == "1"
