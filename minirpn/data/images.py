"""Image files of every kind, read as RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from minirpn._typing import ImageSize
from minirpn.data.findings import BadFileError, Kind

_Turn = Image.Transpose
# EXIF orientation -> the turn that brings the stored pixels upright.
_UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_QUARTER_TURNS = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))


class ImageHeader(NamedTuple):
    """What is known about an image file without decoding its pixels."""

    image_size: ImageSize  # (height, width), upright, as `read_image` gives it
    stored_size: ImageSize  # (height, width) in the file, before the EXIF orientation is applied
    turned: bool  # whether that orientation changes the image
    mode: str  # as Pillow names it, such as "RGB" or "L"; "RGBA" for every kind of transparency
    range_note: str = ""  # how the range of its numbers was decided, where the mode leaves it open
    doubt: str = ""  # why it may show nothing, such as "all pixels are (0, 0, 0)"


def read_image(path: Path) -> np.ndarray:
    """Return the image as (H, W, 3) uint8 RGB, upright.

    The EXIF orientation is applied, as in image viewers. Gray, palette, CMYK and 16-bit images
    become RGB. Transparent images get a white background.

    Parameters
    ----------
    path
        A file of any format that Pillow reads.

    Raises
    ------
    InputError
        The file is missing, is not an image, is truncated or damaged, or has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS`` (about 89 million).

    Notes
    -----
    16-bit gray is divided by 257, so that 65535 becomes 255. Pillow's own conversion would clip
    everything above 255 to white.
    """
    with _opened(path) as file:
        turn = _turn(file)
        image = _to_rgb(file)
        return np.array(image if turn is None else image.transpose(turn))


def read_image_header(path: Path) -> ImageHeader:
    """Return what the header of an image file says; the errors are those of `read_image`.

    Not for worker threads: it changes the warning filters, which all threads share.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as file:
            return _header(file)


def examine_image(path: Path) -> ImageHeader:
    """Return what the header of an image file says, after decoding the whole image, in any thread.

    The errors are those of `read_image`.
    """
    with _opened(path) as file:
        header = _header(file)
        _to_rgb(file)
        return header


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; any error in the block becomes an `InputError` that names the file."""
    try:
        with Image.open(path) as file:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and file.width * file.height > limit:
                raise Image.DecompressionBombError
            yield file
    except FileNotFoundError:
        raise BadFileError(Kind.MISSING_FILE, path, "image", "no such file") from None
    # On damaged files Pillow's plug-ins raise OSError, SyntaxError, ValueError, TypeError,
    # struct.error and more.
    except Exception as error:
        if isinstance(error, UnidentifiedImageError):
            reason = "not of a format Pillow reads"
        elif isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            reason = f"more than {Image.MAX_IMAGE_PIXELS} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
        else:
            words = " ".join(str(error).split()) or type(error).__name__
            reason = f"truncated, damaged or unreadable ({words})"
        raise BadFileError(Kind.UNREADABLE_IMAGE, path, "image", reason) from error


def _header(file: Image.Image) -> ImageHeader:
    width, height = file.size
    turn = _turn(file)
    upright = (width, height) if turn in _QUARTER_TURNS else (height, width)
    mode = "RGBA" if file.has_transparency_data else file.mode
    return ImageHeader(upright, (height, width), turn is not None, mode)


def _turn(file: Image.Image) -> _Turn | None:
    """Return the turn that brings the image upright, or None if it is upright already."""
    if file.format == "TIFF":
        return None  # Pillow itself turns TIFF images when it decodes them
    # PIL.ImageOps.exif_transpose would also write the EXIF data back, which fails where it is
    # malformed. PNG's own getexif would decode the image.
    return _UPRIGHT.get(Image.Image.getexif(file).get(ExifTags.Base.Orientation, 1))


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 RGB of a Pillow image, as it is: not turned upright."""
    return np.array(_to_rgb(image))


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
