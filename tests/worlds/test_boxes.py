"""Boxes in every array library and on every device: type and device in, type and device out."""

import array_api_strict
import numpy as np
import pytest

from minirpn import boxes

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def drawn(rng):
    """Boxes and as many others, proper, some outside of an image of 60 x 80."""
    corners = rng.uniform(-20, 80, (2, 12, 2))
    return np.concatenate([corners, corners + rng.uniform(1, 40, (2, 12, 2))], axis=-1)


FUNCTIONS = {
    "area": lambda a, b: boxes.area(a),
    "iou": boxes.iou,
    "clip": lambda a, b: boxes.clip(a, (60, 80)),
    "is_inside": lambda a, b: boxes.is_inside(a, (60, 80)),
    "flip": lambda a, b: boxes.flip(a, 80),
    "encode": boxes.encode,
    "decode": lambda a, b: boxes.decode(a, b / 40),
    "decode limited": lambda a, b: boxes.decode(a, b / 40, max_log_scale=0.5),
    "nms": lambda a, b: boxes.nms(a, b[:, 0], iou_threshold=0.2),
    "nms max_keep": lambda a, b: boxes.nms(a, b[:, 0], iou_threshold=0.2, max_keep=3),
}
OWN_DTYPE = {"is_inside": "bool", "nms": "int64", "nms max_keep": "int64"}


@DTYPES
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_world_gives_what_numpy_gives(world, close, drawn, name, dtype):
    result = world.check(FUNCTIONS[name](*(world.array(rows, dtype) for rows in drawn)))
    expected = FUNCTIONS[name](*drawn.astype(dtype))
    assert result.dtype == OWN_DTYPE.get(name, dtype)
    if name in OWN_DTYPE:
        np.testing.assert_array_equal(result, expected)
    else:
        close(result, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_boxes_are_boxes_too(world, name):
    none = world.array(np.zeros((0, 4)))
    assert world.check(FUNCTIONS[name](none, none)).shape[0] == 0


def test_nan_scores_are_refused_everywhere(world, drawn):
    scores = world.array([np.nan] * 12)
    with pytest.raises(ValueError, match="scores: NaN"):
        boxes.nms(world.array(drawn[0]), scores, iou_threshold=0.5)


def test_arrays_of_two_libraries_are_refused(drawn):
    on_device = array_api_strict.asarray(drawn[0], device=array_api_strict.Device("device1"))
    with pytest.raises(TypeError):
        boxes.iou(on_device, drawn[1])
