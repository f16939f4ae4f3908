"""The checks accept right functions of any style, reject wrong ones, know common mistakes."""

import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, settings

from minirpn import nn, testing
from minirpn.testing import (
    check_align,
    check_anchors,
    check_boxes,
    check_conv,
    check_cross_entropy,
    check_deltas,
    check_dense,
    check_head,
    check_labels,
    check_losses,
    check_optim,
    check_pool,
    check_precision,
    check_roi,
    check_suppression,
    examine,
    pictures,
)


def beside(name):
    """Return the module of this name in the folder of this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


implementations = beside("implementations")
implementations_boxes = beside("implementations_boxes")
implementations_head = beside("implementations_head")
implementations_layers = beside("implementations_layers")
implementations_losses = beside("implementations_losses")
implementations_precision = beside("implementations_precision")
TABLES = (
    implementations,
    implementations_boxes,
    implementations_head,
    implementations_layers,
    implementations_losses,
    implementations_precision,
)
RIGHT, WRONG = (
    {
        name: [one for table in tables for one in table.get(name, [])]
        for name in dict.fromkeys(name for table in tables for name in table)
    }
    for tables in ([table.RIGHT for table in TABLES], [table.WRONG for table in TABLES])
)

CHECKS = {
    "iou": testing.check_iou,
    "pair_iou": partial(testing.check_iou, pairwise=True),
    "encode": testing.check_encode,
    "decode": testing.check_decode,
    "encode_decode": testing.check_encode_decode,
    "bbox_transform_inv": testing.check_bbox_transform_inv,
    "limited_decode": partial(testing.check_decode, max_log_scale=2.5),
    "clip": testing.check_clip,
    "min_size": testing.check_min_size,
    "nms": testing.check_nms,
    "batched_nms": testing.check_batched_nms,
    "base_anchors": testing.check_base_anchors,
    "unrounded_base_anchors": partial(testing.check_base_anchors, rounding=None),
    "grid_anchors": testing.check_grid_anchors,
    "label_anchors": testing.check_label_anchors,
    "smooth_l1": testing.check_smooth_l1,
    "softmax_cross_entropy": testing.check_softmax_cross_entropy,
    "sigmoid_cross_entropy": testing.check_sigmoid_cross_entropy,
    "conv2d": testing.check_conv2d,
    "max_pool2d": testing.check_max_pool2d,
    "roi_pool": testing.check_roi_pool,
    "roi_align": testing.check_roi_align,
    "linear": testing.check_linear,
    "relu": testing.check_relu,
    "rpn_loss": testing.check_rpn_loss,
    "anchor_rows": testing.check_anchor_rows,
    "rpn_head": testing.check_rpn_head,
    "sgd_step": testing.check_sgd_step,
    "torch_sgd_step": partial(testing.check_sgd_step, rule="torch"),
    "eleven_point": testing.check_average_precision,
    "area_under_curve": partial(testing.check_average_precision, method="area"),
}


def of_pair(function):
    def pair(a, b):
        return function(a[None], b[None])[0, 0]

    return pair


def pair_of(order, size_of, gradients):
    """Return a function: a mistake -> the forward and the backward that are wrong as it is.

    The mistake is asked for both at once, with its arguments in this order.
    """

    def pair(mistake):
        def answers(question, dy):
            return mistake(*((question | {"dy": dy})[name] for name in order))

        def forward(*places, **options):
            names = [name for name in order if name not in ("dy", *options)]
            question = dict(zip(names, places, strict=True)) | options
            return answers(question, np.zeros(size_of(**question)))["y"], question

        def backward(dy, question):
            grads = tuple(answers(question, dy)[name] for name in gradients)
            return grads if len(grads) > 1 else grads[0]

        return forward, backward

    return pair


def conv_size(x, weight, bias, stride, padding):
    size = nn.conv_output_size(x.shape[2:], weight.shape[2:], stride, padding)
    return len(x), len(weight), *size


def pool_size(x, kernel, stride, padding, ceil_mode):
    size = nn.pool_output_size(x.shape[2:], kernel, stride, padding, ceil_mode)
    return *x.shape[:2], *size


def roi_size(features, boxes, output_size, **options):
    return len(boxes), len(features), *output_size


def linear_size(x, weight, bias):
    return len(x), len(weight)


conv_pair = pair_of(
    ("x", "weight", "bias", "dy", "stride", "padding"), conv_size, ("dx", "dweight", "dbias")
)
pool_pair = pair_of(("x", "dy", "kernel", "stride", "padding", "ceil_mode"), pool_size, ("dx",))
roi_pair = pair_of(("features", "boxes", "dy", "output_size", "stride"), roi_size, ("dfeatures",))
align_pair = pair_of(
    ("features", "boxes", "dy", "output_size", "stride", "samples", "aligned"),
    roi_size,
    ("dfeatures",),
)
linear_pair = pair_of(("x", "weight", "bias", "dy"), linear_size, ("dx", "dweight", "dbias"))
relu_pair = pair_of(("x", "dy"), lambda x: x.shape, ("dx",))


def head_pair(mistake):
    """Return the forward and the backward of a head that is wrong in one of them or in both."""

    def forward(features, weights):
        size = features.shape[2:]
        zeros = [
            np.zeros((len(features), len(weights[f"{name}.bias"]), *size))
            for name in check_head.LAYERS[1:]
        ]
        answers = mistake(features, weights, *zeros)
        return (answers["objectness"], answers["deltas"]), (features, weights)

    def backward(dobjectness, ddeltas, cache):
        return mistake(*cache, dobjectness, ddeltas)

    return forward, backward


def cases_of(mistakes, wrap=lambda mistake: (mistake,)):
    """Return each hint with the functions that it is for."""
    return [(hint, wrap(mistake)) for hint, mistake in mistakes.items()]


def slopes_after(value, mistakes):
    return cases_of(mistakes, lambda mistake: (value, mistake))


def mistakes_of(loss, epsilon):
    """Return the mistakes of a cross entropy, those with this epsilon among them."""
    values = cases_of(loss.mistakes("mean", -np.log(epsilon)))
    return values + slopes_after(loss.value("mean"), loss.gradient_mistakes("mean"))


OF_PAIRS = {hint: of_pair(mistake) for hint, mistake in check_boxes.PAIR_MISTAKES.items()}
MISTAKES = {
    "iou": cases_of(check_boxes.IOU_MISTAKES),
    "pair_iou": cases_of(OF_PAIRS),
    "encode": cases_of(check_deltas.ENCODE_MISTAKES),
    "decode": cases_of(check_deltas.DECODE_MISTAKES),
    "bbox_transform_inv": cases_of(
        {hint: check_deltas.of_classes(one) for hint, one in check_deltas.DECODE_MISTAKES.items()}
        | check_deltas.LAYOUT_MISTAKES
    ),
    "limited_decode": cases_of(
        check_deltas.exercise_of_decode(("anchors", "deltas"), 2.5, plus_one=False).mistakes
    ),
    "clip": cases_of(check_boxes.CLIP_MISTAKES),
    "min_size": cases_of(check_boxes.MIN_SIZE_MISTAKES),
    "nms": cases_of(check_suppression.NMS_MISTAKES),
    "batched_nms": cases_of(check_suppression.BATCHED_MISTAKES),
    "base_anchors": cases_of(check_anchors.BASE_MISTAKES["caffe"]),
    "unrounded_base_anchors": cases_of(check_anchors.BASE_MISTAKES[None]),
    "grid_anchors": cases_of(check_anchors.GRID_MISTAKES),
    "label_anchors": cases_of(check_labels.MISTAKES),
    "smooth_l1": cases_of(check_losses.SIGMA_MISTAKES)
    + slopes_after(check_losses._smooth_l1, check_losses.SIGMA_SLOPE_MISTAKES),
    "softmax_cross_entropy": mistakes_of(check_cross_entropy.SOFTMAX, 1e-7),
    "sigmoid_cross_entropy": mistakes_of(check_cross_entropy.SIGMOID, 1e-7),
    "conv2d": cases_of(check_conv.CONV2D_MISTAKES, conv_pair),
    "max_pool2d": cases_of(check_pool.MAX_POOL2D_MISTAKES, pool_pair),
    "roi_pool": cases_of(check_roi.ROI_POOL_MISTAKES, roi_pair),
    "roi_align": cases_of(check_align.ROI_ALIGN_MISTAKES, align_pair),
    "linear": cases_of(check_dense.LINEAR_MISTAKES, linear_pair),
    "relu": cases_of(check_dense.RELU_MISTAKES, relu_pair),
    "rpn_loss": cases_of(check_losses.RPN_LOSS_MISTAKES)
    + slopes_after(check_losses._rpn_loss, check_losses.RPN_LOSS_SLOPES_MISTAKES),
    "anchor_rows": cases_of(check_head.ROWS_MISTAKES),
    "rpn_head": cases_of(check_head.HEAD_MISTAKES, head_pair),
    "sgd_step": cases_of(check_optim.MISTAKES["caffe"]),
    "torch_sgd_step": cases_of(check_optim.MISTAKES["torch"]),
    "eleven_point": cases_of(check_precision.mistakes("voc07")),
    "area_under_curve": cases_of(check_precision.mistakes("area")),
}


def both(one):
    """Return a forward and its backward, or the one function, as a tuple."""
    return one if isinstance(one, tuple) else (one,)


def cases(table):
    return [
        pytest.param(name, both(one), id=f"{name}-{'-'.join(f.__name__ for f in both(one))}")
        for name, several in table.items()
        for one in several
    ]


def take_any_counterexample(patch):
    """Leave counterexamples as large as they are found: to make them small takes long."""

    def without_shrinking(**options):
        return settings(**options | {"phases": (Phase.generate,)})

    patch.setattr(examine, "settings", without_shrinking)
    patch.setattr(examine, "_passes", lambda check: False)  # options take long, too


def name_no_option(patch):
    """Do not look for an option of the check under which a function would be right."""
    patch.setattr(examine, "_passes", lambda check: False)


def give_hints_by_probes_alone(patch):
    """Let a hint be the same whatever the counterexample is."""
    hint_for = examine._hint

    def hint(function, exercise, counterexample):
        return hint_for(function, exercise, exercise.probes[0])

    patch.setattr(examine, "_hint", hint)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "functions"), cases(RIGHT))
def test_right_ones_are_accepted_in_any_style(name, functions):
    if "torch" in functions[0].__name__:
        pytest.importorskip("torch")
    assert CHECKS[name](*functions)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "functions"), cases(WRONG))
def test_wrong_ones_are_rejected(name, functions, monkeypatch):
    take_any_counterexample(monkeypatch)
    with pytest.raises(testing.CheckError, match=r"yours|expected"):
        CHECKS[name](*functions)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hint", "functions"),
    [
        pytest.param(name, hint, functions, id=f"{name}-{number}")
        for name, several in MISTAKES.items()
        for number, (hint, functions) in enumerate(several)
    ],
)
def test_common_mistakes_are_recognised(name, hint, functions, monkeypatch):
    name_no_option(monkeypatch)
    with monkeypatch.context() as patch:
        take_any_counterexample(patch)
        give_hints_by_probes_alone(patch)
        with pytest.raises(testing.CheckError) as caught:
            CHECKS[name](*functions)
    if caught.value.hint == hint:
        return  # and so it is with any counterexample
    with pytest.raises(testing.CheckError) as caught:
        CHECKS[name](*functions)
    assert caught.value.hint == hint


def test_every_check_knows_five_mistakes_and_rejects_five_others():
    assert all(len(mistakes) >= 5 for mistakes in MISTAKES.values())
    assert all(len(wrong) >= 5 for wrong in WRONG.values())


@pytest.mark.parametrize("name", CHECKS)
def test_an_unsolved_stub_is_open_and_no_error(name):
    def stub(*args, **kwargs):
        return ...

    verdict = CHECKS[name](*len(both(RIGHT[name][-1])) * [stub])
    assert not verdict
    assert "open" in repr(verdict)


def test_half_a_pair_is_open():
    verdict = testing.check_encode_decode(implementations.loops_encode, lambda *args: ...)
    assert not verdict


def test_the_counterexample_is_small_and_in_plain_words():
    with pytest.raises(testing.CheckError) as caught:
        testing.check_iou(check_boxes.IOU_MISTAKES["Did you count the shared area twice?"])
    assert str(caught.value) == (
        "your function: Did you count the shared area twice? For a = [[0, 0, 1, 1]], "
        "b = [[0, 0, 1, 1]]: yours gives 0.5, expected 1"
    )


def test_a_wrong_forward_alone_is_recognised():
    forward, _ = conv_pair(check_conv.CONV2D_MISTAKES[check_conv.NO_BIAS])
    with pytest.raises(testing.CheckError, match=r"Where is the bias\? For "):
        testing.check_conv2d(forward)


def test_the_message_says_what_a_function_raises_or_changes():
    def broken(a, b):
        raise RuntimeError("no idea")

    with pytest.raises(testing.CheckError, match="yours raises RuntimeError: no idea"):
        testing.check_iou(broken)
    with pytest.raises(testing.CheckError, match="yours changes its argument x"):
        testing.check_smooth_l1(implementations_losses.smooth_l1_in_place)


def test_a_function_that_changes_its_answers_is_noticed():
    rng = np.random.default_rng(0)

    def random_iou(a, b):
        return implementations.loops_iou(a, b) + (rng.random() < 0.2)

    with pytest.raises(testing.CheckError):
        testing.check_iou(random_iou)


def test_a_head_without_backward_is_checked_forward_alone():
    forward, _ = head_pair(check_head.HEAD_MISTAKES[check_head.NO_RELU])
    with pytest.raises(testing.CheckError, match=r"Where is the ReLU\? For "):
        testing.check_rpn_head(forward)


def test_a_head_in_halves_is_open():
    assert not testing.check_rpn_head(implementations_head.plain_head, lambda *asked: ...)
    assert not testing.check_rpn_head(lambda *asked: (..., None), lambda *asked: {})


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="expected one of caffe, torch, got 'adam'"):
        testing.check_sgd_step(implementations_losses.loops_sgd, rule="adam")


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="expected one of voc07, area, got 'coco'"):
        testing.check_average_precision(implementations_precision.loops, method="coco")


def test_equal_compares_call_by_call():
    def only_single(x):
        assert x.dtype == np.float32
        return x

    assert testing.check_equal(np.hypot, lambda a, b: (a * a + b * b) ** 0.5, (3.0, 4.0))
    assert not testing.check_equal(lambda x: ..., abs, (1.0,))
    assert testing.check_equal(lambda x: x.itemsize, lambda x: x.itemsize, (np.float32([1, 2]),))
    with pytest.raises(testing.CheckError, match="yours raises ZeroDivisionError"):
        testing.check_equal(lambda x: 1 / 0, only_single, (np.float32([1, 2]),))
    with pytest.raises(testing.CheckError, match="for x = -2: yours gives -2, expected 2"):
        testing.check_equal(lambda x: x, lambda x: abs(x), (1.0,), (-2.0,))


def test_guesses_are_put_beside_the_truth():
    assert testing.reveal(..., 7, "boxes").startswith("It is 7 boxes.")
    assert testing.reveal(7, 7.0) == "You guessed it: 7."
    assert testing.reveal("Yes ", "yes") == "You guessed it: yes."
    assert testing.reveal(8, 7, "boxes") == "You guessed 8; it is 7 boxes."


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_counterexample_can_be_drawn_boxes_without_area_too():
    question = {
        "anchors": np.array([[0.0, 0, 2, 2], [1, 1, 1, 1]]),
        "gt_boxes": np.zeros((0, 4)),
        "image_size": (4, 3),
    }
    ax = pictures.draw_boxes_of(question)
    assert [text.get_text() for text in ax.texts] == ["0", "1"]
    assert legend_of(ax) == ["image", "anchor", "anchor without area", "object"]
    assert ax.get_xlim() == (-1, 4)
    assert ax.get_ylim() == (5, -1)


@pytest.mark.parametrize(
    ("box", "center"),
    [((2, 3, 2, 3), (2, 3)), ((2, 1, 2, 5), (2, 3)), ((3, 4, 1, 2), (2, 3))],
    ids=["point", "line", "inside out"],
)
def test_a_box_without_area_is_seen(box, center):
    ax = pictures.draw_boxes_of({"box": np.array(box, dtype=float)})
    (cross,) = ax.lines
    assert tuple(np.ravel(cross.get_data())) == center
    assert legend_of(ax) == ["box without area"]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < min(box[::2]) <= max(box[::2]) < right
    assert top < min(box[1::2]) <= max(box[1::2]) < bottom


def test_equal_boxes_without_area_are_both_seen():
    ax = pictures.draw_boxes_of({"a": np.zeros((1, 4)), "b": np.zeros((1, 4))})
    first, second = ax.lines
    assert first.get_markersize() > second.get_markersize() > 0
    assert first.get_color() != second.get_color()


def test_a_question_without_boxes_can_be_drawn_and_a_large_one_has_room_around():
    ax = pictures.draw_boxes_of({"a": np.zeros((0, 4)), "b": np.zeros((0, 4))})
    assert ax.get_xlim() == (-1, 2)
    ax = pictures.draw_boxes_of({"a": np.array([[0.0, 0, 1000, 500]])})
    assert ax.get_xlim() == (-50, 1050)


def test_the_kit_runs_without_a_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with pytest.raises(testing.CheckError):
        testing.check_iou(check_boxes.IOU_MISTAKES[check_boxes.TRANSPOSED])
