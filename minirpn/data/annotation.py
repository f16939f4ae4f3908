"""PASCAL VOC annotation files: read, checked and written, in the coordinates of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from minirpn._typing import ImageSize
from minirpn.data.findings import BadFileError, Finding, Kind, errors_of, finding
from minirpn.data.objects import BadValueError, Note, VOCObject, number_of, read_object, text_of


class VOCFile(NamedTuple):
    """What an annotation file says, and what is wrong with its objects."""

    image_size: ImageSize
    objects: tuple[tuple[int, VOCObject], ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong with the objects that were left out, one finding for each."""
        return errors_of(self.findings)


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
        The sound objects, each with its number in the file (counted from 1), and what was found:
        one error for each object that is not sound, what is suspicious, what was repaired.

    Raises
    ------
    BadFileError
        The file as a whole cannot be used: missing, not XML, not an annotation, without a size.

    Notes
    -----
    Only ``object/bndbox`` counts: the boxes of ``<part>`` elements (head, hand, foot), which lie
    deeper, are no objects. A box must be wider and higher than one pixel: no box of the real VOC
    is not, and a click without a drag makes one. What is repaired: `minirpn.data.objects`.
    """
    root = _parse(path)
    try:
        image_size = (_whole(root, "size/height"), _whole(root, "size/width"))
    except BadValueError as error:
        raise BadFileError(
            finding(Kind.UNREADABLE_XML, path, "image size", error.note.reason)
        ) from None
    objects: list[tuple[int, VOCObject]] = []
    findings = []
    elements = root.findall("object")
    if not elements:
        findings.append(finding(Kind.NO_OBJECTS, path, "annotation", "has no object"))
    for number, element in enumerate(elements, start=1):
        part = f"object {number} ({text_of(element, 'name') or 'no name'})"
        try:
            item, notes = read_object(element, image_size)
        except BadValueError as error:
            notes = [error.note]
        else:
            notes += _same_box(item, objects)
            objects.append((number, item))
        findings += [finding(kind, path, part, reason) for kind, reason in notes]
    return VOCFile(image_size, tuple(objects), tuple(findings))


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
        _add(element, "pose", "Unspecified")
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
        raise _bad_file(path, "no such file", Kind.MISSING_FILE) from None
    # An unknown encoding is a LookupError, one that expat cannot use a ValueError.
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise _bad_file(path, f"not readable as XML ({error})") from None
    if root.tag != "annotation":
        raise _bad_file(path, f"the root element is <{root.tag}>, not <annotation>")
    return root


def _bad_file(path: Path, reason: str, kind: Kind = Kind.UNREADABLE_XML) -> BadFileError:
    return BadFileError(finding(kind, path, "annotation", reason))


def _whole(element: ElementTree.Element, tag: str) -> int:
    value = number_of(element, tag)
    if value < 1 or not value.is_integer():
        reason = f"<{tag}> is {value:g}, not a positive whole number"
        raise BadValueError(Kind.UNREADABLE_XML, reason)
    return int(value)


def _same_box(item: VOCObject, earlier: list[tuple[int, VOCObject]]) -> list[Note]:
    """Return a note if an earlier object has the very same box."""
    for number, other in earlier:
        if other.corners == item.corners:
            return [Note(Kind.SAME_BOX, f"the same box as object {number} ({other.name})")]
    return []


def _add(parent: ElementTree.Element, tag: str, text: Any = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = None if text is None else str(text)
    return child
