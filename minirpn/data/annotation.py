"""PASCAL VOC annotation files: read, checked and written, in the coordinates of the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from minirpn._typing import ImageSize
from minirpn.errors import InputError


class VOCObject(NamedTuple):
    """One ``<object>``; `corners` are ``(xmin, ymin, xmax, ymax)``, 1-based and inclusive."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool = False
    truncated: bool = False


class VOCFile(NamedTuple):
    """What an annotation file says; `problems` has one error for each object left out."""

    image_size: ImageSize
    objects: tuple[tuple[int, VOCObject], ...]
    problems: tuple[InputError, ...]


class _NoDoctype(ElementTree.TreeBuilder):
    """A tree builder that refuses document types, and with them entities of the file's own."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ElementTree.ParseError("a document type (DTD) is not allowed")


class _BadValueError(ValueError):
    """A value in the file is missing or wrong; the caller knows of which file and object."""


def read_annotation(path: Path) -> VOCFile:
    """Return the image size and the objects of a VOC annotation file.

    Parameters
    ----------
    path
        The XML file.

    Returns
    -------
    VOCFile
        The sound objects, each with its number in the file (counted from 1), and one error for
        each object that is not sound.

    Raises
    ------
    InputError
        The file as a whole cannot be used: missing, not XML, not an annotation, without a size.

    Notes
    -----
    Only ``object/bndbox`` counts: the boxes of ``<part>`` elements (head, hand, foot), which lie
    deeper, are no objects. Missing ``difficult`` and ``truncated`` mean 0. Coordinates may be
    fractions. Blanks around a text are dropped. A box must be wider and higher than one pixel:
    no box of the real VOC is not, and a click without a drag makes one.
    """
    root = _parse(path)
    try:
        image_size = (_whole(root, "size/height"), _whole(root, "size/width"))
    except _BadValueError as error:
        raise InputError(f"{path}: image size: {error}") from None
    objects, problems = [], []
    for number, element in enumerate(root.findall("object"), start=1):
        try:
            objects.append((number, _read_object(element, image_size)))
        except _BadValueError as error:
            name = _text(element, "name") or "no name"
            problems.append(InputError(f"{path}: object {number} ({name}): {error}"))
    return VOCFile(image_size, tuple(objects), tuple(problems))


def write_annotation(
    path: Path, image_name: str, image_size: ImageSize, objects: Sequence[VOCObject]
) -> None:
    """Write a VOC annotation file; `read_annotation` gives the same size and objects back.

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
    root = ElementTree.Element("annotation")
    _add(root, "folder", path.parent.parent.name)
    _add(root, "filename", image_name)
    size = _add(root, "size")
    _add(size, "width", image_size[1])
    _add(size, "height", image_size[0])
    _add(size, "depth", 3)
    for item in objects:
        element = _add(root, "object")
        _add(element, "name", item.name)
        _add(element, "truncated", int(item.truncated))
        _add(element, "difficult", int(item.difficult))
        box = _add(element, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), item.corners, strict=True):
            _add(box, tag, f"{value:.9g}")
    ElementTree.indent(root, "\t")
    path.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")


def _parse(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_NoDoctype()))
    except FileNotFoundError:
        raise InputError(f"{path}: annotation: no such file") from None
    # An unknown encoding is a LookupError, one that expat cannot use a ValueError.
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f"{path}: annotation: not readable as XML ({error})") from None
    if root.tag != "annotation":
        raise InputError(f"{path}: annotation: the root element is <{root.tag}>, not <annotation>")
    return root


def _read_object(element: ElementTree.Element, image_size: ImageSize) -> VOCObject:
    name = _text(element, "name")
    if not name:
        raise _BadValueError("no <name>")
    xmin, ymin, xmax, ymax = (
        _number(element, f"bndbox/{tag}") for tag in ("xmin", "ymin", "xmax", "ymax")
    )
    height, width = image_size
    for axis, low, high, side, end in (
        ("x", xmin, xmax, "width", width),
        ("y", ymin, ymax, "height", height),
    ):
        if low < 1:
            raise _BadValueError(f"{axis}min {low:g} is below 1, where VOC pixels start (0-based?)")
        if high > end:
            raise _BadValueError(f"{axis}max {high:g} is beyond the image's {side} {end}")
        if low >= high:
            raise _BadValueError(f"{axis}min {low:g} >= {axis}max {high:g}, a box without {side}")
    return VOCObject(
        name, (xmin, ymin, xmax, ymax), _flag(element, "difficult"), _flag(element, "truncated")
    )


def _text(element: ElementTree.Element, tag: str) -> str:
    """Return the text of a child, blanks around it dropped; "" where there is none."""
    return " ".join((element.findtext(tag) or "").split())


def _number(element: ElementTree.Element, tag: str) -> float:
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


def _whole(element: ElementTree.Element, tag: str) -> int:
    value = _number(element, tag)
    if value < 1 or not value.is_integer():
        raise _BadValueError(f"<{tag}> is {value:g}, not a positive whole number")
    return int(value)


def _flag(element: ElementTree.Element, tag: str) -> bool:
    text = _text(element, tag) or "0"
    if text not in {"0", "1"}:
        raise _BadValueError(f"<{tag}> is {text!r}, neither 0 nor 1")
    return text == "1"


def _add(parent: ElementTree.Element, tag: str, text: Any = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = None if text is None else str(text)
    return child
