"""Wrong answers to the exercises of chapter 12, as learners wrote them, and what must be said."""

import numpy as np

from minirpn.lessons.parts import (
    encode,
    iou,
    labels,
    log_loss_slope,
    rpn_loss,
    sample,
    sgd,
    smooth_l1_slope,
)
from minirpn.lessons.small_network import backward, forward

# The slopes of the loss.


def all_anchors(objectness, deltas, labels, targets, locations):
    by_scores = log_loss_slope(objectness, np.maximum(labels, 0)) / 256
    by_deltas = smooth_l1_slope(deltas - targets) * (labels == 1)[:, None] * 10 / locations
    return by_scores, by_deltas


def boxes_of_negatives(objectness, deltas, labels, targets, locations):
    drawn = labels != -1
    by_scores, by_deltas = np.zeros_like(objectness), np.zeros_like(deltas)
    by_scores[drawn] = log_loss_slope(objectness[drawn], labels[drawn]) / 256
    by_deltas[drawn] = 10 / locations * smooth_l1_slope((deltas - targets)[drawn])
    return by_scores, by_deltas


def slopes(objectness, deltas, labels, targets, locations, n_cls=256, balance=10, sign=1):
    drawn, positive = labels != -1, labels == 1
    by_scores, by_deltas = np.zeros_like(objectness), np.zeros_like(deltas)
    by_scores[drawn] = log_loss_slope(objectness[drawn], labels[drawn]) / n_cls
    difference = sign * (deltas - targets)[positive]
    by_deltas[positive] = balance / locations * smooth_l1_slope(difference)
    return by_scores, by_deltas


def no_weights(objectness, deltas, labels, targets, locations):
    return slopes(objectness, deltas, labels, targets, locations, n_cls=1)


def no_balance(objectness, deltas, labels, targets, locations):
    return slopes(objectness, deltas, labels, targets, locations, balance=1)


def other_way_round(objectness, deltas, labels, targets, locations):
    return slopes(objectness, deltas, labels, targets, locations, sign=-1)


def swapped(objectness, deltas, labels, targets, locations):
    return slopes(objectness, deltas, labels, targets, locations)[::-1]


# The step.


def step(
    parameters,
    velocity,
    anchors,
    image,
    gt_boxes,
    lr,
    seed,
    *,
    draws=True,
    match=lambda overlaps: overlaps.argmax(axis=1),
    momentum=0.9,
    decay=0.0005,
    bias_rate=2,
    keeps_velocity=True,
    moves=True,
    sign=1,
):
    marked = labels(anchors, gt_boxes, image.shape[1:])
    marked = sample(marked, seed) if draws else marked
    targets = encode(anchors, gt_boxes[match(iou(anchors, gt_boxes))])
    objectness, deltas, cache = forward(parameters, image)
    locations = len(anchors) // 9
    loss = rpn_loss(objectness, deltas, marked, targets, locations)
    grads = backward(*slopes(objectness, deltas, marked, targets, locations), cache)
    for name in parameters if moves else ():
        rate = sign * lr * (bias_rate if name.endswith("bias") else 1)
        value, next_velocity = sgd(
            parameters[name], velocity[name], grads[name], rate, momentum, decay
        )
        parameters[name] = value
        if keeps_velocity:
            velocity[name] = next_velocity
    return loss


def without(**changes):
    def answer(parameters, velocity, anchors, image, gt_boxes, lr, seed):
        return step(parameters, velocity, anchors, image, gt_boxes, lr, seed, **changes)

    return answer


def loss_after(parameters, velocity, anchors, image, gt_boxes, lr, seed):
    step(parameters, velocity, anchors, image, gt_boxes, lr, seed)
    marked = sample(labels(anchors, gt_boxes, image.shape[1:]), seed)
    targets = encode(anchors, gt_boxes[iou(anchors, gt_boxes).argmax(axis=1)])
    objectness, deltas, _ = forward(parameters, image)
    return rpn_loss(objectness, deltas, marked, targets, len(anchors) // 9)


def size_turned(parameters, velocity, anchors, image, gt_boxes, lr, seed):
    return step(
        parameters, velocity, anchors, image.transpose(0, 2, 1), gt_boxes[:, [1, 0, 3, 2]], lr, seed
    )


# Recall.


def mean_of_means(proposals, gt_boxes, iou_threshold):
    shares = [
        (iou(found, objects).max(axis=0, initial=0) >= iou_threshold).mean()
        for found, objects in zip(proposals, gt_boxes, strict=True)
        if len(objects)
    ]
    return np.mean(shares)


def of_proposals(proposals, gt_boxes, iou_threshold):
    hits = [
        iou(found, objects).max(axis=1, initial=0) >= iou_threshold
        for found, objects in zip(proposals, gt_boxes, strict=True)
    ]
    return np.concatenate(hits).mean()


def strictly_more(proposals, gt_boxes, iou_threshold):
    hits = [
        iou(found, objects).max(axis=0, initial=0) > iou_threshold
        for found, objects in zip(proposals, gt_boxes, strict=True)
    ]
    return np.concatenate(hits).mean()


def counted(proposals, gt_boxes, iou_threshold):
    return sum(
        (iou(found, objects).max(axis=0, initial=0) >= iou_threshold).sum()
        for found, objects in zip(proposals, gt_boxes, strict=True)
    )


def any_pair(proposals, gt_boxes, iou_threshold):
    hits = total = 0
    for found, objects in zip(proposals, gt_boxes, strict=True):
        hits += (iou(found, objects) >= iou_threshold).sum()
        total += len(objects)
    return hits / total


def always_at_half(proposals, gt_boxes, iou_threshold):
    hits = [
        iou(found, objects).max(axis=0, initial=0) >= 0.5
        for found, objects in zip(proposals, gt_boxes, strict=True)
    ]
    return np.concatenate(hits).mean()


WRONG = {
    "my_slopes": [
        (all_anchors, "Ignored anchors have no slope"),
        (boxes_of_negatives, "Only positives have a box to learn"),
        (no_weights, "divided by 256"),
        (no_balance, "10 / locations"),
        (other_way_round, "deltas - targets"),
        (swapped, "by the scores first"),
    ],
    "my_training_step": [
        (without(draws=False), "Draw a sample"),
        (without(match=lambda overlaps: overlaps.argmax(axis=1) * 0), "overlaps most"),
        (without(match=lambda overlaps: overlaps.argmin(axis=1)), "overlaps most"),
        (without(momentum=0.0), "momentum"),
        (without(keeps_velocity=False), "velocity"),
        (without(decay=0.0), "weight decay"),
        (without(bias_rate=1), "twice the rate"),
        (without(sign=-1), "uphill"),
        (without(moves=False), "Nothing has moved"),
        (loss_after, "before the step"),
        (size_turned, "my_training_step"),
    ],
    "my_recall": [
        (mean_of_means, "Count the objects of all pictures together"),
        (of_proposals, "share of objects, not of proposals"),
        (strictly_more, ">= iou_threshold"),
        (counted, "divide by the number"),
        (any_pair, "once"),
        (always_at_half, "iou_threshold is an argument"),
    ],
}
