"""Sizes of outputs, padding and taps of any window, counted pixel by pixel."""

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minirpn import nn
from minirpn.nn import window

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
KERNELS = st.tuples(st.integers(1, 5), st.integers(1, 5))
STRIDES = st.tuples(st.integers(1, 4), st.integers(1, 4))
PADDINGS = st.tuples(st.integers(0, 3), st.integers(0, 3))


def starts(length, kernel, stride, padding):
    """Return where the windows begin that lie inside the padded line."""
    return [s for s in range(-padding, length + padding, stride) if s + kernel <= length + padding]


def starts_in_caffe(length, kernel, stride, padding):
    """Return where windows begin until every pixel is covered, and none begins behind the image."""
    found = starts(length, kernel, stride, padding)
    if found[-1] + kernel < length + padding and found[-1] + stride < length + padding:
        found.append(found[-1] + stride)
    return [s for s in found if s < length]


@given(SIZES, KERNELS, STRIDES, PADDINGS)
def test_a_convolution_has_an_output_for_each_window_inside(size, kernel, stride, padding):
    counts = tuple(len(starts(*along)) for along in zip(size, kernel, stride, padding, strict=True))
    if 0 in counts:
        with pytest.raises(ValueError, match="kernel"):
            nn.conv_output_size(size, kernel, stride, padding)
    else:
        assert nn.conv_output_size(size, kernel, stride, padding) == counts


@given(SIZES, KERNELS, STRIDES, PADDINGS, st.booleans())
def test_a_pooling_covers_what_is_left_over(size, kernel, stride, padding, ceil_mode):
    along = list(zip(size, kernel, stride, padding, strict=True))
    assume(all(k <= s + 2 * p and p < k for s, k, _, p in along))
    count = starts_in_caffe if ceil_mode else starts
    expected = tuple(len(count(*one)) for one in along)
    assert nn.pool_output_size(size, kernel, stride, padding, ceil_mode) == expected
    x = np.arange(size[0] * size[1], dtype=float).reshape(1, 1, *size)
    options = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    y, _ = nn.max_pool2d_forward(x, **options)
    # Numbers grow along rows and columns: the last pixel of a window is its largest.
    rows, columns = (
        [min(start + k, s) - 1 for start in count(s, k, step, p)] for s, k, step, p in along
    )
    np.testing.assert_array_equal(y[0, 0], x[0, 0][np.ix_(rows, columns)])


@given(st.integers(-9, 9), st.integers(1, 4), st.integers(1, 9), st.integers(0, 9))
def test_the_outputs_of_a_tap_read_the_image(offset, stride, width, count):
    inside = [j for j in range(count) if 0 <= j * stride + offset < width]
    low, high = window.reached(offset, stride, width, count)
    assert 0 <= low <= high <= count
    assert list(range(low, high)) == inside


@given(SIZES, KERNELS, STRIDES, PADDINGS)
def test_taps_read_each_window_in_row_major_order(size, kernel, stride, padding):
    assume(all(k <= s + 2 * p for s, k, p in zip(size, kernel, padding, strict=True)))
    image = window.padded(np.arange(1.0, 1 + size[0] * size[1]).reshape(1, 1, *size), padding)
    assert image.shape[2:] == tuple(s + 2 * p for s, p in zip(size, padding, strict=True))
    rows, columns = map(range, nn.conv_output_size(size, kernel, stride, padding))
    taps = list(window.taps(kernel, stride, rows, columns))
    for tap, (p, q) in enumerate(np.ndindex(kernel)):
        ys, xs = taps[tap]
        seen = image[0, 0, ys, xs]
        assert seen.shape == (len(rows), len(columns))
        for i, j in np.ndindex(seen.shape):
            assert seen[i, j] == image[0, 0, i * stride[0] + p, j * stride[1] + q]
    assert len(taps) == kernel[0] * kernel[1]


@given(SIZES, PADDINGS, SIZES, st.sampled_from([0.0, -np.inf]))
def test_a_plane_holds_the_image_and_nothing_else(size, offset, more, fill):
    x = np.ones((2, 3, *size))
    whole = tuple(s + o + m for s, o, m in zip(size, offset, more, strict=True))
    plane = window.placed(x, offset, whole, fill)
    assert plane.shape == (2, 3, *whole)
    (top, left), (H, W) = offset, size
    np.testing.assert_array_equal(plane[:, :, top : top + H, left : left + W], x)
    assert (plane == 1).sum() == x.size
    assert ((plane == 1) | (plane == fill)).all()
    assert window.placed(x, (0, 0), size) is x


@given(st.integers(1, 9), st.integers(1, 9))
def test_an_int_is_both_of_a_pair(value, other):
    make = partial(window.pair, name="n", least=1)
    assert make(value) == (value, value)
    assert make((value, other)) == tuple(make([value, other])) == (value, other)
