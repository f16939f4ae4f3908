"""Wrong answers to the exercises of chapter 04, as learners wrote them, and what must be said."""

import numpy as np

from minirpn import boxes


def labelled(
    anchors, gt_boxes, image_size, *, high=0.7, low=0.3, ties=True, best=True, start=-1, gt=True
):
    """Return the labels; each option is what somebody wrote in another way."""
    overlaps = boxes.iou(anchors, gt_boxes)
    inside = boxes.is_inside(anchors, image_size)
    labels = np.full(len(anchors), start)
    highest = overlaps.max(axis=1, initial=0) if gt else overlaps.max(axis=1)
    labels[inside & (highest < low)] = 0
    labels[inside & (highest >= high)] = 1
    for m in range(len(gt_boxes) if best else 0):
        mine = np.where(inside, overlaps[:, m], 0)
        if mine.max(initial=0) > 0:
            labels[mine == mine.max() if ties else np.argmax(mine)] = 1
    return labels


def strictly_higher(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, high=np.nextafter(0.7, 1))


def low_too_high(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, low=np.nextafter(0.3, 1))


def only_the_first_best(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, ties=False)


def no_first_rule(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, best=False)


def starts_with_zeros(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, start=0)


def nothing_between(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, low=0.7)


def fails_without_objects(anchors, gt_boxes, image_size):
    return labelled(anchors, gt_boxes, image_size, gt=False)


def negatives_last(anchors, gt_boxes, image_size):
    labels = labelled(anchors, gt_boxes, image_size)
    highest = boxes.iou(anchors, gt_boxes).max(axis=1, initial=0)
    labels[boxes.is_inside(anchors, image_size) & (highest < 0.3)] = 0
    return labels


def everywhere(anchors, gt_boxes, image_size):
    overlaps = boxes.iou(anchors, gt_boxes)
    labels = np.full(len(anchors), -1)
    highest = overlaps.max(axis=1, initial=0)
    labels[highest < 0.3] = 0
    for column in overlaps.T:
        labels[(column == column.max(initial=0)) & (column > 0)] = 1
    labels[highest >= 0.7] = 1
    return labels


def best_of_all(anchors, gt_boxes, image_size):
    overlaps = boxes.iou(anchors, gt_boxes)
    inside = boxes.is_inside(anchors, image_size)
    labels = labelled(anchors, gt_boxes, image_size, best=False)
    for column in overlaps.T:
        if column.max(initial=0) > 0:
            labels[inside & (column == column.max())] = 1
    return labels


def untouched_too(anchors, gt_boxes, image_size):
    overlaps = boxes.iou(anchors, gt_boxes)
    inside = boxes.is_inside(anchors, image_size)
    labels = labelled(anchors, gt_boxes, image_size, best=False)
    for column in overlaps.T:
        labels[inside & (column == column[inside].max(initial=0))] = 1
    return labels


def shares(labels, positives, negatives):
    return np.flatnonzero(labels == 1)[:positives], np.flatnonzero(labels == 0)[:negatives]


def joined(labels, positives, negatives, start=-1):
    drawn = np.full(len(labels), start)
    drawn[positives], drawn[negatives] = 1, 0
    return drawn


def some(indices, count, seed, replace=False):
    rng = np.random.default_rng(seed)
    return rng.choice(indices, count, replace=replace) if len(indices) > count else indices


def half_and_half(labels, seed):
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    return joined(labels, some(positives, 128, seed), some(negatives, 128, seed))


def all_positives(labels, seed):
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    return joined(labels, positives, some(negatives, max(256 - len(positives), 0), seed))


def too_many_negatives(labels, seed):
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    return joined(labels, some(positives, 128, seed), some(negatives, 256, seed))


def put_back(labels, seed):
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    positives = some(positives, 128, seed, replace=True)
    count = 256 - min(128, np.sum(labels == 1))
    return joined(labels, positives, some(negatives, count, seed, replace=True))


def balanced(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, seed)
    return joined(labels, positives, some(np.flatnonzero(labels == 0), len(positives), seed))


def first_ones(labels, seed):
    count = min(128, np.sum(labels == 1))
    return joined(labels, *shares(labels, 128, 256 - count))


def last_negatives(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, seed)
    return joined(labels, positives, np.flatnonzero(labels == 0)[-(256 - len(positives)) :])


def same_seed_always(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, 7)
    return joined(labels, positives, some(np.flatnonzero(labels == 0), 256 - len(positives), 7))


def no_seed(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, None)
    return joined(labels, positives, some(np.flatnonzero(labels == 0), 256 - len(positives), None))


def any_of_them(labels, seed):
    drawn = np.full(len(labels), -1)
    kept = some(np.arange(len(labels)), 256, seed)
    drawn[kept] = labels[kept]
    return drawn


def ignored_for_background(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, seed)
    return joined(labels, positives, some(np.flatnonzero(labels < 1), 256 - len(positives), seed))


def zeros_for_the_rest(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, seed)
    return joined(labels, positives, [], start=0)


def always_choice(labels, seed):
    rng = np.random.default_rng(seed)
    positives = rng.choice(np.flatnonzero(labels == 1), 128, replace=False)
    return joined(labels, positives, rng.choice(np.flatnonzero(labels == 0), 128, replace=False))


def in_place(labels, seed):
    rng = np.random.default_rng(seed)
    positives = rng.permutation(np.flatnonzero(labels == 1))
    negatives = rng.permutation(np.flatnonzero(labels == 0))
    labels[positives[128:]] = -1
    labels[negatives[256 - min(128, len(positives)) :]] = -1
    return labels


def indices(labels, seed):
    positives = some(np.flatnonzero(labels == 1), 128, seed)
    negatives = some(np.flatnonzero(labels == 0), 256 - len(positives), seed)
    return np.concatenate([positives, negatives])


WRONG = {
    "my_labels": [
        (strictly_higher, "exactly 0.7 is positive"),
        (low_too_high, "exactly 0.3 is not negative"),
        (only_the_first_best, "all of them are positive"),
        (no_first_rule, "Where is rule (i)"),
        (starts_with_zeros, "begin with -1"),
        (nothing_between, "ignored, not negative"),
        (fails_without_objects, "Without an object there is no maximum"),
        (negatives_last, "set the positives last"),
        (everywhere, "cross the border"),
        (best_of_all, "from those inside"),
        (untouched_too, "IoU must be > 0"),
    ],
    "my_sample": [
        (half_and_half, "not 128 of each"),
        (all_positives, "at most 128 positives"),
        (too_many_negatives, "Draw 256 in all"),
        (put_back, "replace=False"),
        (balanced, "not to as many as"),
        (first_ones, "Draw the positives at random: these are always the first ones"),
        (last_negatives, "Draw the negatives at random: these are always the last ones"),
        (same_seed_always, "use rng"),
        (no_seed, "all chance must come from rng"),
        (any_of_them, "expected 50 and 206"),
        (ignored_for_background, "An ignored anchor is never drawn"),
        (zeros_for_the_rest, "begin with -1 everywhere"),
        (always_choice, "take all"),
        (in_place, "changes its argument labels"),
        (indices, "a label for each anchor"),
    ],
}
