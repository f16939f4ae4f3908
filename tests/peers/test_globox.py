"""COCO's and YOLO's files, converted by the very command that the error message gives.

The boxes of the source are those that `VOCDataset` then reads, in every usual arrangement of the
folders.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.data import VOCDataset
from minirpn.errors import InputError

pytest.importorskip("globox", reason="globox is not installed (extra: peers)")

HEIGHT, WIDTH = 48, 64
CLASSES = ("cat", "dog")
# Half-open boxes of three images, each with its class: the whole image, fractions, none at all.
OBJECTS = {
    "a": [(1, (0, 0, WIDTH, HEIGHT)), (0, (3.25, 4.5, 13.75, 24.75))],
    "b c": [(0, (10, 11, 30, 32)), (0, (60, 40, WIDTH, HEIGHT)), (1, (0, 7, 9.5, 8.25))],
    "d": [],
}


def write_images(folder: Path, ending: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(OBJECTS):
        Image.new("RGB", (WIDTH, HEIGHT), (90 * number, 0, 0)).save(folder / f"{name}{ending}")


def write_coco(file: Path) -> None:
    """Write COCO's file: boxes as left, top, width, height; numbers of classes with a gap."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = list(OBJECTS)
    boxes = [(name, number, box) for name in names for number, box in OBJECTS[name]]
    content = {
        "images": [
            {"id": names.index(name), "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
            for name in names
        ],
        "annotations": [
            {
                "id": index,
                "image_id": names.index(name),
                "category_id": 10 * number + 5,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for index, (name, number, (x1, y1, x2, y2)) in enumerate(boxes)
        ],
        "categories": [{"id": 10 * i + 5, "name": name} for i, name in enumerate(CLASSES)],
    }
    file.write_text(json.dumps(content))


def write_yolo(folder: Path) -> None:
    """Write YOLO's files: a class, and center and size of its box in units of the image."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, objects in OBJECTS.items():
        centers = [
            ((x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT) for _, (x1, y1, x2, y2) in objects
        ]
        sizes = [((x2 - x1) / WIDTH, (y2 - y1) / HEIGHT) for _, (x1, y1, x2, y2) in objects]
        numbers = [number for number, _ in objects]
        rows = [
            (n, *center, *size) for n, center, size in zip(numbers, centers, sizes, strict=True)
        ]
        text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
        (folder / f"{name}.txt").write_text(text)


def convert(root: Path, empty_folder: Path) -> dict[str, str]:
    """Do what the message says for a data set, and return the settings that it gives."""
    with pytest.raises(InputError, match="no VOC annotation") as caught:
        VOCDataset(root)
    command, flags = re.search(
        r"`(globox.*|mv.*)` of .* minirpn (--.*)$", str(caught.value)
    ).groups()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        command, shell=True, check=True, cwd=empty_folder, env=os.environ | {"PATH": path}
    )
    words = shlex.split(flags)
    settings = {words[i].removeprefix("--"): words[i + 1] for i in range(0, len(words), 2)}
    settings["box_format"] = settings.pop("box-format")
    settings["root"] = settings.pop("voc")
    return settings


def check(settings: dict[str, str], split: str, prefix: str = "") -> None:
    """Compare what is read with `OBJECTS`."""
    dataset = VOCDataset(**settings, split=split)
    assert dataset.image_ids == tuple(prefix + name for name in OBJECTS)
    assert dataset.classes == CLASSES
    for index, objects in enumerate(OBJECTS.values()):
        annotation = dataset.annotation(index)
        assert annotation.gt_classes.tolist() == [number for number, _ in objects]
        boxes = np.reshape([box for _, box in objects], (-1, 4))
        # YOLO's numbers are rounded in its files.
        np.testing.assert_allclose(annotation.gt_boxes, boxes, rtol=0, atol=1e-5)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "my data"


class TestCoco:
    @pytest.mark.parametrize(
        ("file", "images"),
        [
            ("instances.json", "images"),
            ("instances.json", "."),
            ("_annotations.coco.json", "."),
            ("annotations/instances.json", "images"),
            ("coco/result.json", "images"),
        ],
    )
    def test_one_file(self, tmp_path, root, file, images):
        write_images(root / images)
        write_coco(root / file)
        check(convert(root, tmp_path), "trainval")

    def test_a_file_beside_the_images_of_each_split(self, tmp_path, root):
        for split in ("train", "valid"):
            write_images(root / split)
            write_coco(root / split / "_annotations.coco.json")
        settings = convert(root, tmp_path)
        check(settings, "train", "train/")
        check(settings, "val", "valid/")

    @pytest.mark.parametrize("place", ["annotations/", ""])
    @pytest.mark.parametrize(
        ("images", "parts"),
        [
            ("images/", ("train", "val")),
            ("", ("train", "val")),
            ("images/", ("train2017", "val2017")),
            ("", ("train2017", "val2017")),
        ],
    )
    def test_a_file_for_each_folder_of_images(self, tmp_path, root, place, images, parts):
        for part in parts:
            write_images(root / f"{images}{part}")
            write_coco(root / f"{place}instances_{part}.json")
        (root / place / "captions_val2017.json").write_text('{"images": [], "annotations": []}')
        settings = convert(root, tmp_path)
        (root / "train.txt").write_text("".join(f"{parts[0]}/{name}.jpg\n" for name in OBJECTS))
        check(settings, "train", f"{parts[0]}/")


class TestYolo:
    @pytest.mark.parametrize(
        ("labels", "images"), [("labels", "images"), (".", "."), ("labels", "."), ("obj", "obj")]
    )
    def test_one_folder(self, tmp_path, root, labels, images):
        write_images(root / images, ".png")
        write_yolo(root / labels)
        (root / labels / "classes.txt").write_text("cat\ndog\n")
        check(convert(root, tmp_path), "trainval")

    @pytest.mark.parametrize("pattern", ["{}/labels", "labels/{}"])
    def test_a_folder_for_each_split(self, tmp_path, root, pattern):
        for split in ("train", "valid"):
            write_images(root / pattern.format(split).replace("labels", "images"))
            write_yolo(root / pattern.format(split))
        (root / "classes.txt").write_text("cat\ndog\n")
        settings = convert(root, tmp_path)
        check(settings, "train", "train/")
        check(settings, "val", "valid/")

    def test_without_names_classes_are_numbers(self, tmp_path, root):
        write_images(root / "images")
        write_yolo(root / "labels")
        assert VOCDataset(**convert(root, tmp_path)).classes == ("0", "1")
