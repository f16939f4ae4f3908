"""Detections in files for the evaluation tools of others: VOC's result files, and COCO's.

VOC: one file a class, ``comp4_det_SPLIT_CLASS.txt``, and one detection a line: ``image_id score
xmin ymin xmax ymax``, with corners that are 1-based and inclusive. comp4 is VOC's name for
detection with any training data except its test sets.

COCO: one JSON file for the detections and one for the ground truth. COCO numbers images and
classes. Here both are numbered from 1 in the order of the data set; the ground-truth file says
which number is which name. Boxes are ``[x, y, width, height]``, from 0, in pixels of the original
image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from minirpn._typing import ImageSize
from minirpn.backend import to_host
from minirpn.budget import Budget, values_in
from minirpn.data.box_format import half_open, voc_corners
from minirpn.data.samples import Annotation
from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.fields import Fields, list_of, number, parsed, shown, whole
from minirpn.files import one_line_errors, read_file, replace_file, write_json

_ANY_BYTES = "surrogateescape"  # image ids are file names, and those may be any bytes
_LARGEST = float(np.finfo(np.float32).max)
_FARTHEST = 1e9  # pixels; the area of a larger box is none that float32 can tell from others
_MOST_BYTES = 2**29  # 153 a detection, 300 in each of 11,600 images


class COCORow(TypedDict):
    """A detection in COCO's results format."""

    image_id: int
    category_id: int  # its class, from 1
    bbox: list[float]  # [x, y, width, height]
    score: float


_Row = tuple[int, float, tuple[float, float, float, float]]  # class, score, half-open box


def write_voc_results(
    folder: Path,
    detections: Sequence[Detections],
    image_ids: Sequence[str],
    classes: Sequence[str],
    *,
    split: str = "test",
) -> list[Path]:
    """Write VOC's result file for every class, and return their paths.

    Parameters
    ----------
    folder
        Made if missing.
    detections
        For each image; boxes in half-open pixels of the original image.
    image_ids
        The id of each image.
    classes
        The names. A class that was never detected gets an empty file, as VOC's kit needs it.
    split
        Part of the file name.

    Raises
    ------
    InputError
        An id has a blank in it, which the format cannot express; a class name cannot be part of a
        file name; a file cannot be written.

    Notes
    -----
    `read_voc_results` returns every score exactly, and every corner that was float32.
    """
    check_voc_ids(image_ids, str(folder))
    for name in classes:
        if Path(name).name != name or "\0" in name:
            raise InputError(f"{folder}: class {name!r}: cannot be part of a file name")
    with one_line_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
    lines: list[list[str]] = [[] for _ in classes]
    for image_id, of_image in zip(image_ids, detections, strict=True):
        # In float64 the added pixel costs no digit of a float32.
        corners = voc_corners(to_host(of_image.boxes).astype(np.float64)).tolist()
        # NumPy writes the fewest digits that stand for exactly this float32 or float64.
        scores = map(str, to_host(of_image.scores))
        for label, score, corner in zip(to_host(of_image.classes), scores, corners, strict=True):
            lines[label].append(f"{image_id} {score} {' '.join(map(repr, corner))}\n")
    paths = [_result_file(folder, split, name) for name in classes]
    for path, of_class in zip(paths, lines, strict=True):
        replace_file(path, "".join(of_class).encode(errors=_ANY_BYTES))
    return paths


def check_voc_ids(image_ids: Iterable[str], where: str) -> None:
    """Raise InputError, which begins with `where`, if VOC's result files cannot hold an id."""
    for image_id in image_ids:
        if image_id.split() != [image_id]:
            reason = "VOC's result files hold no id with a blank"
            raise InputError(f"{where}: image {image_id!r}: {reason}")


def read_voc_results(
    folder: Path, image_ids: Sequence[str], classes: Sequence[str], *, split: str = "test"
) -> list[Detections]:
    """Return the detections of each image from VOC's result files.

    Parameters
    ----------
    folder
        Holds a file for every class.
    image_ids, classes, split
        As for `write_voc_results`.

    Returns
    -------
    detections
        For each image, float64, half-open pixels, highest score first; equal scores by class, then
        by line.

    Raises
    ------
    InputError
        A file is missing; a line does not have six fields, or has a bad number, a box that ends
        before it begins, or an image that is not in `image_ids`. The message names file and line.
    """
    rows: dict[str, list[_Row]] = {image_id: [] for image_id in image_ids}
    for label, name in enumerate(classes):
        path = _result_file(folder, split, name)
        with one_line_errors(path, "read"):
            text = read_file(path, most=_MOST_BYTES).decode(errors=_ANY_BYTES)
        for place, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            where = f"{path}: line {place}"
            image_id, *words = line.split()
            if len(words) != 5:
                expected = "expected image_id score xmin ymin xmax ymax"
                raise InputError(f"{where}: {expected}, got {len(words) + 1} fields")
            if image_id not in rows:
                raise InputError(f"{where}: image {shown(image_id)} is not one of the split")
            rows[image_id].append(_voc_row(words, label, where))
    return [_detections(rows[image_id]) for image_id in image_ids]


def _result_file(folder: Path, split: str, class_name: str) -> Path:
    """Return the path of VOC's result file of a class."""
    return folder / f"comp4_det_{split}_{class_name}.txt"


def _voc_row(words: list[str], label: int, where: str) -> _Row:
    """Return the detection that score and corners describe, with a half-open box."""
    score = _number(words[0], where, _LARGEST)
    xmin, ymin, xmax, ymax = (_number(word, where, _FARTHEST) for word in words[1:])
    # A box of no width has xmin = xmax + 1.
    if xmin > xmax + 1 or ymin > ymax + 1:
        raise InputError(f"{where}: the box ends before it begins")
    x1, y1, x2, y2 = half_open(np.array([xmin, ymin, xmax, ymax])).tolist()
    # By rounding, xmin - 1 can still be more than xmax.
    return label, score, (min(x1, x2), min(y1, y2), x2, y2)


def _number(word: str, where: str, most: float) -> float:
    try:
        value = float(word)
    except ValueError:
        raise InputError(f"{where}: {shown(word)} is not a number") from None
    if not -most <= value <= most:
        raise InputError(f"{where}: {shown(word)} is not a finite number up to {most:g}")
    return value


def write_coco_detections(path: Path, detections: Sequence[Detections]) -> None:
    """Write detections in COCO's results format, one a line.

    Parameters
    ----------
    path
        The JSON file: ``[{"image_id", "category_id", "bbox", "score"}, ...]``.
    detections
        For each image of the data set, in its order; boxes in half-open pixels.

    Raises
    ------
    InputError
        The file cannot be written.

    Notes
    -----
    `pycocotools` evaluates them with the file that `write_coco_ground_truth` writes: use
    ``COCO(ground_truth)``, its ``loadRes(detections)``, and ``COCOeval`` of the two with
    ``iouType="bbox"``.
    """
    lines = [
        json.dumps(row)
        for image_id, of_image in enumerate(detections, start=1)
        for row in coco_rows(of_image, image_id)
    ]
    replace_file(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def coco_rows(detections: Detections, image_id: int) -> list[COCORow]:
    """Return the detections of an image as rows of COCO's results format, classes from 1."""
    boxes = _to_coco(detections.boxes)
    scores, labels = to_host(detections.scores).tolist(), to_host(detections.classes).tolist()
    return [
        {"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score}
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]


def read_coco_detections(path: Path, images: int, classes: int) -> list[Detections]:
    """Return the detections of each image from a file in COCO's results format.

    Parameters
    ----------
    path
        A file of `write_coco_detections`, or of another tool with the same numbers.
    images, classes
        How many there are; each is numbered from 1.

    Returns
    -------
    detections
        For each image, float64, half-open pixels, highest score first; equal scores by class, then
        by place in the file.

    Raises
    ------
    InputError
        The file is missing or not a JSON list; there is no such image or class; a box does not have
        four numbers, or has a negative size; a score is not a finite number. The message names file
        and detection, counted from 1.
    """
    with one_line_errors(path, "read"):
        content = read_file(path, most=_MOST_BYTES)
    items = parsed(content, str(path), Budget(values=values_in(len(content))))
    if not isinstance(items, list):
        raise InputError(f"{path}: expected a list of detections")
    rows: list[list[_Row]] = [[] for _ in range(images)]
    for place, item in enumerate(items, start=1):
        detection = Fields(item, f"{path}: detection {place}")
        image = detection.get("image_id", whole(1, images)) - 1
        rows[image].append(_row(detection, classes))
    return [_detections(of_image) for of_image in rows]


def write_coco_ground_truth(
    path: Path, annotations: Iterable[Annotation], classes: Sequence[str]
) -> None:
    """Write the ground truth of a data set as a COCO annotation file.

    Parameters
    ----------
    path
        The JSON file.
    annotations
        One for each image, in the order of the data set.
    classes
        The class names of the data set.

    Raises
    ------
    InputError
        The file cannot be written.

    Notes
    -----
    A difficult object becomes a crowd (``"iscrowd": 1``), because `pycocotools` counts only a crowd
    as neither missed nor found. ``"ignore"`` says the same to other tools; `pycocotools` does not
    read it. The rule for crowds is milder than VOC's for difficult objects. It asks how much of the
    *detection* lies on the crowd, so a small detection inside one is ignored, where VOC counts a
    false positive.

    An ignored region becomes a crowd of every class, since what is there may be of any class.
    """
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for image_id, annotation in enumerate(annotations, start=1):
        images.append(_coco_image(image_id, annotation.image_path.name, annotation.image_size))
        boxes, labels = _to_coco(annotation.gt_boxes), annotation.gt_classes.tolist()
        rows = [*zip(boxes, labels, annotation.difficult.tolist(), strict=True)]
        ignored = _to_coco(annotation.ignored)
        rows += [(box, label, True) for box in ignored for label in range(len(classes))]
        for box, label, crowd in rows:
            objects.append(
                {
                    "id": len(objects) + 1,  # 0 would count as "not matched"
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                    "ignore": int(crowd),
                }
            )
    _write_coco_data(path, images, objects, classes)


def write_coco_images(
    path: Path, file_names: Sequence[str], sizes: Sequence[ImageSize], classes: Sequence[str]
) -> None:
    """Write which image and which class has which number, as a COCO file without objects.

    Parameters
    ----------
    path
        The JSON file.
    file_names, sizes
        The file and (height, width) of each image, in the order in which they are numbered.
    classes
        The class names.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    named = zip(file_names, sizes, strict=True)
    images = [_coco_image(number, name, size) for number, (name, size) in enumerate(named, start=1)]
    _write_coco_data(path, images, [], classes)


def _coco_image(image_id: int, file_name: str, image_size: ImageSize) -> dict[str, Any]:
    height, width = image_size
    return {"id": image_id, "file_name": file_name, "height": height, "width": width}


def _write_coco_data(
    path: Path,
    images: list[dict[str, Any]],
    objects: list[dict[str, Any]],
    classes: Sequence[str],
) -> None:
    """Write the images, the objects and the classes of a data set."""
    categories = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    # pycocotools requires "info", though it may be empty.
    content = {"info": {}, "images": images, "annotations": objects, "categories": categories}
    write_json(path, content)


def _to_coco(boxes: Any) -> list[list[float]]:
    """Return ``[x, y, width, height]`` for half-open boxes (R, 4)."""
    x1, y1, x2, y2 = to_host(boxes).astype(np.float64).T
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).tolist()


def _row(detection: Fields, classes: int) -> _Row:
    """Return class, score and half-open box of a detection."""
    label = detection.get("category_id", whole(1, classes)) - 1
    score = detection.get("score", number(-_LARGEST, _LARGEST))
    x, y, width, height = detection.get("bbox", list_of(number(-_FARTHEST, _FARTHEST), 4))
    if width < 0 or height < 0:
        raise detection.wrong("bbox: negative width or height")
    return label, score, (x, y, x + width, y + height)


# Both formats.


def _detections(rows: Iterable[_Row]) -> Detections:
    """Return the detections of one image, float64, highest score first.

    Detections of equal score are in the order of their classes, then in the order of the rows.
    """
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    return Detections(
        np.array([box for _, _, box in ordered], dtype=np.float64).reshape(-1, 4),
        np.array([score for _, score, _ in ordered], dtype=np.float64),
        np.array([label for label, _, _ in ordered], dtype=np.int64),
    )
