"""Data sets in PASCAL VOC layout, and VOC's box convention made ours.

VOC counts pixels from 1 and includes the last one; everything else in this package is half-open.
The two functions `half_open` and `voc_corners` are the only place where the one becomes the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minirpn.data.annotation import read_annotation
from minirpn.data.classes import choose_classes, count_classes, odd_classes, unknown_classes
from minirpn.data.entries import Entry, read_entry
from minirpn.data.findings import BadDataError, BadFileError, Finding, errors_of
from minirpn.data.images import examine_image, read_image, read_image_header
from minirpn.data.layout import Folder, find_folder, image_files, split_ids
from minirpn.data.samples import Annotation, Sample
from minirpn.errors import InputError


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
    findings : tuple of Finding
        What was left out, what is suspicious, what was repaired; `minirpn.data.check_dataset`
        finds more.

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
        entries, findings = _read_split(folder, split, decode=skip_bad)
        if classes is None:
            self.classes = choose_classes(count_classes(entries))
            findings += odd_classes(entries)
        else:
            self.classes = tuple(classes)
            findings += unknown_classes(entries, self.classes)
        problems = errors_of(findings)
        if problems and not skip_bad:
            raise BadDataError(problems)
        if not entries:
            raise InputError(f"{folder.path}: split {split!r}: every file in it is bad")
        self._annotations = [_to_annotation(entry, self.classes) for entry in entries]
        self.image_ids = tuple(entry.image_id for entry in entries)
        self.skipped = tuple(str(problem) for problem in problems)
        self.findings = tuple(findings)

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


def read_ground_truth(
    root: str | Path, *, year: int | str | None = None, split: str | None = "trainval"
) -> tuple[list[Annotation], tuple[Finding, ...]]:
    """Return the annotations of a split from its XML alone, and what is wrong with them.

    Images are neither needed nor looked at. What is bad is left out.

    Parameters
    ----------
    root, year, split
        As of `VOCDataset`.

    Raises
    ------
    InputError
        There is no such folder, year or split.
    """
    folder = find_folder(Path(root), year, need_images=False)
    entries, findings = [], []
    for image_id in split_ids(folder, split, ()):
        path = folder.annotations / f"{image_id}.xml"
        try:
            content = read_annotation(path)
        except BadFileError as error:
            findings.append(error.finding)
        else:
            findings += content.findings
            entries.append(Entry(image_id, folder.images / image_id, path, content))
    classes = choose_classes(count_classes(entries))
    return [_to_annotation(entry, classes) for entry in entries], tuple(findings)


def read_sample(
    image_path: Path, folder: Folder, *, skip_bad: bool = False
) -> tuple[Sample, tuple[str, ...]]:
    """Return one image with its ground truth, and the class names its numbers stand for.

    Parameters
    ----------
    image_path
        The image, in the folder or anywhere.
    folder
        Where its annotation is looked for, under the image's name.
    skip_bad
        Leave bad boxes out.

    Raises
    ------
    InputError
        There is no such image or annotation, one of them is bad, or they do not belong together.
    """
    entry, findings = read_entry(image_path.stem, image_path, folder, read_image_header)
    problems = errors_of(findings)
    if entry is None or (problems and not skip_bad):
        raise BadDataError(problems)
    classes = choose_classes(count_classes([entry]))
    return Sample(_to_annotation(entry, classes), read_image(image_path)), classes


def _read_split(
    folder: Folder, split: str | None, *, decode: bool
) -> tuple[list[Entry], list[Finding]]:
    """Return the usable files of a split, and everything found about it."""
    images = image_files(folder)
    entries, findings = [], []
    for image_id in split_ids(folder, split, images):
        look = examine_image if decode else read_image_header
        entry, found = read_entry(image_id, images.get(image_id), folder, look)
        findings += found
        if entry is not None:
            entries.append(entry)
    return entries, findings


def _to_annotation(entry: Entry, classes: tuple[str, ...]) -> Annotation:
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
