"""One training step, from an example to updated parameters.

label the anchors -> sample 256 -+
                         forward -+-> loss -> backward -> SGD

Labels and sample need the size of the image and its ground truths, not what the network says. So
`make_minibatch` comes first, and in a training ahead of time: see `minirpn.training.ahead`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn._typing import Array, ImageSize
from minirpn.kernels.square_sums import SQUARE_SUMS
from minirpn.nn.optim import SGD, clip_gradients
from minirpn.rpn.loss import LossConfig, RPNLoss, RPNLossCache, rpn_loss_backward, rpn_loss_forward
from minirpn.rpn.network import RPN, RPNCache, RPNOutput
from minirpn.rpn.targets import (
    NEGATIVE,
    POSITIVE,
    AnchorLabels,
    LabelConfig,
    SamplingConfig,
    anchor_targets,
    label_anchors,
    sample_on_host,
)


@dataclass(frozen=True)
class Objective:
    """What the network is asked to learn: how anchors are labelled, sampled and charged."""

    labels: LabelConfig = field(default_factory=LabelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)


class Minibatch(NamedTuple):
    """The sampled anchors of one image and what they should become."""

    labels: Array  # (K,) int8: POSITIVE, NEGATIVE, or IGNORE where not sampled
    targets: Array  # (K, 4) deltas, 0 where not positive
    host_labels: np.ndarray  # (K,) the labels once more, where they were drawn

    def on(self, like: Array) -> Minibatch:
        """Return it, made on the host, on the device of `like`."""
        labels, targets = (backend.to_device(part, like) for part in (self.labels, self.targets))
        return self._replace(labels=labels, targets=targets)


class StepResult(NamedTuple):
    """What one step found."""

    # "loss" and its terms, by the names they have in metrics.jsonl; `update` makes floats of them.
    losses: dict[str, Array]
    grads: dict[str, Array]  # by parameter name
    counts: dict[str, int]  # how many of what the losses are about


def make_minibatch(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    *,
    rng: np.random.Generator,
    objective: Objective,
    assigned: AnchorLabels | None = None,
) -> Minibatch:
    """Label the anchors of one image, sample a mini-batch of them, and encode its targets.

    Parameters
    ----------
    anchors
        (K, 4) half-open pixels of the resized image.
    gt_boxes
        (M, 4) of the same image; M may be 0.
    image_size
        (height, width) of the resized image.
    rng
        Draws the sample, on the host.
    objective
        Thresholds and counts.
    assigned
        Of `label_anchors`, if the anchors are labelled already.

    Notes
    -----
    With anchors and ground truths on the host nothing travels; `Minibatch.on` brings what comes of
    it to a device.
    """
    if assigned is None:
        assigned = label_anchors(anchors, gt_boxes, image_size, config=objective.labels)
    drawn = sample_on_host(backend.to_host(assigned.labels), rng=rng, config=objective.sampling)
    labels = backend.to_device(drawn, anchors)
    targets = anchor_targets(anchors, gt_boxes, assigned.matched_gt, labels)
    return Minibatch(labels, targets, drawn)


def forward_loss(
    network: RPN, image: Array, batch: Minibatch, *, config: LossConfig
) -> tuple[RPNLoss, RPNOutput, tuple[RPNCache, RPNLossCache]]:
    """Return the loss of one image, the outputs behind it, and the caches for going back.

    Parameters
    ----------
    network
        Any `RPN`.
    image
        (3, H, W), preprocessed.
    batch
        Of `make_minibatch`, from the anchors that `RPN.anchors_for` gives of its size.
    config
        The form of the loss.
    """
    output, network_cache = network.forward(image[None, ...])
    loss, loss_cache = rpn_loss_forward(
        output.objectness[0, ...],
        output.deltas[0, ...],
        batch.labels,
        batch.targets,
        locations=output.locations,
        config=config,
    )
    return loss, output, (network_cache, loss_cache)


def loss_and_gradients(
    network: RPN, image: Array, batch: Minibatch, *, config: LossConfig
) -> StepResult:
    """Return the loss of one image and its gradient by every trainable parameter.

    Parameters are those of `forward_loss`.
    """
    loss, _, (network_cache, loss_cache) = forward_loss(network, image, batch, config=config)
    dobjectness, ddeltas = rpn_loss_backward(1.0, loss_cache)
    grads = network.backward(dobjectness[None, ...], ddeltas[None, ...], network_cache)
    return StepResult(rpn_losses(loss), grads, anchor_counts(batch))


def rpn_losses(loss: RPNLoss) -> dict[str, Array]:
    """Return the loss of the RPN and its terms by the names they have in metrics.jsonl."""
    return {"loss": loss.total, "objectness_loss": loss.objectness, "box_loss": loss.box}


def anchor_counts(batch: Minibatch) -> dict[str, int]:
    """Return how many anchors were sampled as positives and as negatives."""
    return {
        "positives": int((batch.host_labels == POSITIVE).sum()),
        "negatives": int((batch.host_labels == NEGATIVE).sum()),
    }


def update(
    optimizer: SGD,
    compute: Callable[[], StepResult],
    *,
    lr: float,
    clip_norm: float | None = None,
) -> StepResult:
    """Take one SGD step along the gradients that `compute` finds, and return what it found.

    The losses in it are floats then.

    Parameters
    ----------
    optimizer
        Owns the parameters' values, and changes them.
    compute
        Such as `loss_and_gradients` with its arguments bound.
    lr
        Learning rate of this step.
    clip_norm
        See `minirpn.nn.clip_gradients`; None for no limit. What is returned is not clipped.

    Raises
    ------
    FloatingPointError
        A loss or a gradient is not finite. Nothing is updated then.
    """
    # An overflow shows in the loss or in a gradient, where it is said once and by name.
    with np.errstate(over="ignore", invalid="ignore"):
        result = compute()
        losses, wrong = look_at(result)
    if wrong is not None:
        raise FloatingPointError(wrong)
    grads = result.grads if clip_norm is None else clip_gradients(result.grads, clip_norm)
    optimizer.step(grads, lr=lr)
    return result._replace(losses=losses)


def look_at(result: StepResult) -> tuple[dict[str, float], str | None]:
    """Return the losses that a step found, and what is not finite, such as "box_loss is nan".

    Of the losses the terms are looked at before their sum. The gradients cost one walk through
    memory: the sum of all their squares is finite if they are, but for an overflow, which a
    closer look tells apart. From a device, that sum and the losses come together.
    """
    square = SQUARE_SUMS(list(result.grads.values()), together=True)
    *values, length = backend.numbers([*result.losses.values(), square])
    losses = dict(zip(result.losses, values, strict=True))
    terms = {name: value for name, value in losses.items() if name != "loss"}
    for name, value in (terms | {"loss": losses["loss"]}).items():
        if not np.isfinite(value):
            return losses, f"{name} is {value}"
    if np.isfinite(length):
        return losses, None
    for name, grad in result.grads.items():
        if not is_finite(grad):
            return losses, f"the gradient of {name} is not finite"
    return losses, None


def is_finite(array: Array) -> bool:
    """Tell whether every number of a floating-point array is finite."""
    xp = backend.namespace_of(array)
    return bool(backend.to_host(xp.all(xp.isfinite(array))))
