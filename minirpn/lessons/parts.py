"""The library's functions in the form in which the chapters ask for them.

Chapter 12 puts the learner's functions together. Where there is none, one of these takes its place,
with the same arguments and results. Each says the chapter and the exercise that it stands for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minirpn import boxes, nn, rpn
from minirpn.nn.activations import relu_dx
from minirpn.nn.losses import smooth_l1_dx

Array = np.ndarray


def iou(a: Array, b: Array) -> Array:
    """01, my_iou: the IoU (N, M) of all boxes a (N, 4) with all boxes b (M, 4)."""
    return boxes.iou(a, b)


def base_anchors(base_size: float, ratios: Any, scales: Any) -> Array:
    """02, my_base_anchors: the anchors (A, 4) of cell (0, 0)."""
    config = rpn.AnchorConfig(base_size=base_size, ratios=tuple(ratios), scales=tuple(scales))
    return rpn.base_anchors(config)


def grid(base: Array, feature_size: tuple[int, int], stride: int) -> Array:
    """02, my_grid: the anchors (K, 4) of all cells."""
    return rpn.grid_anchors(base, feature_size, stride)


def encode(anchors: Array, targets: Array) -> Array:
    """03, my_encode: the deltas (N, 4) that lead from anchors to boxes."""
    return boxes.encode(anchors, targets)


def labels(anchors: Array, gt_boxes: Array, image_size: tuple[int, int]) -> Array:
    """04, my_labels: the label of each anchor, (K,): 1, 0 or -1."""
    return rpn.label_anchors(anchors, gt_boxes, image_size).labels


def sample(labels: Array, seed: int) -> Array:
    """04, my_sample: the labels (K,) with all but up to 128 positives and 256 in all ignored."""
    return rpn.sample_minibatch(labels, rng=np.random.default_rng(seed))


def log_loss_slope(objectness: Array, labels: Array) -> Array:
    """05, my_log_loss_slope: the slope (K, 2) of each anchor's log loss by its two scores."""
    weights = np.ones(len(labels), objectness.dtype)
    _, cache = nn.softmax_cross_entropy_forward(objectness, labels, weights)
    return nn.softmax_cross_entropy_backward(1.0, cache)


def smooth_l1_slope(x: Array, sigma: float = 1.0) -> Array:
    """05, my_smooth_l1_slope: the slope of smooth L1 at each number."""
    return smooth_l1_dx(np.ones_like(x), x, sigma)


def rpn_loss(
    objectness: Array, deltas: Array, labels: Array, targets: Array, locations: int
) -> float:
    """05, my_rpn_loss: the loss of one picture (eq. 1)."""
    loss, _ = rpn.rpn_loss_forward(objectness, deltas, labels, targets, locations=locations)
    return float(loss.total)


def conv(x: Array, weight: Array, bias: Array, stride: int = 1, padding: int = 0) -> Array:
    """06, my_conv_matmul: the convolution, (N, O, Ho, Wo)."""
    return nn.conv2d_forward(x, weight, bias, stride=stride, padding=padding)[0]


def conv_backward(dy: Array, cache: tuple[Array, Array, int, int]) -> tuple[Any, Any, Any]:
    """06, my_backward: dx, dweight and dbias; the cache is (x, weight, stride, padding)."""
    x, weight, stride, padding = cache
    own = nn.Conv2dCache(x, weight, (stride, stride), (padding, padding))
    grads = nn.conv2d_backward(dy, own)
    return grads.dx, grads.dweight, grads.dbias


def relu_backward(dy: Array, y: Array) -> Array:
    """07, my_relu_backward: dy where y is positive, and 0 elsewhere."""
    return relu_dx(dy, y)


def anchor_rows(y: Array, values: int) -> Array:
    """08, my_anchor_rows: a row an anchor, (N, A * values, Hf, Wf) -> (N, K, values)."""
    return rpn.anchor_rows(y, values)


def candidates(
    anchors: Array,
    objectness: Array,
    deltas: Array,
    image_size: tuple[int, int],
    min_size: float,
    count: int,
) -> Array:
    """10, my_candidates: x1, y1, x2, y2, score (n, 5) of the best boxes that are large enough."""
    config = rpn.ProposalConfig(pre_nms=count, min_size=min_size)
    found = rpn.candidates(anchors, objectness, deltas, image_size, config=config)
    return np.column_stack([found.boxes, found.scores])


def nms(candidates: Array, scores: Array, iou_threshold: float) -> Array:
    """10, my_nms: the indices of the boxes that stay, the best first."""
    return boxes.nms(candidates, scores, iou_threshold=iou_threshold)


def sgd(
    value: Array, velocity: Array, grad: Array, lr: float, momentum: float, weight_decay: float
) -> tuple[Array, Array]:
    """11, my_caffe_step: the next value and the next velocity."""
    parameter = nn.Parameter("w", value)
    optimizer = nn.SGD([parameter], momentum=momentum, weight_decay=weight_decay)
    optimizer.load_state({"w": velocity}, steps=0)
    optimizer.step({"w": grad}, lr=lr)
    return parameter.value, optimizer.velocity["w"]
