"""Image files of every kind become RGB, upright; damaged ones become one line."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from minirpn.data import read_image
from minirpn.data.images import read_image_header
from minirpn.errors import InputError

RED, GRAY = (255, 0, 0), (90, 90, 90)


def image_of(mode: str) -> tuple[Image.Image, tuple[int, int, int]]:
    """Return a 7x5 (width x height) image of one colour, and the RGB it should be read as."""
    if mode in {"I;16", "I"}:
        values = np.full((5, 7), 90 * 257, dtype=np.uint16 if mode == "I;16" else np.int32)
        return Image.fromarray(values), GRAY
    if mode in {"L", "LA"}:
        return Image.new(mode, (7, 5), 90 if mode == "L" else (90, 255)), GRAY
    if mode == "P":
        return Image.new("RGB", (7, 5), RED).quantize(4), RED
    if mode == "1":
        return Image.new("1", (7, 5), 1), (255, 255, 255)
    if mode == "CMYK":
        return Image.new("CMYK", (7, 5), (0, 255, 255, 0)), RED
    return Image.new(mode, (7, 5), RED), RED


@pytest.mark.parametrize(
    ("mode", "ending", "tolerance"),
    [
        ("RGB", "png", 0),
        ("RGB", "jpg", 2),
        ("RGB", "bmp", 0),
        ("RGB", "webp", 3),
        ("RGBA", "png", 0),
        ("L", "png", 0),
        ("L", "jpg", 2),
        ("LA", "png", 0),
        ("P", "png", 0),
        ("P", "gif", 0),
        ("1", "png", 0),
        ("CMYK", "jpg", 3),
        ("I;16", "png", 0),
        ("I;16", "tif", 0),
        ("I", "tif", 0),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, ending, tolerance):
    picture, expected = image_of(mode)
    path = tmp_path / f"image.{ending}"
    picture.save(path)
    image = read_image(path)
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    np.testing.assert_allclose(image[2, 3].astype(int), expected, atol=tolerance)
    assert read_image_header(path).image_size == (5, 7)


def test_transparency_is_laid_over_white(tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(path)
    np.testing.assert_array_equal(read_image(path), 255)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, ending, orientation):
    # Stored: 32 wide, 16 high. Undo each of EXIF's eight orientations by NumPy, after its table:
    # which corner of the scene is stored first.
    stored = np.zeros((16, 32, 3), dtype=np.uint8)
    stored[:8, :16] = 255
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(stored),
    }[orientation]
    path = tmp_path / f"turned.{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    image = read_image(path)
    assert image.shape == upright.shape
    assert read_image_header(path).image_size == upright.shape[:2]
    np.testing.assert_array_equal(image > 127, upright > 127)


def test_exif_data_that_cannot_be_written_back_is_no_obstacle(tmp_path):
    # A text where EXIF wants a fraction (XResolution), as some cameras and editors write it.
    path = tmp_path / "odd.jpg"
    exif = Image.Exif()
    exif[0x011A] = 72.0
    exif[0x0112] = 6
    Image.new("RGB", (32, 16), RED).save(path, exif=exif)
    fraction = b"\x01\x1a\x00\x05\x00\x00\x00\x01"
    assert fraction in path.read_bytes()
    text = fraction.replace(b"\x05", b"\x02")
    path.write_bytes(path.read_bytes().replace(fraction, text))
    assert read_image(path).shape == (32, 16, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (5000, 1)])
def test_images_of_any_size_are_ordinary(tmp_path, size):
    path = tmp_path / "odd.png"
    Image.new("RGB", size).save(path)
    assert read_image(path).shape == (size[1], size[0], 3)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.jpg: image: no such file$"):
        read_image(tmp_path / "none.jpg")


def test_a_file_that_is_no_image(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("hello")
    for read in (read_image, read_image_header):
        with pytest.raises(InputError, match=r"text\.jpg: image: not of a format Pillow reads$"):
            read(path)


# Beyond the limit Pillow warns, beyond twice the limit it refuses: both are too many here.
@pytest.mark.parametrize("limit", [399, 300, 100])
def test_too_many_pixels(tmp_path, monkeypatch, limit):
    path = tmp_path / "large.png"
    Image.new("RGB", (20, 20)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    message = rf"large\.png: image: more than {limit} pixels"
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match=message):
            read_image_header(path)
        assert shown == []
        with pytest.raises(InputError, match=message):
            read_image(path)
    with pytest.raises(InputError, match=message):  # where warnings are errors, too
        read_image(path)


def test_as_many_pixels_as_allowed(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("RGB", (20, 20)).save(path)
    for limit in (400, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(path).shape == (20, 20, 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of a truncated TIFF, before it fails
@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "gif", "webp", "tif", "ppm"])
def test_a_truncated_image_is_one_line(tmp_path, rng, ending):
    whole, path = tmp_path / f"whole.{ending}", tmp_path / f"cut.{ending}"
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(whole)
    content = whole.read_bytes()
    for length in (0, 1, 10, 100, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"cut\.{ending}: image: ") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of some damage, before it reads on
@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "gif", "webp", "tif", "ppm"])
def test_changed_bytes_give_an_image_or_an_input_error(tmp_path, rng, ending):
    whole, path = tmp_path / f"whole.{ending}", tmp_path / f"changed.{ending}"
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(
        whole, **({} if ending in {"bmp", "gif", "ppm"} else {"exif": exif})
    )
    content = np.frombuffer(whole.read_bytes(), dtype=np.uint8)
    messages = []
    for _ in range(150):
        changed = content.copy()
        changed[rng.integers(0, min(changed.size, 200), 2)] = rng.integers(0, 256, 2)
        path.write_bytes(changed.tobytes())
        for read in (read_image, read_image_header):
            try:
                read(path)
            except InputError as error:
                messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)
