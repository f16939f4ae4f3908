"""Positions are int64 for a NumPy that counts in 32 bits, as in a browser."""

from __future__ import annotations

import types

import array_api_compat.numpy as compat
import numpy as np
import pytest

from minirpn import _checks, accel, boxes, nn
from minirpn._positions import wide_positions


def narrow(name: str):
    """Return a function of NumPy as it is where an address has 32 bits."""

    def to_32(result):
        return result.astype(np.int32)

    def take(x, indices, /, *, axis=None):
        if not np.can_cast(indices.dtype, np.int32, "safe"):
            raise TypeError("Cannot cast array data from int64 to int32")
        return compat.take(x, indices, axis=axis)

    def run(*args, **options):
        result = getattr(compat, name)(*args, **options)
        return tuple(map(to_32, result)) if isinstance(result, tuple) else to_32(result)

    return take if name == "take" else run


POSITIONS = ("take", "argmax", "argmin", "argsort", "nonzero", "searchsorted")
NARROW = types.SimpleNamespace(**{**vars(compat), **{name: narrow(name) for name in POSITIONS}})
WIDE = wide_positions(NARROW, np.int32)


def test_a_numpy_of_64_bits_stays_as_it_is():
    assert wide_positions(compat, np.int64) is compat


def test_positions_of_64_bits_are_taken():
    x = np.arange(6.0).reshape(2, 3)
    for dtype in (np.int64, np.int32, np.uint8):
        indices = np.array([2, 0], dtype=dtype)
        np.testing.assert_array_equal(WIDE.take(x, indices, axis=1), [[2, 0], [5, 3]])
        np.testing.assert_array_equal(WIDE.take(x, indices), [2, 0])
    with pytest.raises(TypeError):
        NARROW.take(x, np.array([0], np.int64))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("argmax", (np.array([[1.0, 3, 2]]),)),
        ("argmin", (np.array([[1.0, 3, 2]]),)),
        ("argsort", (np.array([1.0, 3, 2]),)),
        ("nonzero", (np.array([[0, 1], [2, 0]]),)),
        ("searchsorted", (np.array([1.0, 2, 3]), np.array([2.0, 9]))),
    ],
)
def test_positions_come_as_int64(name, arguments):
    expected, result = getattr(compat, name)(*arguments), getattr(WIDE, name)(*arguments)
    assert all(part.dtype == np.int64 for part in np.atleast_1d(result))
    np.testing.assert_array_equal(result, expected)
    for part in getattr(NARROW, name)(*arguments) if name == "nonzero" else ():
        assert part.dtype == np.int32


def test_options_and_parts_are_those_of_numpy():
    x = np.array([2.0, 1, 2, 3])
    np.testing.assert_array_equal(WIDE.argsort(x, descending=True, stable=True), [3, 0, 2, 1])
    assert WIDE.argmax(x[None], axis=1, keepdims=True).shape == (1, 1)
    assert WIDE.argmax(x).shape == ()
    assert WIDE.linalg is compat.linalg
    assert WIDE.float32 is compat.float32


def test_boxes_and_regions_are_the_same_with_a_numpy_of_32_bits(monkeypatch, rng):
    corners = rng.uniform(0, 20, (30, 2))
    some = np.concat([corners, corners + rng.uniform(0, 20, (30, 2))], axis=1)
    scores, features = rng.random(30), rng.normal(size=(2, 5, 6))

    def results():
        y, cache = nn.roi_pool_forward(features, some, output_size=2, stride=8)
        return boxes.nms(some, scores, iou_threshold=0.3), y, nn.roi_pool_backward(y, cache)

    def with_numpy(xp):
        monkeypatch.setattr(_checks, "NUMPY", xp)
        monkeypatch.setattr(_checks, "_NAMESPACES", {np.ndarray: xp})
        return results()

    with accel.use("array"):
        expected = results()
        with pytest.raises(TypeError, match="int64 to int32"):
            with_numpy(NARROW)
        for one, other in zip(with_numpy(WIDE), expected, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
