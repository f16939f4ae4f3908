"""Wrong average precision, right for a few scores from 0 to 1."""

import numpy as np

from minirpn.evaluation import AVERAGES, precision_recall


def average(method, scores, hits, positives):
    """Return the right one, for every dtype and layout."""
    scores, hits = np.array(scores, dtype=np.float64), np.array(hits, dtype=bool)
    return float(AVERAGES[method](precision_recall(scores, hits, positives)))


METHODS = {"eleven_point": "voc07", "area_under_curve": "area"}


def by_both(*mistakes):
    """Return each mistake made with both methods, by the names of their checks."""

    def made(mistake, method):
        def wrong(scores, hits, positives):
            return mistake(lambda *asked: average(method, *asked), scores, hits, positives)

        wrong.__name__ = f"{mistake.__name__}_{method}"
        return wrong

    return {name: [made(m, method) for m in mistakes] for name, method in METHODS.items()}


def right(ap, scores, hits, positives):
    return ap(scores, hits, positives)


def score_squared(ap, scores, hits, positives):  # negative scores
    return ap(np.asarray(scores) ** 2, hits, positives)


def score_from_zero(ap, scores, hits, positives):  # negative scores
    return ap(np.maximum(scores, 0), hits, positives)


def score_up_to_one(ap, scores, hits, positives):  # scores above 1
    return ap(np.minimum(scores, 1), hits, positives)


def score_in_hundredths(ap, scores, hits, positives):  # scores closer than 0.01
    return ap(np.round(scores, 2), hits, positives)


def hits_in_8_bits(ap, scores, hits, positives):  # more than 127 hits
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    counted = np.array(hits, dtype=bool)
    counted[order[np.cumsum(counted[order]) > 127]] = False
    return ap(scores, counted, positives)


def first_64(ap, scores, hits, positives):  # 65 answers
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")[:64]
    return ap(np.asarray(scores)[order], np.asarray(hits)[order], positives)


def single_scores(ap, scores, hits, positives):  # scores that differ by less than 1e-8
    return ap(np.float32(scores), hits, positives)


def few_objects(ap, scores, hits, positives):  # more than 20 objects
    return ap(scores, hits, max(min(positives, 20), int(np.sum(hits))))


def without_negative(ap, scores, hits, positives):  # negative scores
    kept = np.asarray(scores) >= 0
    return ap(np.asarray(scores)[kept], np.asarray(hits)[kept], positives)


def with_epsilon(ap, scores, hits, positives):  # any answers: 1e-6 is seen in float64
    return ap(scores, hits, positives) * (1 - 1e-6)


RIGHT = by_both(right)
LISTED = by_both(score_squared)
OWN = by_both(
    score_from_zero,
    score_up_to_one,
    score_in_hundredths,
    hits_in_8_bits,
    first_64,
    single_scores,
    few_objects,
    without_negative,
    with_epsilon,
)
