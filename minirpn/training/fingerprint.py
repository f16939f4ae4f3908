"""What identifies the data of a run: ids, sizes, objects and files of its images: ``data.json``.

A resumed run must see the images that it began with, in the same order. Otherwise it would be
another run under the same name. The place of the files does not count: a data set may be moved or
copied. The bytes of the image files count, as a stand-in for pixels, which take longer to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path

import numpy as np

from minirpn.budget import Budget
from minirpn.data.samples import Annotation
from minirpn.data.voc import VOCDataset
from minirpn.fields import MOST_NAME, MOST_TEXT, Fields, choice, list_of, read_json, table_of, text
from minirpn.files import one_line_errors, open_regular, write_json

FORMAT = "minirpn data"
VERSION = 1
SIZE, OBJECTS, FILE = range(3)
"""The parts of what identifies an image, in their order."""
_MOST_VALUES = 10_000_000  # in the file: those of more images than its bytes can name


@dataclass(frozen=True)
class Fingerprint:
    """What identifies one split.

    Parameters
    ----------
    images
        Image id -> size and objects, as `of_annotation` writes them, a space, and the hash of its
        file, in the order of the split. Of a run from before there were hashes, there is none.
    left_out
        The ids of the images that are in the split but could not be used.
    """

    images: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def known(self) -> set[str]:
        """The ids of all images of the split, usable or not."""
        return {*self.images, *self.left_out}

    def differs_in(self, image_id: str, other: Fingerprint) -> int | None:
        """Return what of an image differs first: `SIZE`, `OBJECTS` or `FILE`; None if nothing.

        It is in both. What one of them does not tell does not differ.
        """
        both = self.images[image_id].split(" "), other.images[image_id].split(" ")
        return next((part for part, (a, b) in enumerate(zip(*both, strict=False)) if a != b), None)


class _Cause(IntEnum):
    """What may differ, the cause before what follows from it.

    Where splits are drawn, an image that is gone or new may move another to the other split.
    """

    GONE = 1
    NEW = 2
    MOVED = 3
    JOINED = 4
    CHANGED = 5
    ORDER = 6


def difference(
    began: Mapping[str, Fingerprint],
    now: Mapping[str, Fingerprint],
    kinds: Mapping[str, str],
    *,
    skip_bad: bool,
) -> str | None:
    """Return how the splits of today differ from those of a run, or None if they are the same.

    Parameters
    ----------
    began, now
        The splits that the run began with and the same splits today, by name.
    kinds
        What the images of each split are called: ``"training"``, ``"validation"``.
    skip_bad
        Whether images that are bad today may be missing. Those that were bad before may be back in
        any case.
    """
    found = [
        one
        for split in began
        for one in _differences(began, now, split, kinds[split], skip_bad=skip_bad)
    ]
    return min(found, key=lambda one: one[0])[1] if found else None


def _differences(
    began: Mapping[str, Fingerprint],
    now: Mapping[str, Fingerprint],
    split: str,
    kind: str,
    *,
    skip_bad: bool,
) -> Iterator[tuple[_Cause, str]]:
    """Yield how one split differs: the cause, and a line about it."""
    before, today = began[split], now[split]

    # Images that are missing
    allowed = set(today.left_out) if skip_bad else set()
    missing = [one for one in before.images if one not in today.images and one not in allowed]
    homes = {one: name for name in now if name != split for one in now[name].known}
    if gone := [one for one in missing if one not in homes]:
        yield _Cause.GONE, f"{_share(gone, before, kind)} no longer in split {split!r}"
    if moved := [one for one in missing if one in homes]:
        yield _Cause.MOVED, f"{_share(moved, before, kind)} now in split {homes[moved[0]]!r}"

    # Images that were not there
    known = before.known
    other_images = {one for name in began if name != split for one in began[name].known}
    extra = [one for one in today.images if one not in known]
    if new := [one for one in extra if one not in other_images]:
        yield _Cause.NEW, f"{_share(new, today, kind)} new in split {split!r}"
    if joined := [one for one in extra if one in other_images]:
        yield _Cause.JOINED, f"{_share(joined, today, kind)} new in split {split!r}"

    # What is in both
    both = [one for one in before.images if one in today.images]
    other = [one for one in both if before.differs_in(one, today) is not None]
    if other:
        more = f", and so have {len(other) - 1} more" if len(other) > 1 else ""
        was, found = (part.images[other[0]].partition(" ")[0] for part in (before, today))
        reasons = {
            SIZE: f"size {found}, not {was}",
            OBJECTS: "other objects",
            FILE: "another image file than before",
        }
        reason = reasons[before.differs_in(other[0], today) or SIZE]
        yield _Cause.CHANGED, f"{kind} image {other[0]!r} has {reason}{more}"
    order = [one for one in today.images if one in before.images]
    if order != both:
        first = next(a for a, b in zip(order, both, strict=True) if a != b)
        line = f"the {kind} images are in another order, {first!r} is the first to differ"
        yield _Cause.ORDER, line


def _share(names: list[str], split: Fingerprint, kind: str) -> str:
    """Return ``"3 of 100 training images, 'a' first, are"``, or ``"1 of 100 ..., 'a', is"``."""
    named = f"{names[0]!r}, is" if len(names) == 1 else f"{names[0]!r} first, are"
    return f"{len(names)} of {len(split.images)} {kind} images, {named}"


def fingerprint(dataset: VOCDataset, *, with_classes: bool) -> Fingerprint:
    """Return what identifies a split, from its annotations and the bytes of its image files.

    `with_classes`: the class names of the objects count too. They do for a detector; the RPN does
    not use them.
    """
    classes = dataset.classes if with_classes else None
    annotations = (dataset.annotation(index) for index in range(len(dataset)))
    images = {
        one.image_id: f"{of_annotation(one, classes)} {of_file(one.image_path)}"
        for one in annotations
    }
    return Fingerprint(images, dataset.left_out)


def of_annotation(annotation: Annotation, classes: tuple[str, ...] | None) -> str:
    """Return ``"WIDTHxHEIGHT HASH"``; the hash is of boxes, difficult marks and ignored regions.

    With `classes`, the names of the objects' classes are in the hash too: names, not numbers, which
    depend on what else is in the data set.
    """
    parts = [
        np.asarray(annotation.gt_boxes, "<f4").tobytes(),
        np.asarray(annotation.difficult, bool).tobytes(),
        np.asarray(annotation.ignored, "<f4").tobytes(),
    ]
    if classes is not None:
        names = "\0".join(classes[number] for number in annotation.gt_classes)
        parts.append(names.encode(errors="surrogatepass"))
    digest = blake2b(b"|".join(parts), digest_size=8).hexdigest()
    height, width = annotation.image_size
    return f"{width}x{height} {digest}"


def of_file(path: Path) -> str:
    """Return the hash of the bytes of a file; InputError if it cannot be read."""
    digest = blake2b(digest_size=8)
    with one_line_errors(path, "read"), open_regular(path) as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def save_fingerprints(path: Path, splits: Mapping[str, Fingerprint]) -> None:
    """Write the fingerprint of each split, by its name; `load_fingerprints` reads them back."""
    tables = {
        name: {"left_out": list(one.left_out), "images": dict(one.images)}
        for name, one in splits.items()
    }
    write_json(path, {"format": FORMAT, "version": VERSION, "splits": tables})


def load_fingerprints(path: Path) -> dict[str, Fingerprint]:
    """Return the fingerprint of each split; InputError if the file is damaged or of a newer kind.

    A run that began before there was such a file has none: then the result is empty.
    """
    if not path.exists():
        return {}
    content = Fields(read_json(path, Budget(values=_MOST_VALUES)), str(path))
    content.get("format", choice(FORMAT))
    content.get("version", choice(VERSION))
    return {
        name: Fingerprint(
            split.get("images", table_of(text(MOST_NAME), names=MOST_TEXT)),
            tuple(split.get("left_out", list_of(text()))),
        )
        for name, split in content.get("splits", table_of(Fields)).items()
    }
