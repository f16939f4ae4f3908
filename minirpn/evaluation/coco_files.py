"""COCO's files: detections for `pycocotools` and its kin to judge, and the ground truth for it.

COCO numbers images and classes. Here both are numbered from 1 in the order of the data set, for
images and for classes alike; the ground-truth file says which number is which name. Boxes are
``[x, y, width, height]``, from 0, in pixels of the original image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minirpn.backend import to_host
from minirpn.data.samples import Annotation
from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.evaluation.rows import Row, detections_from, is_number
from minirpn.files import one_line_errors, replace_file, write_json


def write_coco_detections(path: Path, detections: Sequence[Detections]) -> None:
    """Write detections as COCO's results format has them, one a line.

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
    To be judged with the file that `write_coco_ground_truth` writes: by ``COCO(ground_truth)``,
    its ``loadRes(detections)``, and ``COCOeval`` of the two with ``iouType="bbox"``.
    """
    lines = []
    for image_id, found in enumerate(detections, start=1):
        boxes = _to_coco(found.boxes)
        scores, labels = to_host(found.scores).tolist(), to_host(found.classes).tolist()
        for box, score, label in zip(boxes, scores, labels, strict=True):
            row = {"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score}
            lines.append(json.dumps(row))
    encoded = "[\n" + ",\n".join(lines) + "\n]\n"
    replace_file(path, lambda file: file.write(encoded.encode()))


def read_coco_detections(path: Path, images: int, classes: int) -> list[Detections]:
    """Return the detections of each image from a file in COCO's results format.

    Parameters
    ----------
    path
        What `write_coco_detections`, or another tool with the same numbers, has written.
    images, classes
        How many there are: their numbers go from 1 to these.

    Returns
    -------
    detections
        For each image, float64, half-open pixels, highest score first; equal ones by class and
        place in the file.

    Raises
    ------
    InputError
        The file is missing or not a JSON list; an image or a class is not there; a box has not four
        numbers or a negative size; a score is no number, or not a finite one. The message names
        file and detection, counted from 1.
    """
    with one_line_errors(path, "read"):
        content = path.read_bytes()
    try:
        items = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(items, list):
        raise InputError(f"{path}: expected a list of detections")
    rows: list[list[Row]] = [[] for _ in range(images)]
    for number, item in enumerate(items, start=1):
        where = f"{path}: detection {number}"
        if not isinstance(item, dict):
            raise InputError(f"{where}: expected an object with image_id and bbox")
        rows[_position(item, "image_id", images, where)].append(_row(item, classes, where))
    return [detections_from(of_image) for of_image in rows]


def write_coco_ground_truth(
    path: Path, annotations: Iterable[Annotation], classes: Sequence[str]
) -> None:
    """Write the ground truth of a data set as a COCO annotation file.

    Parameters
    ----------
    path
        The JSON file.
    annotations
        Of each image, in the order of the data set.
    classes
        Its class names.

    Raises
    ------
    InputError
        The file cannot be written.

    Notes
    -----
    A difficult object becomes a crowd (``"iscrowd": 1``), the only mark by which `pycocotools` lets
    an object be neither missed nor found; ``"ignore"`` says the same to tools that read it, among
    which `pycocotools` is not. The rule for crowds is milder than VOC's for difficult objects: what
    counts is how much of the *detection* lies on the crowd, so a small detection within one is
    forgiven, which VOC calls a false positive.
    """
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for image_id, annotation in enumerate(annotations, start=1):
        height, width = annotation.image_size
        file_name = annotation.image_path.name
        images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        boxes, labels = _to_coco(annotation.gt_boxes), annotation.gt_classes.tolist()
        for box, label, hard in zip(boxes, labels, annotation.difficult.tolist(), strict=True):
            objects.append(
                {
                    "id": len(objects) + 1,  # 0 would count as "not matched"
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(hard),
                    "ignore": int(hard),
                }
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    # pycocotools asks for info, though for nothing in it.
    content = {"info": {}, "images": images, "annotations": objects, "categories": categories}
    write_json(path, content)


def _to_coco(boxes: Any) -> list[list[float]]:
    """Return ``[x, y, width, height]`` for half-open boxes (R, 4)."""
    x1, y1, x2, y2 = to_host(boxes).astype(np.float64).T
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).tolist()


def _row(item: dict[str, Any], classes: int, where: str) -> Row:
    """Return class, score and half-open box of a detection."""
    label = _position(item, "category_id", classes, where)
    score, box = item.get("score"), item.get("bbox")
    if not is_number(score):
        raise InputError(f"{where}: score: expected a number")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise InputError(f"{where}: bbox: expected 4 numbers")
    x, y, width, height = map(float, box)
    if width < 0 or height < 0:
        raise InputError(f"{where}: bbox: negative width or height")
    return label, float(score), (x, y, x + width, y + height)


def _position(item: dict[str, Any], key: str, count: int, where: str) -> int:
    """Return the place, from 0, that a number from 1 stands for."""
    number = item.get(key)
    # To Python, true is a whole number too.
    if type(number) is not int or not 1 <= number <= count:
        raise InputError(f"{where}: {key}: expected a whole number from 1 to {count}")
    return number - 1
