"""Average precision in several right styles, and in wrong ones that the checks do not know."""

from functools import wraps

import numpy as np

from minirpn.evaluation import AVERAGES, precision_recall


def outside(method, function):
    """Return the average by one method that a function of the method gives."""

    @wraps(function)
    def average(scores, hits, positives):
        return function(scores, hits, positives, method)

    return average


def library(scores, hits, positives, method):
    return AVERAGES[method](precision_recall(scores, hits, positives))


def loops(scores, hits, positives, method):
    points, before = [], None
    for score in sorted(scores, reverse=True):
        if score == before:
            continue
        before = score
        answers = [hits[k] for k in range(len(scores)) if scores[k] >= score]
        points.append((sum(answers) / positives, sum(answers) / len(answers)))
    if method == "voc07":
        total = 0.0
        for tenth in range(11):
            total += max((p for r, p in points if r >= tenth / 10), default=0.0)
        return total / 11
    area = recall = 0.0
    for place, (r, _) in enumerate(points):
        area += (r - recall) * max(p for _, p in points[place:])
        recall = r
    return area


def voc_kit(scores, hits, positives, method):
    """Return it as VOC's own kit does, with a point of its own before and behind the curve."""
    curve = precision_recall(scores, hits, positives)
    recall = np.concatenate([[0], curve.recall, [1]])
    precision = np.concatenate([[0], curve.precision, [0]])
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    if method == "area":
        steps = np.flatnonzero(np.diff(recall))
        return np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1])
    return np.mean([precision[recall >= tenth / 10].max() for tenth in range(11)])


def single(scores, hits, positives, method):
    return np.float32(library(scores, hits, positives, method))


def by_single_scores(scores, hits, positives, method):
    return library(scores.astype(np.float32), hits, positives, method)


def _counted(scores, hits, method, positives):
    return library(np.asarray(scores), np.asarray(hits), positives, method)


def mean_precision(scores, hits, positives, method):
    return precision_recall(scores, hits, positives).precision.mean()


def last_recall(scores, hits, positives, method):
    return precision_recall(scores, hits, positives).recall[-1]


def in_percent(scores, hits, positives, method):
    return 100 * library(scores, hits, positives, method)


def all_hits(scores, hits, positives, method):
    return _counted(scores, np.ones_like(hits), method, max(positives, len(hits)))


def one_object_more(scores, hits, positives, method):
    return _counted(scores, hits, method, positives + 1)


def sorts_in_place(scores, hits, positives, method):
    right = library(scores, hits, positives, method)
    scores.sort()
    return right


def without_the_last(scores, hits, positives, method):
    return _counted(scores[:-1], hits[:-1], method, positives)


_RIGHT = (library, loops, voc_kit, single, by_single_scores)
_WRONG = (
    mean_precision,
    last_recall,
    in_percent,
    all_hits,
    one_object_more,
    sorts_in_place,
    without_the_last,
)
NAMES = {"eleven_point": "voc07", "area_under_curve": "area"}
RIGHT = {name: [outside(m, f) for f in _RIGHT] for name, m in NAMES.items()}
WRONG = {name: [outside(m, f) for f in _WRONG] for name, m in NAMES.items()}
