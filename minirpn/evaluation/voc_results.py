"""VOC's result files: ``comp4_det_SPLIT_CLASS.txt``, which VOC's own kit and others judge.

One file a class, one detection a line: ``image_id score xmin ymin xmax ymax``, with corners that
are 1-based and inclusive. comp4 is VOC's name for detection with any training data but its tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minirpn.backend import to_host
from minirpn.data.annotation import half_open, voc_corners
from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.evaluation.rows import Row, detections_from, is_number
from minirpn.files import one_line_errors, replace_file

# Image ids are file names, and those may be any bytes.
_ANY_BYTES = "surrogateescape"


def write_voc_results(
    folder: Path,
    detections: Sequence[Detections],
    image_ids: Sequence[str],
    classes: Sequence[str],
    *,
    split: str = "test",
) -> list[Path]:
    """Write a result file for every class, and return their paths.

    Parameters
    ----------
    folder
        Made if missing.
    detections
        For each image; boxes in half-open pixels of the original image.
    image_ids
        Of each image.
    classes
        The names. A class that was never detected gets an empty file, as VOC's kit wants it.
    split
        For the name of the file.

    Raises
    ------
    InputError
        An id has a blank in it, which the format has no way to write; a class makes no file name;
        a file cannot be written.

    Notes
    -----
    `read_voc_results` gives back every score exactly, and every corner exactly that was float32.
    """
    _check_names(folder, image_ids, classes)
    with one_line_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
    lines: list[list[str]] = [[] for _ in classes]
    for image_id, found in zip(image_ids, detections, strict=True):
        # In float64 the added pixel costs no digit of a float32.
        corners = voc_corners(to_host(found.boxes).astype(np.float64)).tolist()
        # As NumPy writes them: the shortest digits that stand for this very float32 or float64.
        scores = map(str, to_host(found.scores))
        for label, score, corner in zip(to_host(found.classes), scores, corners, strict=True):
            lines[label].append(f"{image_id} {score} {' '.join(map(repr, corner))}\n")
    paths = [result_file(folder, split, name) for name in classes]
    for path, of_class in zip(paths, lines, strict=True):
        _write(path, "".join(of_class))
    return paths


def read_voc_results(
    folder: Path, image_ids: Sequence[str], classes: Sequence[str], *, split: str = "test"
) -> list[Detections]:
    """Return the detections of each image from VOC's result files.

    Parameters
    ----------
    folder
        With a file for every class.
    image_ids, classes, split
        As of `write_voc_results`.

    Returns
    -------
    detections
        For each image, float64, half-open pixels, highest score first; equal ones by class and
        line.

    Raises
    ------
    InputError
        A file is missing; a line has not six fields, a number that is none, a box that
        ends before it begins, an image that is not among `image_ids`. The message names file and
        line.
    """
    rows: dict[str, list[Row]] = {image_id: [] for image_id in image_ids}
    for label, name in enumerate(classes):
        path = result_file(folder, split, name)
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            image_id, score, corners = _fields(line, where)
            if image_id not in rows:
                raise InputError(f"{where}: image {image_id!r} is not one of the split")
            rows[image_id].append((label, score, _box(corners, where)))
    return [detections_from(rows[image_id]) for image_id in image_ids]


def result_file(folder: Path, split: str, class_name: str) -> Path:
    """Return the path of the result file of a class."""
    return folder / f"comp4_det_{split}_{class_name}.txt"


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda file: file.write(text.encode(errors=_ANY_BYTES)))


def _lines(path: Path) -> list[str]:
    with one_line_errors(path, "read"):
        return path.read_bytes().decode(errors=_ANY_BYTES).split("\n")


def _fields(line: str, where: str) -> tuple[str, float, list[float]]:
    """Return image id, score and VOC's corners of a line."""
    words = line.split()
    if len(words) != 6:
        raise InputError(
            f"{where}: expected image_id score xmin ymin xmax ymax, got {len(words)} fields"
        )
    numbers = [_number(word, where) for word in words[1:]]
    return words[0], numbers[0], numbers[1:]


def _box(corners: list[float], where: str) -> tuple[float, float, float, float]:
    """Return the half-open box for VOC's corners."""
    xmin, ymin, xmax, ymax = corners
    # A box of no width has xmin = xmax + 1.
    if xmin > xmax + 1 or ymin > ymax + 1:
        raise InputError(f"{where}: the box ends before it begins")
    x1, y1, x2, y2 = half_open(np.array(corners)).tolist()
    # Rounded, xmin - 1 can be more than xmax even so.
    return min(x1, x2), min(y1, y2), x2, y2


def _number(word: str, where: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise InputError(f"{where}: {word!r} is not a number") from None
    if not is_number(number):
        raise InputError(f"{where}: {word!r} is not a finite number")
    return number


def _check_names(folder: Path, image_ids: Sequence[str], classes: Sequence[str]) -> None:
    for image_id in image_ids:
        if image_id.split() != [image_id]:
            raise InputError(
                f"{folder}: image {image_id!r}: VOC's result files hold no id with a blank"
            )
    for name in classes:
        if Path(name).name != name:
            raise InputError(f"{folder}: class {name!r}: not to be used in the name of a file")
