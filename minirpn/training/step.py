"""One training step of the RPN, from an image to updated parameters.

Read from top to bottom::

    make_minibatch      label the anchors, sample 256 of them, encode their targets
    forward_loss        image -> features -> objectness and deltas -> loss
    loss_and_gradients  forward_loss, then the gradient of the loss by every parameter
    sgd_update          check that all numbers are finite, then move the parameters

The mini-batch depends on the size of the image and on its ground truths, not on the network. So a
training may make it ahead of time: see `minirpn.training.trainer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minirpn import backend
from minirpn._typing import Array, ImageSize
from minirpn.nn.optim import Optimizer, clip_gradients, square_sums
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
    """What the RPN learns: the labels and the sample of anchors, and the form of the loss."""

    labels: LabelConfig = field(default_factory=LabelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    loss: LossConfig = field(default_factory=LossConfig)


class Minibatch(NamedTuple):
    """The sampled anchors of one image and their targets."""

    labels: Array  # (K,) int8: POSITIVE, NEGATIVE, or IGNORE where not sampled
    targets: Array  # (K, 4) deltas, 0 where not positive
    host_labels: np.ndarray  # (K,) the labels on the host

    def on(self, like: Array) -> Minibatch:
        """Return a copy on the device of `like` of a mini-batch on the host."""
        labels, targets = (backend.to_device(part, like) for part in (self.labels, self.targets))
        return self._replace(labels=labels, targets=targets)


class StepResult(NamedTuple):
    """The result of one step."""

    losses: dict[str, Any]  # "loss" and its terms, by their names in metrics.jsonl
    grads: dict[str, Array]  # by parameter name
    counts: dict[str, int]  # sampled anchors and regions, by label


def make_minibatch(
    anchors: Array,
    gt_boxes: Array,
    image_size: ImageSize,
    *,
    rng: np.random.Generator,
    objective: Objective,
    assigned: AnchorLabels | None = None,
    ignored: Array | None = None,
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
        The result of `label_anchors`, if it is known already.
    ignored
        The ignored regions (I, 4) of the image, for `label_anchors`.

    Notes
    -----
    With anchors and ground truths on the host all of this runs there. `Minibatch.on` then copies
    the result to a device.
    """
    if assigned is None:
        assigned = label_anchors(
            anchors, gt_boxes, image_size, config=objective.labels, ignored=ignored
        )
    host_labels = backend.to_host(assigned.labels)
    host_labels = sample_on_host(host_labels, rng=rng, config=objective.sampling)
    labels = backend.to_device(host_labels, anchors)
    targets = anchor_targets(anchors, gt_boxes, assigned.matched_gt, labels)
    return Minibatch(labels, targets, host_labels)


def forward_loss(
    network: RPN, image: Array, batch: Minibatch, *, config: LossConfig
) -> tuple[RPNLoss, RPNOutput, tuple[RPNCache, RPNLossCache]]:
    """Return the loss of one image, the network's output, and the caches for the backward pass.

    Parameters
    ----------
    network
        Any `RPN`.
    image
        (3, H, W), preprocessed.
    batch
        From `make_minibatch`, with the anchors that `RPN.anchors_for` gives for this image size.
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

    The parameters are those of `forward_loss`.
    """
    loss, _, (network_cache, loss_cache) = forward_loss(network, image, batch, config=config)
    dobjectness, ddeltas = rpn_loss_backward(1.0, loss_cache)
    grads = network.backward(dobjectness[None, ...], ddeltas[None, ...], network_cache)
    return StepResult(rpn_losses(loss), grads, anchor_counts(batch))


def sgd_update(
    optimizer: Optimizer, result: StepResult, *, lr: float, clip_norm: float | None = None
) -> StepResult:
    """Move the parameters one step against the gradients; return the result with losses as floats.

    Every optimizer here is a kind of stochastic gradient descent.

    Parameters
    ----------
    optimizer
        Changes the values of the parameters.
    result
        From `loss_and_gradients`.
    lr
        Learning rate of this step.
    clip_norm
        See `minirpn.nn.clip_gradients`; None for no limit. The returned gradients are not clipped.

    Raises
    ------
    FloatingPointError
        A loss or a gradient is not finite. Nothing is updated then.
    """
    losses = check_finite(result)
    grads = result.grads if clip_norm is None else clip_gradients(result.grads, clip_norm)
    optimizer.step(grads, lr=lr)
    return result._replace(losses=losses)


def check_finite(result: StepResult) -> dict[str, float]:
    """Return the losses as floats, after a check that every loss and gradient is finite.

    Raises
    ------
    FloatingPointError
        One is not finite. The message names it, such as "box_loss is nan"; a term of the loss is
        named before the sum.

    Notes
    -----
    The gradients are read once: the sum of all their squares is finite if they are. If that sum
    overflows, each gradient is checked. From a device, the sum and the losses come in one copy.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is reported by name below
        square = square_sums(list(result.grads.values()), together=True)
    *values, square_sum = backend.numbers([*result.losses.values(), square])
    losses = dict(zip(result.losses, values, strict=True))
    for name in sorted(losses, key=lambda name: name == "loss"):  # the sum comes last
        if not np.isfinite(losses[name]):
            raise FloatingPointError(f"{name} is {losses[name]}")
    if not np.isfinite(square_sum):
        for name, grad in result.grads.items():
            if not is_finite(grad):
                raise FloatingPointError(f"the gradient of {name} is not finite")
    return losses


def is_finite(array: Array) -> bool:
    """Return whether every number of a floating-point array is finite."""
    xp = backend.namespace_of(array)
    return bool(backend.to_host(xp.all(xp.isfinite(array))))


def rpn_losses(loss: RPNLoss) -> dict[str, Array]:
    """Return the loss of the RPN and its terms by their names in metrics.jsonl."""
    return {"loss": loss.total, "objectness_loss": loss.objectness, "box_loss": loss.box}


def anchor_counts(batch: Minibatch) -> dict[str, int]:
    """Return how many anchors were sampled as positives and as negatives."""
    return {
        "positives": int((batch.host_labels == POSITIVE).sum()),
        "negatives": int((batch.host_labels == NEGATIVE).sum()),
    }
