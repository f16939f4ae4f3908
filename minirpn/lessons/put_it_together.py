"""The checks of chapter 12: the learner's own parts, the slopes of the loss, a step, and recall."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minirpn.lessons import parts
from minirpn.lessons.label_anchors import counts_of
from minirpn.lessons.small_network import ANCHORS, Numbers, backward, first_parameters, forward
from minirpn.testing import CheckError, Verdict, check_equal
from minirpn.testing.check_boxes import rows

library = parts
"""What the chapter takes for a slot that nobody filled."""

# --- the slots ------------------------------------------------------------------------------------


def _calls() -> dict[str, list[tuple[Any, ...]]]:
    """Return for each part small calls that tell it from a wrong one.

    The checks of the chapters ask hundreds of questions: all sixteen took ten seconds on two busy
    cores, and these a hundredth of one.
    """
    rng = np.random.default_rng(0)
    some, others = (
        rows((0, 0, 4, 4), (2, 1, 8, 5)),
        rows((1, 1, 5, 6), (6, 0, 9, 9), (20, 20, 30, 30)),
    )
    base = rows((-8, -8, 24, 24), (0, -4, 16, 20))
    image, weight = rng.normal(size=(1, 2, 5, 7)), rng.normal(size=(3, 2, 3, 3))
    scores, marks = rng.normal(size=(3, 2)), np.array([0, 1, 1])
    deltas, targets = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)) * 2
    anchors = rows((0, 0, 20, 20), (10, 10, 30, 30), (0, 20, 20, 40), (30, 30, 60, 60))
    rising = np.array([[0.0, 1], [0, 3], [0, 2], [0, 0]])
    moved = rows((0.1, 0, 0, 0), (0, -0.2, 0.3, 0), (0, 0, 0, -2), (0, 0, 0.1, 0.1))
    ten, half = rows((0, 0, 10, 10)), rows((0, 0, 10, 10), (0, 0, 10, 5), (0, 0, 5, 5))
    cached = (image, weight, 2, 1)
    return {
        "iou": [(some, others), (some, np.zeros((0, 4)))],
        "base_anchors": [(16, (0.5, 1.0, 2.0), (2.0, 4.0))],
        "grid": [(base, (2, 3), 16)],
        "encode": [(some, others[:2])],
        "labels": [
            # The border, the best of an object, exactly 0.7 and 0.3, a tie, and no overlap at all.
            (rows((0, 0, 10, 10), (5, 0, 15, 10), (-1, 0, 9, 10)), ten, (10, 12)),
            (rows((0, 0, 10, 5), (0, 0, 10, 4), (20, 20, 30, 30)), ten, (50, 50)),
            (rows((0, 0, 10, 10), (0, 0, 7, 10), (0, 0, 6, 10), (0, 0, 10, 3)), ten, (50, 50)),
            (rows((0, 0, 5, 10), (5, 0, 10, 10), (20, 20, 30, 30)), ten, (50, 50)),
            (rows((0, 0, 10, 10)), rows((0, 0, 10, 10), (30, 30, 40, 40)), (50, 50)),
        ],
        "sample": [
            (np.array([1, 0, -1, 0]), 0),
            (np.repeat([0, 1, -1], (300, 3, 5)), 0),
            (np.repeat([1, 0, -1], (150, 200, 5)), 1),
        ],
        "log_loss_slope": [(scores, marks), (np.array([[1000.0, 0]]), np.array([1]))],
        "smooth_l1_slope": [(targets,)],
        "rpn_loss": [(scores, deltas, np.array([1, 0, -1]), targets, 3)],
        "conv": [(image, weight, np.arange(3.0), 2, 1), (image, weight, np.arange(3.0), 1, 0)],
        "conv_backward": [
            (rng.normal(size=(1, 3, 3, 4)), cached),
            (rng.normal(size=(1, 3, 3, 5)), (image, weight, 1, 0)),
        ],
        "relu_backward": [(deltas, np.maximum(targets, 0))],
        "anchor_rows": [(np.arange(24.0).reshape(1, 4, 2, 3), 2)],
        "candidates": [
            (anchors, rising, moved, (50, 50), 16, 2),
            (ten, ten[:, :2], ten, (9, 9), 16, 2),
        ],
        "nms": [
            (half, np.array([0.9, 0.8, 0.7]), 0.5),  # exactly 0.5 is not too much
            (half, np.array([0.9, 0.8, 0.7]), 0.4),  # the third meets only one that is struck out
            (half, np.array([0.1, 0.3, 0.2]), 0.5),
        ],
        "sgd": [(np.array([1.0, -2]), np.array([0.5, 0.1]), np.array([3.0, -1]), 0.1, 0.9, 0.01)],
    }


def _readable(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a slot with an answer that can be compared: one array of numbers."""

    @functools.wraps(function)
    def in_a_row(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if isinstance(result, tuple | list):
            return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in result])
        return result

    if name == "sample":
        return counts_of(function)  # chance says which ones are drawn
    return in_a_row if name in ("conv_backward", "sgd") else function


def check_slots(**slots: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Print whose function is in each slot, and whether it answers as the library's does.

    Parameters
    ----------
    slots
        The functions by the names of `minirpn.lessons.parts`, all of them.

    Returns
    -------
    dict
        The functions to train with, by name: in place of a wrong or an open one the library's,
        since training with it would lead nowhere.

    Raises
    ------
    TypeError
        A slot is missing, or there is none of that name.
    """
    calls = _calls()
    if set(slots) != set(calls):
        raise TypeError(f"slots: {', '.join(sorted(set(slots) ^ set(calls)))} on one side only")
    usable = {}
    for name, function in slots.items():
        usable[name] = library = getattr(parts, name)
        try:
            verdict = check_equal(_readable(name, function), _readable(name, library), *calls[name])
        except CheckError as error:
            print(f"✗ {name}: the library's takes its place. Not yet: {error}")
            continue
        if not verdict:
            print(f"○ {name}: the library's takes its place, because yours is open")
            continue
        usable[name] = function
        stands_for = (library.__doc__ or "").partition(":")[0]
        print(f"✓ {name:16} {'the library' if function is library else 'yours':12} {stands_for}")
    return usable


# What is told of an answer of another kind: a line of the check is shown behind it.
_TWO_ARRAYS = "return two arrays, by objectness and by deltas"
_THE_LOSS = "return the loss, one number"

# --- the slopes of the loss -----------------------------------------------------------------------


def slopes(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the slopes of the loss by objectness (K, 2) and by deltas (K, 4)."""
    by_scores, by_deltas = np.zeros_like(objectness), np.zeros_like(deltas)
    drawn, positive = labels != -1, labels == 1
    by_scores[drawn] = parts.log_loss_slope(objectness[drawn], labels[drawn]) / 256
    difference = (deltas - targets)[positive]
    by_deltas[positive] = parts.smooth_l1_slope(difference) * 10 / locations
    return by_scores, by_deltas


def _slopes(
    objectness: np.ndarray,
    deltas: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    locations: int,
    *,
    n_cls: float = 256,
    balance: float = 10,
    sign: int = 1,
    drawn: Callable[[np.ndarray], np.ndarray] = lambda labels: labels != -1,
    learning: Callable[[np.ndarray], np.ndarray] = lambda labels: labels == 1,
    slope: Callable[[np.ndarray], np.ndarray] = parts.smooth_l1_slope,
) -> tuple[np.ndarray, np.ndarray]:
    by_scores, by_deltas = np.zeros_like(objectness), np.zeros_like(deltas)
    chosen, positive = drawn(labels), learning(labels)
    marks = np.maximum(labels[chosen], 0)
    by_scores[chosen] = parts.log_loss_slope(objectness[chosen], marks) / n_cls
    difference = sign * (deltas - targets)[positive]
    by_deltas[positive] = slope(difference) * balance / locations
    return by_scores, by_deltas


def _check_slopes(f: Callable[..., Any]) -> Verdict:
    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def by_name(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if result is ...:
                return ...
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise TypeError(_TWO_ARRAYS)
            if any(part is ... for part in result):
                return ...
            return dict(zip(("by objectness", "by deltas"), result, strict=True))

        return by_name

    def all_anchors(labels: np.ndarray) -> np.ndarray:
        return np.ones(len(labels), dtype=bool)

    def without_targets(
        objectness: np.ndarray,
        deltas: np.ndarray,
        labels: np.ndarray,
        targets: np.ndarray,
        locations: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        return _slopes(objectness, deltas, labels, np.zeros_like(targets), locations)

    wrong = functools.partial(functools.partial, _slopes)
    mistakes: dict[str, Callable[..., Any]] = {
        "Ignored anchors have no slope: only those with label 0 or 1 count.": wrong(
            drawn=all_anchors
        ),
        "Only positives have a box to learn.": wrong(learning=lambda labels: labels != -1),
        "No box has a slope here: positives have the label 1.": wrong(
            learning=lambda labels: labels == 0
        ),
        "The slope by the scores is divided by 256, as their loss is.": wrong(n_cls=1),
        "Negatives have slopes by their scores, too.": wrong(drawn=lambda labels: labels == 1),
        "The weight of the boxes is 10 / locations: is the 10 there?": wrong(balance=1),
        "Beyond 1 the slope of smooth L1 is 1 or -1.": wrong(slope=lambda x: x),
        "The slope of the boxes is taken at deltas - targets: where are the targets?": (
            without_targets
        ),
        "The slope of smooth L1 is that of deltas - targets.": wrong(sign=-1),
        "The slope by the scores first, then the one by the deltas.": lambda *arguments: _slopes(
            *arguments
        )[::-1],
    }
    rng = np.random.default_rng(1)
    one = (
        np.zeros((2, 2)),
        rows((0.1, 0.1, 0.1, 0.1), (0, 0, 0, 0)),
        np.array([1, -1]),
        rows((0.5, 0, 2, -1), (1, 1, 1, 1)),
        2,
    )
    three = (
        rng.normal(size=(3, 2)),
        np.zeros((3, 4)),
        np.array([0, 1, -1]),
        rng.normal(size=(3, 4)),
        4,
    )
    negatives = np.zeros((2, 2)), np.ones((2, 4)), np.array([0, -1]), np.zeros((2, 4)), 1
    reference = named(slopes)
    return check_equal(
        named(f),
        reference,
        one,
        three,
        negatives,
        mistakes={k: named(m) for k, m in mistakes.items()},
    )


# --- a step ---------------------------------------------------------------------------------------


def training_step(
    parameters: Numbers,
    velocity: Numbers,
    anchors: np.ndarray,
    image: np.ndarray,
    gt_boxes: np.ndarray,
    lr: float,
    seed: int,
) -> float:
    """Take a step: change parameters and velocity, and return the loss before it."""
    labels = parts.sample(parts.labels(anchors, gt_boxes, image.shape[1:]), seed)
    targets = parts.encode(anchors, gt_boxes[parts.iou(anchors, gt_boxes).argmax(axis=1)])
    objectness, deltas, cache = forward(parameters, image)
    answer = objectness, deltas, labels, targets, len(anchors) // ANCHORS
    loss, grads = parts.rpn_loss(*answer), backward(*slopes(*answer), cache)
    for name, value in parameters.items():
        rate = 2 * lr if name.endswith("bias") else lr
        moved = parts.sgd(value, velocity[name], grads[name], rate, 0.9, 0.0005)
        parameters[name], velocity[name] = moved
    return loss


def _step(
    parameters: Numbers,
    velocity: Numbers,
    anchors: np.ndarray,
    image: np.ndarray,
    gt_boxes: np.ndarray,
    lr: float,
    seed: int,
    *,
    draw: Callable[[np.ndarray, int], np.ndarray] = parts.sample,
    match: Callable[[np.ndarray], np.ndarray] = lambda overlaps: overlaps.argmax(axis=1),
    momentum: float = 0.9,
    decay: float = 0.0005,
    bias_rate: float = 2,
    bias_decay: bool = True,
    keep: bool = True,
    move: bool = True,
    encode: Callable[[np.ndarray, np.ndarray], np.ndarray] = parts.encode,
    locations_of: Callable[[int], int] = lambda anchors: anchors // ANCHORS,
    size_of: Callable[[np.ndarray], tuple[int, int]] = lambda image: image.shape[1:],
    teach: bool = True,
) -> float:
    all_labels = parts.labels(anchors, gt_boxes, size_of(image))
    marks = draw(all_labels, seed)
    targets = encode(anchors, gt_boxes[match(parts.iou(anchors, gt_boxes))])
    objectness, deltas, cache = forward(parameters, image)
    locations = locations_of(len(anchors))
    loss = parts.rpn_loss(objectness, deltas, marks, targets, locations)
    taught = marks if teach else all_labels
    grads = backward(*slopes(objectness, deltas, taught, targets, locations), cache)
    for name in parameters if move else ():
        rate, weight_decay = lr, decay
        if name.endswith("bias"):
            rate, weight_decay = bias_rate * lr, decay if bias_decay else 0.0
        parameters[name], then = parts.sgd(
            parameters[name], velocity[name], grads[name], rate, momentum, weight_decay
        )
        if keep:
            velocity[name] = then
    return loss


def _walk(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes steps on one picture of noise, and tells what has changed."""

    def walk(gt_boxes: np.ndarray, image_size: tuple[int, int], lr: float, steps: int) -> Any:
        height, width = image_size
        base = parts.base_anchors(16, (0.5, 1.0, 2.0), (1.0, 1.5, 2.0))
        anchors = parts.grid(base, (height // 16, width // 16), 16)
        image = np.random.default_rng(0).normal(size=(3, height, width))
        # In float64, so that rounding tells nothing. Equal scores: any draw has the same loss.
        parameters = {name: value.astype(float) for name, value in first_parameters(0).items()}
        parameters["rpn.objectness.weight"][:] = 0
        velocity = {name: np.zeros_like(value) for name, value in parameters.items()}
        losses = []
        for seed in range(steps):
            loss = step(parameters, velocity, anchors, image.copy(), gt_boxes.copy(), lr, seed)
            if loss is ...:
                return ...
            if np.ndim(loss) or not isinstance(loss, float | int | np.number):
                raise TypeError(_THE_LOSS)
            losses.append(loss)
        if steps == 1:
            # Only so many of the labels are drawn here. Of the scores' biases, this sum tells how
            # many have taught, whichever they are.
            biases = velocity["rpn.objectness.bias"].reshape(ANCHORS, 2).sum(axis=0)
            return {"loss": np.array(losses), "velocity of the scores' biases": biases}
        return {
            "loss": np.array(losses),
            "velocity": _summary(velocity),
            "parameters": _summary(parameters),
        }

    walk.__name__ = str(getattr(step, "__name__", "a step"))
    return walk


def _summary(numbers: Numbers) -> np.ndarray:
    """Return two numbers of every array, which no small change leaves as they are."""
    weighted = [
        value * np.cos(np.arange(value.size)).reshape(value.shape) for value in numbers.values()
    ]
    return np.array([[array.sum(), np.abs(array).sum()] for array in weighted])


def _check_step(f: Callable[..., Any]) -> Verdict:
    wrong = functools.partial(functools.partial, _step)

    def later(
        parameters: Numbers, velocity: Numbers, anchors: np.ndarray, image: np.ndarray,
        gt_boxes: np.ndarray, lr: float, seed: int,
    ) -> float:  # fmt: skip
        _step(parameters, velocity, anchors, image, gt_boxes, lr, seed)
        copies = dict(parameters), dict(velocity)
        return _step(*copies, anchors, image, gt_boxes, lr, seed)

    def uphill(
        parameters: Numbers, velocity: Numbers, anchors: np.ndarray, image: np.ndarray,
        gt_boxes: np.ndarray, lr: float, seed: int,
    ) -> float:  # fmt: skip
        return _step(parameters, velocity, anchors, image, gt_boxes, -lr, seed)

    mistakes: dict[str, Callable[..., Any]] = {
        "Draw a sample of the labels before you use them.": wrong(draw=lambda labels, seed: labels),
        "The target of an anchor is the object that it overlaps most: argmax, axis 1.": wrong(
            match=lambda overlaps: np.zeros(len(overlaps), dtype=int)
        ),
        "The target of an anchor is the one it overlaps most, not least.": wrong(
            match=lambda overlaps: overlaps.argmin(axis=1)
        ),
        "encode takes the anchors first, then the objects.": wrong(
            encode=lambda anchors, objects: parts.encode(objects, anchors)
        ),
        "A location is a cell, with 9 anchors: len(anchors) // 9 locations.": wrong(
            locations_of=lambda anchors: anchors
        ),
        "The loss wants the number of locations: len(anchors) // 9.": wrong(
            locations_of=lambda anchors: 1
        ),
        "The size is (height, width), image.shape[1:].": wrong(
            size_of=lambda image: image.shape[:0:-1]
        ),
        "The size is image.shape[1:]: the image is (3, height, width).": wrong(
            size_of=lambda image: image.shape[:2]
        ),
        "Only the drawn anchors teach: give the drawn labels to the slopes, too.": wrong(
            teach=False
        ),
        "This is plain descent: sgd has momentum and weight decay.": wrong(
            momentum=0.0, decay=0.0, bias_rate=1
        ),
        "Momentum and weight decay: does sgd get them?": wrong(momentum=0.0, decay=0.0),
        "Biases decay as weights do.": wrong(bias_decay=False),
        "Where is the momentum, 0.9?": wrong(momentum=0.0),
        "Keep the new velocity: it is the next step's.": wrong(keep=False),
        "Where is the weight decay, 0.0005?": wrong(decay=0.0),
        "Biases learn at twice the rate.": wrong(bias_rate=1),
        "Nothing has moved: write the new values into parameters and velocity.": wrong(move=False),
        "This walks uphill: what is the sign of the rate?": uphill,
        "Return the loss before the step, not after it.": later,
    }
    two = rows((4, 4, 28, 30), (30, 20, 62, 60))
    calls = ((two, (64, 64), 0.05, 3), (two[:1], (64, 48), 0.1, 2), (two, (128, 160), 0.05, 1))
    walks = {hint: _walk(mistake) for hint, mistake in mistakes.items()}
    reference = _walk(training_step)
    return check_equal(_walk(f), reference, *calls, mistakes=walks)


# --- recall ---------------------------------------------------------------------------------------


def recall(proposals: list[np.ndarray], gt_boxes: list[np.ndarray], iou_threshold: float) -> float:
    """Return the share of the objects of all pictures that some proposal of their picture finds."""
    return float(np.concatenate(_found(proposals, gt_boxes, iou_threshold)).mean())


def _found(proposals: Any, gt_boxes: Any, iou_threshold: float, axis: int = 0) -> list[np.ndarray]:
    return [
        parts.iou(some, objects).max(axis=axis, initial=0) >= iou_threshold
        for some, objects in zip(proposals, gt_boxes, strict=True)
    ]


def _check_recall(f: Callable[..., Any]) -> Verdict:
    def pairs(proposals: Any, gt_boxes: Any, iou_threshold: float) -> float:
        hits = [
            (parts.iou(some, objects) >= iou_threshold).sum()
            for some, objects in zip(proposals, gt_boxes, strict=True)
        ]
        return sum(hits) / sum(map(len, gt_boxes))

    mistakes = {
        "Compare with iou_threshold first: an object is found, or not.": (
            lambda p, g, t: np.concatenate(
                [parts.iou(a, b).max(axis=0, initial=0) for a, b in zip(p, g, strict=True)]
            ).mean()
        ),
        "A proposal only finds objects of its own picture.": lambda p, g, t: recall(
            [np.concatenate(p)], [np.concatenate(g)], t
        ),
        "Divide by the number of objects, not of proposals.": (
            lambda p, g, t: np.concatenate(_found(p, g, t)).sum() / sum(map(len, p))
        ),
        "Divide by the number of objects, not of pictures.": (
            lambda p, g, t: np.concatenate(_found(p, g, t)).sum() / len(g)
        ),
        "Return one number for all pictures: the mean.": lambda *a: np.concatenate(_found(*a)),
        "Return one number, not one a picture.": (
            lambda *a: np.array([one.mean() if len(one) else np.nan for one in _found(*a)])
        ),
        "Count the objects of all pictures together: not a mean over pictures.": (
            lambda *a: np.mean([one.mean() for one in _found(*a) if len(one)])
        ),
        "It is the share of objects, not of proposals: the maximum over the other axis.": (
            lambda *a: np.concatenate(_found(a[0], a[1], a[2], axis=1)).mean()
        ),
        "An IoU of exactly the threshold counts: >= iou_threshold.": lambda p, g, t: recall(
            p, g, t + 1e-9
        ),
        "That is a count: divide by the number of objects.": (
            lambda *a: np.concatenate(_found(*a)).sum()
        ),
        "An object counts once, however many proposals find it.": pairs,
        "iou_threshold is an argument: it is not always 0.5.": lambda p, g, t: recall(p, g, 0.5),
    }
    box, half, far = rows((0, 0, 4, 4)), rows((0, 0, 4, 2)), rows((9, 9, 12, 12))
    none = np.zeros((0, 4))
    calls = (
        (half, box, none, none, 0.5),
        (half, box, none, none, 0.7),
        (np.concatenate([box, box, far]), box, none, none, 0.5),
        (box, box, far, np.concatenate([box, far, half]), 0.5),
        (none, box, box, none, 0.5),
    )
    return check_equal(
        _on_two_pictures(f),
        _on_two_pictures(recall),
        *calls,
        mistakes={hint: _on_two_pictures(mistake) for hint, mistake in mistakes.items()},
    )


def _on_two_pictures(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the arrays of two pictures: no message can print a list of arrays."""

    def ask(
        found_1: np.ndarray,
        objects_1: np.ndarray,
        found_2: np.ndarray,
        objects_2: np.ndarray,
        iou_threshold: float,
    ) -> Any:
        return f([found_1, found_2], [objects_1, objects_2], iou_threshold)

    ask.__name__ = str(getattr(f, "__name__", "recall"))
    return ask


CHECKS = {"my_slopes": _check_slopes, "my_training_step": _check_step, "my_recall": _check_recall}
