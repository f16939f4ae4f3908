"""From a sample to the input of the network: resized, perhaps augmented, normalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from minirpn import boxes as box_ops
from minirpn._checks import check_image_size
from minirpn._typing import ImageSize
from minirpn.data.augment import AS_IS, Augmentation, recolour
from minirpn.data.samples import Annotation, Example, Sample
from minirpn.errors import InputError

_MOST_SHORT_SIDE = 10_000  # pixels
_MOST_LOOKS = 16
_MOST_MAX_SIDE = 2**63 - 1  # TOML's largest whole number: many write one for "no limit"
_MOST_PIXELS = 100_000_000  # of a resized image, which take 1.2 GB as float32


@dataclass(frozen=True)
class ResizeConfig:
    """The size at which the network sees an image.

    Parameters
    ----------
    short_side
        Length of the shorter side after resizing, pixels, 10,000 at most. The paper's section 3.3:
        600.
    max_side
        Greatest length of the longer side, pixels; it takes precedence. py-faster-rcnn: 1000. A
        large number is no limit, but no image may have over 100 million pixels after resizing.
    also_at
        Further sizes at which an RPN looks at an image that it proposes for, as factors of that
        size, such as (0.75,); NMS then chooses among the boxes of all sizes. Each look takes time.
        Training uses one size. A model with a detector looks once: its regions come from one map of
        features. The paper looks once too: its anchors have several scales, so that one look is
        enough (section 3.1.1).
    """

    short_side: int = 600
    max_side: int = 1000
    also_at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.short_side <= self.max_side:
            raise ValueError(
                "short_side, max_side: expected 1 <= short_side <= max_side,"
                f" got {self.short_side} and {self.max_side}"
            )
        for name, most in (("short_side", _MOST_SHORT_SIDE), ("max_side", _MOST_MAX_SIDE)):
            if getattr(self, name) > most:
                raise ValueError(f"{name}: expected at most {most:,}, got {getattr(self, name)}")
        if len(self.also_at) > _MOST_LOOKS:
            raise ValueError(f"also_at: expected at most {_MOST_LOOKS}, got {len(self.also_at)}")
        for factor in self.also_at:
            if not 0.1 <= factor <= 10:
                raise ValueError(f"also_at: expected numbers from 0.1 to 10, got {factor}")

    @property
    def looks(self) -> tuple[float, ...]:
        """The factors of all sizes at which an RPN looks at an image it proposes for."""
        return (1.0, *self.also_at)


def resize_scale(image_size: ImageSize, config: ResizeConfig) -> float:
    """Return the resized pixels per original pixel.

    ``min(short_side / min(H, W), max_side / max(H, W))``

    Parameters
    ----------
    image_size
        (height, width), original pixels.
    config
        The lengths of the sides.

    Notes
    -----
    py-faster-rcnn applies the upper limit only to a longer side that exceeds it after rounding, so
    it allows 1000.4 pixels. The resized image is 1000 pixels long in both.

    Examples
    --------
    >>> resize_scale((375, 500), ResizeConfig())
    1.6
    """
    check_image_size(image_size)
    return min(config.short_side / min(image_size), config.max_side / max(image_size))


def resized_size(image_size: ImageSize, scale: float) -> ImageSize:
    """Return (height, width) of an image after `resize`: rounded, at least one pixel each."""
    height, width = image_size
    return max(1, round(height * scale)), max(1, round(width * scale))


def check_resized(
    annotation: Annotation, scale: float, config: ResizeConfig, *, zoom: float = 1.0
) -> None:
    """Raise InputError, which names image and settings, if an image becomes too large.

    `zoom` is the factor that `scale` has beyond that of the settings.
    """
    height, width = resized_size(annotation.image_size, scale)
    if height * width > _MOST_PIXELS:
        old_height, old_width = annotation.image_size
        raise InputError(
            f"{annotation.image_path}: {old_width} x {old_height} pixels become {width} x {height} "
            f"with short_side {config.short_side} and max_side {config.max_side}"
            f"{'' if zoom == 1 else f', times {zoom:g} (zoom, scale_jitter or also_at)'}, "
            f"more than {_MOST_PIXELS:,} in all; lower one of them"
        )


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Return the image with both sides multiplied by `scale`, rounded, at least one pixel.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    scale
        Positive. At 1 the image itself is returned.

    Returns
    -------
    resized
        (round(H scale), round(W scale), 3) uint8.

    Notes
    -----
    Bilinear by Pillow. Its filter becomes wider when the image shrinks, so that every original
    pixel counts. OpenCV, which py-faster-rcnn used, reads only the four nearest pixels, so
    fine patterns alias.
    """
    height, width = resized_size((image.shape[0], image.shape[1]), scale)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def flip_image(image: np.ndarray) -> np.ndarray:
    """Return the (H, W, 3) image mirrored left to right; its own inverse."""
    return np.ascontiguousarray(image[:, ::-1])


def prepare(
    sample: Sample,
    *,
    resize_config: ResizeConfig,
    to_input: Callable[[np.ndarray], np.ndarray],
    augmentation: Augmentation = AS_IS,
) -> Example:
    """Return the example made of a sample.

    Parameters
    ----------
    sample
        An image and its ground truth, original pixels.
    resize_config
        The size at which the network sees it.
    to_input
        The backbone's own normalisation: (H, W, 3) uint8 RGB to (3, H, W) float32.
    augmentation
        The changes to it. A zoom may go beyond `resize_config.max_side`.

    Raises
    ------
    InputError
        The image would have more than 100 million pixels.

    Notes
    -----
    Boxes are multiplied by the exact scale, while the image's sides are rounded to whole pixels (as
    in py-faster-rcnn): at the far edges a box and its image differ by up to half a pixel.
    Mirroring comes first, in original pixels, where a box on the edge mirrors onto the edge.
    """
    image, annotation = sample.image, sample.annotation
    scale = resize_scale(annotation.image_size, resize_config) * augmentation.zoom
    check_resized(annotation, scale, resize_config, zoom=augmentation.zoom)
    gt_boxes, ignored = annotation.gt_boxes, annotation.ignored
    if augmentation.flip:
        gt_boxes, ignored = (box_ops.flip(boxes, image.shape[1]) for boxes in (gt_boxes, ignored))
        image = flip_image(image)
    return Example(
        annotation=annotation,
        image=to_input(recolour(resize(image, scale), augmentation)),
        gt_boxes=gt_boxes * scale,
        scale=scale,
        flipped=augmentation.flip,
        ignored=ignored * scale,
    )
