"""The multi-task loss of Fast R-CNN (Girshick 2015, section 2.3), forward and backward.

L = 1/N sum_i L_cls(p_i, u_i) + 1/N sum_i [u_i >= 1] L_loc(t_i^u, v_i)

N is the number of regions, u_i the class of region i (0 for background), t_i^u the deltas predicted
for that class, and v_i those to its object.
"""

from __future__ import annotations

from typing import NamedTuple

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import device_of, namespace_of
from minirpn.detector.targets import BACKGROUND
from minirpn.nn.losses import (
    SmoothL1Cache,
    SoftmaxCrossEntropyCache,
    smooth_l1_backward,
    smooth_l1_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)


class DetectorLoss(NamedTuple):
    """The loss of one image's regions and its two terms: ``total`` is their sum."""

    total: Array  # ()
    classes: Array  # ()
    boxes: Array  # ()


class DetectorLossCache(NamedTuple):
    """What `detector_loss_backward` needs."""

    classes: SoftmaxCrossEntropyCache
    deltas: SmoothL1Cache
    own_class: Array  # (R, L + 1, 1): 1 at the class of a region, 0 elsewhere and for background
    box_weight: float


class DetectorLossGrads(NamedTuple):
    """Gradients of the loss by the two outputs of the head."""

    dlogits: Array  # (R, L + 1)
    ddeltas: Array  # (R, L + 1, 4)


def detector_loss_forward(
    logits: Array, deltas: Array, labels: Array, targets: Array
) -> tuple[DetectorLoss, DetectorLossCache]:
    """Return the loss of the sampled regions of one image, and the cache.

    Parameters
    ----------
    logits
        (R, L + 1) before the softmax, background first.
    deltas
        (R, L + 1, 4) predicted for every class, normalized.
    labels
        (R,) int64: class + 1, or BACKGROUND.
    targets
        (R, 4) from `region_targets`; read where the label is a class.

    Returns
    -------
    loss
        Total, class term, box term.
    cache
        For `detector_loss_backward`.

    Notes
    -----
    Both terms are divided by the number of regions, as in the released code; lambda is 1 and smooth
    L1 has sigma 1. Without regions the loss is 0.
    """
    xp = namespace_of(logits, deltas, labels, targets)
    R, classes = logits.shape
    check_shape(deltas, (R, classes, 4), "deltas")
    check_shape(labels, (R,), "labels")
    check_shape(targets, (R, 4), "targets")
    weight = 1.0 / max(R, 1)
    weights = xp.full((R,), weight, dtype=logits.dtype, device=device_of(logits))
    class_loss, class_cache = softmax_cross_entropy_forward(logits, labels, weights)
    numbers = xp.arange(classes, dtype=labels.dtype, device=device_of(labels))
    is_own = (labels[:, None] == numbers) & (labels > BACKGROUND)[:, None]
    own_class = xp.astype(is_own, deltas.dtype)[:, :, None]  # (R, L + 1) -> (R, L + 1, 1)
    predicted = xp.sum(own_class * deltas, axis=1)  # (R, L + 1, 4) -> (R, 4)
    is_object = xp.astype((labels > BACKGROUND)[:, None], deltas.dtype)
    losses, deltas_cache = smooth_l1_forward((predicted - targets) * is_object)
    box_loss = weight * xp.sum(losses)
    loss = DetectorLoss(class_loss + box_loss, class_loss, box_loss)
    return loss, DetectorLossCache(class_cache, deltas_cache, own_class, weight)


def detector_loss_backward(dloss: Array | float, cache: DetectorLossCache) -> DetectorLossGrads:
    """Return the gradients of `detector_loss_forward` by logits and deltas.

    Parameters
    ----------
    dloss
        Gradient by the total loss; 1 if the loss is the last step.
    cache
        From `detector_loss_forward`.
    """
    xp = namespace_of(cache.own_class)
    dlogits = softmax_cross_entropy_backward(dloss, cache.classes)
    dlosses = xp.ones_like(cache.deltas.x) * (dloss * cache.box_weight)
    dpredicted = smooth_l1_backward(dlosses, cache.deltas)
    return DetectorLossGrads(dlogits, cache.own_class * dpredicted[:, None, :])
