"""What identifies the data of a run: ids, sizes and objects of its images, in ``data.json``.

A resumed run must see the images that it began with, in the same order. Otherwise it would be
another run under the same name. Neither the place of the files nor their bytes count: a data set
may be moved or copied, and its images may be stored in another format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from minirpn.data.samples import Annotation
from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.files import one_line_errors, write_json

FORMAT = "minirpn data"
VERSION = 1


@dataclass(frozen=True)
class Fingerprint:
    """What identifies one split.

    Parameters
    ----------
    images
        Image id -> size and objects, as `of_annotation` writes them, in the order of the split.
    left_out
        The ids of the images that are in the split but could not be used.
    """

    images: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    def difference(self, now: Fingerprint, what: str, *, skip_bad: bool) -> str | None:
        """Return how the split of today differs from this one, or None if it is the same.

        Parameters
        ----------
        now
            The same split today.
        what
            What its images are called: ``"training"``, ``"validation"``.
        skip_bad
            Whether images that are bad today may be missing. Those that were bad before may be
            back in any case.
        """
        allowed = set(now.left_out) if skip_bad else set()
        missing = [name for name in self.images if name not in now.images and name not in allowed]
        if missing:
            return f"{_share(missing, len(self.images), what)} not in it"
        known = {*self.images, *self.left_out}
        new = [name for name in now.images if name not in known]
        if new:
            return f"{_share(new, len(now.images), what)} not of this run"
        both = [name for name in self.images if name in now.images]
        other = [name for name in both if self.images[name] != now.images[name]]
        if other:
            more = f", and so have {len(other) - 1} more" if len(other) > 1 else ""
            was, found = (one.images[other[0]].partition(" ")[0] for one in (self, now))
            reason = "other objects" if was == found else f"size {found}, not {was}"
            return f"{what} image {other[0]!r} has {reason}{more}"
        order = [name for name in now.images if name in self.images]
        if order != both:
            first = next(a for a, b in zip(order, both, strict=True) if a != b)
            return f"the {what} images are in another order, {first!r} is the first to differ"
        return None


def _share(names: list[str], total: int, what: str) -> str:
    """Return ``"3 of 100 training images, 'a' first, are"``."""
    verb = "is" if len(names) == 1 else "are"
    return f"{len(names)} of {total} {what} images, {names[0]!r} first, {verb}"


def fingerprint(dataset: VOCDataset, *, with_classes: bool) -> Fingerprint:
    """Return what identifies a split, from its annotations alone.

    `with_classes`: the class names of the objects count too. They do for a detector; the RPN does
    not use them.
    """
    classes = dataset.classes if with_classes else None
    annotations = (dataset.annotation(index) for index in range(len(dataset)))
    images = {one.image_id: of_annotation(one, classes) for one in annotations}
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
        parts.append("\0".join(classes[number] for number in annotation.gt_classes).encode())
    digest = blake2b(b"|".join(parts), digest_size=8).hexdigest()
    height, width = annotation.image_size
    return f"{width}x{height} {digest}"


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
    try:
        with one_line_errors(path, "read"):
            content: Any = json.loads(path.read_bytes())
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError("of another format or version")
        return {
            name: Fingerprint(
                {str(key): str(value) for key, value in one["images"].items()},
                tuple(one["left_out"]),
            )
            for name, one in content["splits"].items()
        }
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path}: does not tell which data the run has: {error}") from error
