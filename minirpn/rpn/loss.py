"""The multi-task loss of the RPN (section 3.1.2, equation 1), forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import is_numpy, namespace_of, to_host
from minirpn.fields import check_count
from minirpn.nn.losses import (
    SigmoidCrossEntropyCache,
    SmoothL1Cache,
    SoftmaxCrossEntropyCache,
    sigmoid_cross_entropy_backward,
    sigmoid_cross_entropy_forward,
    smooth_l1_backward,
    smooth_l1_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from minirpn.rpn.targets import IGNORE, POSITIVE

_MOST_BALANCE = 1e6  # far from what a float32 gradient can hold


@dataclass(frozen=True)
class LossConfig:
    """Which of the two published forms the loss has.

    Parameters
    ----------
    form
        ``"paper"``: N_cls is the nominal mini-batch size, N_reg the number of anchor locations, and
        smooth L1 turns linear at 1 (section 3.1.2). ``"released"``: that of py-faster-rcnn, where
        both terms are divided by the number of sampled anchors, smooth L1 has sigma 3, lambda is 1.
    balance
        lambda of the paper's form: 10. The released form ignores it.
    n_cls
        N_cls of the paper's form: 256. The released form ignores it.
    """

    form: Literal["paper", "released"] = "paper"
    balance: float = 10.0
    n_cls: int = 256

    def __post_init__(self) -> None:
        if self.form not in ("paper", "released"):
            raise ValueError(f"form: expected paper or released, got {self.form!r}")
        if not 0 < self.balance <= _MOST_BALANCE:
            raise ValueError(
                f"balance: expected a positive number up to {_MOST_BALANCE:g}, got {self.balance}"
            )
        check_count("n_cls", self.n_cls)

    @property
    def sigma(self) -> float:
        """Sigma of smooth L1: 1 in the paper, 3 in the released code."""
        return 1.0 if self.form == "paper" else 3.0


class RPNLoss(NamedTuple):
    """The loss of one image and its two weighted terms: ``total`` is their sum."""

    total: Array  # ()
    objectness: Array  # ()
    box: Array  # ()


class Divisors(NamedTuple):
    """The divisors of the two terms of eq. 1, and lambda before the second."""

    n_cls: int | Array
    n_reg: int | Array
    balance: float


class RPNLossCache(NamedTuple):
    """What `rpn_loss_backward` needs."""

    objectness: SoftmaxCrossEntropyCache | SigmoidCrossEntropyCache
    deltas: SmoothL1Cache
    box_weights: Array  # (K, 1)


class RPNLossGrads(NamedTuple):
    """Gradients of the loss by the two outputs of the head."""

    dobjectness: Array  # (K, 2) or (K, 1)
    ddeltas: Array  # (K, 4)


def divisors(labels: Array, locations: int, config: LossConfig, *, dtype: Any = None) -> Divisors:
    """Return N_cls, N_reg and lambda of equation 1 for one image.

    Parameters
    ----------
    labels, locations, config
        As of `rpn_loss_forward`.
    dtype
        The released form counts the sampled anchors. On a device the count stays there, with this
        dtype; None copies it to the host.
    """
    if config.form == "paper":
        return Divisors(config.n_cls, locations, config.balance)
    xp = namespace_of(labels)
    count = xp.sum(xp.astype(labels != IGNORE, xp.int64))
    if dtype is None or is_numpy(labels):
        sampled = max(to_host(count).item(), 1)
    else:
        sampled = xp.maximum(xp.astype(count, dtype), 1.0)
    return Divisors(sampled, sampled, 1.0)


def rpn_loss_forward(
    objectness: Array,
    deltas: Array,
    labels: Array,
    targets: Array,
    *,
    locations: int,
    config: LossConfig | None = None,
) -> tuple[RPNLoss, RPNLossCache]:
    r"""Return the loss of one image (equation 1), and the cache.

    .. math:: L = 1/N_{cls} \sum_i L_{cls}(p_i, p_i^*)
              + \lambda/N_{reg} \sum_i p_i^* L_{reg}(t_i, t_i^*)

    Parameters
    ----------
    objectness
        (K, 2) logits (background, object) of a softmax, or (K, 1) logits.
    deltas
        (K, 4) predicted ``(tx, ty, tw, th)``.
    labels
        (K,) int8 of the sampled mini-batch: POSITIVE, NEGATIVE, or IGNORE, which adds no loss.
    targets
        (K, 4) deltas to the matched ground truth; read where the label is POSITIVE.
    locations
        Hf * Wf, the number of anchor locations: N_reg of the paper's form.
    config
        The form of the loss.

    Returns
    -------
    loss
        Total, objectness term, box term.
    cache
        For `rpn_loss_backward`.

    Raises
    ------
    ValueError
        Shapes do not fit.

    Notes
    -----
    The loss of a mini-batch without anchors is 0. py-faster-rcnn, ChainerCV and others have only
    the released form. With lambda 10 both terms have about equal weight (section 3.1.2).
    """
    xp = namespace_of(objectness, deltas, labels, targets)
    config = config or LossConfig()
    K = labels.shape[0]
    check_shape(objectness, (K, None), "objectness")
    check_shape(deltas, (K, 4), "deltas")
    check_shape(targets, (K, 4), "targets")
    sampled = xp.astype(labels != IGNORE, deltas.dtype)
    positive = xp.astype(labels == POSITIVE, deltas.dtype)
    n_cls, n_reg, balance = divisors(labels, locations, config, dtype=deltas.dtype)
    objectness_cache: SoftmaxCrossEntropyCache | SigmoidCrossEntropyCache
    if objectness.shape[1] == 2:
        objectness_loss, objectness_cache = softmax_cross_entropy_forward(
            objectness, labels, sampled / n_cls
        )
    else:
        objectness_loss, objectness_cache = sigmoid_cross_entropy_forward(
            objectness[:, 0], positive, sampled / n_cls
        )
    losses, deltas_cache = smooth_l1_forward(deltas - targets, sigma=config.sigma)
    box_weights = positive[:, None] * (balance / n_reg)  # (K,) -> (K, 1)
    box_loss = xp.sum(box_weights * losses)
    loss = RPNLoss(objectness_loss + box_loss, objectness_loss, box_loss)
    return loss, RPNLossCache(objectness_cache, deltas_cache, box_weights)


def rpn_loss_backward(dloss: Array | float, cache: RPNLossCache) -> RPNLossGrads:
    """Return the gradients of `rpn_loss_forward` by objectness and deltas.

    Parameters
    ----------
    dloss
        Gradient by the total loss; 1 if the loss is the last step.
    cache
        From `rpn_loss_forward`.
    """
    if isinstance(cache.objectness, SoftmaxCrossEntropyCache):
        dobjectness = softmax_cross_entropy_backward(dloss, cache.objectness)
    else:
        dobjectness = sigmoid_cross_entropy_backward(dloss, cache.objectness)[:, None]
    return RPNLossGrads(dobjectness, smooth_l1_backward(dloss * cache.box_weights, cache.deltas))
