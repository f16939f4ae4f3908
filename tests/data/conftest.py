"""Small VOC folders, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.data import VOCObject, write_annotation

A_CAT = VOCObject("cat", (3, 5, 20, 15))
A_DOG = VOCObject("dog", (1, 1, 40, 30), difficult=True)


@pytest.fixture
def write_voc() -> Callable[..., Path]:
    """Write a folder in VOC layout: images of 40x30 (width x height) holding a cat and a dog."""

    def write(
        root: Path,
        ids: tuple[str, ...] = ("a", "b", "c"),
        splits: dict[str, tuple[str, ...]] | None = None,
        objects: tuple[VOCObject, ...] = (A_CAT, A_DOG),
        side_by_side: bool = False,
    ) -> Path:
        images = root if side_by_side else root / "JPEGImages"
        annotations = root if side_by_side else root / "Annotations"
        for folder in (images, annotations):
            folder.mkdir(parents=True, exist_ok=True)
        for number, image_id in enumerate(ids):
            pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / f"{image_id}.jpg")
            write_annotation(annotations / f"{image_id}.xml", f"{image_id}.jpg", (30, 40), objects)
        for name, members in (splits or {}).items():
            (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            lines = "".join(f"{member}\n" for member in members)
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text(lines)
        return root

    return write
