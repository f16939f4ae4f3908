"""One image and its annotation together: read, and held against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from minirpn._typing import ImageSize
from minirpn.data.annotation import VOCFile, read_annotation
from minirpn.data.findings import BadFileError, Finding, Kind, Severity, finding
from minirpn.data.images import ImageHeader
from minirpn.data.layout import Folder

T = TypeVar("T")


class Entry(NamedTuple):
    """An image and its annotation, both fit for use; bad objects are left out."""

    image_id: str
    image_path: Path
    xml_path: Path
    content: VOCFile


def read_entry(
    image_id: str,
    image_path: Path | None,
    folder: Folder,
    look: Callable[[Path], ImageHeader],
) -> tuple[Entry | None, list[Finding]]:
    """Return an entry, or None if it cannot be used, and everything that is wrong with it.

    Parameters
    ----------
    image_id
        The file name without its ending.
    image_path
        The image file; None if there is none.
    folder
        Where the annotation is looked for.
    look
        Reads an image file: `read_image_header`, or `examine_image`, which finds more.
    """
    xml_path = folder.annotations / f"{image_id}.xml"
    if image_path is None:
        image_path, reason = folder.images / image_id, "no such file, of any format"
        bad = [finding(Kind.MISSING_FILE, image_path, "image", reason)]
        header = None
    else:
        header, bad = _tried(look, image_path)
    content, bad_xml = _tried(read_annotation, xml_path)
    findings = bad_xml + bad
    if content is None:
        return None, findings
    if header is not None:
        findings += _compared(header, image_path, content.image_size, xml_path)
    usable = not any(found.severity is Severity.ERROR for found in findings)
    findings += content.findings
    return (Entry(image_id, image_path, xml_path, content) if usable else None), findings


def _tried(read: Callable[[Path], T], path: Path) -> tuple[T | None, list[Finding]]:
    """Return what is read from a file, or None and the reason."""
    try:
        return read(path), []
    except BadFileError as error:
        return None, [error.finding]


def _compared(
    header: ImageHeader, image_path: Path, annotated: ImageSize, xml_path: Path
) -> Iterator[Finding]:
    """Yield what is wrong with an image, knowing the size that its annotation gives."""
    height, width = header.image_size
    if (height, width) != annotated:
        unturned = header.turned and header.stored_size == annotated
        reason = (
            f"width {annotated[1]}, height {annotated[0]};"
            f" but {image_path.name}, shown upright, has {width}, {height}"
        )
        kind = Kind.UNTURNED if unturned else Kind.WRONG_SIZE
        yield finding(kind, xml_path, "image size", reason)
    elif header.turned and header.stored_size == header.image_size:
        reason = "has an EXIF orientation, applied here; were the boxes drawn with it?"
        yield finding(Kind.MAYBE_UNTURNED, image_path, "image", reason)
    elif header.turned:
        reason = "turned upright as its EXIF orientation says, which fits the annotated size"
        yield finding(Kind.TURNED, image_path, "image", reason)
    if header.mode != "RGB":
        yield finding(Kind.NOT_RGB, image_path, "image", f"mode {header.mode}, read as RGB")
