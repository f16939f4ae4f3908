"""Anchors: the nine of the paper worked out by hand, the order of the grid, what is refused."""

import numpy as np
import pytest

from minirpn import boxes
from minirpn.rpn import AnchorConfig, base_anchors, grid_anchors

# sqrt(256 / r) and width r, rounded: r = 1/2: 23 x 12, r = 1: 16 x 16, r = 2: 11 x 22; times 8,
# 16, 32; about (8, 8).
NINE = [
    [-84, -40, 100, 56],  # 184 x 96
    [-176, -88, 192, 104],  # 368 x 192
    [-360, -184, 376, 200],  # 736 x 384
    [-56, -56, 72, 72],  # 128 x 128
    [-120, -120, 136, 136],  # 256 x 256
    [-248, -248, 264, 264],  # 512 x 512
    [-36, -80, 52, 96],  # 88 x 176
    [-80, -168, 96, 184],  # 176 x 352
    [-168, -344, 184, 360],  # 352 x 704
]


def test_the_nine_anchors_of_the_paper():
    assert AnchorConfig().count == 9
    assert base_anchors(AnchorConfig()).tolist() == NINE


def test_without_rounding_every_anchor_of_a_scale_has_the_same_area(close):
    anchors = base_anchors(AnchorConfig(rounding=None))
    close(boxes.area(anchors), [128.0**2, 256.0**2, 512.0**2] * 3)
    heights_over_widths = (anchors[:, 3] - anchors[:, 1]) / (anchors[:, 2] - anchors[:, 0])
    close(heights_over_widths, np.repeat([0.5, 1, 2], 3))


def test_rounding_takes_halves_to_the_even_number():
    # sqrt(25 / 4) = 2.5 -> 2 wide, 2 * 4 = 8 high; not 3 wide.
    only = base_anchors(AnchorConfig(base_size=5, ratios=(4,), scales=(1,)))
    assert only.tolist() == [[2.5 - 1, 2.5 - 4, 2.5 + 1, 2.5 + 4]]


def test_the_grid_goes_by_row_then_column_then_base_anchor():
    base = np.array([[0.0, 0, 1, 1], [0, 0, 2, 2]])
    grid = grid_anchors(base, (2, 3), 10)
    assert grid.shape == (2 * 3 * 2, 4)
    assert grid[1].tolist() == [0, 0, 2, 2]  # cell (0, 0), second anchor
    assert grid[2].tolist() == [10, 0, 11, 1]  # one column on
    assert grid[3 * 2].tolist() == [0, 10, 1, 11]  # one row on


def test_the_offset_is_dy_dx():
    base = np.array([[0.0, 0, 1, 1]])
    grid = grid_anchors(base, (1, 1), 10, offset=(3, 5))
    assert grid.tolist() == [[5, 3, 6, 4]]


def test_the_grid_takes_the_dtype_of_like():
    base = base_anchors(AnchorConfig())
    assert grid_anchors(base, (2, 2), 16).dtype == np.float64
    assert grid_anchors(base, (2, 2), 16, like=np.zeros(0, np.float32)).dtype == np.float32


def test_the_map_of_a_vgg_image_has_8151_anchors_inside():
    anchors = grid_anchors(base_anchors(AnchorConfig()), (38, 63), 16)
    assert len(anchors) == 38 * 63 * 9 == 21546
    assert boxes.is_inside(anchors, (600, 1000)).sum() == 8151


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_size", 0),
        ("base_size", np.inf),
        ("ratios", ()),
        ("ratios", (1, -1)),
        ("ratios", (np.nan,)),
        ("scales", ()),
        ("scales", (0,)),
        ("rounding", "torch"),
    ],
)
def test_impossible_configurations_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        AnchorConfig(**{field: value})


def test_a_ratio_that_rounds_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"ratios, base_size: .* 9 rounds to no area"):
        AnchorConfig(base_size=1, ratios=(9,))
    assert AnchorConfig(base_size=1, ratios=(9,), rounding=None).count == 3


@pytest.mark.parametrize(("feature_size", "stride"), [((0, 3), 16), ((3, 3), 0)])
def test_an_impossible_grid_is_refused(feature_size, stride):
    with pytest.raises(ValueError, match="feature_size, stride"):
        grid_anchors(np.zeros((1, 4)), feature_size, stride)
