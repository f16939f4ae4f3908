"""Image files of every kind, read as RGB."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from minirpn._typing import ImageSize
from minirpn.data.findings import BadFileError, Kind
from minirpn.errors import InputError
from minirpn.files import open_regular

MOST_BYTES = 2**30
"""Bytes of a file at most: four numbers of 16 bits for each of Pillow's 89 million pixels."""

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
# Every turn is these three, in this order: rows become columns, then what it mirrors.
_QUARTER_TURNS = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
_MIRROR_ROWS = frozenset(_UPRIGHT[orientation] for orientation in (3, 4, 7, 8))
_MIRROR_COLUMNS = frozenset(_UPRIGHT[orientation] for orientation in (2, 3, 6, 7))

_MOST_SIDE = 1_000_000  # pixels: decoders have room for one row besides the image
_STRIP = 2**21  # pixels that are converted at a time: each step of it makes a copy

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
        finite, or has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` (about 89 million) or bytes
        than `MOST_BYTES`.

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
        turn, pixels = _turn(file), rgb_pixels(file)
    if turn in _QUARTER_TURNS:
        pixels = pixels.swapaxes(0, 1)  # (H, W, 3) -> (W, H, 3)
    if turn in _MIRROR_ROWS:
        pixels = pixels[::-1]
    if turn in _MIRROR_COLUMNS:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def read_image_header(path: Path) -> ImageHeader:
    """Return what the header of an image file says; the errors are those of `read_image`.

    Not for worker threads: it changes the warning filters, which all threads share.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _opened(path) as file:
            return _header(file)


def examine_image(path: Path, opened: BinaryIO | None = None) -> ImageHeader:
    """Return everything there is to say about an image file, after decoding it, in any thread.

    The errors are those of `read_image`, and of the same files.

    Parameters
    ----------
    path
        The file; it names the image in errors.
    opened
        The file, if it is open already. Then it is not opened again.

    Notes
    -----
    A JPEG is decoded to an eighth of its width and height, in gray. This reads every byte, so it
    finds the same damage, and it takes less than half the time: only the arithmetic on the blocks
    is left out. An image that seems to show nothing is decoded again in full.
    """
    with _opened(path, opened) as file:
        header = _header(file)
        reduced = file.draft("L", (max(file.width // 8, 1), max(file.height // 8, 1)))
        to_rgb, note = _conversion(file)
        doubt = _doubt(file, to_rgb)
    if doubt and reduced:  # its details or its colors may show something
        with _opened(path, opened) as file:
            doubt = _doubt(file, _conversion(file)[0])
    return header._replace(range_note=note, doubt=doubt)


def range_note(path: Path) -> str:
    """Return how the range of an image's numbers is decided, or "" if its mode leaves no choice.

    The errors are those of `read_image`. Only images of more than 8 bits are decoded.
    """
    with _opened(path) as file:
        return _conversion(file)[1] if _has_open_range(file) else ""


@contextmanager
def _opened(path: Path, opened: BinaryIO | None = None) -> Iterator[Image.Image]:
    """Open an image file; any error in the block becomes an `InputError` that names the file."""
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(open_regular(path)) if opened is None else opened
            if stream.seek(0, io.SEEK_END) > MOST_BYTES:
                raise InputError(f"more than {MOST_BYTES:,} bytes")
            stream.seek(0)
            file = stack.enter_context(Image.open(stream))
            if file.format == "EPS":
                raise InputError("an EPS file, a program that Ghostscript would run")
            if max(file.size) > _MOST_SIDE:
                raise InputError(f"a side of more than {_MOST_SIDE:,} pixels")
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
        elif isinstance(error, OSError) and error.strerror:
            reason = f"cannot be read ({error.strerror})"
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
    to_rgb, _ = _conversion(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, strip in _strips(image):
        pixels[top : top + strip.height] = np.asarray(to_rgb(strip))
    return pixels


def _conversion(image: Image.Image) -> tuple[Callable[[Image.Image], Image.Image], str]:
    """Return what makes strips of an image RGB, and how its range was decided, if that is open."""
    if _has_open_range(image):
        low, high, note = _range_of(image)
        return partial(_to_eight_bits, low=low, high=high), note
    return (_on_white if image.has_transparency_data else _plainly), ""


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image in parts of its whole width, each after the number of its first row."""
    width, height = image.size
    rows = max(1, _STRIP // max(width, 1))
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _plainly(strip: Image.Image) -> Image.Image:
    return strip.convert("RGB")


def _on_white(strip: Image.Image) -> Image.Image:
    layers = strip.convert("RGBA")
    white = Image.new("RGBA", strip.size, "white")
    return Image.alpha_composite(white, layers).convert("RGB")


def _has_open_range(image: Image.Image) -> bool:
    """Tell whether the mode of a gray image has more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_eight_bits(strip: Image.Image, low: float, high: float) -> Image.Image:
    """Return a gray image in RGB; its numbers from `low` to `high` become 0 to 255."""
    values = np.asarray(strip, dtype=np.float64)
    scaled = (values - low) / ((high - low) / 255 or 1)  # 1: all numbers are the same
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8)).convert("RGB")


def _range_of(image: Image.Image) -> tuple[float, float, str]:
    """Return which numbers of a gray image become 0 and 255, and say how that was decided."""
    if image.mode != "F" and image.format in _STATES_RANGE:
        return 0.0, 65535.0, ""
    extremes = []
    for _, strip in _strips(image):
        values = np.asarray(strip)
        least = values.min(initial=0)
        extremes.append((float(least), float(values.max(initial=least))))
    lows, highs = zip(*extremes, strict=True)
    return _range(float(np.min(lows)), float(np.max(highs)), image.mode == "F")


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


def _doubt(image: Image.Image, to_rgb: Callable[[Image.Image], Image.Image]) -> str:
    """Return why an image may show nothing, or "" if there is no reason to think so."""
    extrema = np.array([to_rgb(strip).getextrema() for _, strip in _strips(image)])  # (S, 3, 2)
    lowest, highest = tuple(extrema[..., 0].min(0).tolist()), tuple(extrema[..., 1].max(0).tolist())
    if lowest == highest:
        return f"all pixels are {lowest}"
    if max(highest) < _LEAST_BRIGHTEST:
        return f"nearly black: its brightest value is {max(highest)} of 255"
    span = max(high - low for low, high in zip(lowest, highest, strict=True))
    if span < _LEAST_SPAN:
        return f"nearly one color: its values differ by at most {span} of 255"
    return ""
