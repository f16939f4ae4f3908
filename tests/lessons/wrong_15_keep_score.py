"""Wrong answers to the exercises of chapter 15, as learners wrote them, and what must be said."""

import numpy as np

from minirpn import boxes
from minirpn.evaluation.average_precision import FALSE_POSITIVE, HIT, IGNORED


def in_list_order(iou, scores, difficult):
    outcomes, taken = [], set()
    for row in iou:
        if len(row) == 0 or max(row) < 0.5:
            outcomes.append(FALSE_POSITIVE)
            continue
        m = int(np.argmax(row))
        if difficult[m]:
            outcomes.append(IGNORED)
        elif m in taken:
            outcomes.append(FALSE_POSITIVE)
        else:
            outcomes.append(HIT)
            taken.add(m)
    return np.array(outcomes)


def more_than_half(iou, scores, difficult):
    outcomes, taken = np.full(len(scores), FALSE_POSITIVE), []
    for d in sorted(range(len(scores)), key=lambda d: -scores[d]):
        if iou.shape[1] and iou[d].max() > 0.5:
            m = iou[d].argmax()
            outcomes[d] = IGNORED if difficult[m] else FALSE_POSITIVE if m in taken else HIT
            taken.append(m)
    return outcomes


def found_again(iou, scores, difficult):
    best = iou.max(axis=1, initial=0)
    outcomes = np.where(best >= 0.5, HIT, FALSE_POSITIVE)
    for d in range(len(scores)):
        if best[d] >= 0.5 and difficult[iou[d].argmax()]:
            outcomes[d] = IGNORED
    return outcomes


def no_rule_for_difficult(iou, scores, difficult):
    outcomes, taken = np.full(len(scores), FALSE_POSITIVE), []
    for d in np.argsort(-scores, kind="stable"):
        if iou.shape[1] and iou[d].max() >= 0.5 and iou[d].argmax() not in taken:
            outcomes[d] = HIT
            taken.append(iou[d].argmax())
    return outcomes


def fails_without_objects(iou, scores, difficult):
    outcomes, taken = np.full(len(scores), FALSE_POSITIVE), []
    for d in np.argsort(-scores, kind="stable"):
        if iou[d].max() >= 0.5:
            m = iou[d].argmax()
            outcomes[d] = IGNORED if difficult[m] else FALSE_POSITIVE if m in taken else HIT
            taken.append(m)
    return outcomes


def swapped(hits, positives):
    found = np.cumsum(hits)
    return found / positives, found / np.arange(1, len(hits) + 1)


def each_alone(hits, positives):
    hits = np.array(hits)
    return hits / np.arange(1, len(hits) + 1), hits / positives


def by_all(hits, positives):
    found = np.cumsum(hits)
    return found / len(hits), found / positives


def points(hits, positives):
    found = np.cumsum(np.array(hits, dtype=float))
    return found / np.arange(1, len(hits) + 1), found / positives


def more_than_r(hits, positives):
    precision, recall = points(hits, positives)
    return np.mean([precision[recall > t / 10].max(initial=0) for t in range(11)])


def first_not_best(hits, positives):
    precision, recall = points(hits, positives)
    heights = [precision[recall >= t / 10] for t in range(11)]
    return np.mean([height[0] if len(height) else 0 for height in heights])


def ten_points(hits, positives):
    precision, recall = points(hits, positives)
    return np.mean([precision[recall >= t / 10].max(initial=0) for t in range(1, 11)])


def steps_of_a_tenth(hits, positives):
    precision, recall = points(hits, positives)
    return np.mean([precision[recall >= r].max(initial=0) for r in np.arange(0, 1.1, 0.1)])


def zigzag(hits, positives):
    precision, recall = points(hits, positives)
    return (np.diff(recall, prepend=0) * precision).sum()


def slopes(hits, positives):
    precision, recall = points(hits, positives)
    return np.trapezoid(precision, recall)


def first_left_out(hits, positives):
    precision, recall = points(hits, positives)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return (np.diff(recall) * best[1:]).sum()


def strict(proposals, gt_boxes, thresholds):
    best = boxes.iou(proposals, gt_boxes).max(axis=0)
    return [(best > t).mean() for t in thresholds]


def of_proposals(proposals, gt_boxes, thresholds):
    best = boxes.iou(proposals, gt_boxes).max(axis=1)
    return [(best >= t).mean() for t in thresholds]


def count(proposals, gt_boxes, thresholds):
    best = boxes.iou(proposals, gt_boxes).max(axis=0)
    return [(best >= t).sum() for t in thresholds]


WRONG = {
    "my_outcomes": [
        (in_list_order, "Begin with the highest score"),
        (more_than_half, ">=, not >"),
        (found_again, "only once"),
        (no_rule_for_difficult, "is ignored: it is no hit"),
        (fails_without_objects, "yours raises ValueError"),
    ],
    "my_curve": [
        (swapped, "precision first, then recall"),
        (each_alone, "all hits so far"),
        (by_all, "by the detections so far"),
    ],
    "my_eleven_point": [
        (more_than_r, ">=, not >"),
        (first_not_best, "not the first one"),
        (ten_points, "0 is one of them"),
        (steps_of_a_tenth, "tenth / 10"),
    ],
    "my_area": [
        (zigzag, "the envelope never rises"),
        (slopes, "no slopes"),
        (first_left_out, "begins at recall 0"),
    ],
    "my_recalls": [
        (strict, ">=, not >"),
        (of_proposals, "over axis 0"),
        (count, "not how many they are"),
    ],
}
