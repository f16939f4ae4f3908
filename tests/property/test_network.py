"""What holds of the head and the network: which channel is which anchor, anchors, gradients."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import nn, rpn
from minirpn.rpn.head import anchor_map, anchor_rows
from minirpn.rpn.network import _KEPT_ANCHORS

RNGS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
SIDES = st.integers(1, 4)
CONFIG = rpn.AnchorConfig(base_size=4, ratios=(1.0, 2.0), scales=(2.0,))


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([1, 2, 4]))
def test_every_row_is_an_anchor_of_a_cell(N, Hf, Wf, A, values):
    channels = np.arange(A * values)[None, :, None, None]
    rows, columns = np.arange(Hf)[:, None], np.arange(Wf)
    images = np.arange(N)[:, None, None, None]
    y = images * 1e6 + channels * 1e4 + rows * 1e2 + columns  # each number tells its place
    found = anchor_rows(y, values)
    assert found.shape == (N, Hf * Wf * A, values)
    for n, row, column, a, v in np.ndindex(N, Hf, Wf, A, values):
        k = (row * Wf + column) * A + a
        assert found[n, k, v] == n * 1e6 + (a * values + v) * 1e4 + row * 1e2 + column
    np.testing.assert_array_equal(anchor_map(found, (Hf, Wf)), y)


class Backbone:
    """A single convolution of stride 4, in the place of a backbone."""

    def __init__(self, rng, *, trainable=True, center=2.0):
        self.conv = nn.Conv2d(
            "conv1", 3, 5, kernel=4, stride=4, rng=rng, std=0.5, trainable=trainable,
            dtype=np.float64,
        )  # fmt: skip
        self.geometry = SimpleNamespace(stride=4, center=center)

    def parameters(self):
        return self.conv.parameters()

    def forward(self, images, *, observe=None):
        y, cache = self.conv.forward(images)
        if observe is not None:
            observe("conv1", y)
        return y, cache

    def backward(self, dfeatures, cache):
        return self.conv.backward(dfeatures, cache, need_dx=False)[1]

    def feature_size(self, image_size):
        return self.conv.output_size(image_size)


def network(rng, **options):
    """Return a small network in float64."""
    centre = {"anchor_centre": options.pop("anchor_centre", "cell")}
    head = rpn.RPNHead(5, 4, CONFIG.count, rng=rng, std=0.5)
    for parameter in head.parameters():
        parameter.value = rng.normal(scale=0.3, size=parameter.value.shape)
    return rpn.RPN(Backbone(rng, **options), head, CONFIG, **centre)


@given(RNGS, SIDES, SIDES, st.booleans())
def test_forward_and_backward_go_through_backbone_and_head(close, rng, Hf, Wf, trainable):
    whole = network(rng, trainable=trainable)
    images, seen = rng.normal(size=(2, 3, 4 * Hf, 4 * Wf)), []
    output, cache = whole.forward(images, observe=lambda name, y: seen.append(name))
    assert seen == ["conv1"]
    features, of_backbone = whole.backbone.forward(images)
    (objectness, deltas), of_head = whole.head.forward(features)
    for one, other in zip(output[:3], (features, objectness, deltas), strict=True):
        np.testing.assert_array_equal(one, other)
    assert output.locations == Hf * Wf
    assert whole.trains_backbone == trainable
    names = {p.name for p in whole.parameters()}
    assert len(names) == len(whole.parameters()) == 8
    douts = rng.normal(size=objectness.shape), rng.normal(size=deltas.shape)
    more = rng.normal(size=features.shape)
    for dfeatures in (None, more):
        grads = whole.backward(*douts, cache, dfeatures=dfeatures)
        by_head, expected = whole.head.backward(*douts, of_head)
        if trainable:
            total = by_head if dfeatures is None else by_head + more
            expected |= whole.backbone.backward(total, of_backbone)
        assert grads.keys() == expected.keys()
        for name, grad in grads.items():
            close(grad, expected[name], atol=1e-11)


@given(RNGS, SIDES, SIDES, st.sampled_from([np.float32, np.float64]))
def test_anchors_are_those_of_the_grid_and_are_kept(rng, Hf, Wf, dtype):
    whole = network(rng)
    like = np.zeros(1, dtype)
    anchors = whole.anchors_for((4 * Hf, 4 * Wf), like=like)
    assert anchors.dtype == dtype
    expected = rpn.grid_anchors(rpn.base_anchors(CONFIG), (Hf, Wf), 4, like=like)
    np.testing.assert_array_equal(anchors, expected)
    assert whole.anchors((Hf, Wf), like=like) is anchors
    other = np.float64 if dtype == np.float32 else np.float32
    assert whole.anchors((Hf, Wf), like=np.zeros(1, other)).dtype == other
    output, _ = whole.forward(np.zeros((1, 3, 4 * Hf, 4 * Wf)))
    np.testing.assert_array_equal(output.anchors, expected)


def test_no_more_anchors_are_kept_than_may_be(rng):
    whole, like = network(rng), np.zeros(1)
    first = whole.anchors((1, 1), like=like)
    for width in range(2, _KEPT_ANCHORS + 1):
        whole.anchors((1, width), like=like)
        assert whole.anchors((1, 1), like=like) is first
    whole.anchors((1, _KEPT_ANCHORS + 1), like=like)
    assert whole.anchors((1, 1), like=like) is not first


@given(RNGS, st.sampled_from([0.0, 1.5, 2.0, 2.4, 7.0]))
def test_anchors_move_to_the_center_of_what_a_cell_sees(rng, center):
    whole = network(rng, center=center, anchor_centre="receptive-field")
    shift = round(center - 2)
    like = np.zeros(1)
    expected = network(rng).anchors((2, 3), like=like) + shift
    np.testing.assert_array_equal(whole.anchors((2, 3), like=like), expected)
    with pytest.raises(ValueError, match="anchor_centre"):
        network(rng, anchor_centre="corner")


@given(RNGS, SIDES, st.sampled_from([0.5, 2.0]))
def test_proposals_are_those_of_the_first_image_in_its_own_pixels(rng, side, scale):
    whole = network(rng)
    image = rng.normal(size=(3, 4 * side, 4 * side + 4))
    config = rpn.ProposalConfig(min_size=2.0)
    found = whole.propose(image, scale=scale, config=config)
    output, _ = whole.forward(np.stack([image, 0 * image]))
    expected = rpn.propose(
        output.anchors,
        output.objectness[0],
        output.deltas[0],
        image.shape[1:],
        scale=scale,
        config=config,
    )
    of_output = output.propose(image.shape[1:], scale=scale, config=config)
    for one, two, other in zip(found, of_output, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)
        np.testing.assert_array_equal(two, other)
