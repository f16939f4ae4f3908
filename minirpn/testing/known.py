"""What can be checked by name: the functions a check takes, and how it calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from minirpn import testing


class Known(NamedTuple):
    """A check and the functions that it is for.

    Parameters
    ----------
    check
        Called with the functions.
    calls
        How each function is called, the first one first. Only that one must be there.
    returns
        What each of them returns.
    """

    check: Callable[..., testing.Verdict]
    calls: tuple[str, ...]
    returns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the functions, without the ``my_`` that they may have in front."""
        return tuple(call.partition("(")[0] for call in self.calls)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the check's options."""
        parameters = inspect.signature(self.check).parameters.values()
        fixed = self.check.keywords if isinstance(self.check, partial) else {}
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in fixed)


def _one(check: Callable[..., testing.Verdict], call: str, returns: str) -> Known:
    return Known(check, (call,), (returns,))


def _pair(
    check: Callable[..., testing.Verdict], forward: str, backward: str, returns: tuple[str, str]
) -> Known:
    return Known(check, (forward, backward), returns)


KNOWN = (
    _one(testing.check_iou, "iou(a, b)", "(N, M) of boxes (N, 4) and (M, 4)"),
    _one(
        partial(testing.check_iou, pairwise=True), "pair_iou(a, b)", "a number, of two boxes (4,)"
    ),
    _one(testing.check_encode, "encode(anchors, boxes)", "(N, 4)"),
    _one(testing.check_decode, "decode(anchors, deltas)", "(N, 4)"),
    _one(
        testing.check_bbox_transform_inv,
        "bbox_transform_inv(boxes, deltas)",
        "(N, 4 C) of boxes (N, 4) and deltas (N, 4 C)",
    ),
    _one(
        testing.check_clip, "clip_boxes(boxes, image_size)", "(N, 4); image_size is (height, width)"
    ),
    _one(
        testing.check_min_size,
        "remove_small_boxes(boxes, min_size)",
        "the indices that stay, or a mask (N,)",
    ),
    _one(testing.check_nms, "nms(boxes, scores, iou_threshold=0.7)", "the indices that stay"),
    _one(
        testing.check_batched_nms,
        "batched_nms(boxes, scores, classes, iou_threshold=0.7)",
        "the indices that stay",
    ),
    _one(testing.check_base_anchors, "base_anchors(base_size, ratios, scales)", "(A, 4)"),
    _one(testing.check_grid_anchors, "grid_anchors(base, feature_size, stride)", "(K, 4)"),
    _one(
        testing.check_label_anchors,
        "label_anchors(anchors, gt_boxes, image_size)",
        "(K,) of 1, 0 and -1; image_size is (height, width)",
    ),
    _pair(
        testing.check_smooth_l1,
        "smooth_l1(x, sigma=1.0)",
        "smooth_l1_slope(x, sigma=1.0)",
        ("(N,), a value for each x", "(N,)"),
    ),
    _pair(
        testing.check_softmax_cross_entropy,
        "softmax_cross_entropy(logits, targets)",
        "softmax_cross_entropy_slope(logits, targets)",
        ("a number, the mean over (K, C)", "(K, C)"),
    ),
    _pair(
        testing.check_sigmoid_cross_entropy,
        "sigmoid_cross_entropy(logits, targets)",
        "sigmoid_cross_entropy_slope(logits, targets)",
        ("a number, the mean over (K,)", "(K,)"),
    ),
    _pair(
        testing.check_rpn_loss,
        "rpn_loss(objectness, deltas, labels, targets, locations)",
        "rpn_loss_slopes(objectness, deltas, labels, targets, locations)",
        ("a number", "gradients by objectness (K, 2) and deltas (K, 4)"),
    ),
    _one(testing.check_anchor_rows, "anchor_rows(y, values)", "(N, K, values) of (N, A v, H, W)"),
    _pair(
        testing.check_rpn_head,
        "head_forward(features, weights)",
        "head_backward(dobjectness, ddeltas, cache)",
        ("((objectness, deltas), cache)", "a dictionary of gradients"),
    ),
    _pair(
        testing.check_conv2d,
        "conv2d_forward(x, weight, bias, stride=1, padding=0)",
        "conv2d_backward(dy, cache)",
        ("(y, cache)", "(dx, dweight, dbias)"),
    ),
    _pair(
        testing.check_linear,
        "linear_forward(x, weight, bias)",
        "linear_backward(dy, cache)",
        ("(y, cache) of x (N, D), weight (O, D), bias (O,)", "(dx, dweight, dbias)"),
    ),
    _pair(testing.check_relu, "relu_forward(x)", "relu_backward(dy, cache)", ("(y, cache)", "dx")),
    _pair(
        testing.check_max_pool2d,
        "max_pool2d_forward(x, kernel=2, stride=2, padding=0, ceil_mode=False)",
        "max_pool2d_backward(dy, cache)",
        ("(y, cache)", "dx"),
    ),
    _pair(
        testing.check_roi_pool,
        "roi_pool_forward(features, boxes, output_size=(7, 7), stride=16.0)",
        "roi_pool_backward(dy, cache)",
        ("(y, cache)", "dfeatures"),
    ),
    _pair(
        testing.check_roi_align,
        "roi_align_forward(features, boxes, output_size=(7, 7), stride=16.0, samples=2, "
        "aligned=True)",
        "roi_align_backward(dy, cache)",
        ("(y, cache)", "dfeatures"),
    ),
    _one(
        testing.check_sgd_step,
        "sgd_step(value, velocity, grad, lr, momentum, weight_decay)",
        "(value, velocity), by Caffe's rule",
    ),
    _one(
        partial(testing.check_sgd_step, rule="torch"),
        "torch_sgd_step(value, velocity, grad, lr, momentum, weight_decay)",
        "(value, velocity), by PyTorch's rule",
    ),
    _one(
        testing.check_average_precision,
        "eleven_point(scores, hits, positives)",
        "a number, VOC 2007",
    ),
    _one(
        partial(testing.check_average_precision, method="area"),
        "area_under_curve(scores, hits, positives)",
        "a number, VOC 2010 and later",
    ),
)
