"""The types of the data pipeline: an annotation, a sample, a training example."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from minirpn._typing import Array, ImageSize


def _no_boxes() -> np.ndarray:
    return np.empty((0, 4), np.float32)


# eq=False everywhere: a comparison of arrays gives arrays, so a generated == would raise.
@dataclass(frozen=True, eq=False)
class Annotation:
    """The ground truth of one image, in original pixels.

    Parameters
    ----------
    image_id
        The file name without its ending, such as ``"000005"``.
    image_path
        The image file.
    image_size
        (height, width), pixels.
    gt_boxes
        (M, 4) float32 ``(x1, y1, x2, y2)``, half-open, original pixels.
    gt_classes
        (M,) int64, positions in the data set's ``classes``.
    difficult
        (M,) bool; for evaluation these objects count neither as found nor as missed.
    ignored
        (I, 4) float32 boxes like `gt_boxes`: regions that show something which is no ground truth,
        such as an object that was left out. They are neither objects nor background.
    """

    image_id: str
    image_path: Path
    image_size: ImageSize
    gt_boxes: np.ndarray
    gt_classes: np.ndarray
    difficult: np.ndarray
    ignored: np.ndarray = field(default_factory=_no_boxes)


@dataclass(frozen=True, eq=False)
class Sample:
    """An annotation with its decoded image, (H, W, 3) uint8 RGB."""

    annotation: Annotation
    image: np.ndarray


def unannotated(path: Path, image: np.ndarray) -> Sample:
    """Return the sample of an image (H, W, 3) uint8, read from `path`, without ground truth."""
    annotation = Annotation(
        image_id=path.stem,
        image_path=path,
        image_size=(image.shape[0], image.shape[1]),
        gt_boxes=_no_boxes(),
        gt_classes=np.empty(0, np.int64),
        difficult=np.empty(0, bool),
    )
    return Sample(annotation, image)


@dataclass(frozen=True, eq=False)
class Example:
    """One resized, perhaps mirrored image, ready for the network, and its ground truth.

    Parameters
    ----------
    annotation
        The ground truth in original pixels.
    image
        (3, H, W) floating point, normalised for the backbone, on the device of the network; all the
        rest is on the host.
    gt_boxes
        (M, 4) of the same dtype: ``(x1, y1, x2, y2)``, half-open, pixels of the resized (and
        mirrored) image.
    scale
        Resized pixels per original pixel.
    flipped
        Whether image and boxes are mirrored left to right.
    ignored
        (I, 4) boxes like `gt_boxes`: the ignored regions of the annotation in this image's pixels.
    """

    annotation: Annotation
    image: Array
    gt_boxes: np.ndarray
    scale: float
    flipped: bool
    ignored: np.ndarray = field(default_factory=_no_boxes, kw_only=True)

    @property
    def image_size(self) -> ImageSize:
        """(height, width) of the resized image."""
        return (self.image.shape[1], self.image.shape[2])

    @property
    def original_size(self) -> ImageSize:
        """(height, width) of the image in its file."""
        return self.annotation.image_size

    @property
    def image_id(self) -> str:
        """The file name without its ending."""
        return self.annotation.image_id

    @property
    def gt_classes(self) -> np.ndarray:
        """(M,) int64, in the order of `gt_boxes`."""
        return self.annotation.gt_classes

    @property
    def difficult(self) -> np.ndarray:
        """(M,) bool, in the order of `gt_boxes`."""
        return self.annotation.difficult


class Dataset(Protocol):
    """Anything that has a length and gives samples by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...
