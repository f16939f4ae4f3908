"""What must hold of the region operations whatever the map and the boxes."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel, nn
from minirpn.testing import strategies

RNGS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
STRIDES = st.sampled_from([2.0, 4.0, 8.0])  # powers of two: scaling by them is exact


class Regions(NamedTuple):
    """A map, boxes about it, and the options of the operation."""

    features: np.ndarray
    boxes: np.ndarray
    options: dict[str, Any]

    @property
    def map_size(self):
        """(height, width) in pixels."""
        return [side * self.options["stride"] for side in self.features.shape[1:]]


@st.composite
def regions(draw, *, margin=None):
    """Draw a map and boxes; with a margin, in cells, they keep that from the first and last."""
    rng, stride, least = draw(RNGS), draw(STRIDES), 2 * (margin or 0) + 1
    C, Hf, Wf = draw(st.integers(1, 3)), draw(st.integers(least, 6)), draw(st.integers(least, 6))
    boxes = draw(strategies.boxes(max_count=5, extent=32))
    if margin is not None:
        last = np.array([Wf, Hf, Wf, Hf]) - 1
        boxes = np.clip(boxes, margin * stride, (last - margin) * stride)
    output_size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    features = rng.normal(size=(C, Hf, Wf))
    return Regions(features, boxes, {"output_size": output_size, "stride": stride})


FORWARDS = {
    "pool": nn.roi_pool_forward,
    "align": nn.roi_align_forward,
    "align-1": partial(nn.roi_align_forward, samples=1),
    "align-not-aligned": partial(nn.roi_align_forward, aligned=False),
}
EVERY_FORWARD = pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)


@EVERY_FORWARD
@given(drawn=regions(margin=0), value=st.sampled_from([-3.0, 0.0, 2.5]))
def test_a_constant_map_gives_the_constant(forward, drawn, value, close):
    features, boxes, options = drawn
    y, _ = forward(np.full_like(features, value), boxes, **options)
    close(y, np.full_like(y, value))


@EVERY_FORWARD
@given(drawn=regions(), factor=st.sampled_from([0.25, 2.0, 16.0]))
def test_the_unit_of_length_does_not_matter(forward, drawn, factor):
    features, boxes, options = drawn
    scaled = options | {"stride": options["stride"] * factor}
    expected, _ = forward(features, boxes, **options)
    np.testing.assert_array_equal(forward(features, boxes * factor, **scaled)[0], expected)


@EVERY_FORWARD
@given(drawn=regions(margin=1), right=st.integers(0, 3), down=st.integers(0, 3))
def test_a_box_moves_with_its_map(forward, drawn, right, down, close):
    features, boxes, options = drawn
    # What lies around a map does not matter to boxes that keep a cell away from its border.
    larger = np.pad(features, ((0, 0), (down, 2), (right, 1)), constant_values=9.0)
    moved = boxes + options["stride"] * np.array([right, down, right, down])
    close(forward(larger, moved, **options)[0], forward(features, boxes, **options)[0])


@EVERY_FORWARD
@given(drawn=regions())
def test_rows_and_columns_are_treated_alike(forward, drawn):
    features, boxes, options = drawn
    h, w = options["output_size"]
    y, _ = forward(features, boxes, **options)
    turned = features.swapaxes(1, 2), boxes[:, [1, 0, 3, 2]]
    other, _ = forward(*turned, **(options | {"output_size": (w, h)}))
    np.testing.assert_allclose(other.swapaxes(2, 3), y, rtol=1e-12, atol=1e-13)


@EVERY_FORWARD
@given(drawn=regions(), rng=RNGS)
def test_boxes_and_channels_do_not_see_each_other(forward, drawn, rng):
    features, boxes, options = drawn
    y, _ = forward(features, boxes, **options)
    order, channels = rng.permutation(len(boxes)), rng.permutation(len(features))
    other, _ = forward(features[channels], boxes[order], **options)
    np.testing.assert_array_equal(other, y[order][:, channels])


@given(drawn=regions(), samples=st.integers(1, 3))
def test_align_mirrors_with_the_image_and_with_the_box(drawn, samples, close):
    features, boxes, options = drawn
    y, _ = nn.roi_align_forward(features, boxes, samples=samples, **options)
    width = drawn.map_size[1]
    x1, y1, x2, y2 = boxes.T
    mirrored = np.stack([width - x2, y1, width - x1, y2], axis=1)
    other, _ = nn.roi_align_forward(features[..., ::-1], mirrored, samples=samples, **options)
    close(other, y[..., ::-1])
    backwards = np.stack([x2, y1, x1, y2], axis=1)  # an inverted box is sampled backwards
    other, _ = nn.roi_align_forward(features, backwards, samples=samples, **options)
    close(other, y[..., ::-1])


@given(drawn=regions(), rng=RNGS)
def test_pool_selects_cells(drawn, rng, close):
    features, boxes, options = drawn
    y, cache = nn.roi_pool_forward(features, boxes, **options)
    won = cache.argmax >= 0
    channel = np.arange(len(features))[:, None, None]
    chosen = features.reshape(len(features), -1)[channel, np.maximum(cache.argmax, 0)]
    np.testing.assert_array_equal(y, np.where(won, chosen, 0))
    # It is linear in the cells that won, and gradients only move.
    dy = rng.normal(size=y.shape)
    dfeatures = nn.roi_pool_backward(dy, cache)
    close(np.array(np.sum(features * dfeatures)), np.sum(y * dy), atol=1e-11)
    close(np.array(np.sum(dfeatures)), np.sum(dy[won]), atol=1e-11)
    # Pooling commutes with increasing functions, except where there is nothing to pool.
    doubled, _ = nn.roi_pool_forward(2 * features + 1, boxes, **options)
    np.testing.assert_array_equal(doubled, np.where(won, 2 * y + 1, 0))


@given(drawn=regions(), rng=RNGS, aligned=st.booleans(), samples=st.integers(1, 3))
def test_align_backward_is_the_adjoint_of_forward(drawn, rng, aligned, samples, close):
    features, boxes, options = drawn
    align = partial(nn.roi_align_forward, boxes=boxes, aligned=aligned, samples=samples, **options)
    y, cache = align(features)
    dy = rng.normal(size=y.shape)
    dfeatures = nn.roi_align_backward(dy, cache, need_dboxes=False).dfeatures
    close(np.array(np.sum(features * dfeatures)), np.sum(y * dy), atol=1e-11)
    other = rng.normal(size=features.shape)
    close(align(2 * features + other)[0], 2 * y + align(other)[0], atol=1e-12)


@given(drawn=regions(), rng=RNGS, factor=st.sampled_from([0.5, 4.0]))
def test_gradients_by_boxes_have_a_unit(drawn, rng, factor, close):
    features, boxes, options = drawn
    y, cache = nn.roi_align_forward(features, boxes, **options)
    dy = rng.normal(size=y.shape)
    scaled = options | {"stride": options["stride"] * factor}
    _, other = nn.roi_align_forward(features, boxes * factor, **scaled)
    per_pixel, per_other = (nn.roi_align_backward(dy, kept).dboxes for kept in (cache, other))
    close(per_other * factor, per_pixel)  # loss per pixel, of pixels that are smaller


@given(drawn=regions(), rng=RNGS)
def test_a_constant_map_has_no_gradient_by_boxes(drawn, rng, close):
    features, boxes, options = drawn
    y, cache = nn.roi_align_forward(np.full_like(features, 3.0), boxes, **options)
    dboxes = nn.roi_align_backward(rng.normal(size=y.shape), cache).dboxes
    close(dboxes, np.zeros_like(boxes), atol=1e-12)


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["roi_pool_dx"])
@given(rng=RNGS, dtype=st.sampled_from([np.float32, np.float64]), large=st.sampled_from([1, 1e7]))
def test_a_gradient_is_the_sum_of_its_own_bins_alone(implementation, rng, dtype, large, close):
    features = rng.permutation(3 * 5 * 6).reshape(3, 5, 6).astype(dtype)
    corners = rng.integers(0, 24, (60, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(dtype)
    _, cache = nn.roi_pool_forward(features, boxes, output_size=3, stride=4.0)
    dy = rng.uniform(0.5, 1, cache.argmax.shape).astype(dtype)
    dy[cache.argmax == cache.argmax.max()] *= large  # of one cell, and its row-mates stay small
    with accel.use(implementation, "roi_pool_dx"):
        dfeatures = nn.roi_pool_backward(dy, cache)
    assert dfeatures.dtype == dtype
    expected = np.zeros((3, 30))
    for c, cell in np.ndindex(expected.shape):
        expected[c, cell] = math.fsum(dy[:, c][cache.argmax[:, c] == cell].tolist())
    # float32 has seven digits of each sum, and float64 of the largest one.
    close(dfeatures, expected.reshape(3, 5, 6), rtol=2e-5)


@pytest.mark.parametrize("implementation", accel.available(np.zeros(1))["roi_pool"])
@given(
    st.sampled_from([1, 7, 60, 300]),
    st.tuples(*2 * [st.integers(-10_000, 10_000)]),
    st.tuples(*2 * [st.integers(-30, 330)]),
    st.integers(1, 8),
)
def test_bins_of_any_length_anywhere(implementation, Wf, far, near, count):
    ramp = np.arange(1.0, Wf + 1).reshape(1, 1, Wf)  # the last cell of a bin is its largest
    for first, last in (far, near):  # in halves of a cell
        boxes = np.array([[first * 2.0, 0, last * 2.0, 0]])
        with accel.use(implementation, "roi_pool"):
            y, _ = nn.roi_pool_forward(ramp, boxes, output_size=(1, count), stride=4.0)
        start, end = (
            int(math.copysign(abs(side) // 2 + abs(side) % 2, side)) for side in (first, last)
        )
        length = max(end - start + 1, 1)
        for k in range(count):
            cells = range(start + k * length // count, start - (-(k + 1) * length // count))
            inside = [cell for cell in cells if 0 <= cell < Wf]
            assert y[0, 0, 0, k] == (inside[-1] + 1 if inside else 0)
