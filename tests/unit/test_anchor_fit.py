"""How well anchors fit: by hand, against plain overlaps, on VOC; and what is suggested instead."""

from __future__ import annotations

import json
import math
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import boxes as box_ops
from minirpn import viz
from minirpn.data import ResizeConfig, read_ground_truth, resize_scale, resized_size
from minirpn.evaluation import VGG16_GRID, Grid, Scene, anchor_fit, suggest_anchors
from minirpn.evaluation.anchor_fit import fit_table, shape_fit, vgg16_feature_size
from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.targets import LabelConfig

# One anchor of 16 x 16 a cell, the cells 16 pixels apart: a tiling of the image.
# Trusted archives alone are unpacked here; before Python 3.11.4 there is no filter for others.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
TILES = AnchorConfig(base_size=16, ratios=(1.0,), scales=(1.0,))


def scene(*boxes, size=(48, 64)):
    return Scene(np.array(boxes, dtype=np.float64).reshape(-1, 4), size)


def test_vgg16_rounds_each_pooling_up():
    for height, width in ((600, 1000), (600, 800), (37, 1), (16, 17), (33, 48)):
        size = (height, width)
        for _ in range(4):
            size = (math.ceil(size[0] / 2), math.ceil(size[1] / 2))
        assert vgg16_feature_size((height, width)) == size
    assert VGG16_GRID.feature_size((600, 1000)) == (38, 63)


def test_by_hand():
    fit = anchor_fit(
        [
            # A tile itself (IoU 1); half of a tile (IoU 128 / 256).
            scene([0, 0, 16, 16], [32, 16, 48, 24]),
            scene(),
        ],
        TILES,
    )
    np.testing.assert_array_equal(fit.best_iou, [1, 0.5])
    np.testing.assert_array_equal(fit.best_iou_inside, [1, 0.5])
    assert (fit.share(0.5), fit.share(0.6)) == (1.0, 0.5)
    # One of ten thresholds is met by both objects, the other nine by one of the two.
    assert fit.mean_share() == fit.mean_share(inside=True) == pytest.approx((1 + 9 * 0.5) / 10)
    assert fit.reached() == {"by IoU": 1, "only as the best there is": 1, "not at all": 0}
    # 3 x 4 tiles: one is positive by its IoU, one as the best; without objects all are negative.
    assert fit.positives_by_iou.tolist() == [1, 0]
    assert fit.positives_as_best.tolist() == [1, 0]
    assert fit.negatives.tolist() == [10, 12]


def test_anchors_that_cross_the_border_count_for_the_one_and_not_for_the_other():
    # 40 is no multiple of 16: the last column of tiles, 32 to 48, crosses the border.
    last = scene([32, 0, 40, 16], size=(16, 40))
    fit = anchor_fit([last], TILES)
    np.testing.assert_array_equal(fit.best_iou, [0.5])
    np.testing.assert_array_equal(fit.best_iou_inside, [0])
    assert (fit.mean_share(), fit.mean_share(inside=True)) == (pytest.approx(0.1), 0)
    assert fit.to_dict()["mean_share_of_objects"] == pytest.approx(0.1)
    assert fit.to_dict()["mean_share_of_objects_inside"] == 0
    assert fit.reached()["not at all"] == 1
    everywhere = anchor_fit([last], TILES, labels=LabelConfig(inside_only=False))
    np.testing.assert_array_equal(everywhere.best_iou_inside, [0.5])


def test_an_object_whose_best_anchor_prefers_another_is_not_reached():
    # The small object lies in the tile that the large one fills.
    fit = anchor_fit([scene([0, 0, 16, 16], [4, 4, 8, 8])], TILES)
    np.testing.assert_array_equal(fit.best_iou, [1, 16 / 256])
    assert fit.reach.tolist() == [2, 0]
    assert fit.positives_by_iou.tolist() == [1]
    assert fit.positives_as_best.tolist() == [0]


def test_the_grid_is_that_of_the_backbone():
    grid = Grid(8, lambda size: (size[0] // 8, size[1] // 8), offset=(0, 4))
    # Anchors start at x = 4, 12, ...: this one is met exactly.
    fit = anchor_fit([scene([12, 8, 28, 24])], TILES, grid=grid)
    np.testing.assert_array_equal(fit.best_iou, [1])


corner = st.integers(0, 90)


@given(st.lists(st.tuples(corner, corner, st.integers(1, 60), st.integers(1, 60)), max_size=5))
def test_best_iou_is_the_largest_of_all_overlaps(rows):
    size, config = (96, 128), AnchorConfig(base_size=16, ratios=(0.5, 2.0), scales=(1.0, 3.0))
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows], float).reshape(-1, 4)
    fit = anchor_fit([Scene(boxes, size)], config)
    anchors = grid_anchors(base_anchors(config), (6, 8), 16)
    overlaps = box_ops.iou(anchors, boxes)
    np.testing.assert_array_equal(fit.best_iou, overlaps.max(axis=0))
    inside = overlaps[box_ops.is_inside(anchors, size)]
    np.testing.assert_array_equal(fit.best_iou_inside, inside.max(axis=0))
    assert sum(fit.reached().values()) == len(boxes)


def test_no_image_and_no_object():
    for scenes in ([], [scene()]):
        fit = anchor_fit(scenes, TILES)
        assert math.isnan(fit.share(0.5))
        assert math.isnan(fit.mean_share())
        plain = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
        assert (plain["images"], plain["objects"]) == (len(scenes), 0)
        assert plain["share_of_objects"]["0.5"] is None
        assert plain["mean_share_of_objects"] is plain["mean_share_of_objects_inside"] is None
        rows = fit_table({"now": fit}).splitlines()
        assert sum(row.endswith("  -") for row in rows) == 8 + (1 if scenes else 4)
    assert suggest_anchors(np.zeros((0, 2)), TILES, rng=np.random.default_rng(0)) == TILES


def test_the_table_has_a_column_for_each_fit():
    fit = anchor_fit([scene([0, 0, 16, 16], [32, 16, 48, 24])], TILES)
    lines = fit_table({"now": fit, "other": fit}).splitlines()
    assert lines[0].split() == ["now", "other"]
    rows = {line.rsplit(maxsplit=2)[0]: line.split()[-2:] for line in lines[1:] if "%" not in line}
    assert rows["objects that training reaches by IoU"] == ["1", "1"]
    assert rows["negatives an image"] == ["10", "10"]
    assert sum(line.count("50.0 %") for line in lines) == 2 * 4
    assert sum(line.count("55.0 %") for line in lines) == 2 * 2
    assert len({len(line) for line in lines}) == 1


# --- suggestions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scales", "ratios", "from_scales", "from_ratios"),
    [
        ((2.0, 6.0), (0.5, 2.0), (3.0, 8.0), (1.0, 1.5)),
        ((2.0, 6.0, 20.0), (0.5, 2.0), (3.0, 8.0, 15.0), (0.7, 1.5)),
        ((2.0, 6.0, 20.0), (0.5,), (4.0, 8.0, 9.0), (1.0,)),
        ((5.0,), (0.25, 1.0, 3.0), (8.0,), (0.9, 1.0, 1.1)),
    ],
)
def test_shapes_that_are_there_are_found(rng, scales, ratios, from_scales, from_ratios):
    # Objects of every scale in every ratio, spread by a percent.
    size = 16 * rng.choice(scales, 400) * rng.normal(1, 0.01, 400)
    ratio = rng.choice(ratios, 400) * rng.normal(1, 0.01, 400)
    sides = np.stack([size / np.sqrt(ratio), size * np.sqrt(ratio)], axis=1)
    start = AnchorConfig(base_size=16, ratios=from_ratios, scales=from_scales, rounding=None)
    # Only from this start: others might be the answer by chance.
    found = suggest_anchors(sides, start, rng=rng, restarts=0)
    np.testing.assert_allclose(found.scales, scales, atol=0.125)
    np.testing.assert_allclose(found.ratios, ratios, rtol=0.05)
    assert (found.base_size, found.rounding) == (16, None)


@given(
    st.lists(st.tuples(st.floats(2, 900), st.floats(2, 900)), min_size=1, max_size=20),
    st.integers(0, 99),
)
def test_a_suggestion_is_never_worse_and_always_the_same(rows, seed):
    sides = np.array(rows)
    config = AnchorConfig()
    found, again = (
        suggest_anchors(sides, config, rng=np.random.default_rng(seed), restarts=2)
        for _ in range(2)
    )
    assert found == again
    assert found.count == config.count
    assert shape_fit(sides, found) >= shape_fit(sides, config)
    # Eighths, so that whole sides times them are exact in binary.
    if found != config:
        assert all((8 * scale).is_integer() for scale in found.scales)


def test_a_rare_size_is_not_given_away(rng):
    # As blood cells are: many of one size with a little spread, few of a much larger one.
    size = np.concatenate([rng.normal(128, 16, 900), rng.normal(256, 10, 70)])
    sides = np.stack([size, size], axis=1)
    start = AnchorConfig(ratios=(1.0,), scales=(7.0, 9.0))
    found = suggest_anchors(sides, start, rng=rng)
    assert shape_fit(sides, found)[0] > shape_fit(sides, start)[0]
    assert 13 < found.scales[1] < 19


# --- VOC ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voc2007(shared, tmp_path_factory):
    """The annotations of VOC 2007, without images."""
    folder = tmp_path_factory.mktemp("anchor-fit") / "VOC2007"
    with tarfile.open(shared / "data/annotations/VOC2007-annotations.tar.xz") as tar:
        tar.extractall(folder, **SAFELY)
    annotations, findings = read_ground_truth(folder, split="trainval")
    assert findings == ()
    return annotations


def percent(fit):
    shares = [fit.share(iou, inside=inside) for inside in (False, True) for iou in (0.5, 0.7)]
    return [round(100 * share, 1) for share in shares]


@pytest.mark.slow
@pytest.mark.parametrize("convention", ["ours", "py-faster-rcnn"])
def test_the_papers_anchors_on_voc2007(voc2007, convention):
    scenes = []
    for annotation in voc2007:
        scale = resize_scale(annotation.image_size, ResizeConfig())
        boxes = annotation.gt_boxes[~annotation.difficult].astype(np.float64)
        if convention == "ours":
            boxes = boxes * scale
        else:
            # It scales 0-based inclusive corners and then counts the last pixel as one whole
            # pixel, where it is `scale` pixels wide: its objects are scale - 1 pixels smaller.
            boxes = (boxes - [0, 0, 1, 1]) * scale + [0, 0, 1, 1]
        scenes.append(Scene(boxes, resized_size(annotation.image_size, scale)))
    fit = anchor_fit(scenes, AnchorConfig())
    assert len(fit.best_iou) == 12608
    if convention == "py-faster-rcnn":
        assert percent(fit) == [81.9, 39.6, 80.7, 37.6]
    else:
        assert percent(fit) == [82.1, 39.6, 80.9, 37.7]


# --- pictures -------------------------------------------------------------------------------------


def test_the_histogram_holds_every_object(tmp_path):
    fit = anchor_fit([scene([0, 0, 16, 16], [32, 16, 48, 24])], TILES)
    ax = viz.plot_best_iou({"now": fit, "then": fit})
    steps = [patch.get_data().values for patch in ax.patches]
    assert [values.sum() for values in steps] == [1, 1]
    # 0.5 opens its bin; 1 belongs to the last.
    assert np.flatnonzero(steps[0]).tolist() == [20, 39]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["now: 50.0 % reach 0.7", "then: 50.0 % reach 0.7"]
    viz.plot_best_iou({"nothing": anchor_fit([], TILES)})
    assert viz.save(ax, tmp_path / "fit.png").exists()


def test_shapes_show_objects_and_anchors(tmp_path):
    sides = np.array([[10.0, 40.0], [100.0, 100.0], [100.0, 100.0]])
    ax = viz.plot_box_shapes(sides, {"now": AnchorConfig(), "tiles": TILES})
    now, tiles = ax.get_lines()
    assert len(now.get_xdata()) == 9
    assert (tiles.get_xdata().tolist(), tiles.get_ydata().tolist()) == ([16], [1])
    (density,) = ax.collections
    assert sorted(density.get_array().tolist()) == [1, 2]
    assert viz.save(ax, tmp_path / "shapes.png").exists()
    assert viz.save(viz.plot_box_shapes(sides[:0], {"now": TILES}), tmp_path / "none.png").exists()
    with pytest.raises(ValueError, match=r"sides: expected shape \(M, 2\)"):
        viz.plot_box_shapes(np.zeros((2, 4)), {})


def test_negatives_on_ignored_regions_do_not_count():
    config, size = AnchorConfig(scales=(2.0,), ratios=(1.0,)), (128, 128)
    nothing, region = np.zeros((0, 4)), np.array([[16.0, 16, 48, 48]])
    whole, left_out = (
        anchor_fit([Scene(nothing, size, ignored)], config) for ignored in (None, region)
    )
    assert whole.positives.tolist() == left_out.positives.tolist() == [0]
    assert 0 < left_out.negatives[0] < whole.negatives[0]
