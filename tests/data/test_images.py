"""Image files of every kind become RGB, upright; damaged ones become one line."""

from __future__ import annotations

import io
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.data import images, read_image
from minirpn.data.images import examine_image, range_note, read_image_header, rgb_pixels
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
    if mode in {"YCbCr", "HSV", "LAB"}:
        return Image.new("RGB", (7, 5), RED).convert(mode), RED
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
        ("LA", "tif", 0),
        ("CMYK", "tif", 0),
        ("YCbCr", "tif", 2),
        ("LAB", "tif", 6),
        ("RGB", "jfif", 2),
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
    with Image.open(path) as opened:
        np.testing.assert_array_equal(rgb_pixels(opened), image)
    header = read_image_header(path)
    assert header.image_size == (5, 7)
    assert (header.range_note, header.doubt) == ("", "")
    examined = examine_image(path)
    assert examined.range_note == range_note(path)
    assert bool(examined.range_note) == mode.startswith("I")
    assert examined.doubt.startswith("all pixels are ")
    assert examined._replace(range_note="", doubt="") == header


def test_an_image_in_memory_of_any_mode_becomes_rgb():
    assert rgb_pixels(image_of("HSV")[0])[2, 3].tolist() == list(RED)
    assert rgb_pixels(Image.new("I;16", (0, 3))).shape == (3, 0, 3)


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png", "mpo"])
def test_of_several_frames_the_first_is_read(tmp_path, ending):
    path = tmp_path / f"frames.{ending}"
    first, second = (Image.new("RGB", (16, 16), color) for color in (RED, "blue"))
    options = {"lossless": True} if ending == "webp" else {}
    first.save(path, save_all=True, append_images=[second], **options)
    with Image.open(path) as file:
        assert file.n_frames == 2
    np.testing.assert_allclose(read_image(path)[8, 8].astype(int), RED, atol=2)
    assert examine_image(path).doubt.startswith("all pixels are (25")


# --- images of more than 8 bits -------------------------------------------------------------------


# The dtype of the numbers, the least and the largest of them, what becomes 0 and 255, and how that
# is said.
RANGES = [
    (np.uint16, 0, 200, 0, 255, "values up to 200: read as 8 bits"),
    (np.uint16, 0, 255, 0, 255, "values up to 255: read as 8 bits"),
    (np.uint16, 0, 256, 0, 1023, "values up to 256: read as 10 bits"),
    (np.uint16, 0, 3871, 0, 4095, "values up to 3,871: read as 12 bits"),
    (np.uint16, 9, 4096, 0, 16383, "values up to 4,096: read as 14 bits"),
    (np.uint16, 0, 65535, 0, 65535, "values up to 65,535: read as 16 bits"),
    (np.int32, 0, 3871, 0, 4095, "values up to 3,871: read as 12 bits"),
    (np.int32, 0, 70000, 0, 70000, "values up to 70,000: read as 0 to 70,000"),
    (np.int32, -500, 1500, -500, 1500, "values from -500 to 1,500: read as this range"),
    (np.int32, -9, -3, -9, -3, "values from -9 to -3: read as this range"),
    (np.float32, 0, 1, 0, 1, "values up to 1: read as 0 to 1"),
    (np.float32, 0.25, 0.5, 0, 1, "values up to 0.5: read as 0 to 1"),
    # A sharpened image may go a little beyond 1: of 255 it would be black.
    (np.float32, 0, 1.03125, 0, 1.03125, "values up to 1.03125: read as 0 to 1.03125"),
    (np.float32, 0, 16, 0, 255, "values up to 16: read as 8 bits"),
    (np.float32, 0, 255, 0, 255, "values up to 255: read as 8 bits"),
    (np.float32, 0, 3871.5, 0, 4095, "values up to 3,871.5: read as 12 bits"),
    (np.float32, 0, 1e9, 0, 1e9, "values up to 1e+09: read as 0 to 1e+09"),
    (np.float32, -0.5, 1, -0.5, 1, "values from -0.5 to 1: read as this range"),
]


@pytest.mark.parametrize(("dtype", "least", "largest", "black", "white", "note"), RANGES)
def test_the_largest_number_decides_the_range(tmp_path, dtype, least, largest, black, white, note):
    path = tmp_path / "deep.tif"
    numbers = np.linspace(least, largest, 48).astype(dtype).reshape(6, 8)
    Image.fromarray(numbers).save(path)
    image = read_image(path)
    expected = 255 * (numbers.astype(float) - black) / (white - black)
    np.testing.assert_allclose(image, np.repeat(expected[..., None], 3, axis=2), atol=0.501)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(rgb_pixels(opened), image)
    header = examine_image(path)
    assert (header.range_note, range_note(path)) == (note, note)
    assert header.mode == {np.uint16: "I;16", np.int32: "I", np.float32: "F"}[dtype]
    assert header.doubt == ""
    assert read_image_header(path).range_note == ""


def test_sixteen_bits_are_divided_by_257(tmp_path):
    numbers = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(numbers).save(tmp_path / "all.png")
    np.testing.assert_array_equal(read_image(tmp_path / "all.png")[..., 0], np.rint(numbers / 257))


def test_a_format_that_states_its_range_is_believed(tmp_path):
    # Dark, but the file says that 4095 is white.
    numbers = np.linspace(0, 1000, 48).astype(">u2").reshape(6, 8)
    (tmp_path / "dark.pgm").write_bytes(b"P5 8 6 4095\n" + numbers.tobytes())
    image = read_image(tmp_path / "dark.pgm")
    np.testing.assert_allclose(image[..., 1], numbers * (255 / 4095), atol=0.51)
    Image.fromarray(numbers.astype(np.uint16) * 16).save(tmp_path / "dark.jp2")
    np.testing.assert_allclose(read_image(tmp_path / "dark.jp2"), image, atol=1)
    for name in ("dark.pgm", "dark.jp2"):
        assert examine_image(tmp_path / name).range_note == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_an_error(tmp_path, bad):
    path = tmp_path / "odd.tif"
    picture = Image.fromarray(np.array([[0, 0.5, bad]], dtype=np.float32))
    picture.save(path)
    reason = r"holds numbers that are not finite \(NaN or infinity\)$"
    for read in (read_image, examine_image, range_note):
        with pytest.raises(InputError, match=rf"odd\.tif: image: {reason}"):
            read(path)
    assert read_image_header(path).image_size == (1, 3)
    with pytest.raises(InputError, match=rf"^{reason}"):
        rgb_pixels(picture)


# --- images that show nothing ---------------------------------------------------------------------


def squares(dark: int, bright: int) -> np.ndarray:
    """Return pixels (64, 80, 3) with bright squares of 4 x 4 pixels, four to a block of JPEG."""
    pattern = np.kron(np.indices((16, 20)).sum(axis=0) % 2, np.ones((4, 4)))
    pixels = np.where(pattern, bright, dark).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("dark", "bright", "doubt"),
    [
        (0, 0, "all pixels are (0, 0, 0)"),
        (200, 200, "all pixels are (200, 200, 200)"),
        (0, 15, "nearly black: its brightest value is 15 of 255"),
        (0, 16, ""),  # a night
        (120, 127, "nearly one color: its values differ by at most 7 of 255"),
        (120, 128, ""),  # fog
        (248, 255, "nearly one color: its values differ by at most 7 of 255"),
    ],
)
def test_an_image_that_shows_nothing(tmp_path, dark, bright, doubt):
    Image.fromarray(squares(dark, bright)).save(tmp_path / "image.png")
    assert examine_image(tmp_path / "image.png").doubt == doubt
    assert read_image_header(tmp_path / "image.png").doubt == ""


@pytest.mark.parametrize(("dark", "bright", "blank"), [(0, 255, False), (0, 9, True)])
def test_a_jpeg_that_shows_nothing_when_small_is_looked_at_in_full(tmp_path, dark, bright, blank):
    # Every block of 8 x 8 pixels has the same mean, and so every pixel at an eighth of the size.
    path = tmp_path / "image.jpg"
    Image.fromarray(squares(dark, bright)).save(path, quality=100, subsampling=0)
    with Image.open(path) as file:
        file.draft(None, (10, 8))
        (low, high), *_ = file.convert("RGB").getextrema()
        assert (file.size, low) == ((10, 8), high)
    assert bool(examine_image(path).doubt) == blank


def test_colors_as_bright_as_each_other_show_something(tmp_path):
    pixels = np.full((64, 80, 3), 76, dtype=np.uint8)
    pixels[:, 40:] = RED  # as gray, it is 76 too
    Image.fromarray(pixels).save(tmp_path / "image.jpg", quality=100, subsampling=0)
    with Image.open(tmp_path / "image.jpg") as file:
        low, high = file.convert("L").getextrema()
        assert high - low < 8
    assert examine_image(tmp_path / "image.jpg").doubt == ""


def test_the_color_of_a_jpeg_too_small_to_shrink(tmp_path):
    for size in ((1, 1), (1, 50), (5, 3)):
        Image.new("RGB", size, RED).save(tmp_path / "red.jpg")
        assert examine_image(tmp_path / "red.jpg").doubt == "all pixels are (254, 0, 0)"


def test_one_bright_window_at_night(tmp_path):
    pixels = np.zeros((375, 500, 3), dtype=np.uint8)
    pixels[100:110, 200:206] = (90, 80, 30)
    for name in ("night.png", "night.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
        assert examine_image(tmp_path / name).doubt == ""


def test_range_and_doubt_may_come_together(tmp_path):
    numbers = np.full((6, 8), 3000, dtype=np.uint16)
    Image.fromarray(numbers).save(tmp_path / "even.tif")
    header = examine_image(tmp_path / "even.tif")
    assert header.range_note == "values up to 3,000: read as 12 bits"
    assert header.doubt == "all pixels are (187, 187, 187)"
    Image.fromarray(np.full((6, 8), -3, dtype=np.float32)).save(tmp_path / "even.tif")
    header = examine_image(tmp_path / "even.tif")
    assert header.range_note == "values from -3 to -3: read as this range"
    assert header.doubt == "all pixels are (0, 0, 0)"


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
    for read in (read_image, read_image_header, examine_image, range_note):
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


# --- examined as read -----------------------------------------------------------------------------


def photo(mode: str, width: int = 100, height: int = 75) -> Image.Image:
    """Return a picture with smooth and with rough parts."""
    y, x = np.mgrid[:height, :width]
    rough = np.random.default_rng(0).integers(0, 60, (height, width))
    layers = [x * 255 // width, y * 255 // height, (x + y) % 128 + rough * (x > 40)]
    return Image.fromarray(np.stack(layers, axis=2).clip(0, 255).astype(np.uint8)).convert(mode)


# How a JPEG is written: mode, then Pillow's options.
JPEGS: dict[str, tuple[str, dict[str, object]]] = {
    "baseline": ("RGB", {"quality": 75}),
    "full-color": ("RGB", {"quality": 90, "subsampling": 0}),
    "progressive": ("RGB", {"progressive": True}),
    "restarts": ("RGB", {"restart_marker_blocks": 3}),
    "gray": ("L", {}),
    "cmyk": ("CMYK", {"progressive": True}),
}


def verdicts(path: Path, data: bytes) -> tuple[str, str]:
    """Return what `read_image` and `examine_image` say of a file: the error, or the shape."""
    path.write_bytes(data)
    said = []
    for read in (
        lambda: read_image(path).shape[:2],
        lambda: examine_image(path, io.BytesIO(data)).image_size,
    ):
        try:
            said.append(str(read()))
        except InputError as error:
            said.append(str(error))
    return said[0], said[1]


@pytest.mark.parametrize("name", JPEGS)
def test_a_cut_jpeg_is_found_wherever_it_is_cut(tmp_path, name):
    mode, options = JPEGS[name]
    whole = io.BytesIO()
    photo(mode).save(whole, "JPEG", **options)
    data, path = whole.getvalue(), tmp_path / "cut.jpg"
    # Every position in the last two hundred bytes: the last rows of pixels, and the end marker.
    for length in (*range(0, len(data) - 200, 37), *range(len(data) - 200, len(data))):
        full, examined = verdicts(path, data[:length])
        assert full == examined, length
        assert "truncated, damaged or unreadable" in full or "not of a format" in full, length
    assert verdicts(path, data) == ("(75, 100)", "(75, 100)")


def test_a_cut_jpeg_of_many_blocks_of_the_file_is_found(tmp_path):
    # Pillow reads 64 KB at a time.
    whole = io.BytesIO()
    photo("RGB", 1000, 900).save(whole, "JPEG", quality=95)
    data, path = whole.getvalue(), tmp_path / "cut.jpg"
    assert len(data) > 3 * 65536
    for length in (65535, 65536, 65537, 131072, 150000, len(data) - 700, len(data) - 3):
        full, examined = verdicts(path, data[:length])
        assert full == examined, length
        assert "truncated" in full


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", JPEGS)
def test_a_damaged_jpeg_gets_the_same_verdict(tmp_path, rng, name):
    mode, options = JPEGS[name]
    whole = io.BytesIO()
    photo(mode, 40, 30).save(whole, "JPEG", **options)
    data, errors = np.frombuffer(whole.getvalue(), dtype=np.uint8), 0
    for _ in range(150):
        changed = data.copy()
        changed[rng.integers(0, data.size, 3)] = rng.integers(0, 256, 3)
        full, examined = verdicts(tmp_path / "damaged.jpg", changed.tobytes())
        assert full == examined
        errors += "image: " in full
    assert 0 < errors < 150


def test_bytes_at_hand_are_not_read_again(tmp_path):
    path = tmp_path / "image.png"
    photo("L").save(path)
    data, header = path.read_bytes(), examine_image(path)
    path.unlink()
    assert examine_image(path, io.BytesIO(data)) == header
    with pytest.raises(InputError, match=r"image\.png: image: truncated"):
        examine_image(path, io.BytesIO(data[:-200]))
    with pytest.raises(InputError, match=r"image\.png: image: not of a format"):
        examine_image(path, io.BytesIO(b""))
    with pytest.raises(InputError, match=r"image\.png: image: no such file"):
        examine_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("ending", ["png", "tif", "gif", "webp"])
def test_strip_by_strip_is_the_same(tmp_path, monkeypatch, mode, ending):
    path = tmp_path / f"image.{ending}"
    ramp = np.arange(40 * 30).reshape(30, 40)
    image = Image.fromarray(ramp.astype(np.int32)) if mode in {"I", "I;16", "F"} else photo("RGB")
    try:
        image = image.convert(mode)
        image.save(path, **({"transparency": 3} if mode in {"P", "L"} else {}))
    except (OSError, ValueError):
        pytest.skip("this format has no such mode")
    whole, header = read_image(path), examine_image(path)
    for pixels in (1, 100, 1000):
        monkeypatch.setattr(images, "_STRIP", pixels)
        np.testing.assert_array_equal(read_image(path), whole)
        assert examine_image(path) == header


def test_a_large_image_takes_no_more_than_its_pixels(tmp_path):
    path = tmp_path / "large.png"
    height, width = 3000, 4000
    Image.new("I;16", (width, height), 999).save(path)
    tracemalloc.start()
    try:
        image = read_image(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image.shape == (height, width, 3)
    # Pillow's own memory is not traced. As float64, the numbers alone would be 2.7 times as large.
    assert peak < image.nbytes + 100 * 2**21


def test_an_eps_file_is_not_run(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    for read in (read_image, read_image_header, examine_image):
        with pytest.raises(InputError, match=r"image\.jpg: image: an EPS file, a program"):
            read(path)


def test_a_file_of_more_bytes_than_any_image(tmp_path):
    path = tmp_path / "image.png"
    photo("RGB").save(path)
    with path.open("r+b") as file:
        file.truncate(2**32)  # where there are holes in files, they take no room
    for read in (read_image, read_image_header, examine_image):
        with pytest.raises(InputError, match=r"image\.png: image: more than 1,073,741,824 bytes"):
            read(path)


def test_a_row_of_millions_of_pixels_is_refused(tmp_path):
    """Pillow has room for a row besides the image: 8 bytes a pixel of it."""
    Image.new("1", (1_000_001, 1)).save(tmp_path / "wide.png")
    for read in (read_image, examine_image):
        with pytest.raises(InputError, match="a side of more than 1,000,000 pixels"):
            read(tmp_path / "wide.png")
