"""Damaged images: an array comes back, or one clear line; never anything else."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minirpn.data import read_image
from minirpn.data.images import examine_image, read_image_header

TRIALS = 1000


def encoded(mode: str, **options: object) -> bytes:
    """Return a small picture as the bytes of a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(pixels[..., 0].astype(np.float32) / 255)
    else:
        image = image.quantize(8) if mode == "P" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, exif=exif, **options)
    return buffer.getvalue()


FILES = {
    "jpeg": encoded("RGB", format="JPEG"),
    "jpeg-progressive": encoded("RGB", format="JPEG", progressive=True),
    "jpeg-gray": encoded("L", format="JPEG"),
    "jpeg-cmyk": encoded("CMYK", format="JPEG"),
    "png": encoded("RGB", format="PNG"),
    "png-palette": encoded("P", format="PNG", transparency=0),
    "png-alpha": encoded("RGBA", format="PNG"),
    "png-sixteen-bit": encoded("I;16", format="PNG"),
    "tiff-float": encoded("F", format="TIFF"),
}


def with_checksums(png: bytes) -> bytes:
    """Return a PNG whose chunks have the checksums of what is in them, as far as it has chunks.

    Without, nearly every change would be noticed before anything looks at it.
    """
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        body = png[at + 4 : at + 8 + length]
        if len(body) < 4 + length:
            break
        parts += [png[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + length
    return b"".join([*parts, png[at:]])


def test_checksums_of_a_sound_file_are_its_own():
    assert with_checksums(FILES["png"]) == FILES["png"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Pillow, of much that it reads all the same
@pytest.mark.parametrize("name", FILES)
def test_damaged_images(name, tmp_path, monkeypatch, mutate, times, rng, one_line):
    # A forged size may ask for any amount of memory: the limit that holds for users, but smaller.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
    path = tmp_path / "damaged.img"
    trials, intact = times(TRIALS), 0
    for _ in range(trials):
        content = mutate(FILES[name])
        if name.startswith("png") and rng.random() < 0.7:
            content = with_checksums(content)
        path.write_bytes(content)
        one_line(lambda: read_image_header(path), f"{path}: image: ")
        whole = one_line(lambda: is_rgb(read_image(path)), f"{path}: image: ")
        # It decodes a JPEG to a smaller image, with the same verdict.
        assert one_line(lambda: examine_image(path), f"{path}: image: ") == whole
        intact += whole
    # Neither does every change go unnoticed, nor is every one fatal.
    assert 0.01 * trials < intact < 0.9 * trials


def is_rgb(image: np.ndarray) -> None:
    assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.uint8)
