"""Image files of every kind, read as RGB."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from minirpn._typing import ImageSize
from minirpn.errors import InputError

# EXIF orientations that swap width and height when the picture is shown upright.
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
# What Pillow's plug-ins raise on damaged files, found by feeding them such.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error)


def read_image(path: Path) -> np.ndarray:
    """Return the image as (H, W, 3) uint8 RGB, upright.

    The EXIF orientation is applied, as image viewers do. Gray, palette, CMYK and 16-bit images
    become RGB; transparency is laid over white, as on a page.

    Parameters
    ----------
    path
        A file of any format Pillow reads.

    Raises
    ------
    InputError
        There is no such file, it is not an image, it is truncated or damaged, or it has more
        pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` (about 89 million).

    Notes
    -----
    16-bit gray is divided by 257, so that 65535 becomes 255; Pillow's own conversion clips
    everything above 255 to white.
    """
    with _opened(path) as file:
        upright = ImageOps.exif_transpose(file)
        return np.array(_to_rgb(upright))


def read_image_size(path: Path) -> ImageSize:
    """Return the (height, width) `read_image` would give, from the header alone.

    Not for worker threads: it silences a warning of Pillow, and warning filters are shared by all
    threads.

    Raises
    ------
    InputError
        As for `read_image`, as far as the header tells.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as file:
            width, height = file.size
            # The method of the base class, as PNG's own decodes the image first. TIFF is a format
            # that Pillow turns by itself.
            orientation = Image.Image.getexif(file).get(ExifTags.Base.Orientation)
            turned = orientation in _QUARTER_TURNS and file.format != "TIFF"
    return (width, height) if turned else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; whatever is wrong with it becomes an InputError that names it."""
    try:
        with Image.open(path) as file:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and file.width * file.height > limit:
                raise Image.DecompressionBombError
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: image: no such file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: image: not of a format Pillow reads") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            f"{path}: image: more than {Image.MAX_IMAGE_PIXELS} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: image: truncated, damaged or unreadable ({reason})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in mode RGB."""
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = np.asarray(image, dtype=np.float64) / 257
        return Image.fromarray(np.rint(gray.clip(0, 255)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")
