"""A corrected copy of a data set, in VOC's layout, with a page that says what was changed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from minirpn.data.annotation import write_annotation
from minirpn.data.box_format import CONVENTIONS
from minirpn.data.findings import BadFileError, Finding, errors_of
from minirpn.data.images import ImageHeader, examine_image, read_image
from minirpn.data.layout import Layout, Source, find_layout
from minirpn.data.voc import Entry, files_of, read_entry, unknown_classes
from minirpn.errors import InputError
from minirpn.files import one_line_errors, open_regular, replace_file
from minirpn.text import printable

CHANGES = "CHANGES.md"
# Last what says that all is there.
_IN_ORDER = ("JPEGImages", "Annotations", "ImageSets", CHANGES)
_UNFINISHED = ".minirpn-"
_LEFT_BEHIND = re.compile(rf"{re.escape(_UNFINISHED)}[a-z0-9_]{{8}}")  # as `tempfile` names them
# Images that every tool reads as they are; others are written as PNG.
_KEPT = {".jpg": ".jpg", ".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".png": ".png"}
_PLAIN_MODES = {"RGB", "L"}
_LISTED = 20  # names in each list of the page
_LONGEST_NAME = 150  # bytes of a new name; file systems allow 255 with everything around it


class Corrected(NamedTuple):
    """What became of a data set: the images in the copy, and those left out."""

    folder: Path
    images: int
    left_out: tuple[str, ...]  # a line for each image that is not in the copy


class _Changes(NamedTuple):
    """What was changed on the way, for the page."""

    findings: list[Finding]
    left_out: list[str]
    renamed: list[str]
    redrawn: list[str]


def write_corrected(
    source: Source,
    folder: Path,
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> Corrected:
    """Write a copy of a data set in which all is repaired that can be.

    A training on the copy sees what a training on the data set sees with ``--skip-bad``, and with
    the same settings of `source`.

    Parameters
    ----------
    source
        The data set, and how its files are read.
    folder
        Where the copy goes: a folder that is not there yet, or is empty, outside the data set. The
        copy is complete when ``CHANGES.md`` is there. A killed call may leave a folder
        ``.minirpn-...``, which the next one removes.
    splits
        Only the images of these; None for everything in the data set.
    classes
        The class names that may occur, None for all. Other objects become ignored regions.
    track
        Called with the ids as they are done, and their number; see `check_dataset`.

    Returns
    -------
    Corrected
        The page ``CHANGES.md`` in `folder` says the same at length.

    Raises
    ------
    InputError
        There is no such data set, nothing of it can be used, or `folder` cannot be written to.

    Notes
    -----
    Boxes are written in VOC's convention, inside the image. Objects that had to be left out are
    elements ``<ignored>``, which only minirpn reads. Upright RGB and gray JPEG and PNG files are
    copied byte by byte; all others become PNG, upright and RGB. Blanks, folders and characters
    without a glyph in names become underlines. Elements that are not read, such as ``<part>`` and
    ``<pose>``, are not copied.
    """
    layout = find_layout(source)
    if folder.resolve().is_relative_to(layout.path.resolve()):
        raise InputError(f"{folder}: inside the data set {layout.path}; name a folder outside")
    with one_line_errors(folder, "write"):
        is_there = folder.exists()
        left = list(folder.iterdir()) if folder.is_dir() else []
        if (is_there and not folder.is_dir()) or not all(map(_is_left_behind, left)):
            raise InputError(f"{folder}: there is something already; name a new folder")
        for one in left:
            shutil.rmtree(one)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # Nobody else knows its name, or may write into it.
            with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder) as unfinished:
                done = _write(layout, source, Path(unfinished), splits, classes, track)
                _move(Path(unfinished), folder)
        except BaseException:
            if not is_there:
                with contextlib.suppress(OSError):  # somebody else has put something into it
                    folder.rmdir()
            raise
        return done._replace(folder=folder)


def _is_left_behind(path: Path) -> bool:
    """Tell whether a killed `write_corrected` has left this."""
    return bool(_LEFT_BEHIND.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()


def _move(unfinished: Path, folder: Path) -> None:
    """Move the whole copy into `folder`, or none of it."""
    try:
        for name in _IN_ORDER:
            (unfinished / name).rename(folder / name)
    except BaseException:
        for name in _IN_ORDER:
            if not (unfinished / name).exists():
                with contextlib.suppress(OSError):  # somebody has taken it away
                    (folder / name).rename(unfinished / name)
        raise


def _write(
    layout: Layout,
    source: Source,
    folder: Path,
    splits: Sequence[str] | None,
    classes: Sequence[str] | None,
    track: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Corrected:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    changes = _Changes([], [], [], [])
    names: dict[str, str] = {}  # in the copy, by id
    taken: dict[str, int] = {}
    members = {name: _ids_of(layout, name) for name in splits or layout.splits}
    everything = () if splits else layout.ids("all")
    ids = sorted({*everything, *(one for listed in members.values() for one in listed)})
    for image_id in track(ids, len(ids)):
        entry, header, findings = _examine(image_id, layout, source)
        changes.findings.extend(findings)
        if entry is None or header is None:
            changes.left_out.append(str(errors_of(findings)[0]))
            continue
        names[image_id] = name = _new_name(image_id, taken)
        if name != image_id:
            changes.renamed.append(f"{printable(image_id)} -> {name}")
        stem = os.fsdecode(name.encode())  # UTF-8 whatever the locale is, as ids are
        image, is_copy = _copy_image(entry.image_path, header, folder / "JPEGImages", stem)
        image_name = f"{name}{image.suffix}"
        if not is_copy:
            changes.redrawn.append(image_name)
        if classes is not None:
            changes.findings.extend(unknown_classes([entry], classes))
        _write_entry(entry, folder / "Annotations" / f"{stem}.xml", image_name, classes)
    if not names:
        reason = f"every file in it is bad: {changes.left_out[0]}" if ids else "no image to copy"
        raise InputError(f"{layout.path}: {reason}")
    for split, listed in members.items():
        text = "".join(f"{names[one]}\n" for one in listed if one in names)
        replace_file(folder / "ImageSets/Main" / f"{split}.txt", text.encode())
    page = _page(layout, source, len(names), changes)
    replace_file(folder / CHANGES, page.encode())
    return Corrected(folder, len(names), tuple(changes.left_out))


def _examine(
    image_id: str, layout: Layout, source: Source
) -> tuple[Entry | None, ImageHeader | None, list[Finding]]:
    """Return an image with its annotation, its header, and what is wrong with them."""
    header = None

    def read_header(path: Path) -> ImageHeader:
        nonlocal header
        header = examine_image(path)
        return header

    entry, findings = read_entry(files_of(image_id, layout), source, read_header, layout)
    return entry, header, findings


def _ids_of(layout: Layout, split: str) -> list[str]:
    """Return the ids of a split; none if its list cannot be read."""
    try:
        return layout.ids(split)
    except BadFileError:
        return []


def _new_name(image_id: str, taken: dict[str, int]) -> str:
    """Return a name without blanks and folders that is not taken yet, and take it.

    `taken` counts how often each name was wanted.
    """
    shown = "".join(one if one.isprintable() else " " for one in image_id)
    plain = re.sub(r"[\s/\\]+", "_", shown).encode()[:_LONGEST_NAME].decode(errors="ignore")
    name = plain
    while name in taken:
        taken[plain] += 1
        name = f"{plain}_{taken[plain]}"
    taken[name] = 1
    return name


def _copy_image(path: Path, header: ImageHeader, folder: Path, name: str) -> tuple[Path, bool]:
    """Write an image so that every tool reads it alike; return its file, and if it is a copy."""
    ending = _KEPT.get(path.suffix.lower())
    if ending is not None and header.mode in _PLAIN_MODES and not header.turned:
        copy = folder / f"{name}{ending}"
        with open_regular(path) as image:
            replace_file(copy, lambda file: shutil.copyfileobj(image, file), durable=False)
        return copy, True
    drawn = folder / f"{name}.png"
    upright = Image.fromarray(read_image(path))
    replace_file(drawn, lambda file: upright.save(file, "PNG"), durable=False)
    return drawn, False


def _write_entry(entry: Entry, path: Path, image_name: str, classes: Sequence[str] | None) -> None:
    names = None if classes is None else set(classes)
    objects = [item for _, item in entry.content.objects]
    known = [item for item in objects if names is None or item.name in names]
    unknown = [item.corners for item in objects if names is not None and item.name not in names]
    ignored = [*entry.content.ignored, *unknown]
    write_annotation(path, image_name, entry.content.image_size, known, ignored)


def _page(layout: Layout, source: Source, images: int, changes: _Changes) -> str:
    """Return the text of ``CHANGES.md``."""
    counts = Counter((one.kind.severity, one.kind.label) for one in changes.findings)
    convention = CONVENTIONS[source.box_format].words
    lines = [
        "# What was changed",
        "",
        f"This is a copy of `{printable(str(layout.path))}`, written by `minirpn check --fix`: "
        f"{images:,} images in the layout of PASCAL VOC.",
        f"Boxes were read as `{source.box_format}` ({convention}) and are written in VOC's "
        "convention (pixels from 1, the last one included).",
    ]
    if layout.note:
        lines.append(f"Splits: {layout.note}.")
    if counts:
        lines += ["", "| | what was found | how often |", "|---|---|---|"]
        lines += [
            f"| {severity} | {label} | {count:,} |" for (severity, label), count in counts.items()
        ]
        lines += [
            "",
            "Repaired: written as it was meant. Warning: left as it is. Error: the box, or the "
            "whole image, is not in the copy; the region of a box is kept as `<ignored>`, so that "
            "minirpn takes it for neither object nor background.",
        ]
    for title, names in (
        ("Images that are not in the copy", changes.left_out),
        ("Images that are written as PNG, upright and RGB", changes.redrawn),
        ("Images with a new name", changes.renamed),
    ):
        if names:
            more = len(names) - _LISTED
            lines += ["", f"## {title}: {len(names):,}", "", *(f"- {n}" for n in names[:_LISTED])]
            lines += [f"- ... and {more:,} more"] if more > 0 else []
    return "\n".join([*map(printable, lines), ""])
