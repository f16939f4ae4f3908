"""Wrong answers to the exercises of chapter 14, as learners wrote them, and what must be said."""

import numpy as np


def labels_without_plus_one(overlaps, gt_classes):
    best = overlaps.max(axis=1)
    labels = gt_classes[overlaps.argmax(axis=1)]
    return np.where(best >= 0.5, labels, np.where(best >= 0.1, 0, -1))


def labels_above(overlaps, gt_classes):
    best = overlaps.max(axis=1)
    labels = np.full(len(overlaps), -1)
    labels[best > 0.1] = 0
    labels[best > 0.5] = gt_classes[overlaps.argmax(axis=1)][best > 0.5] + 1
    return labels


def labels_above_a_half(overlaps, gt_classes):
    labels = []
    for row in overlaps:
        m = row.argmax()
        labels.append(gt_classes[m] + 1 if row[m] > 0.5 else 0 if row[m] >= 0.1 else -1)
    return labels


def labels_without_ignored(overlaps, gt_classes):
    return np.where(overlaps.max(axis=1) >= 0.5, gt_classes[overlaps.argmax(axis=1)] + 1, 0)


def labels_of_the_rpn(overlaps, gt_classes):
    best = overlaps.max(axis=1)
    labels = gt_classes[overlaps.argmax(axis=1)] + 1
    return np.where(best >= 0.7, labels, np.where(best >= 0.3, 0, -1))


def labels_of_the_last(overlaps, gt_classes):
    labels = np.where(overlaps.max(axis=1) >= 0.1, 0, -1)
    for r, m in np.argwhere(overlaps >= 0.5):
        labels[r] = gt_classes[m] + 1
    return labels


def labels_with_best(overlaps, gt_classes):
    best = overlaps.max(axis=1)
    labels = np.where(best >= 0.5, gt_classes[overlaps.argmax(axis=1)] + 1, 0)
    labels[best < 0.1] = -1
    for m in range(overlaps.shape[1]):
        labels[overlaps[:, m].argmax()] = gt_classes[m] + 1
    return labels


def slopes_of_the_rpn(w, r, d):
    return [(r * w - 1) * r, (r * w - 1) * w, (d * w - 2) * w]


def slopes_in_the_middle(w, r, d):
    return np.array([((r * w - 1) * r + (d * w - 2) * d) / 2, (r * w - 1) * w, (d * w - 2) * w])


def slopes_doubled(w, r, d):
    rpn, detector = 2 * (r * w - 1), 2 * (d * w - 2)
    return [rpn * r + detector * d, rpn * w, detector * w]


def slopes_down(w, r, d):
    rpn, detector = 1 - r * w, 2 - d * w
    return [rpn * r + detector * d, rpn * w, detector * w]


def slopes_of_errors(w, r, d):
    return [(r * w - 1) + (d * w - 2), r * w - 1, d * w - 2]


def has_learned(steps):
    return ["rpn" in set().union(*steps), "detector" in set().union(*steps)]


def strictly_later(steps):
    last = {part: n for n, learns in enumerate(steps) for part in learns}
    return [last.get(part, -1) > last.get("backbone", -1) for part in ("rpn", "detector")]


def never_learned_fits(steps):
    version, seen = 0, {}
    for learns in steps:
        version += "backbone" in learns
        for part in learns:
            seen[part] = version
    return [seen.get("rpn", version) == version, seen.get("detector", version) == version]


def only_the_last(steps):
    return ["rpn" in steps[-1], "detector" in steps[-1]]


def detector_first(steps):
    last = {part: n for n, learns in enumerate(steps) for part in learns}
    return [last.get(part, -1) >= last.get("backbone", 0) for part in ("detector", "rpn")]


WRONG = {
    "my_region_labels": [
        (labels_without_plus_one, "add 1"),
        (labels_above, "Both limits belong to what is above"),
        (labels_above_a_half, "exactly 0.5"),
        (labels_without_ignored, "its label is -1"),
        (labels_of_the_rpn, "limits of the RPN"),
        (labels_of_the_last, "overlaps most"),
        (labels_with_best, "no right of its own"),
    ],
    "my_slopes": [
        (slopes_of_the_rpn, "w is in both losses"),
        (slopes_in_the_middle, "added, not averaged"),
        (slopes_doubled, "no factor of 2"),
        (slopes_down, "The sign is wrong"),
        (slopes_of_errors, "what it is multiplied with"),
    ],
    "my_fits": [
        (has_learned, "not enough to have learned"),
        (strictly_later, ">=, not >"),
        (never_learned_fits, "never learned"),
        (only_the_last, "Look at all steps"),
        (detector_first, "The RPN comes first"),
    ],
}
