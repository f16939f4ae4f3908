"""Data sets in PASCAL VOC layout, and VOC's box convention made ours.

VOC counts pixels from 1 and includes the last one; everything else in this package is half-open.
The two functions `half_open` and `voc_corners` are the only place where the one becomes the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn._typing import ImageSize
from minirpn.data.annotation import VOCFile, read_annotation
from minirpn.data.images import read_image, read_image_size
from minirpn.data.layout import Folder, find_folder, image_files, split_ids
from minirpn.data.samples import Annotation, Sample
from minirpn.errors import InputError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


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
    Inverse of `half_open`. For annotation files and for VOC result files.
    """
    return boxes + np.array([1, 1, 0, 0], dtype=boxes.dtype)


class VOCDataset:
    """The images and ground truths of one split.

    Every annotation is read and checked here, and the header of every image, so that nothing bad
    waits in the middle of a training (about 0.3 ms an image). Images are decoded when asked for.

    Parameters
    ----------
    root
        A VOCdevkit, one year's folder in it, or a bare folder of images and XML.
    year
        Which year of a VOCdevkit; the only one is found by itself.
    split
        The name of a file of ``ImageSets/Main``; None or ``"all"`` for everything, the only choice
        where there are no ``ImageSets``.
    classes
        Class names, in the order of their numbers. None takes VOC's twenty where they suffice,
        else the names found, sorted. Give a validation set the classes of its training set.
    skip_bad
        Leave out what is bad and keep the reasons in `skipped`: a bad box without its file, a bad
        file as a whole. Every image is then decoded once here, to find the truncated ones (a few
        milliseconds an image of VOC).

    Attributes
    ----------
    classes : tuple of str
    image_ids : tuple of str
    skipped : tuple of str
        One line for each file or box left out.

    Raises
    ------
    InputError
        There is no such folder, year or split; or, without `skip_bad`, a file or a box is bad. The
        line names file, object and reason, and says how many more there are.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        year: int | str | None = None,
        split: str | None = "trainval",
        classes: Sequence[str] | None = None,
        skip_bad: bool = False,
    ) -> None:
        folder = find_folder(Path(root), year)
        entries, problems = _read_split(folder, split, decode=skip_bad)
        self.classes = tuple(classes) if classes is not None else _classes_of(entries)
        problems += _unknown_classes(entries, self.classes)
        if problems and not skip_bad:
            raise _first_of(problems)
        if not entries:
            raise InputError(f"{folder.path}: split {split!r}: every file in it is bad")
        self._annotations = [_to_annotation(entry, self.classes) for entry in entries]
        self.image_ids = tuple(entry.image_id for entry in entries)
        self.skipped = tuple(str(problem) for problem in problems)

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> Sample:
        """Return the annotation and the decoded image at a position.

        Raises
        ------
        InputError
            The image is truncated or damaged, or not the one whose header was checked.
        """
        annotation = self._annotations[index]
        image = read_image(annotation.image_path)
        if image.shape[:2] != annotation.image_size:
            raise InputError(f"{annotation.image_path}: image: changed since it was checked")
        return Sample(annotation, image)

    def annotation(self, index: int) -> Annotation:
        """Return the ground truth at a position without touching the image."""
        return self._annotations[index]


class _Entry(NamedTuple):
    """The files of one image, and what the annotation says."""

    image_id: str
    image_path: Path
    xml_path: Path
    content: VOCFile


def _read_split(
    folder: Folder, split: str | None, *, decode: bool
) -> tuple[list[_Entry], list[InputError]]:
    """Return the usable files of a split and an error for each bad file or object."""
    images = image_files(folder)
    entries, problems = [], []
    for image_id in split_ids(folder, split, images):
        xml_path = folder.annotations / f"{image_id}.xml"
        try:
            content = read_annotation(xml_path)
            if image_id not in images:
                raise InputError(f"{folder.images / image_id}: image: no such file, of any format")
            _check_image(images[image_id], content.image_size, xml_path, decode=decode)
        except InputError as error:
            problems.append(error)
        else:
            entries.append(_Entry(image_id, images[image_id], xml_path, content))
            problems.extend(content.problems)
    return entries, problems


def _check_image(path: Path, annotated: ImageSize, xml_path: Path, *, decode: bool) -> None:
    height, width = read_image(path).shape[:2] if decode else read_image_size(path)
    if (height, width) != annotated:
        raise InputError(
            f"{xml_path}: image size: width {annotated[1]}, height {annotated[0]};"
            f" but {path.name}, shown upright, has {width}, {height}"
        )


def _classes_of(entries: Iterable[_Entry]) -> tuple[str, ...]:
    found = {item.name for entry in entries for _, item in entry.content.objects}
    return VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))


def _unknown_classes(entries: list[_Entry], classes: tuple[str, ...]) -> list[InputError]:
    known = f"the classes are {', '.join(classes)}"
    return [
        InputError(f"{entry.xml_path}: object {number} ({item.name}): unknown class; {known}")
        for entry in entries
        for number, item in entry.content.objects
        if item.name not in classes
    ]


def _to_annotation(entry: _Entry, classes: tuple[str, ...]) -> Annotation:
    """Return the ground truth of the known classes, in our convention."""
    objects = [item for _, item in entry.content.objects if item.name in classes]
    corners = np.array([item.corners for item in objects], dtype=np.float32).reshape(-1, 4)
    return Annotation(
        image_id=entry.image_id,
        image_path=entry.image_path,
        image_size=entry.content.image_size,
        gt_boxes=half_open(corners),
        gt_classes=np.array([classes.index(item.name) for item in objects], dtype=np.int64),
        difficult=np.array([item.difficult for item in objects], dtype=bool),
    )


def _first_of(problems: list[InputError]) -> InputError:
    if len(problems) == 1:
        return problems[0]
    return InputError(f"{problems[0]} (and {len(problems) - 1} more bad files or boxes)")
