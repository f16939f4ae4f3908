"""Chapter 12 compares each part that a learner pastes with the library's; it names a wrong one."""

import inspect

import numpy as np
import pytest

from minirpn import boxes
from minirpn.lessons import parts
from minirpn.lessons.put_it_together import check_slots

SLOTS = {
    name: part
    for name, part in vars(parts).items()
    if inspect.isfunction(part) and part.__module__ == parts.__name__
}


def iou_of_mine(a, b):
    low, high = (
        np.maximum(a[:, None, :2], b[None, :, :2]),
        np.minimum(a[:, None, 2:], b[None, :, 2:]),
    )
    shared = np.maximum(high - low, 0).prod(axis=2)
    area_a, area_b = ((some[:, 2:] - some[:, :2]).prod(axis=1) for some in (a, b))
    return shared / (area_a[:, None] + area_b - shared)


def assert_named(capsys, name, wrong, mark="✗"):
    """Give a slot a wrong function: it alone is named, and the library's takes its place."""
    assert check_slots(**SLOTS | {name: wrong}) == SLOTS
    lines = [line for line in capsys.readouterr().out.splitlines() if line[0] != "✓"]
    assert len(lines) == 1
    assert lines[0].startswith(f"{mark} {name}: the library's takes its place")


def test_it_tells_whose_function_is_in_each_slot(capsys):
    assert check_slots(**SLOTS | {"iou": iou_of_mine}) == SLOTS | {"iou": iou_of_mine}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SLOTS)
    by_name = {line.split()[1]: line for line in lines}
    assert "yours" in by_name["iou"]
    assert "01, my_iou" in by_name["iou"]
    assert all("the library" in line for name, line in by_name.items() if name != "iou")


def nearly(name):
    """Return a function that is wrong in one number, or in one box."""

    def wrong(*arguments):
        result = SLOTS[name](*arguments)
        if isinstance(result, tuple):
            first, *others = result
            return (first + 0.01, *others)
        if np.asarray(result).dtype.kind in "iu":
            return result[::-1]
        return result * 1.01

    return wrong


@pytest.mark.parametrize("name", SLOTS)
def test_a_slot_with_a_wrong_function_is_named(name, capsys):
    assert_named(capsys, name, nearly(name))


def no_best(anchors, gt_boxes, image_size):
    marks = parts.labels(anchors, gt_boxes, image_size)
    marks[(marks == 1) & (parts.iou(anchors, gt_boxes).max(axis=1) < 0.7)] = -1
    return marks


def others_may_be_background(anchors, gt_boxes, image_size):
    marks, best = parts.labels(anchors, gt_boxes, image_size), parts.iou(anchors, gt_boxes)
    marks[(marks == -1) & boxes.is_inside(anchors, image_size) & (best.max(axis=1) < 0.5)] = 0
    return marks


def half_of_each(labels, seed):
    rng, drawn = np.random.default_rng(seed), np.full(len(labels), -1)
    for label in (0, 1):
        drawn[rng.permutation(np.flatnonzero(labels == label))[:128]] = label
    return drawn


def strictly_less(candidates, scores, iou_threshold):
    return parts.nms(candidates, scores, iou_threshold - 1e-9)


def any_size(anchors, objectness, deltas, image_size, min_size, count):
    return parts.candidates(anchors, objectness, deltas, image_size, 0, count)


def where_the_anchors_are(anchors, objectness, deltas, image_size, min_size, count):
    return parts.candidates(anchors, objectness, 0 * deltas, image_size, min_size, count)


def too_large_to_exp(objectness, labels):
    p = np.exp(objectness) / np.exp(objectness).sum(axis=1, keepdims=True)
    return p - np.eye(2)[labels]


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("labels", no_best),
        ("labels", others_may_be_background),
        ("sample", lambda labels, seed: labels),
        ("sample", half_of_each),
        ("nms", strictly_less),
        ("nms", lambda *arguments: np.sort(parts.nms(*arguments))),
        ("candidates", any_size),
        ("candidates", where_the_anchors_are),
        ("log_loss_slope", too_large_to_exp),
    ],
)
def test_a_slot_that_is_wrong_in_one_rule_only_is_named(name, wrong, capsys):
    assert_named(capsys, name, wrong)


def draws_in_another_order(labels, seed):
    rng, drawn = np.random.default_rng(seed + 1), np.full(len(labels), -1)
    chosen = rng.permutation(np.flatnonzero(labels == 1))[:128]
    others = rng.permutation(np.flatnonzero(labels == 0))[: 256 - len(chosen)]
    drawn[chosen], drawn[others] = 1, 0
    return drawn


def test_right_functions_of_another_kind_are_taken(capsys):
    mine = {
        "sample": draws_in_another_order,
        "nms": lambda *arguments: parts.nms(*arguments).tolist(),
        "conv_backward": lambda *arguments: list(parts.conv_backward(*arguments)),
    }
    check_slots(**SLOTS | mine)
    assert capsys.readouterr().out.count("yours") == len(mine)


@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.parametrize(("answer", "mark"), [(None, "✗"), (..., "○")])
def test_a_slot_with_an_empty_function_is_named(name, answer, mark, capsys):
    assert_named(capsys, name, lambda *arguments: answer, mark)


def test_a_forgotten_slot_is_named():
    with pytest.raises(TypeError, match="slots: nms on one side only"):
        check_slots(**{name: slot for name, slot in SLOTS.items() if name != "nms"})
