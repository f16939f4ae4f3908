"""What the docstrings say is refused is refused, and what is just allowed is not.

Each row is a call with one argument left open, values that it must refuse, and values at the border
that it must take.
"""

import math
from functools import partial

import numpy as np
import pytest

from minirpn import accel, boxes, nn, rpn
from minirpn.accel import threads
from minirpn.accel.fused import conv2d_relu_forward
from minirpn.nn.window import pair

ZEROS = np.zeros
TWO = np.array([[0.0, 0, 4, 4], [1, 1, 3, 3]])
X, WEIGHT, BIAS = ZEROS((1, 2, 4, 5)), ZEROS((3, 2, 3, 3)), ZEROS(3)
NOT_BOXES = [ZEROS((2, 5)), ZEROS(()), ZEROS((2, 3))]
NOT_LISTS = [*NOT_BOXES, ZEROS(4), ZEROS((1, 2, 4))]
INTEGERS = ZEROS((2, 4), int)
BELOW_1 = [0, -1, (0, 1), (1, 0)]
LOGITS, LABELS, DELTAS = ZEROS((2, 2)), ZEROS(2, np.int8), ZEROS((2, 4))
CONFIG = rpn.AnchorConfig(ratios=(1,), scales=(2,))
BASE = rpn.base_anchors(CONFIG)
NAN, INF = math.nan, math.inf
NUMBERS, ONES, PLACES, MAP = ZEROS(2), np.ones(2), ZEROS(2, int), ZEROS((1, 2, 2))


def loss(objectness=LOGITS, deltas=DELTAS, labels=LABELS, targets=DELTAS):
    return rpn.rpn_loss_forward(objectness, deltas, labels, targets, locations=1)


def propose(anchors=TWO, objectness=LOGITS, deltas=DELTAS):
    return rpn.propose(anchors, objectness, deltas, (9, 9))


def backward(forward, back, *inputs, **options):
    """Return the backward of a forward's cache."""
    cache = forward(*inputs, **options)[1]
    return lambda dy: back(dy, cache)


def softmax(logits=LOGITS, targets=LABELS, weights=ONES):
    return nn.softmax_cross_entropy_forward(logits, targets, weights)


def sigmoid(logits=NUMBERS, targets=NUMBERS, weights=ONES):
    return nn.sigmoid_cross_entropy_forward(logits, targets, weights)


def conv(x=X, weight=WEIGHT, bias=BIAS, **options):
    return nn.conv2d_forward(x, weight, bias, **options)


def roi_pool(features=MAP, boxes=TWO, **options):
    return nn.roi_pool_forward(features, boxes, **options)


def roi_align(features=MAP, boxes=TWO, **options):
    return nn.roi_align_forward(features, boxes, **options)


def grid(base=BASE, feature_size=(1, 1), stride=16, offset=(0, 0)):
    return rpn.grid_anchors(base, feature_size, stride, offset=offset)


def labels_of(anchors=TWO, gt_boxes=TWO, image_size=(9, 9), ignored=None):
    return rpn.label_anchors(anchors, gt_boxes, image_size, ignored=ignored)


def targets_of(anchors=TWO, gt_boxes=TWO, matched_gt=PLACES, labels=LABELS):
    return rpn.anchor_targets(anchors, gt_boxes, matched_gt, labels)


def nms(candidates=TWO, scores=NUMBERS, iou_threshold=0.5, max_keep=None):
    return boxes.nms(candidates, scores, iou_threshold=iou_threshold, max_keep=max_keep)


def keyed(function, name, **others):
    """Return the function of one keyword argument."""
    return lambda value: function(**{name: value}, **others)


ROWS = {
    "area": (boxes.area, [*NOT_BOXES, INTEGERS], [ZEROS(4), ZEROS((1, 2, 4))]),
    "iou a": (lambda a: boxes.iou(a, TWO), [*NOT_LISTS, INTEGERS], [ZEROS((0, 4))]),
    "iou b": (lambda b: boxes.iou(TWO, b), [*NOT_LISTS, INTEGERS], [ZEROS((0, 4))]),
    "clip": (lambda b: boxes.clip(b, (4, 4)), [*NOT_BOXES, INTEGERS], [ZEROS(4)]),
    "clip size": (lambda s: boxes.clip(TWO, s), [(0, 4), (4, 0)], [(1, 1)]),
    "is_inside": (lambda b: boxes.is_inside(b, (4, 4)), [*NOT_BOXES, INTEGERS], [ZEROS(4)]),
    "is_inside size": (lambda s: boxes.is_inside(TWO, s), [(0, 4), (4, 0)], [(1, 1)]),
    "flip": (lambda b: boxes.flip(b, 4), [*NOT_BOXES, INTEGERS], [ZEROS(4)]),
    "encode": (lambda b: boxes.encode(b, TWO), [*NOT_BOXES, INTEGERS], [TWO, TWO[0]]),
    "encode boxes": (lambda b: boxes.encode(TWO, b), [*NOT_BOXES, INTEGERS], [TWO, TWO[0]]),
    "decode": (lambda b: boxes.decode(b, TWO), [*NOT_BOXES, INTEGERS], [TWO, TWO[0]]),
    "decode deltas": (lambda b: boxes.decode(TWO, b), [*NOT_BOXES, INTEGERS], [TWO, TWO[0]]),
    "nms": (keyed(nms, "candidates"), [*NOT_LISTS, INTEGERS, TWO[:1]], [TWO]),
    "nms scores": (
        keyed(nms, "scores"),
        [ZEROS(1), ZEROS(3), ZEROS((2, 1)), ZEROS(2, int), np.array([0.5, NAN])],
        [np.array([-INF, INF])],
    ),
    "nms threshold": (keyed(nms, "iou_threshold"), [-0.01, 1.01, NAN], [0, 1]),
    "nms max_keep": (keyed(nms, "max_keep"), [-1], [0, 9, None]),
    "anchors ratios": (keyed(rpn.AnchorConfig, "ratios"), [(), (0,), (-1,), (NAN,)], [(1,)]),
    "anchors ratios that round to no area": (
        keyed(rpn.AnchorConfig, "ratios", base_size=4),
        [(100.0,), (0.001,)],
        [(1 / 9,), (9.0,)],
    ),
    "anchors scales": (
        keyed(rpn.AnchorConfig, "scales"),
        [(), (0,), (-1,), (INF,), (1.1e6,), (0.9e-6,)],
        [(1e6,), (1e-6,)],
    ),
    "anchors base": (
        keyed(rpn.AnchorConfig, "base_size", rounding=None),
        [0, -1, NAN, 1.1e6],
        [0.5, 1e6],
    ),
    "anchors rounding": (keyed(rpn.AnchorConfig, "rounding"), ["floor"], ["caffe", None]),
    "grid base": (keyed(grid, "base"), [*NOT_LISTS, INTEGERS], [BASE]),
    "grid size": (keyed(grid, "feature_size"), [(0, 1), (1, 0), (1, 1, 1), (1,)], [(1, 1)]),
    "grid offset": (keyed(grid, "offset"), [(0,), (0, 0, 0)], [(0, -0.5)]),
    "grid stride": (keyed(grid, "stride"), [0, -1], [0.5]),
    "label positive": (
        keyed(rpn.LabelConfig, "positive_iou", negative_iou=0.3),
        [0.29, 1.01, NAN],
        [0.3, 1],
    ),
    "label negative": (
        keyed(rpn.LabelConfig, "negative_iou", positive_iou=0.7),
        [0, -0.1, 0.71, NAN],
        [0.01, 0.7],
    ),
    "label ties": (keyed(rpn.LabelConfig, "tie_tolerance"), [-0.1, INF, NAN], [0]),
    "labels anchors": (keyed(labels_of, "anchors"), [*NOT_LISTS, INTEGERS], [ZEROS((0, 4))]),
    "labels gt": (keyed(labels_of, "gt_boxes"), [*NOT_LISTS, INTEGERS], [ZEROS((0, 4))]),
    "labels ignored": (keyed(labels_of, "ignored"), [*NOT_LISTS[:1], INTEGERS], [TWO, None]),
    "labels size": (keyed(labels_of, "image_size"), [(0, 4), (4, 0)], [(1, 1)]),
    "sampling": (keyed(rpn.SamplingConfig, "batch_size"), [0, -1], [1]),
    "sampling share": (keyed(rpn.SamplingConfig, "positive_fraction"), [-0.1, 1.1, NAN], [0, 1]),
    "targets anchors": (keyed(targets_of, "anchors"), [*NOT_LISTS, TWO[:1]], [TWO]),
    "targets gt": (keyed(targets_of, "gt_boxes"), NOT_LISTS, [ZEROS((0, 4)), TWO]),
    "targets matched": (keyed(targets_of, "matched_gt"), [ZEROS(1, int)], [ZEROS(2, int)]),
    "targets labels": (keyed(targets_of, "labels"), [LABELS[:1]], [LABELS]),
    "loss form": (keyed(rpn.LossConfig, "form"), ["mine"], ["paper", "released"]),
    "loss balance": (keyed(rpn.LossConfig, "balance"), [0, -1, NAN], [0.1]),
    "loss n_cls": (keyed(rpn.LossConfig, "n_cls"), [0, -1], [1]),
    "loss objectness": (keyed(loss, "objectness"), [ZEROS(2), ZEROS((3, 2))], [ZEROS((2, 1))]),
    "loss deltas": (keyed(loss, "deltas"), [ZEROS((2, 3)), ZEROS((3, 4))], [DELTAS]),
    "loss targets": (keyed(loss, "targets"), [ZEROS((2, 3)), ZEROS((3, 4))], [DELTAS]),
    "loss labels": (keyed(loss, "labels"), [LABELS[:1]], [LABELS]),
    "proposals pre_nms": (keyed(rpn.ProposalConfig, "pre_nms"), [0, -1], [1]),
    "proposals post_nms": (keyed(rpn.ProposalConfig, "post_nms"), [0, -1], [1]),
    "proposals threshold": (keyed(rpn.ProposalConfig, "iou_threshold"), [-0.1, 1.1, NAN], [0, 1]),
    "proposals min_size": (keyed(rpn.ProposalConfig, "min_size"), [-0.1, NAN], [0]),
    "propose anchors": (keyed(propose, "anchors"), [ZEROS((2, 5)), TWO[:1]], [TWO]),
    "propose deltas": (keyed(propose, "deltas"), [ZEROS((2, 5)), TWO[:1]], [DELTAS]),
    "propose objectness": (
        keyed(propose, "objectness"),
        [ZEROS((2, 3)), ZEROS((2, 0)), ZEROS((1, 2)), ZEROS(2)],
        [ZEROS((2, 1)), LOGITS],
    ),
    "head": (
        lambda c: rpn.RPNHead(1, 1, 1, classifier=c, rng=np.random.default_rng(0)),
        ["sigmoid"],
        ["softmax", "logistic"],
    ),
    "conv x": (
        keyed(conv, "x"),
        [X[0], X[:, :1], X.astype(int), X.astype(np.float32), X[:, :, :2]],
        [X],
    ),
    "conv weight": (
        keyed(conv, "weight"),
        [WEIGHT[0], WEIGHT[:, :1], ZEROS((3, 2, 5, 3))],
        [WEIGHT],
    ),
    "conv bias": (keyed(conv, "bias"), [BIAS[:2], ZEROS((3, 1)), BIAS.astype(np.float32)], [BIAS]),
    "conv stride": (keyed(conv, "stride"), BELOW_1, [1, 3, (1, 2)]),
    "conv padding": (keyed(conv, "padding"), [-1, (-1, 0), (0, -1), (1, 1, 1)], [0, (2, 0)]),
    "conv dy": (
        backward(nn.conv2d_forward, nn.conv2d_backward, X, WEIGHT, BIAS),
        [ZEROS((1, 3, 2, 2)), ZEROS((1, 2, 2, 3)), ZEROS((2, 3, 2, 3)), ZEROS((3, 2, 3))],
        [ZEROS((1, 3, 2, 3))],
    ),
    "conv out": (
        lambda out: conv2d_relu_forward(X, WEIGHT, BIAS, out=out),
        [ZEROS((1, 3, 2, 2)), ZEROS((1, 3, 2, 3), np.float32)],
        [ZEROS((1, 3, 2, 3))],
    ),
    "pool x": (
        lambda x: nn.max_pool2d_forward(x, kernel=2, stride=2),
        [X[0], X.astype(int), X[:, :, :1]],
        [X, X[:, :, :2]],
    ),
    "pool kernel": (
        lambda k: nn.max_pool2d_forward(X, kernel=k, stride=1),
        [*BELOW_1, 5, (5, 1)],
        [4, (4, 5)],
    ),
    "pool stride": (lambda s: nn.max_pool2d_forward(X, kernel=2, stride=s), BELOW_1, [1, (1, 9)]),
    "pool padding": (
        lambda p: nn.max_pool2d_forward(X, kernel=(2, 3), stride=1, padding=p),
        [-1, (2, 0), (0, 3)],
        [1, (1, 2), 0],
    ),
    "pool dy": (
        backward(nn.max_pool2d_forward, nn.max_pool2d_backward, X, kernel=2, stride=2),
        [ZEROS((1, 2, 2, 1)), ZEROS((2, 2, 2))],
        [ZEROS((1, 2, 2, 2))],
    ),
    "pool need_dx": (
        lambda need: backward(
            nn.max_pool2d_forward, nn.max_pool2d_backward, X, kernel=2, stride=2, need_dx=need
        )(ZEROS((1, 2, 2, 2))),
        [False],
        [True],
    ),
    "MaxPool2d stride": (lambda s: nn.MaxPool2d("p", kernel=1, stride=s), BELOW_1, [1]),
    "MaxPool2d kernel": (lambda k: nn.MaxPool2d("p", kernel=k, stride=1), BELOW_1, [1]),
    "MaxPool2d padding": (
        lambda p: nn.MaxPool2d("p", kernel=3, stride=1, padding=p),
        [-1, (0, -1)],
        [0],
    ),
    "Conv2d kernel": (lambda k: nn.Conv2d("c", 1, 1, kernel=k), BELOW_1, [1]),
    "Conv2d stride": (lambda s: nn.Conv2d("c", 1, 1, kernel=1, stride=s), BELOW_1, [1]),
    "Conv2d padding": (lambda p: nn.Conv2d("c", 1, 1, kernel=1, padding=p), [-1, (0, -1)], [0]),
    "conv_output_size": (
        lambda k: nn.conv_output_size((4, 5), k, padding=1),
        [*BELOW_1, 7, (1, 8)],
        [(6, 7)],
    ),
    "conv_output_size stride": (lambda s: nn.conv_output_size((4, 5), 1, s), BELOW_1, [1]),
    "conv_output_size padding": (lambda p: nn.conv_output_size((4, 5), 1, 1, p), [-1], [0]),
    "pool_output_size": (lambda k: nn.pool_output_size((4, 5), k, 1), [*BELOW_1, 5], [4]),
    "pool_output_size stride": (lambda s: nn.pool_output_size((4, 5), 1, s), BELOW_1, [1]),
    "pool_output_size padding": (
        lambda p: nn.pool_output_size((4, 5), (2, 3), 1, p),
        [-1, (2, 0), (0, 3)],
        [0, (1, 2)],
    ),
    "pair": (
        partial(pair, name="n", least=2),
        [1, (1, 2), (2, 1), (2,), (2, 2, 2)],
        [2, (2, 3), [2, 3]],
    ),
    "linear x": (
        lambda x: nn.linear_forward(x, ZEROS((4, 3)), ZEROS(4)),
        [ZEROS(3), ZEROS((2, 4))],
        [ZEROS((0, 3))],
    ),
    "linear weight": (
        lambda w: nn.linear_forward(ZEROS((2, 3)), w, ZEROS(4)),
        [ZEROS((3, 4))],
        [ZEROS((4, 3))],
    ),
    "linear bias": (
        lambda b: nn.linear_forward(ZEROS((2, 3)), ZEROS((4, 3)), b),
        [ZEROS(3), ZEROS((1, 4))],
        [ZEROS(4)],
    ),
    "linear dy": (
        backward(nn.linear_forward, nn.linear_backward, ZEROS((2, 3)), ZEROS((4, 3)), ZEROS(4)),
        [ZEROS((1, 4)), ZEROS((2, 3))],
        [ZEROS((2, 4))],
    ),
    "flatten": (nn.Flatten("f").forward, [ZEROS((2, 3)), ZEROS((1, 2, 3))], [X]),
    "concat dy": (
        backward(nn.concat_forward, nn.concat_backward, [X, X]),
        [X, ZEROS((1, 5, 4, 5))],
        [ZEROS((1, 4, 4, 5))],
    ),
    "sequential": (
        lambda names: nn.Sequential("s", [nn.ReLU(name) for name in names]),
        [["a", "a"], ["a", "b", "a"]],
        [["a", "b"], []],
    ),
    "lrn x": (nn.lrn_forward, [X[0], X.astype(int)], [X]),
    "lrn size": (lambda s: nn.lrn_forward(X, size=s), [0, -1, 2, 4], [1, 3]),
    "lrn dy": (backward(nn.lrn_forward, nn.lrn_backward, X), [X[0], X[:, :1]], [X]),
    "dropout x": (
        lambda x: nn.dropout_forward(x, probability=0.5, rng=np.random.default_rng(0)),
        [X.astype(int)],
        [X],
    ),
    "dropout probability": (
        lambda p: nn.dropout_forward(X, probability=p, rng=np.random.default_rng(0)),
        [-0.1, 1, 1.5, NAN],
        [0, 0.99],
    ),
    "dropout dy": (
        backward(
            nn.dropout_forward,
            nn.dropout_backward,
            X,
            probability=0.5,
            rng=np.random.default_rng(0),
        ),
        [X[0]],
        [X],
    ),
    "softmax logits": (
        keyed(softmax, "logits"),
        [ZEROS(2), ZEROS((3, 2)), ZEROS((2, 2), int)],
        [LOGITS],
    ),
    "softmax targets": (keyed(softmax, "targets"), [LABELS[:1], ZEROS((2, 1), int)], [LABELS]),
    "softmax weights": (keyed(softmax, "weights"), [ZEROS(1), ZEROS((2, 1))], [ZEROS(2)]),
    "sigmoid logits": (
        keyed(sigmoid, "logits"),
        [ZEROS((2, 1)), ZEROS(3), ZEROS(2, int)],
        [ZEROS(2)],
    ),
    "sigmoid targets": (keyed(sigmoid, "targets"), [ZEROS(1), ZEROS((2, 1))], [ZEROS(2)]),
    "sigmoid weights": (keyed(sigmoid, "weights"), [ZEROS(1), ZEROS((2, 1))], [ZEROS(2)]),
    "smooth l1": (nn.smooth_l1_forward, [ZEROS(2, int)], [ZEROS(()), ZEROS((2, 4))]),
    "roi features": (keyed(roi_pool, "features"), [X, ZEROS((1, 2, 2), int)], [X[0]]),
    "roi boxes": (keyed(roi_pool, "boxes"), [*NOT_LISTS, INTEGERS], [ZEROS((0, 4))]),
    "roi size": (keyed(roi_pool, "output_size"), BELOW_1, [1, (1, 2)]),
    "roi stride": (keyed(roi_pool, "stride"), [0, -1, NAN], [0.5]),
    "roi dy": (
        backward(nn.roi_pool_forward, nn.roi_pool_backward, X[0], TWO, output_size=2),
        [ZEROS((2, 2, 2, 1)), ZEROS((1, 2, 2, 2))],
        [ZEROS((2, 2, 2, 2))],
    ),
    "align features": (keyed(roi_align, "features"), [X, ZEROS((1, 2, 2), int)], [X[0]]),
    "align samples": (keyed(roi_align, "samples"), [0, -1], [1]),
    "align dy": (
        backward(nn.roi_align_forward, nn.roi_align_backward, X[0], TWO, output_size=2),
        [ZEROS((2, 2, 2, 1)), ZEROS((1, 2, 2, 2))],
        [ZEROS((2, 2, 2, 2))],
    ),
    "clip_gradients": (lambda most: nn.clip_gradients({"w": BIAS}, most), [0, -1, NAN], [0.1, INF]),
    "SGD rule": (lambda rule: nn.SGD([], rule=rule), ["adam"], ["caffe", "torch"]),
    "SGD names": (
        lambda names: nn.SGD([nn.Parameter(name, BIAS) for name in names]),
        [["a", "a"]],
        [["a", "b"]],
    ),
    "SGD grads": (
        lambda grads: nn.SGD([nn.Parameter("w", BIAS)]).step(grads, lr=0.1),
        [{}, {"v": BIAS}, {"w": BIAS[:2]}],
        [{"w": BIAS}, {"w": BIAS, "v": X}],
    ),
    "SGD velocity": (
        lambda velocity: nn.SGD([nn.Parameter("w", BIAS)]).load_state(velocity, steps=0),
        [{}, {"v": BIAS}, {"w": BIAS, "v": BIAS}, {"w": BIAS[:2]}],
        [{"w": BIAS}],
    ),
    "AdamW betas": (lambda beta: nn.AdamW([], betas=(beta, 0.9)), [-0.1, 1, NAN], [0, 0.999]),
    "AdamW how many betas": (
        lambda betas: nn.AdamW([], betas=betas),
        [(), (0.9,), (0.9, 0.9, 0.9)],
        [(0.9, 0.9)],
    ),
    "AdamW squares": (
        lambda squares: nn.AdamW([nn.Parameter("w", BIAS)]).load_state(
            {"w": BIAS}, squares, steps=0
        ),
        [{}, {"v": BIAS}, {"w": BIAS[:2]}],
        [{"w": BIAS}],
    ),
    "schedule lr": (lambda lr: nn.StepSchedule(lr, 9), [0, -1, NAN], [1e-9]),
    "schedule steps": (lambda steps: nn.StepSchedule(0.1, steps), [0, -1], [1]),
    "schedule drop_at": (lambda at: nn.StepSchedule(0.1, 9, at), [-0.1, 1.1, NAN], [0, 1]),
    "schedule factor": (lambda f: nn.StepSchedule(0.1, 9, 0.5, f), [0, -1, NAN], [1e-9]),
    "threads": (threads.set_threads, [0, -1], [threads.thread_count()]),
    "use": (lambda name: accel.use(name, "iou").__enter__(), ["", "strips"], []),
}
REFUSED = [pytest.param(row[0], value, id=name) for name, row in ROWS.items() for value in row[1]]
TAKEN = [pytest.param(row[0], value, id=name) for name, row in ROWS.items() for value in row[2]]


@pytest.mark.parametrize(("call", "value"), REFUSED)
def test_what_is_wrong_is_refused(call, value):
    with pytest.raises((ValueError, TypeError)) as raised:
        call(value)
    assert str(raised.value)


@pytest.mark.parametrize(("call", "value"), TAKEN)
def test_what_is_at_the_border_is_taken(call, value):
    call(value)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_refused_step_changes_nothing(steps):
    both = [nn.Parameter("a", np.ones(2)), nn.Parameter("b", np.ones(3))]
    optimizer = nn.SGD(both, in_place=True)
    with pytest.raises(ValueError, match="b"):
        optimizer.step({"a": np.ones(2), **({"b": np.ones(2)} if steps == 2 else {})}, lr=0.1)
    assert both[0].value.tolist() == [1, 1]
    assert not optimizer.velocity["a"].any()
