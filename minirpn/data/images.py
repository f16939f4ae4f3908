"""Image files of every kind, read as RGB."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from minirpn._typing import ImageSize
from minirpn.data.findings import BadFileError, Kind
from minirpn.errors import InputError

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

_BITS = (8, 10, 12, 14, 16)  # the depths of cameras, scanners and microscopes
# Formats that state the range of their numbers: Pillow stretches it to 16 bits.
_STATES_RANGE = frozenset(("PPM", "JPEG2000"))

# Of 8-bit RGB. No sound photograph is below both: even at night, something is brighter.
_LEAST_BRIGHTEST = 16
_LEAST_SPAN = 8


class ImageHeader(NamedTuple):
    """What is known about an image file.

    The last two are empty unless the pixels were decoded, as `examine_image` does.
    """

    image_size: ImageSize  # (height, width), upright, as `read_image` gives it
    stored_size: ImageSize  # (height, width) in the file, before the EXIF orientation is applied
    turned: bool  # whether that orientation changes the image
    mode: str  # as Pillow names it, such as "RGB" or "L"; "RGBA" for every kind of transparency
    range_note: str = ""  # how the range of its numbers was decided, where the mode leaves it open
    doubt: str = ""  # why it may show nothing, such as "all pixels are (0, 0, 0)"


def read_image(path: Path) -> np.ndarray:
    """Return the image as (H, W, 3) uint8 RGB, upright.

    The EXIF orientation is applied, as in image viewers. Gray, palette, CMYK, 16-bit and float
    images become RGB. Transparent images get a white background. Of several frames, the first is
    read.

    Parameters
    ----------
    path
        A file of any format that Pillow reads.

    Raises
    ------
    InputError
        The file is missing, is not an image, is truncated or damaged, has numbers that are not
        finite, or has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` (about 89 million).

    Notes
    -----
    Numbers of more than 8 bits do not say which one is white: a 16-bit TIFF may hold 12 bits, a
    float TIFF 0 to 1. The largest number of the image decides. `range_note` says what it decided.

    - Whole numbers: the least of 8, 10, 12, 14 and 16 bits that holds it.
    - Floats: 0 to 1 if it is at most 1. Up to 16, 0 to the largest: of 255 that would be nearly
      black. From 16 on, as whole numbers.
    - Beyond 16 bits: 0 to the largest.
    - If there are negative numbers: the smallest to the largest.
    - PGM and JPEG 2000 state their range, so that range is used.

    So a 16-bit image that uses less than a quarter of its range becomes brighter.
    """
    with _opened(path) as file:
        turn = _turn(file)
        image, _ = _to_rgb(file)
        return np.array(image if turn is None else image.transpose(turn))


def read_image_header(path: Path) -> ImageHeader:
    """Return what the header of an image file says; the errors are those of `read_image`.

    Not for worker threads: it changes the warning filters, which all threads share.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as file:
            return _header(file)


def examine_image(path: Path, data: bytes | None = None) -> ImageHeader:
    """Return everything there is to say about an image file, after decoding it, in any thread.

    The errors are those of `read_image`, and of the same files.

    Parameters
    ----------
    path
        The file; it names the image in errors.
    data
        What is in the file, if it is known already. Then the file is not read again.

    Notes
    -----
    A JPEG is decoded to an eighth of its width and height, in gray. This reads every byte, so it
    finds the same damage, and it takes less than half the time: only the arithmetic on the blocks
    is left out. An image that seems to show nothing is decoded again in full.
    """
    with _opened(path, data) as file:
        header = _header(file)
        reduced = file.draft("L", (max(file.width // 8, 1), max(file.height // 8, 1)))
        image, note = _to_rgb(file)
    doubt = _doubt(image)
    if doubt and reduced:  # its details or its colors may show something
        with _opened(path, data) as file:
            doubt = _doubt(_to_rgb(file)[0])
    return header._replace(range_note=note, doubt=doubt)


def range_note(path: Path) -> str:
    """Return how the range of an image's numbers is decided, or "" if its mode leaves no choice.

    The errors are those of `read_image`. Only images of more than 8 bits are decoded.
    """
    with _opened(path) as file:
        return _to_rgb(file)[1] if _has_open_range(file) else ""


@contextmanager
def _opened(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """Open an image file; any error in the block becomes an `InputError` that names the file."""
    try:
        with Image.open(path if data is None else io.BytesIO(data)) as file:
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
        elif isinstance(error, InputError):
            reason = str(error)
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
    """Return the pixels (H, W, 3) uint8 RGB of a Pillow image, as it is: not turned upright.

    The colors are those of `read_image`. An InputError says if its numbers are not finite.
    """
    return np.array(_to_rgb(image)[0])


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Return `image` in mode RGB, and how the range of its numbers was decided, if that is open."""
    if _has_open_range(image):
        pixels, note = _to_eight_bits(image)
        return Image.fromarray(pixels).convert("RGB"), note
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, layers).convert("RGB"), ""
    return image.convert("RGB"), ""


def _has_open_range(image: Image.Image) -> bool:
    """Tell whether the mode of a gray image has more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_eight_bits(image: Image.Image) -> tuple[np.ndarray, str]:
    """Return the pixels (H, W) uint8 of a gray image, and how their range was decided."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode != "F" and image.format in _STATES_RANGE:
        low, high, note = 0.0, 65535.0, ""
    else:
        least = values.min(initial=0)
        low, high, note = _range(least, values.max(initial=least), image.mode == "F")
    scaled = (values - low) / ((high - low) / 255 or 1)  # 1: all numbers are the same
    return np.rint(scaled.clip(0, 255)).astype(np.uint8), note


def _range(least: float, largest: float, is_float: bool) -> tuple[float, float, str]:
    """Return which numbers become 0 and 255, by the rules in `read_image`, and say it."""
    if not (math.isfinite(least) and math.isfinite(largest)):
        raise InputError("holds numbers that are not finite (NaN or infinity)")
    if least < 0:
        return least, largest, f"values from {least:,.6g} to {largest:,.6g}: read as this range"
    values = f"values up to {largest:,.6g}: read as"
    if is_float and largest <= 1:
        return 0, 1, f"{values} 0 to 1"
    bits = next((bits for bits in _BITS if largest < 2**bits), None)
    if bits is None or (is_float and largest < _LEAST_BRIGHTEST):
        return 0, largest, f"{values} 0 to {largest:,.6g}"
    return 0, 2**bits - 1, f"{values} {bits} bits"


def _doubt(image: Image.Image) -> str:
    """Return why an RGB image may show nothing, or "" if there is no reason to think so."""
    lowest, highest = zip(*image.getextrema(), strict=True)  # of each color
    if lowest == highest:
        return f"all pixels are {lowest}"
    if max(highest) < _LEAST_BRIGHTEST:
        return f"nearly black: its brightest value is {max(highest)} of 255"
    span = max(high - low for low, high in zip(lowest, highest, strict=True))
    if span < _LEAST_SPAN:
        return f"nearly one color: its values differ by at most {span} of 255"
    return ""
