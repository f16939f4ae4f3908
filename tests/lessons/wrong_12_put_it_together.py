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


def of_the_deltas(objectness, deltas, labels, targets, locations):
    return slopes(objectness, deltas, labels, 0 * targets, locations)


def only_positives(objectness, deltas, labels, targets, locations):
    by_scores, by_deltas = slopes(objectness, deltas, labels, targets, locations)
    by_scores[labels != 1] = 0
    return by_scores, by_deltas


def squared(objectness, deltas, labels, targets, locations):
    by_scores, _ = slopes(objectness, deltas, labels, targets, locations)
    return by_scores, (deltas - targets) * (labels == 1)[:, None] * 10 / locations


def scores_alone(objectness, deltas, labels, targets, locations):
    return slopes(objectness, deltas, labels, targets, locations)[0]


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
    size=lambda image: image.shape[1:],
    target=encode,
    count=lambda anchors: len(anchors) // 9,
    teaches_drawn=True,
    returns=True,
):
    every = labels(anchors, gt_boxes, size(image))
    marked = sample(every, seed) if draws else every
    targets = target(anchors, gt_boxes[match(iou(anchors, gt_boxes))])
    objectness, deltas, cache = forward(parameters, image)
    locations = count(anchors)
    loss = rpn_loss(objectness, deltas, marked, targets, locations)
    teaching = marked if teaches_drawn else every
    grads = backward(*slopes(objectness, deltas, teaching, targets, locations), cache)
    for name in parameters if moves else ():
        rate = sign * lr * (bias_rate if name.endswith("bias") else 1)
        value, next_velocity = sgd(
            parameters[name], velocity[name], grads[name], rate, momentum, decay
        )
        parameters[name] = value
        if keeps_velocity:
            velocity[name] = next_velocity
    return loss if returns else None


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


def no_decay_of_biases(parameters, velocity, anchors, image, gt_boxes, lr, seed):
    before = {name: 1 * value for name, value in parameters.items()}
    loss = step(parameters, velocity, anchors, image, gt_boxes, lr, seed)
    for name, value in before.items():
        if name.endswith(".bias"):
            parameters[name] = parameters[name] + 2 * lr * 0.0005 * value
            velocity[name] = velocity[name] - 2 * lr * 0.0005 * value
    return loss


def plain_descent(parameters, velocity, anchors, image, gt_boxes, lr, seed):
    return step(
        parameters, velocity, anchors, image, gt_boxes, lr, seed, momentum=0, decay=0, bias_rate=1
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


def mean_iou(proposals, gt_boxes, iou_threshold):
    best = [
        iou(found, objects).max(axis=0, initial=0)
        for found, objects in zip(proposals, gt_boxes, strict=True)
    ]
    return np.concatenate(best).mean()


def all_in_one(proposals, gt_boxes, iou_threshold):
    overlaps = iou(np.concatenate(proposals), np.concatenate(gt_boxes))
    return (overlaps.max(axis=0, initial=0) >= iou_threshold).mean()


def a_proposal(proposals, gt_boxes, iou_threshold):
    return counted(proposals, gt_boxes, iou_threshold) / sum(len(some) for some in proposals)


def a_picture(proposals, gt_boxes, iou_threshold):
    return counted(proposals, gt_boxes, iou_threshold) / len(proposals)


def of_each_object(proposals, gt_boxes, iou_threshold):
    return np.concatenate(
        [
            iou(objects, found).max(axis=1, initial=0) >= iou_threshold
            for found, objects in zip(proposals, gt_boxes, strict=True)
        ]
    )


WRONG = {
    "my_slopes": [
        (all_anchors, "Ignored anchors have no slope"),
        (boxes_of_negatives, "Only positives have a box to learn"),
        (no_weights, "divided by 256"),
        (no_balance, "10 / locations"),
        (other_way_round, "deltas - targets"),
        (swapped, "by the scores first"),
        (of_the_deltas, "where are the targets?"),
        (only_positives, "Negatives have slopes"),
        (squared, "Beyond 1 the slope of smooth L1"),
        (scores_alone, "return two arrays"),
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
        (without(size=lambda image: (image.shape[2], image.shape[1])), "(height, width)"),
        (without(size=lambda image: image.shape[:2]), "(3, height, width)"),
        (without(target=lambda anchors, objects: encode(objects, anchors)), "the anchors first"),
        (without(count=len), "A location is a cell"),
        (without(count=lambda anchors: 1), "the number of locations"),
        (without(teaches_drawn=False), "give the drawn labels to the slopes"),
        (without(returns=False), "return the loss"),
        (without(momentum=0.0, decay=0.0), "Momentum and weight decay"),
        (no_decay_of_biases, "Biases decay as weights do"),
        (plain_descent, "plain descent"),
    ],
    "my_recall": [
        (mean_of_means, "Count the objects of all pictures together"),
        (of_proposals, "share of objects, not of proposals"),
        (strictly_more, ">= iou_threshold"),
        (counted, "divide by the number"),
        (any_pair, "once"),
        (always_at_half, "iou_threshold is an argument"),
        (mean_iou, "Compare with iou_threshold"),
        (all_in_one, "its own picture"),
        (a_proposal, "not of proposals"),
        (a_picture, "not of pictures"),
        (of_each_object, "one number"),
    ],
}
