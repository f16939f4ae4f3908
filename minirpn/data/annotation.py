"""One PASCAL VOC annotation file: read, checked, repaired where that is safe, and written.

VOC counts pixels from 1 and includes the last one; everything else in this package is half-open.
`half_open` and `voc_corners` are the only place where one convention becomes the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from minirpn._typing import ImageSize
from minirpn.data.findings import BadFileError, Finding, Kind, errors_of, finding

BoxFormat = Literal["voc", "zero-based", "half-open", "one-based-half-open", "normalized"]
NoAnnotation = Literal["error", "skip", "negative"]
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# Tags of the format that some tools leave out, and the value each then has.
_OPTIONAL = {"pose": "Unspecified", "truncated": "0", "difficult": "0"}

_Note = tuple[Kind, str]  # a finding whose file and object the caller knows


def half_open(corners: np.ndarray) -> np.ndarray:
    """Return half-open boxes for VOC's corners: ``(xmin - 1, ymin - 1, xmax, ymax)``.

    Parameters
    ----------
    corners
        (..., 4) floating point ``(xmin, ymin, xmax, ymax)``, 1-based and inclusive.

    Returns
    -------
    boxes
        (..., 4) ``(x1, y1, x2, y2)``, half-open, the same dtype.

    Notes
    -----
    Inverse of `voc_corners`.

    Examples
    --------
    >>> half_open(np.array([1.0, 1.0, 500.0, 375.0])).tolist()
    [0.0, 0.0, 500.0, 375.0]
    """
    return corners - np.array([1, 1, 0, 0], dtype=corners.dtype)


def voc_corners(boxes: np.ndarray) -> np.ndarray:
    """Return VOC's corners for half-open boxes: ``(x1 + 1, y1 + 1, x2, y2)``.

    Parameters
    ----------
    boxes
        (..., 4) floating point ``(x1, y1, x2, y2)``, half-open.

    Returns
    -------
    corners
        (..., 4) ``(xmin, ymin, xmax, ymax)``, 1-based and inclusive, the same dtype.

    Notes
    -----
    Inverse of `half_open`. Annotation files and VOC result files need it.
    """
    return boxes + np.array([1, 1, 0, 0], dtype=boxes.dtype)


class VOCObject(NamedTuple):
    """One ``<object>``."""

    name: str  # of its class
    corners: tuple[float, float, float, float]  # (xmin, ymin, xmax, ymax), 1-based and inclusive
    difficult: bool = False  # hard to recognise
    truncated: bool = False  # partly outside the image or hidden


class VOCFile(NamedTuple):
    """The content of an annotation file: its sound objects, and what is wrong with the others."""

    image_size: ImageSize
    objects: tuple[tuple[int, VOCObject], ...]  # each with its number in the file, from 1
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The errors: one for each object that is left out."""
        return errors_of(self.findings)


class _BadValueError(ValueError):
    """A value is missing or wrong."""

    def __init__(self, reason: str, kind: Kind = Kind.UNREADABLE_OBJECT) -> None:
        super().__init__(reason)
        self.note: _Note = (kind, reason)


class _NoDoctype(ElementTree.TreeBuilder):
    """A tree builder that refuses document types, and with them entities of the file's own."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ElementTree.ParseError("a document type (DTD) is not allowed")


def read_annotation(path: Path) -> VOCFile:
    """Return the image size and the objects of a VOC annotation file.

    Parameters
    ----------
    path
        The XML file.

    Returns
    -------
    VOCFile
        The sound objects and the findings: an error for each object that is not sound, a warning
        for what is suspicious, a note of what was repaired.

    Raises
    ------
    BadFileError
        The file as a whole cannot be used: missing, not XML, not an annotation, without a size.

    Notes
    -----
    Only ``object/bndbox`` counts, not the boxes of ``<part>`` elements (head, hand, foot), which
    are nested deeper. A box must be wider and higher than one pixel, as every box of the real VOC
    is. Drawing tools make smaller ones from a click without a drag.

    A value is repaired if it can mean only one thing:

    - Fractions are read as they are, blanks around a text are dropped, and a missing
      ``difficult`` or ``truncated`` means 0.
    - A far edge less than one pixel beyond the image is clipped to it. The far edge is ``width``
      in 1-based inclusive coordinates and in 0-based half-open ones, and ``width - 1`` in 0-based
      inclusive ones. An excess of a fraction fits none of them: it comes from rounding, not from
      another convention, and clipping brings the box nearer to the object.

    Three things are not repaired. A coordinate below 1 makes it likely that *every* box of the
    file is 0-based, and so off by one. An excess of whole pixels points to another convention or
    another image. A tool that swaps corners may have made other errors too.
    """
    root = _parse(path)
    try:
        height, width = (_number(root, f"size/{side}") for side in ("height", "width"))
        for side, value in (("height", height), ("width", width)):
            if value < 1 or not value.is_integer():
                raise _BadValueError(f"<size/{side}> is {value:g}, not a positive whole number")
    except _BadValueError as error:
        raise BadFileError(Kind.UNREADABLE_XML, path, "image size", str(error)) from None
    image_size = (int(height), int(width))
    objects: list[tuple[int, VOCObject]] = []
    findings = []
    elements = root.findall("object")
    if not elements:
        findings.append(finding(Kind.NO_OBJECTS, path, "annotation", "has no object"))
    for number, element in enumerate(elements, start=1):
        try:
            item, notes = _read_object(element, image_size)
        except _BadValueError as error:
            notes = [error.note]
        else:
            same = (pair for pair in objects if pair[1].corners == item.corners)
            if earlier := next(same, None):
                reason = f"the same box as object {earlier[0]} ({earlier[1].name})"
                notes.append((Kind.SAME_BOX, reason))
            objects.append((number, item))
        part = f"object {number} ({_text(element, 'name') or 'no name'})"
        findings += [finding(kind, path, part, reason) for kind, reason in notes]
    return VOCFile(image_size, tuple(objects), tuple(findings))


def _parse(path: Path) -> Element:
    """Return the root element of an annotation file."""
    kind = Kind.UNREADABLE_XML
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_NoDoctype()))
    except FileNotFoundError:
        raise BadFileError(Kind.MISSING_FILE, path, "annotation", "no such file") from None
    # An unknown encoding is a LookupError, one that expat cannot use a ValueError.
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise BadFileError(kind, path, "annotation", f"not readable as XML ({error})") from None
    if root.tag != "annotation":
        reason = f"the root element is <{root.tag}>, not <annotation>"
        raise BadFileError(kind, path, "annotation", reason)
    return root


def _read_object(element: Element, image_size: ImageSize) -> tuple[VOCObject, list[_Note]]:
    """Return an object and what was repaired in it, or raise `_BadValueError`."""
    notes: list[_Note] = []
    written, name = element.findtext("name") or "", _text(element, "name")
    if not name:
        raise _BadValueError("no <name>")
    if name != written:
        notes.append((Kind.BLANKS, f"<name> is {written!r}, read as {name!r}"))
    xmin, ymin, xmax, ymax = (_number(element, f"bndbox/{tag}") for tag in _CORNERS)
    texts = {tag: _text(element, f"bndbox/{tag}") for tag in _CORNERS}
    fractions = [f"{tag} {text}" for tag, text in texts.items() if not text.isdigit()]
    if fractions:
        notes.append((Kind.FRACTION, f"{', '.join(fractions)}: read as written"))
    xmax = _check_side("x", xmin, xmax, "width", image_size[1], notes)
    ymax = _check_side("y", ymin, ymax, "height", image_size[0], notes)
    missing = [
        f"{value} for <{tag}>" for tag, value in _OPTIONAL.items() if not _text(element, tag)
    ]
    if missing:
        notes.append((Kind.MISSING_TAG, f"taken: {', '.join(missing)}"))
    difficult, truncated = _flag(element, "difficult"), _flag(element, "truncated")
    return VOCObject(name, (xmin, ymin, xmax, ymax), difficult, truncated), notes


def _check_side(
    axis: str, low: float, high: float, side: str, length: int, notes: list[_Note]
) -> float:
    """Return `high`, clipped to the image, or raise if the box is not sound along this axis."""
    if low < 1:
        reason = f"{axis}min {low:g} is below 1, where VOC pixels start (0-based?)"
        raise _BadValueError(reason, Kind.ZERO_BASED if low > -1 else Kind.OUTSIDE)
    if high >= length + 1:
        reason = f"{axis}max {high:g} is beyond the image's {side} {length}"
        raise _BadValueError(reason, Kind.OUTSIDE)
    if high > length:
        notes.append((Kind.CLIPPED, f"{axis}max {high:g}: clipped to the {side} {length}"))
        high = float(length)
    if low >= high:
        reason = f"{axis}min {low:g} >= {axis}max {high:g}, a box without {side}"
        raise _BadValueError(reason, Kind.SWAPPED if low > high else Kind.NO_AREA)
    return high


def _text(element: Element, tag: str) -> str:
    """Return the text of a child without the blanks around it; "" if there is no such child."""
    return " ".join((element.findtext(tag) or "").split())


def _number(element: Element, tag: str) -> float:
    """Return the finite number that a child holds."""
    text = _text(element, tag)
    if not text:
        raise _BadValueError(f"no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        raise _BadValueError(f"<{tag}> is {text!r}, not a number") from None
    if not math.isfinite(value):
        raise _BadValueError(f"<{tag}> is {text!r}, not a finite number")
    return value


def _flag(element: Element, tag: str) -> bool:
    """Return the truth value that a child holds; false if there is no such child."""
    text = _text(element, tag) or "0"
    if text not in {"0", "1"}:
        raise _BadValueError(f"<{tag}> is {text!r}, neither 0 nor 1")
    return text == "1"


def write_annotation(
    path: Path, image_name: str, image_size: ImageSize, objects: Sequence[VOCObject]
) -> None:
    """Write a VOC annotation file; `read_annotation` returns the same size and objects.

    Parameters
    ----------
    path
        The XML file to write.
    image_name
        File name of the image, for ``<filename>``.
    image_size
        (height, width), pixels.
    objects
        Their corners are 1-based and inclusive.
    """
    root = Element("annotation")
    size = {"width": image_size[1], "height": image_size[0], "depth": 3}
    _add(root, {"folder": path.parent.parent.name, "filename": image_name, "size": size})
    for item in objects:
        corners = (f"{value:.9g}" for value in item.corners)
        content = {
            "name": item.name,
            "pose": "Unspecified",
            "truncated": int(item.truncated),
            "difficult": int(item.difficult),
            "bndbox": dict(zip(_CORNERS, corners, strict=True)),
        }
        _add(root, {"object": content})
    ElementTree.indent(root, "\t")
    path.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")


def _add(parent: Element, children: Mapping[str, Any]) -> None:
    """Append children by tag; each is a text, a number, or children again."""
    for tag, content in children.items():
        child = ElementTree.SubElement(parent, tag)
        if isinstance(content, Mapping):
            _add(child, content)
        else:
            child.text = str(content)
