"""A data set of generated shapes, in PASCAL VOC layout."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from minirpn._checks import check_image_size
from minirpn._typing import ImageSize
from minirpn.data.annotation import VOCObject, write_annotation
from minirpn.data.box_format import voc_corners
from minirpn.data.shapes import SHAPES, draw_picture
from minirpn.errors import InputError
from minirpn.files import replace_file

_TEST_SHARE = 0.2
_VAL_SHARE = 0.2
_JPEG_QUALITY = 92


_MOST_SIDE = 4096  # pixels


@dataclass(frozen=True)
class SyntheticConfig:
    """What to generate.

    Parameters
    ----------
    images
        How many in all splits together: three fifths train, one fifth val, one fifth test.
    image_size
        (height, width), pixels.
    classes
        Some of ``minirpn.data.shapes.SHAPES``.
    max_objects
        An image has one to this many.
    min_side
        Smallest side of an object, pixels.
    max_share
        Largest side of an object, as a share of the image's shorter side.
    seed
        Image i is drawn from ``numpy.random.default_rng([seed, i])``, so that a larger `images`
        does not change the first ones.
    """

    images: int = 300
    image_size: ImageSize = (240, 320)
    classes: tuple[str, ...] = SHAPES
    max_objects: int = 4
    min_side: int = 20
    max_share: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        check_image_size(self.image_size)
        for name, least, most in (
            ("images", 5, 1_000_000),
            ("max_objects", 1, 1000),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"SyntheticConfig: {name}: expected at least {least}, got {value}")
            if value > most:
                raise ValueError(f"SyntheticConfig: {name}: expected at most {most:,}, got {value}")
        if max(self.image_size) > _MOST_SIDE:
            raise ValueError(
                f"SyntheticConfig: image_size: expected sides of at most {_MOST_SIDE}, "
                f"got {self.image_size}"
            )
        unknown = sorted(set(self.classes) - set(SHAPES))
        if unknown or not self.classes:
            raise ValueError(f"SyntheticConfig: classes: {unknown} are not among {SHAPES}")
        if not (4 <= self.min_side <= self.max_side and self.max_share <= 1):
            raise ValueError(
                "min_side, max_share, image_size: expected 4 <= min_side <= max_share * shorter"
                f" side and max_share <= 1, got {self.min_side} and {self.max_share}"
            )

    @property
    def max_side(self) -> float:
        """Largest side of an object, pixels."""
        return self.max_share * min(self.image_size)


def generate(root: str | Path, config: SyntheticConfig | None = None) -> Path:
    """Write a data set of shapes and return its folder.

    Parameters
    ----------
    root
        The folder to make, with ``JPEGImages``, ``Annotations`` and ``ImageSets/Main`` for train,
        val, trainval and test. It appears only when it is complete.
    config
        What to generate; None for the defaults.

    Returns
    -------
    root
        For ``VOCDataset(root, split=...)``.

    Raises
    ------
    InputError
        `root` exists already, or cannot be written.

    Notes
    -----
    The same configuration and the same libraries give the same bytes.
    """
    root = Path(root)
    config = SyntheticConfig() if config is None else config
    if root.exists():
        raise InputError(f"{root}: generated shapes: the folder exists already")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as temporary:
            unfinished = Path(temporary) / root.name
            _write(unfinished, config)
            unfinished.rename(root)
    except OSError as error:
        raise InputError(f"{root}: generated shapes: {error.strerror or error}") from error
    return root


def _write(root: Path, config: SyntheticConfig) -> None:
    """Write all files of the data set."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    ids = [f"{number:06d}" for number in range(1, config.images + 1)]
    for number, image_id in enumerate(ids):
        image, shapes = draw_picture(
            np.random.default_rng([config.seed, number]),
            config.image_size,
            names=config.classes,
            max_objects=config.max_objects,
            side_range=(config.min_side, config.max_side),
        )
        image_path = root / "JPEGImages" / f"{image_id}.jpg"
        save = partial(Image.fromarray(image).save, format="JPEG", quality=_JPEG_QUALITY)
        replace_file(image_path, save, durable=False)
        objects = [
            VOCObject(one.name, tuple(voc_corners(one.box).tolist()), one.difficult, one.truncated)
            for one in shapes
        ]
        xml_path = root / "Annotations" / f"{image_id}.xml"
        write_annotation(xml_path, image_path.name, config.image_size, objects)
    for name, members in split_slices(len(ids)).items():
        text = "".join(f"{image_id}\n" for image_id in ids[members])
        replace_file(root / "ImageSets" / "Main" / f"{name}.txt", text.encode())


def split_slices(images: int) -> dict[str, slice]:
    """Return which of so many images, by position, are in train, val, trainval and test.

    All images are drawn in the same way, so their position can decide about the split.
    """
    test = images - round(_TEST_SHARE * images)
    val = test - round(_VAL_SHARE * images)
    return {
        "train": slice(0, val),
        "val": slice(val, test),
        "trainval": slice(0, test),
        "test": slice(test, images),
    }
