"""What is changed about an image that is learned from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.data import AS_IS, Augmentation, AugmentConfig, recolour


def drawn(config: AugmentConfig, count: int = 2000) -> list[Augmentation]:
    return config.draw(count, np.random.default_rng(0))


@given(scale=st.floats(0, 4), colour=st.floats(0, 1))
def test_what_is_drawn_stays_within_the_jitter(scale, colour):
    for one in drawn(AugmentConfig(scale_jitter=scale, colour_jitter=colour), count=50):
        assert 1 / (1 + scale) - 1e-9 <= one.zoom <= 1 + scale + 1e-9
        for factor in (one.brightness, one.contrast, one.saturation):
            assert 1 - colour - 1e-9 <= factor <= 1 + colour + 1e-9


def test_without_jitter_nothing_but_the_mirroring_changes():
    assert set(drawn(AugmentConfig())) == {AS_IS, Augmentation(flip=True)}
    assert set(drawn(AugmentConfig(flip=False))) == {AS_IS}


def test_jitter_leaves_the_mirroring():
    plain = [one.flip for one in drawn(AugmentConfig())]
    assert [one.flip for one in drawn(AugmentConfig(True, 0.5, 0.5))] == plain


def test_zooming_in_is_as_likely_as_zooming_out():
    zooms = np.log([one.zoom for one in drawn(AugmentConfig(scale_jitter=1.0))])
    # Uniform in [-log 2, log 2]: standard deviation log 2 / sqrt 3, of the mean of 2,000 0.009.
    assert abs(zooms.mean()) < 0.04
    assert zooms.std() == pytest.approx(math.log(2) / math.sqrt(3), rel=0.05)


@given(zoom=st.floats(0.1, 10), jitter=st.sampled_from([0.0, 0.5]))
def test_jitter_varies_the_size_that_zoom_names(zoom, jitter):
    plain = drawn(AugmentConfig(scale_jitter=jitter), count=20)
    zoomed = drawn(AugmentConfig(scale_jitter=jitter, zoom=zoom), count=20)
    assert [one.zoom for one in zoomed] == pytest.approx([zoom * one.zoom for one in plain])


def test_the_factors_of_the_colours_are_independent():
    colours = np.array([one[2:] for one in drawn(AugmentConfig(colour_jitter=0.5))])
    between = np.corrcoef(colours, rowvar=False)[np.triu_indices(3, 1)]
    assert np.abs(between).max() < 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale_jitter": -0.1}, "scale_jitter: expected 0 to 4, got -0.1"),
        ({"scale_jitter": float("nan")}, "scale_jitter: expected 0 to 4, got nan"),
        ({"colour_jitter": 1.5}, "colour_jitter: expected 0 to 1, got 1.5"),
        ({"zoom": 0.05}, "zoom: expected 0.1 to 10, got 0.05"),
    ],
)
def test_senseless_jitter(values, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**values)


class TestRecolour:
    IMAGE = np.array([[[10, 20, 30], [200, 100, 60]]], dtype=np.uint8)

    def test_nothing_to_change(self):
        assert recolour(self.IMAGE, Augmentation(flip=True, zoom=2.0)) is self.IMAGE

    def test_brightness_by_hand(self):
        half = recolour(self.IMAGE, Augmentation(brightness=0.5))
        assert half.tolist() == [[[5, 10, 15], [100, 50, 30]]]
        double = recolour(self.IMAGE, Augmentation(brightness=2.0))
        assert double.tolist() == [[[20, 40, 60], [255, 200, 120]]]  # 400 becomes 255

    def test_no_contrast_is_one_grey(self):
        grey = recolour(self.IMAGE, Augmentation(contrast=0.0))
        assert np.unique(grey).size == 1

    def test_no_saturation_is_grey(self):
        grey = recolour(self.IMAGE, Augmentation(saturation=0.0))
        assert (grey == grey[..., :1]).all()
        assert grey[0, 0, 0] < grey[0, 1, 0]

    def test_its_argument_stays(self):
        before = self.IMAGE.copy()
        recolour(self.IMAGE, Augmentation(brightness=0.5))
        assert (before == self.IMAGE).all()
