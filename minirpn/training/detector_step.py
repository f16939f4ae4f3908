"""Steps that train a detector: on proposals made before, or together with the RPN.

regions of interest -> label -> sample 128 -> pool -> head -> loss -> backward
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array, ImageSize
from minirpn.box_gradients import clip_backward, decode_backward
from minirpn.detector import (
    BACKGROUND,
    DetectorLoss,
    FasterRCNN,
    FastRCNNGrads,
    RegionConfig,
    detector_loss_backward,
    detector_loss_forward,
    label_regions,
    region_targets,
)
from minirpn.detector.targets import sample_on_host
from minirpn.rpn.loss import LossConfig, rpn_loss_backward
from minirpn.rpn.network import RPNOutput
from minirpn.rpn.proposals import ProposalConfig, TracedProposals, trace_proposals
from minirpn.training.step import Minibatch, StepResult, anchor_counts, forward_loss, rpn_losses


@dataclass(frozen=True)
class DetectorObjective:
    """What the detector learns, and from which regions."""

    regions: RegionConfig = field(default_factory=RegionConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)  # how the RPN proposes them
    through_boxes: bool = False  # gradients flow through the proposals into the RPN


class RegionBatch(NamedTuple):
    """The sampled regions of one image and what they should become."""

    regions: Array  # (S, 4) half-open pixels of the resized image
    labels: Array  # (S,) int64: class + 1, or BACKGROUND
    targets: Array  # (S, 4) normalised deltas
    indices: Array  # (S,) int64, positions among the proposals, then the ground truths
    host_labels: np.ndarray  # (S,) a copy of the labels on the host
    host_indices: np.ndarray  # (S,)


def make_regions(
    proposals: Array,
    gt_boxes: Array,
    gt_classes: Array,
    *,
    rng: np.random.Generator,
    config: RegionConfig,
    ignored: Array | None = None,
) -> RegionBatch:
    """Label proposals and ground truths as regions, sample a mini-batch, and encode its targets.

    Parameters
    ----------
    proposals
        (R, 4) half-open pixels of the resized image.
    gt_boxes, gt_classes
        (M, 4) of the same image, and (M,) int64.
    rng
        Draws the sample, on the host.
    config
        Thresholds and counts.
    ignored
        (I, 4) ignored regions of the same image; see `label_regions`.
    """
    xp = backend.namespace_of(proposals, gt_boxes)
    joined = xp.concat([proposals, gt_boxes], axis=0) if config.add_gt_boxes else proposals
    assigned = label_regions(joined, gt_boxes, gt_classes, config, ignored=ignored)
    host_labels = backend.to_host(assigned.labels)
    drawn = sample_on_host(host_labels, rng=rng, config=config)
    indices = backend.to_device(drawn, assigned.labels)
    regions = xp.take(joined, indices, axis=0)
    labels, matched_gt = xp.take(assigned.labels, indices), xp.take(assigned.matched_gt, indices)
    targets = region_targets(regions, gt_boxes, matched_gt, labels)
    return RegionBatch(regions, labels, targets, indices, host_labels[drawn], drawn)


def detector_loss_and_gradients(
    network: FasterRCNN,
    image: Array,
    proposals: Array,
    gt_boxes: Array,
    gt_classes: Array,
    *,
    rng: np.random.Generator,
    config: RegionConfig,
    ignored: Array | None = None,
) -> StepResult:
    """Return the detector's loss on proposals made before, and its gradients.

    Parameters
    ----------
    network
        Its backbone learns too, unless it is frozen; its RPN is not used.
    image
        (3, H, W), preprocessed.
    proposals, gt_boxes, gt_classes, config, ignored
        See `make_regions`.
    rng
        Draws the regions, then the dropout.
    """
    backbone = network.rpn.backbone
    features, backbone_cache = backbone.forward(image[None, ...])
    batch = make_regions(proposals, gt_boxes, gt_classes, rng=rng, config=config, ignored=ignored)
    loss, grads = _detector_loss_and_gradients(
        network,
        features,
        batch,
        rng=rng,
        need_dfeatures=network.rpn.trains_backbone,
        need_dboxes=False,
    )
    by_name = grads.parameters
    if grads.dfeatures is not None:
        by_name = backbone.backward(grads.dfeatures, backbone_cache) | by_name
    losses = {"loss": loss.total, "class_loss": loss.classes, "region_loss": loss.boxes}
    return StepResult(losses, by_name, _region_counts(batch))


def joint_loss_and_gradients(
    network: FasterRCNN,
    image: Array,
    anchors: Minibatch,
    gt_boxes: Array,
    gt_classes: Array,
    *,
    scale: float,
    rng: np.random.Generator,
    config: LossConfig,
    detector: DetectorObjective,
    ignored: Array | None = None,
) -> StepResult:
    """Return the sum of the RPN's and the detector's loss, and its gradients.

    Parameters
    ----------
    network
        RPN and detector both learn.
    image
        (3, H, W), preprocessed.
    anchors
        The mini-batch of the RPN.
    gt_boxes, gt_classes
        (M, 4) in its pixels, and (M,) int64.
    scale
        Resized over original size.
    rng
        Draws the regions, then the dropout.
    config, detector
        The form of the RPN's loss, and what the detector learns.
    ignored
        (I, 4) ignored regions in its pixels, for the detector; `anchors` has them in it.

    Notes
    -----
    Section 3.2, "approximate joint training", treats the proposals as constants. With
    `through_boxes` they are functions of the RPN's deltas: the gradient of the detector's loss by
    the boxes (RoI align) goes back through clipping and decoding, and is added to the gradient of
    the RPN's own loss by its deltas. Which proposals there are, which are sampled, their labels
    and their targets are constants in both.
    """
    rpn_loss, output, (network_cache, rpn_cache) = forward_loss(
        network.rpn, image, anchors, config=config
    )
    image_size = (image.shape[1], image.shape[2])
    objectness, deltas = output.objectness[0, ...], output.deltas[0, ...]
    proposals = trace_proposals(
        output.anchors, objectness, deltas, image_size, scale=scale, config=detector.proposals
    )
    batch = make_regions(
        proposals.boxes, gt_boxes, gt_classes, rng=rng, config=detector.regions, ignored=ignored
    )
    loss, grads = _detector_loss_and_gradients(
        network,
        output.features,
        batch,
        rng=rng,
        need_dfeatures=network.rpn.trains_backbone,
        need_dboxes=detector.through_boxes,
    )
    dobjectness, ddeltas = rpn_loss_backward(1.0, rpn_cache)
    if grads.dboxes is not None:
        ddeltas = ddeltas + through_proposals(grads.dboxes, batch, proposals, output, image_size)
    rpn_grads = network.rpn.backward(
        dobjectness[None, ...], ddeltas[None, ...], network_cache, dfeatures=grads.dfeatures
    )
    losses = rpn_losses(rpn_loss) | {"class_loss": loss.classes, "region_loss": loss.boxes}
    losses["loss"] = rpn_loss.total + loss.total
    counts = anchor_counts(anchors) | _region_counts(batch)
    return StepResult(losses, rpn_grads | grads.parameters, counts)


def through_proposals(
    dregions: Array,
    batch: RegionBatch,
    proposals: TracedProposals,
    output: RPNOutput,
    image_size: ImageSize,
) -> Array:
    """Return the gradient (K, 4) by the RPN's deltas, given that by the regions, (S, 4).

    region <- proposal <- clip <- decode <- deltas of the anchor it comes from

    An anchor gives at most one proposal, and a proposal at most one region, so nothing is added up.
    Ground truths among the regions do not depend on the deltas. `image_size` is (height, width)
    that the proposals were clipped to.
    """
    xp = backend.namespace_of(dregions)
    count = proposals.boxes.shape[0]
    rows = np.flatnonzero(batch.host_indices < count)  # of regions that are proposals
    anchor_of = backend.to_host(proposals.anchors)[batch.host_indices[rows]]
    device_rows = backend.to_device(rows, dregions)
    device_anchors = xp.take(proposals.anchors, xp.take(batch.indices, device_rows))
    dboxes = xp.take(dregions, device_rows, axis=0)
    anchors = xp.take(output.anchors, device_anchors, axis=0)
    deltas = xp.take(output.deltas[0, ...], device_anchors, axis=0)
    boxes = box_ops.decode(anchors, deltas)
    ddeltas = decode_backward(clip_backward(dboxes, boxes, image_size), anchors, deltas)
    # The array standard cannot write to a list of positions. So each anchor reads its row, or the
    # last row, which is zero.
    row_of = np.full(output.anchors.shape[0], len(rows), dtype=np.int64)
    row_of[anchor_of] = np.arange(len(rows))
    padded = xp.concat([ddeltas, xp.zeros_like(output.deltas[0, :1, :])], axis=0)
    return xp.take(padded, backend.to_device(row_of, dregions), axis=0)


def _detector_loss_and_gradients(
    network: FasterRCNN,
    features: Array,
    batch: RegionBatch,
    *,
    rng: np.random.Generator,
    need_dfeatures: bool,
    need_dboxes: bool,
) -> tuple[DetectorLoss, FastRCNNGrads]:
    """Return the detector's loss on a batch of regions, and its gradients."""
    (logits, deltas), cache = network.detector.forward(features, batch.regions, rng=rng)
    loss, loss_cache = detector_loss_forward(logits, deltas, batch.labels, batch.targets)
    dlogits, ddeltas = detector_loss_backward(1.0, loss_cache)
    grads = network.detector.backward(
        dlogits, ddeltas, cache, need_dfeatures=need_dfeatures, need_dboxes=need_dboxes
    )
    return loss, grads


def _region_counts(batch: RegionBatch) -> dict[str, int]:
    """Return how many of the sampled regions show objects, and how many background."""
    objects = int((batch.host_labels > BACKGROUND).sum())
    return {"objects": objects, "background": len(batch.host_labels) - objects}
