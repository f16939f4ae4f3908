"""Losses, steps of SGD and average precision as strangers write them."""

import math
from functools import partial

import numpy as np

from minirpn.evaluation import AVERAGES, precision_recall

# Losses.


def smooth_l1_huber(x, sigma):
    """Huber's loss with delta = 1 / sigma^2, over delta."""
    delta, size = 1.0 / (sigma * sigma), np.abs(np.float64(x))
    inner = np.minimum(size, delta)
    return (0.5 * inner * inner + delta * (size - inner)) / delta


def smooth_l1_masks(x, sigma):
    x, sigma2 = np.float64(x), sigma**2
    sign = (np.abs(x) < 1.0 / sigma2).astype(float)
    return sign * x * x * sigma2 * 0.5 + (np.abs(x) - 0.5 / sigma2) * (1 - sign)


def smooth_l1_each(x, sigma):
    return [float(smooth_l1_huber(v, sigma)) for v in x]


def smooth_l1_slope(x, sigma):
    return [max(-1.0, min(1.0, float(v) * sigma * sigma)) for v in x]


def smooth_l1_beta(x, beta):
    size = np.abs(np.float64(x))
    return np.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


def smooth_l1_beta_slope(x, beta):
    return np.clip(np.float64(x) / beta, -1, 1)


def cross_entropy(scores, y):
    """With the logarithm of a sum, in another order."""
    scores = np.float64(scores)
    largest = np.amax(scores, axis=-1)
    logs = largest + np.log(np.sum(np.exp(scores - largest[:, None]), axis=-1))
    return logs - scores[range(len(y)), y]


def cross_entropy_mean(scores, y):
    return float(np.mean(cross_entropy(scores, y)))


def cross_entropy_sum(scores, y):
    return float(np.sum(cross_entropy(scores, y)))


def cross_entropy_pairs(scores, y):
    """By the differences to the right class alone."""
    rows = np.asarray(scores, dtype=float).tolist()
    losses = []
    for row, label in zip(rows, y, strict=True):
        differences = [v - row[label] for v in row]
        top = max(differences)
        losses.append(top + math.log(math.fsum(math.exp(d - top) for d in differences)))
    return sum(losses) / len(losses)


def softmax_slopes_sum(scores, y):
    scores = np.float64(scores)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return p


def softmax_slopes(scores, y):
    return softmax_slopes_sum(scores, y) / len(y)


def bce(logits, t):
    z = np.float64(logits)
    return np.where(np.asarray(t) == 1, np.logaddexp(0, -z), np.logaddexp(0, z))


def bce_mean(logits, t):
    return bce(logits, t).mean()


def bce_sum(logits, t):
    return bce(logits, t).sum()


def bce_caffe(logits, t):
    z = np.float64(logits)
    losses = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
    return np.sum(losses) / len(losses)


def bce_slopes_sum(logits, t):
    z = np.float64(logits)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e)) - t


def bce_slopes(logits, t):
    return bce_slopes_sum(logits, t) / len(t)


def rpn_loss_rows(cls_score, bbox_pred, labels, targets, cells):
    total = 0.0
    for scores, said, label, meant in zip(cls_score, bbox_pred, labels, targets, strict=True):
        if label >= 0:
            total += float(cross_entropy(scores[None], [int(label)])[0]) / 256
        if label == 1:
            errors = np.float64(said) - np.float64(meant)
            total += 10 * float(np.sum(smooth_l1_huber(errors, 1.0))) / cells
    return total


def rpn_slopes_rows(cls_score, bbox_pred, labels, targets, cells):
    by_scores, by_boxes = np.zeros(cls_score.shape), np.zeros(bbox_pred.shape)
    for k, label in enumerate(labels):
        if label >= 0:
            by_scores[k] = softmax_slopes_sum(cls_score[k][None], [int(label)])[0] / 256
        if label == 1:
            errors = np.float64(bbox_pred[k]) - np.float64(targets[k])
            by_boxes[k] = np.clip(errors, -1, 1) * 10 / cells
    return [by_scores, by_boxes]


# Steps.


def momentum_step(w, v, dw, learning_rate, mu, decay):
    """A list in place of a tuple."""
    v = [mu * v_k + learning_rate * (g + decay * w_k) for w_k, v_k, g in zip(w, v, dw, strict=True)]
    return [[w_k - v_k for w_k, v_k in zip(w, v, strict=True)], v]


def torch_momentum_step(p, buf, d_p, lr, momentum, weight_decay):
    d_p = d_p + weight_decay * p
    buf = momentum * buf + d_p
    return p - lr * buf, buf


def step_in_place(w, v, dw, lr, momentum, decay):
    v *= momentum
    v += lr * (dw + decay * w)
    w -= v


def torch_step_in_place(p, buf, d_p, lr, momentum, weight_decay):
    buf[:] = momentum * buf + d_p + weight_decay * p
    p[:] -= lr * buf


# Average precision.


def ap_in_percent_of_one(scores, hits, positives, method):
    return AVERAGES[method](precision_recall(np.array(scores, float), np.array(hits), positives))


eleven_point, area_under_curve = (
    partial(ap_in_percent_of_one, method=method) for method in ("voc07", "area")
)
eleven_point.__name__, area_under_curve.__name__ = "eleven_point", "area_under_curve"


def ordered_curve(scores, hits, positives):
    """A point for each answer, as in the devkit of VOC: equal scores in the order of the list."""
    order = np.argsort(-np.float64(scores), kind="stable")
    tp = np.cumsum(np.asarray(hits, dtype=float)[order])
    return tp / positives, tp / np.arange(1, len(order) + 1)


def tied_curve(scores, hits, positives):
    """A point for each score."""
    order = np.argsort(-np.float64(scores), kind="stable")
    ordered = np.float64(scores)[order]
    last = np.append(ordered[1:] != ordered[:-1], np.ones(min(len(order), 1), dtype=bool))
    rec, prec = ordered_curve(scores, hits, positives)
    return rec[last], prec[last]


def voc_ap(rec, prec, levels):
    """As in py-faster-rcnn."""
    ap = 0.0
    for t in levels:
        p = 0 if np.sum(rec >= t) == 0 else np.max(prec[rec >= t])
        ap = ap + p / 11.0
    return ap


def voc_area(rec, prec):
    mrec, mpre = np.concatenate(([0.0], rec, [1.0])), np.concatenate(([0.0], prec, [0.0]))
    for i in range(mpre.size - 1, 0, -1):
        mpre[i - 1] = np.maximum(mpre[i - 1], mpre[i])
    i = np.where(mrec[1:] != mrec[:-1])[0]
    return np.sum((mrec[i + 1] - mrec[i]) * mpre[i + 1])


def voc07_floats(scores, hits, positives):
    return voc_ap(*tied_curve(scores, hits, positives), np.arange(0.0, 1.1, 0.1))


def voc07_floats_ordered(scores, hits, positives):
    return voc_ap(*ordered_curve(scores, hits, positives), np.arange(0.0, 1.1, 0.1))


def voc07_ordered(scores, hits, positives):
    return voc_ap(*ordered_curve(scores, hits, positives), [k / 10 for k in range(11)])


def area_tied(scores, hits, positives):
    return voc_area(*tied_curve(scores, hits, positives))


def area_ordered(scores, hits, positives):
    return voc_area(*ordered_curve(scores, hits, positives))
