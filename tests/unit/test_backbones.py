"""What backbones say of themselves, against arithmetic by hand and against their real output."""

import numpy as np
import pytest

from minirpn import accel
from minirpn.backbones import (
    BACKBONES,
    CAFFE_BGR,
    Preprocessing,
    build_backbone,
    cell_geometry,
    vgg16,
)
from minirpn.errors import InputError
from minirpn.nn import Window


def window(kernel, stride, padding):
    return Window((kernel, kernel), (stride, stride), (padding, padding))


def test_geometry_of_vgg16():
    # The published anchors sit at 8; the receptive field of conv5_3 is known to be 196.
    assert build_backbone("vgg16", rng=None).geometry == (16, 8.0, 196)


def test_geometry_of_zf():
    # Windows 7/2, LRN 3, 3/2, 5/2, LRN 3, 3/2, 3, 3, 3, each padded by half of itself:
    # 1 + 6 + 2*2 + 2*2 + 4*4 + 8*2 + 8*2 + 16*(2 + 2 + 2) = 159.
    assert build_backbone("zf", rng=None).geometry == (16, 0.5, 159)


def test_geometry_of_squeezenet(rng):
    # conv1 3/2 unpadded: 0.5 + 1 = 1.5; three poolings 3/2: + 2, + 4, + 8 = 15.5.
    geometry = build_backbone("squeezenet", rng=rng).geometry
    assert (geometry.stride, geometry.center) == (16, 15.5)


def test_geometry_of_tiny(rng):
    # conv1 3/2 padded: 0.5; three poolings 2/2 at strides 2, 4, 8: + 1, + 2, + 4 = 7.5.
    geometry = build_backbone("tiny", rng=rng).geometry
    assert (geometry.stride, geometry.center) == (16, 7.5)


def test_windows_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square"):
        cell_geometry([Window((3, 1), (1, 1), (1, 0))])


@pytest.mark.parametrize("name", BACKBONES)
@accel.use("array")  # winograd's outputs share tiles: a pixel afar changes their rounding
def test_geometry_is_what_moves_the_output(name, rng):
    """The pixels that change cell (1, 1) lie in its receptive field, and are centred in it."""
    backbone = build_backbone(name, rng=rng)
    stride, center, seen = backbone.geometry
    side = 3 * stride + seen
    image = rng.normal(size=(1, 3, side, side)).astype(np.float32)
    before, _ = backbone.forward(image)
    low, high = center + stride - seen / 2, center + stride + seen / 2
    outside = image.copy()
    ys, xs = np.mgrid[:side, :side] + 0.5
    outside[:, :, (ys < low) | (ys > high) | (xs < low) | (xs > high)] += 1.0
    after, _ = backbone.forward(outside)
    np.testing.assert_array_equal(after[..., 1, 1], before[..., 1, 1])
    assert np.any(after != before)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(96, 128), (97, 131), (64, 50)])
def test_feature_size_is_that_of_the_output(name, size, rng):
    backbone = build_backbone(name, rng=rng)
    features, _ = backbone.forward(rng.normal(size=(1, 3, *size)).astype(np.float32))
    assert features.shape == (1, backbone.channels, *backbone.feature_size(size))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 2)])
def test_every_image_has_a_cell(name, size, rng):
    backbone = build_backbone(name, rng=rng)
    image = rng.normal(size=(1, 3, *size)).astype(np.float32)
    features, cache = backbone.forward(image)
    assert min(features.shape[2:]) >= 1
    assert features.shape[2:] == backbone.feature_size(size)
    assert set(backbone.backward(features, cache))
    least = backbone.least_side
    filled = np.zeros((1, 3, max(size[0], least), max(size[1], least)), np.float32)
    filled[:, :, : size[0], : size[1]] = image
    np.testing.assert_array_equal(features, backbone.body.forward(filled)[0])
    with pytest.raises(ValueError, match="kernel"):
        backbone.body.output_size((least - 1, least - 1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg16", [(38, 63), (38, 50), (24, 32), (14, 14)]),
        ("zf", [(39, 64), (39, 51), (25, 32), (15, 15)]),
        ("squeezenet", [(37, 62), (37, 49), (23, 31), (13, 13)]),
    ],
)
def test_feature_sizes_as_in_caffe(name, expected):
    backbone = build_backbone(name, rng=None)
    sizes = [(600, 1000), (600, 800), (375, 500), (224, 224)]
    assert [backbone.feature_size(size) for size in sizes] == expected


def test_vgg16_pools_with_floor_as_an_option():
    assert vgg16(rng=None, ceil_mode=False).feature_size((600, 1000)) == (37, 62)


@pytest.mark.parametrize(("name", "hidden"), [("vgg16", 512), ("zf", 256)])
def test_heads_are_as_wide_as_the_papers(name, hidden):
    assert build_backbone(name, rng=None).head_channels == hidden


@pytest.mark.parametrize(
    ("name", "frozen"),
    [("vgg16", ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]), ("zf", []), ("tiny", [])],
)
def test_what_is_frozen_is_the_papers_choice(name, frozen):
    parameters = build_backbone(name, rng=None).parameters()
    assert {p.name.split(".")[0] for p in parameters if not p.trainable} == set(frozen)


def test_freezing_chooses_the_split_anew():
    backbone = build_backbone("vgg16", rng=None)
    backbone.freeze(["conv3_1"])
    assert {p.name for p in backbone.parameters() if not p.trainable} == {
        "conv3_1.weight",
        "conv3_1.bias",
    }
    backbone.freeze([])
    assert all(parameter.trainable for parameter in backbone.parameters())


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_name_layers_and_parameters(name, rng):
    backbone = build_backbone(name, rng=rng)
    seen = []
    backbone.forward(
        np.zeros((1, 3, 64, 64), np.float32), observe=lambda layer, y: seen.append(layer)
    )
    assert set(backbone.stages.values()) <= set(seen)
    assert {p.name.split(".")[0] for p in backbone.parameters()} == set(backbone.stages)


def test_frozen_stages_get_no_gradients(rng):
    backbone = build_backbone("squeezenet", rng=rng)
    features, cache = backbone.forward(rng.normal(size=(1, 3, 70, 70)).astype(np.float32))
    grads = backbone.backward(np.ones_like(features), cache)
    assert set(grads) == {p.name for p in backbone.parameters() if p.trainable}
    assert {name.split(".")[0] for name in grads} == {f"fire{n}" for n in range(4, 10)}


def test_unknown_names_are_refused(rng):
    with pytest.raises(
        InputError, match="'resnet': unknown; there are squeezenet, tiny, vgg16, zf"
    ):
        build_backbone("resnet", rng=rng)
    with pytest.raises(ValueError, match="no stage 'fire1'"):
        build_backbone("squeezenet", rng=rng).freeze(["fire1"])


def test_preprocessing_by_hand():
    image = np.array([[[10, 20, 30]]], dtype=np.uint8)  # red 10, green 20, blue 30
    np.testing.assert_array_equal(CAFFE_BGR(image).ravel(), [30 - 104, 20 - 117, 10 - 123])
    scaled = Preprocessing("RGB", (10, 10, 10), (1, 2, 4))(image)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled.ravel(), [0, 5, 5])


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"order": "GBR"}, "order"),
        ({"std": (1, 0, 1)}, "std"),
        ({"mean": (1, float("nan"), 1)}, "mean"),
    ],
)
def test_impossible_preprocessing_is_refused(wrong, name):
    with pytest.raises(ValueError, match=name):
        Preprocessing(**wrong)
