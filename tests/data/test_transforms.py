"""Resizing, mirroring, and the two together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import boxes
from minirpn.data import (
    AS_IS,
    Annotation,
    Augmentation,
    ResizeConfig,
    Sample,
    flip_image,
    prepare,
    resize,
    resize_scale,
)
from minirpn.errors import InputError

SIDES = st.integers(1, 3000)


def to_input(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)  # (H,W,3) -> (3,H,W)


def sample_of(image: np.ndarray, boxes: list[list[float]]) -> Sample:
    count = len(boxes)
    annotation = Annotation(
        image_id="a",
        image_path=Path("a.jpg"),
        image_size=image.shape[:2],
        gt_boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        gt_classes=np.arange(count),
        difficult=np.zeros(count, dtype=bool),
    )
    return Sample(annotation, image)


@pytest.mark.parametrize(
    ("image_size", "scale"),
    [
        ((375, 500), 1.6),  # 600 / 375; the longer side becomes 800
        ((500, 375), 1.6),
        ((300, 500), 2.0),  # 600 x 1000, both limits met
        ((200, 500), 2.0),  # 1000 / 500 and not 600 / 200
        ((600, 600), 1.0),
        ((1200, 1300), 0.5),
        ((1, 1), 600.0),
        ((1, 5000), 0.2),
    ],
)
def test_scales_by_hand(image_size, scale):
    assert resize_scale(image_size, ResizeConfig()) == pytest.approx(scale, rel=1e-15)


@pytest.mark.parametrize(
    ("also_at", "reason"),
    [
        ((0.05,), "also_at: expected numbers from 0.1 to 10, got 0.05"),
        ((2.0, float("nan")), "also_at: expected numbers from 0.1 to 10, got nan"),
        ((1.0,) * 17, "also_at: expected at most 16, got 17"),
    ],
)
def test_senseless_looks(also_at, reason):
    with pytest.raises(ValueError, match=reason):
        ResizeConfig(also_at=also_at)
    assert ResizeConfig(also_at=(0.1, 10.0)).looks == (1.0, 0.1, 10.0)


@given(height=SIDES, width=SIDES, short_side=SIDES, more=st.integers(0, 3000))
def test_neither_limit_is_passed_and_one_is_met(height, width, short_side, more):
    config = ResizeConfig(short_side, short_side + more)
    scale = resize_scale((height, width), config)
    short, long = scale * min(height, width), scale * max(height, width)
    assert short <= config.short_side * (1 + 1e-12)
    assert long <= config.max_side * (1 + 1e-12)
    met = np.isclose([short, long], [config.short_side, config.max_side], rtol=1e-12)
    assert met.any()
    assert resize_scale((width, height), config) == scale


@pytest.mark.parametrize("sides", [(0, 10), (-1, 10), (11, 10)])
def test_sides_that_make_no_sense(sides):
    with pytest.raises(
        ValueError, match="short_side, max_side: expected 1 <= short_side <= max_side"
    ):
        ResizeConfig(*sides)


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [
        ((375, 500), 1.6, (600, 800)),
        ((333, 500), 1.8018, (600, 901)),
        ((1, 5000), 0.2, (1, 1000)),  # a fifth of a pixel is still one
        ((5000, 1), 0.2, (1000, 1)),
        ((1, 1), 600.0, (600, 600)),
    ],
)
def test_sizes_after_resizing(shape, scale, expected):
    image = np.full((*shape, 3), 77, dtype=np.uint8)
    resized = resize(image, scale)
    assert resized.shape == (*expected, 3)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, 77)


def test_shrinking_counts_every_pixel(rng):
    # Stripes of one pixel: sampling without a filter would show black or white, or a moire.
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(resize(stripes, 0.25)[:, 2:-2].astype(float), 127.5, atol=4)


def test_enlarging_is_bilinear():
    # Twice the size: new pixel centres lie at quarters, so values mix 3:1.
    image = np.zeros((1, 2, 3), dtype=np.uint8)
    image[0, 1] = 200
    np.testing.assert_array_equal(resize(image, 2.0)[0, :, 0], [0, 50, 150, 200])


def test_a_flipped_box_frames_the_same_pixels(rng):
    image = rng.integers(0, 256, (20, 31, 3), dtype=np.uint8)
    x1, y1, x2, y2 = 3, 4, 17, 9
    ((fx1, fy1, fx2, fy2),) = boxes.flip(np.array([[x1, y1, x2, y2]], dtype=np.float64), 31)
    patch = flip_image(image)[int(fy1) : int(fy2), int(fx1) : int(fx2)]
    np.testing.assert_array_equal(patch[:, ::-1], image[y1:y2, x1:x2])
    np.testing.assert_array_equal(flip_image(flip_image(image)), image)


def prepared(sample: Sample, config: ResizeConfig, augmentation: Augmentation = AS_IS):
    return prepare(sample, resize_config=config, to_input=to_input, augmentation=augmentation)


def test_an_image_that_becomes_too_large_is_named():
    config = ResizeConfig(600, 1_000_000)
    assert prepared(sample_of(np.zeros((1, 3, 3), np.uint8), []), config).scale == 600
    reason = (
        r"^a\.jpg: 400 x 1 pixels become 240000 x 600 with short_side 600 and max_side 1000000, "
        r"more than 100,000,000 in all; lower one of them$"
    )
    with pytest.raises(InputError, match=reason):
        prepared(sample_of(np.zeros((1, 400, 3), np.uint8), []), config)
    zoomed = r"become 5000 x 50000 .*, times 50 \(zoom, scale_jitter or also_at\), more than"
    with pytest.raises(InputError, match=zoomed):
        prepared(
            sample_of(np.zeros((10, 1, 3), np.uint8), []),
            ResizeConfig(100, 1000),
            Augmentation(zoom=50.0),
        )


class TestPrepare:
    CONFIG = ResizeConfig(60, 100)

    def test_an_example_by_hand(self, rng):
        image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        sample = sample_of(image, [[2, 4, 20, 15], [0, 0, 40, 30]])
        example = prepared(sample, self.CONFIG)
        assert example.scale == 2.0
        assert not example.flipped
        assert example.image.shape == (3, 60, 80)
        assert (example.image_size, example.original_size) == ((60, 80), (30, 40))
        np.testing.assert_array_equal(example.gt_boxes, [[4, 8, 40, 30], [0, 0, 80, 60]])
        assert example.gt_boxes.dtype == example.image.dtype == np.float32
        assert example.image_id == "a"
        assert example.gt_classes.tolist() == [0, 1]
        assert example.difficult.tolist() == [False, False]

    def test_flipping_mirrors_image_and_boxes(self, rng):
        image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        sample = sample_of(image, [[2, 4, 20, 15], [0, 0, 40, 30]])
        plain = prepared(sample, self.CONFIG)
        flipped = prepared(sample, self.CONFIG, Augmentation(flip=True))
        assert flipped.flipped
        # x: 40 - 20 and 40 - 2, times 2
        np.testing.assert_array_equal(flipped.gt_boxes, [[40, 8, 76, 30], [0, 0, 80, 60]])
        np.testing.assert_allclose(flipped.image, plain.image[:, :, ::-1], atol=1)  # of 255

    def test_ignored_regions_are_resized_and_mirrored_with_the_boxes(self, rng):
        image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        sample, none = sample_of(image, [[2, 4, 20, 15], [0, 0, 40, 30]]), sample_of(image, [])
        annotation = replace(none.annotation, ignored=sample.annotation.gt_boxes)
        for augmentation in (AS_IS, Augmentation(flip=True), Augmentation(flip=True, zoom=1.5)):
            wanted = prepared(sample, self.CONFIG, augmentation)
            found = prepared(Sample(annotation, image), self.CONFIG, augmentation)
            np.testing.assert_array_equal(found.ignored, wanted.gt_boxes)
            assert found.ignored.dtype == np.float32
            assert found.gt_boxes.shape == wanted.ignored.shape == (0, 4)

    def test_without_objects(self):
        sample = sample_of(np.zeros((30, 40, 3), dtype=np.uint8), [])
        for flip in (False, True):
            example = prepared(sample, self.CONFIG, Augmentation(flip))
            assert example.gt_boxes.shape == (0, 4)

    @given(height=st.integers(1, 300), width=st.integers(1, 300), flip=st.booleans())
    def test_boxes_stay_inside_up_to_the_rounding_of_the_size(self, height, width, flip):
        image = np.zeros((height, width, 3), dtype=np.uint8)
        image.setflags(write=False)
        sample = sample_of(image, [[0, 0, width, height]])
        sample.annotation.gt_boxes.setflags(write=False)
        example = prepared(sample, self.CONFIG, Augmentation(flip))
        (x1, y1, x2, y2) = example.gt_boxes[0]
        assert (x1, y1) == (0, 0)
        # A side of less than half a pixel is drawn as one pixel.
        for end, side in zip((y2, x2), example.image_size, strict=True):
            assert abs(end - side) <= 0.5 + 1e-4 or (side == 1 and end < 1)

    @given(zoom=st.floats(0.25, 4), flip=st.booleans())
    def test_a_zoomed_image_has_zoomed_boxes_and_says_so(self, zoom, flip):
        sample = sample_of(np.zeros((30, 40, 3), dtype=np.uint8), [[2, 4, 20, 15]])
        plain = prepared(sample, self.CONFIG, Augmentation(flip))
        zoomed = prepared(sample, self.CONFIG, Augmentation(flip, zoom))
        assert zoomed.scale == plain.scale * zoom
        np.testing.assert_allclose(zoomed.gt_boxes, plain.gt_boxes * zoom, rtol=1e-6)
        for side, before in zip(zoomed.image_size, plain.image_size, strict=True):
            assert abs(side - before * zoom) <= 0.5

    def test_colours_change_and_boxes_do_not(self, rng):
        sample = sample_of(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), [[2, 4, 20, 15]])
        plain = prepared(sample, self.CONFIG)
        dark = prepared(sample, self.CONFIG, Augmentation(brightness=0.5))
        np.testing.assert_allclose(dark.image, plain.image / 2, atol=1)
        np.testing.assert_array_equal(dark.gt_boxes, plain.gt_boxes)
