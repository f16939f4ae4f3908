"""One PASCAL VOC annotation file: read, checked, repaired where that is safe, and written."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from minirpn._typing import ImageSize
from minirpn.data.box_format import CONVENTIONS, BoxFormat, half_open, voc_corners
from minirpn.data.findings import BadFileError, Finding, Kind, errors_of, finding
from minirpn.files import read_file, replace_file
from minirpn.text import printable

MOST_OBJECTS = 5000
"""Boxes in a file at most: twice the 38 x 63 places on the feature map of a 600 x 1000 image.

A training compares each of them with every anchor, in every step.
"""

UNNAMED = "unnamed"
"""The class of an object without a name; the RPN needs none."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# The tags that are read, by the element they are in.
_READ = {
    "annotation": ("object", "size"),
    "object": ("name", "bndbox", "difficult", "truncated"),
    "bndbox": _CORNERS,
}
_MOST_BYTES = 2**24  # of a file; VOC's have 1,500
_MOST_MARKS = 500_000  # "<" in a file: an object has about 24
_MOST_TAGS = 1000  # different ones in a file
_LONGEST_NAME = 200  # characters of a class name
_LONGEST_SIDE = 2**31 - 1  # pixels of an image, as Pillow counts them
_ALIKE = 0.8  # the least similarity, by difflib's ratio, of a tag that is probably meant
# Codecs of Python that decode bytes, but not from any encoding of files.
_NO_ENCODINGS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")

Corners = tuple[float, float, float, float]
_Note = tuple[Kind, str]  # a finding whose file and object the caller knows


class VOCObject(NamedTuple):
    """One ``<object>``."""

    name: str  # of its class
    corners: Corners  # (xmin, ymin, xmax, ymax), 1-based and inclusive
    difficult: bool = False  # hard to recognise
    truncated: bool = False  # partly outside the image or hidden


class VOCFile(NamedTuple):
    """The content of an annotation file: its sound objects, and what is wrong with the others."""

    image_size: ImageSize
    objects: tuple[tuple[int, VOCObject], ...]  # each with its number in the file, from 1
    findings: tuple[Finding, ...]
    ignored: tuple[Corners, ...] = ()  # VOC's corners of what is left out, inside the image
    written: tuple[Corners, ...] = ()  # the corners of all objects as the file has them

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


def read_annotation(
    path: Path,
    *,
    box_format: BoxFormat = "voc",
    clip_boxes: bool = False,
    image_size: ImageSize | None = None,
) -> VOCFile:
    """Return the image size and the objects of a VOC annotation file.

    Parameters
    ----------
    path
        The XML file.
    box_format
        How its boxes count pixels.
    clip_boxes
        Clip boxes that reach far beyond the image; otherwise only those within one pixel.
    image_size
        (height, width) of the image itself, for a file that does not say it.

    Returns
    -------
    VOCFile
        The sound objects, their corners in VOC's convention, and the findings: an error for each
        object that is not sound, a warning for what is suspicious, a note of what was repaired.
        Where an object is left out, the part of its box that is inside the image is kept: it shows
        something, so it is no background.

    Raises
    ------
    BadFileError
        The file as a whole cannot be used: missing, not XML, not an annotation, without a size,
        with objects under a name that is not VOC's, or with more than `MOST_OBJECTS` boxes.

    Notes
    -----
    Only ``object/bndbox`` counts, not the boxes of ``<part>`` elements (head, hand, foot), which
    are nested deeper. A box must be wider and higher than one pixel, as every box of the real VOC
    is. Drawing tools make smaller ones from a click without a drag. An element ``<ignored>`` with a
    ``<bndbox>`` is a region that is neither object nor background; other tools pass over it.

    A value is repaired if it can mean only one thing:

    - Fractions are read as they are, blanks around a text are dropped, and a missing
      ``difficult`` or ``truncated`` means 0, which is not worth a note.
    - Of a class name, line breaks become blanks, and characters without a glyph are dropped, such
      as control codes and marks of the reading direction.
    - An edge up to one pixel beyond the image is clipped to it: the box is nearer to the object
      then, whatever the convention of the tool was. `likely_format` finds that convention.

    Two things are not repaired. An edge that is further out points to another image. A tool that
    swaps corners may have made other errors too.
    """
    root = _parse(path)
    size, findings = _image_size(root, path, image_size)
    elements = root.findall("object")
    ignored = root.findall("ignored")
    if (count := sum(len(one.findall("bndbox")) for one in (*elements, *ignored))) > MOST_OBJECTS:
        reason = (
            f"holds {count:,} boxes; at most {MOST_OBJECTS:,} can be learned from an image, "
            "so cut it into several"
        )
        raise BadFileError(Kind.UNREADABLE_XML, path, "annotation", reason)
    if misspelled := _alike(root, "object"):
        reason = f"<{misspelled}> is no element of VOC's; <object> is"
        if not elements:
            raise BadFileError(Kind.UNREADABLE_XML, path, "annotation", reason)
        findings.append(finding(Kind.ODD_TAG, path, "annotation", reason))
    reader = _BoxReader(box_format, clip_boxes, size)
    objects: list[tuple[int, VOCObject]] = []
    seen: dict[Corners, tuple[int, str]] = {}
    if not elements:
        findings.append(finding(Kind.NO_OBJECTS, path, "annotation", "has no object"))
    for number, element in enumerate(elements, start=1):
        try:
            item, notes = _read_object(element, reader)
        except _BadValueError as error:
            notes = [error.note]
            reader.ignore(element)
        else:
            earlier, name = seen.setdefault(item.corners, (number, item.name))
            if earlier != number:
                notes.append((Kind.SAME_BOX, f"the same box as object {earlier} ({name})"))
            objects.append((number, item))
        part = f"object {number} ({_name(element) or 'no name'})"
        findings += [finding(kind, path, part, reason) for kind, reason in notes]
    for element in ignored:
        reader.ignore(element)
    return VOCFile(
        size, tuple(objects), tuple(findings), tuple(reader.ignored), tuple(reader.written)
    )


def _parse(path: Path) -> Element:
    """Return the root element of an annotation file."""
    kind = Kind.UNREADABLE_XML
    try:
        data = read_file(path, most=_MOST_BYTES)
        try:
            root = _root(data)
        # An unknown encoding is a LookupError, one that expat cannot use a ValueError.
        except (ElementTree.ParseError, LookupError, ValueError):
            if (decoded := _decoded(data)) is None:
                raise
            root = _root(decoded)
    except FileNotFoundError:
        raise BadFileError(Kind.MISSING_FILE, path, "annotation", "no such file") from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise BadFileError(kind, path, "annotation", reason) from None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise BadFileError(kind, path, "annotation", f"not readable as XML ({error})") from None
    if root.tag != "annotation":
        reason = f"the root element is <{root.tag}>, not <annotation>"
        raise BadFileError(kind, path, "annotation", reason)
    return root


def _root(data: bytes) -> Element:
    """Return the root element of XML that is not far larger than any annotation."""
    if data.count(b"<") > _MOST_MARKS:
        raise ValueError("it has more elements than any annotation")
    root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_NoDoctype()))
    if len({element.tag for element in root.iter()}) > _MOST_TAGS:
        raise ValueError("it has more different tags than any annotation")
    return root


def _decoded(data: bytes) -> bytes | None:
    """Return a file as UTF-8 if it declares an encoding of Python's that expat cannot read."""
    declared = _ENCODING.match(data)
    if declared is None:
        return None
    name = codecs.lookup(declared.group(1).decode()).name
    if name in {"utf-8", "ascii", "iso8859-1"} or name.startswith("utf-16"):
        return None  # expat reads these itself, and knows better what is wrong
    if name in _NO_ENCODINGS:
        raise LookupError(f"unknown encoding: {name}")
    return data[declared.end() :].decode(name).encode()


def _image_size(
    root: Element, path: Path, known: ImageSize | None
) -> tuple[ImageSize, list[Finding]]:
    """Return (height, width) as the file says it, or else as the image says it, with a note."""
    texts = {side: _text(root, f"size/{side}") for side in ("height", "width")}
    absent = [side for side, text in texts.items() if text in {"", "0"}]
    if absent and known is not None:
        texts_or_none = (f"{side} {texts[side] or 'missing'}" for side in texts)
        reason = f"{', '.join(texts_or_none)}: taken from the image, {known[1]} x {known[0]}"
        return known, [finding(Kind.SIZE_FROM_IMAGE, path, "image size", reason)]
    try:
        sides = root.find("size")
        if sides is None:
            raise _BadValueError(f"no <size/height>{_instead(root, 'size')}")
        height, width = (_number(sides, side, "size/") for side in texts)
        for side, value in (("height", height), ("width", width)):
            if value < 1 or not value.is_integer():
                raise _BadValueError(f"<size/{side}> is {value:g}, not a positive whole number")
            if value > _LONGEST_SIDE:
                raise _BadValueError(f"<size/{side}> is {value:g}, more pixels than images have")
    except _BadValueError as error:
        raise BadFileError(Kind.UNREADABLE_XML, path, "image size", str(error)) from None
    return (int(height), int(width)), []


# One object.


class _BoxReader:
    """Reads the boxes of one file, and keeps what it has seen.

    Attributes
    ----------
    ignored
        VOC's corners of what was left out, clipped to the image.
    written
        The corners of all boxes as the file has them.
    """

    def __init__(self, box_format: BoxFormat, clip_boxes: bool, image_size: ImageSize) -> None:
        self.box_format, self.clip_boxes, self.image_size = box_format, clip_boxes, image_size
        self.ignored: list[Corners] = []
        self.written: list[Corners] = []

    def read(self, element: Element) -> tuple[Corners, list[_Note]]:
        """Return VOC's corners of an object, and what was repaired, or raise `_BadValueError`."""
        boxes = element.findall("bndbox")
        if not boxes:
            raise _BadValueError(f"no <bndbox/xmin>{_instead(element, 'bndbox')}")
        if len(boxes) > 1:
            raise _BadValueError(f"has {len(boxes)} <bndbox>, one is expected")
        xmin, ymin, xmax, ymax = (_number(boxes[0], tag, "bndbox/") for tag in _CORNERS)
        self.written.append((xmin, ymin, xmax, ymax))
        notes: list[_Note] = []
        corners = (xmin, ymin, xmax, ymax)
        if self.box_format in {"voc", "zero-based"} and any(value % 1 for value in corners):
            odd = (tag for tag, value in zip(_CORNERS, corners, strict=True) if value % 1)
            texts = (f"{tag} {_text(boxes[0], tag)}" for tag in odd)
            notes.append((Kind.FRACTION, f"{', '.join(texts)}: read as written"))
        height, width = self.image_size
        xmin, xmax = self._side("x", xmin, xmax, "width", width, notes)
        ymin, ymax = self._side("y", ymin, ymax, "height", height, notes)
        return self._in_voc((xmin, ymin, xmax, ymax)), notes

    def ignore(self, element: Element) -> None:
        """Keep the regions of an element that is left out, as far as they are in the image."""
        height, width = self.image_size
        for box in element.findall("bndbox"):
            try:
                x1, y1, x2, y2 = (_number(box, tag) for tag in _CORNERS)
            except _BadValueError:
                continue  # nobody knows where it is
            ordered = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
            xmin, ymin, xmax, ymax = self._in_voc(ordered)
            inside = (max(xmin, 1.0), max(ymin, 1.0), min(xmax, width), min(ymax, height))
            if inside[0] <= inside[2] and inside[1] <= inside[3]:
                self.ignored.append(inside)

    def _in_voc(self, corners: Corners) -> Corners:
        """Return VOC's corners for those in the file."""
        if self.box_format == "voc":
            return corners
        with np.errstate(over="ignore"):  # a corner of 1e308 widths is beyond the image anyway
            boxes = half_open(np.array(corners), self.box_format, self.image_size)
        xmin, ymin, xmax, ymax = voc_corners(boxes).tolist()
        return xmin, ymin, xmax, ymax

    def _side(
        self, axis: str, low: float, high: float, side: str, length: int, notes: list[_Note]
    ) -> tuple[float, float]:
        """Return both edges, clipped to the image, or raise if the box is not sound here."""
        convention = CONVENTIONS[self.box_format]
        unit = length if self.box_format == "normalized" else 1  # pixels of a number in the file
        first, last = convention.first, convention.last(length // unit)
        if low > high:
            raise _BadValueError(
                f"{axis}min {low:g} > {axis}max {high:g}, corners of a box without {side}",
                Kind.SWAPPED,
            )
        misses = low > last or high < first
        for name, value, bound, excess in (
            (f"{axis}min", low, first, first - low),
            (f"{axis}max", high, last, high - last),
        ):
            beyond = f"{name} {value:g} is beyond the image: its {side} is {length}"
            if excess * unit > 1 and (misses or not self.clip_boxes):
                raise _BadValueError(f"{beyond}, counted from {first} to {last}", Kind.OUTSIDE)
            if excess > 0:
                notes.append((Kind.CLIPPED, f"{name} {value:g}: clipped to {bound}"))
        low, high = max(low, first), min(high, last)
        pixels = (high - low) * unit + convention.inclusive
        if low >= high:
            reason = f"{axis}min {low:g} >= {axis}max {high:g}, a box without {side}"
            raise _BadValueError(reason, Kind.NO_AREA)
        if pixels <= 1:
            reason = f"{axis}min {low:g}, {axis}max {high:g}: its {side} is {pixels:g} pixels"
            raise _BadValueError(f"{reason}, a box needs more than one", Kind.NO_AREA)
        return low, high


def _read_object(element: Element, reader: _BoxReader) -> tuple[VOCObject, list[_Note]]:
    """Return an object and what was repaired in it, or raise `_BadValueError`."""
    written, name = element.findtext("name") or "", _name(element)
    if len(name) > _LONGEST_NAME:
        reason = f"<name> has {len(name):,} characters, at most {_LONGEST_NAME} are read"
        raise _BadValueError(reason)
    corners, notes = reader.read(element)
    if not name:
        notes.append((Kind.NO_NAME, f"no <name>, so its class is {UNNAMED!r}"))
    elif name != written:
        notes.append((Kind.BLANKS, f"<name> is {written!r}, read as {name!r}"))
    for tag in _READ["object"]:
        if misspelled := _alike(element, tag):
            notes.append((Kind.ODD_TAG, f"<{misspelled}> is not read; <{tag}> would be"))
    difficult, truncated = _flag(element, "difficult"), _flag(element, "truncated")
    return VOCObject(name or UNNAMED, corners, difficult, truncated), notes


def _alike(element: Element, tag: str) -> str | None:
    """Return a child's tag that is not read, but looks like `tag`; None if there is none."""
    read = _READ.get(element.tag, ())
    return next((child.tag for child in element if _is_alike(child.tag, tag, read)), None)


@lru_cache(maxsize=10 * _MOST_TAGS)
def _is_alike(written: str, tag: str, read: Iterable[str]) -> bool:
    """Tell whether a tag that is none of those that are `read` is probably meant as `tag`."""
    if written in read or len(written) > 2 * len(tag):
        return False
    return bool(get_close_matches(written.lower(), [tag], n=1, cutoff=_ALIKE))


def _name(element: Element) -> str:
    """Return the class name of an object: one line, every character of which has a glyph."""
    text = _text(element, "name")
    if text.isprintable():
        return text
    return " ".join("".join(one for one in text if printable(one) == one).split())


def _text(element: Element, tag: str) -> str:
    """Return the text of a child without the blanks around it; "" if there is no such child."""
    return " ".join((element.findtext(tag) or "").split())


def _number(element: Element, tag: str, outer: str = "") -> float:
    """Return the finite number that a child holds; messages name it ``<outer + tag>``."""
    text = _text(element, tag)
    if not text:
        raise _BadValueError(f"no <{outer}{tag}>{_instead(element, tag)}")
    try:
        value = float(text)
    except ValueError:
        raise _BadValueError(f"<{outer}{tag}> is {text!r}, not a number") from None
    if "_" in text or not text.isascii():  # which float() reads, and no other tool
        raise _BadValueError(f"<{outer}{tag}> is {text!r}, not a number")
    if not math.isfinite(value):
        raise _BadValueError(f"<{outer}{tag}> is {text!r}, not a finite number")
    return value


def _instead(element: Element, tag: str) -> str:
    """Return "; there is <TAG>" for a child whose tag looks like the missing one, or ""."""
    misspelled = _alike(element, tag)
    return f"; there is <{misspelled}>" if misspelled else ""


def _flag(element: Element, tag: str) -> bool:
    """Return the truth value that a child holds; false if there is none, or it is unspecified."""
    text = _text(element, tag) or "0"
    if text.lower() not in {"0", "1", "false", "true", "unspecified"}:
        raise _BadValueError(f"<{tag}> is {text!r}, neither 0 nor 1")
    return text.lower() in {"1", "true"}


def write_annotation(
    path: Path,
    image_name: str,
    image_size: ImageSize,
    objects: Sequence[VOCObject],
    ignored: Sequence[Corners] = (),
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
    ignored
        The corners of regions that are neither objects nor background.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    root = Element("annotation")
    size = {"width": image_size[1], "height": image_size[0], "depth": 3}
    # XML holds no control codes, nor bytes that are no UTF-8.
    folder, file = printable(path.parent.parent.name), printable(image_name)
    _add(root, {"folder": folder, "filename": file, "size": size})
    for item in objects:
        content = {
            "name": item.name,
            "pose": "Unspecified",
            "truncated": int(item.truncated),
            "difficult": int(item.difficult),
            "bndbox": _box(item.corners),
        }
        _add(root, {"object": content})
    for corners in ignored:
        _add(root, {"ignored": {"bndbox": _box(corners)}})
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode") + "\n"
    replace_file(path, text.encode(), durable=False)


def _box(corners: Corners) -> dict[str, str]:
    return {tag: _exactly(float(value)) for tag, value in zip(_CORNERS, corners, strict=True)}


def _exactly(value: float) -> str:
    """Return the shortest text of a number that is read back as the same."""
    return str(int(value)) if value.is_integer() else repr(value)


def _add(parent: Element, children: Mapping[str, Any]) -> None:
    """Append children by tag; each is a text, a number, or children again."""
    for tag, content in children.items():
        child = ElementTree.SubElement(parent, tag)
        if isinstance(content, Mapping):
            _add(child, content)
        else:
            child.text = printable(str(content))  # XML has no control codes and no lone bytes
