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
from minirpn.detector.loss import DetectorLossCache
from minirpn.detector.network import FastRCNNCache
from minirpn.detector.targets import sample_on_host
from minirpn.rpn.loss import LossConfig, rpn_loss_backward
from minirpn.rpn.network import RPNOutput
from minirpn.rpn.proposals import ProposalConfig, TracedProposals, trace_proposals
from minirpn.training.step import Minibatch, StepResult, anchor_counts, forward_loss, rpn_losses


@dataclass(frozen=True)
class DetectorObjective:
    """What the detector is asked to learn.

    Parameters
    ----------
    regions
        Which regions it learns from.
    proposals
        How the RPN proposes them.
    through_boxes
        Whether gradients flow through the proposals into the RPN, in joint training.
    """

    regions: RegionConfig = field(default_factory=RegionConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    through_boxes: bool = False


class RegionBatch(NamedTuple):
    """The sampled regions of one image and what the detector should say of them."""

    regions: Array  # (S, 4) half-open pixels of the resized image
    labels: Array  # (S,) int64: class + 1, or BACKGROUND
    targets: Array  # (S, 4) normalised deltas
    indices: Array  # (S,) int64, places among the proposals; behind them come the ground truths
    host_labels: np.ndarray  # (S,) the labels once more, where they were drawn
    host_indices: np.ndarray  # (S,)


def make_regions(
    proposals: Array,
    gt_boxes: Array,
    gt_classes: Array,
    *,
    rng: np.random.Generator,
    config: RegionConfig,
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
    """
    xp = backend.namespace_of(proposals, gt_boxes)
    joined = xp.concat([proposals, gt_boxes], axis=0) if config.add_gt_boxes else proposals
    found = label_regions(joined, gt_boxes, gt_classes, config)
    of_all = backend.to_host(found.labels)
    drawn = sample_on_host(of_all, rng=rng, config=config)
    indices = backend.to_device(drawn, found.labels)
    regions = xp.take(joined, indices, axis=0)
    labels, matched = xp.take(found.labels, indices), xp.take(found.matched_gt, indices)
    targets = region_targets(regions, gt_boxes, matched, labels)
    return RegionBatch(regions, labels, targets, indices, of_all[drawn], drawn)


def detector_loss_and_gradients(
    network: FasterRCNN,
    image: Array,
    proposals: Array,
    gt_boxes: Array,
    gt_classes: Array,
    *,
    rng: np.random.Generator,
    config: RegionConfig,
) -> StepResult:
    """Return the detector's loss on proposals made before, and its gradients.

    Parameters
    ----------
    network
        Its backbone learns too, unless it is frozen; its RPN is not asked.
    image
        (3, H, W), preprocessed.
    proposals
        (R, 4) half-open pixels of that image.
    gt_boxes, gt_classes
        (M, 4) in its pixels, and (M,) int64.
    rng
        Draws the regions, and what is dropped.
    config
        Which regions it learns from.
    """
    backbone = network.rpn.backbone
    features, backbone_cache = backbone.forward(image[None, ...])
    batch = make_regions(proposals, gt_boxes, gt_classes, rng=rng, config=config)
    loss, caches = _look(network, features, batch, rng)
    trained = network.rpn.trains_backbone
    grads = _look_back(network, caches, need_dfeatures=trained, need_dboxes=False)
    of_parameters = grads.parameters
    if trained:
        assert grads.dfeatures is not None
        of_parameters = backbone.backward(grads.dfeatures, backbone_cache) | of_parameters
    losses = {"loss": loss.total, **_detector_terms(loss)}
    return StepResult(losses, of_parameters, _region_counts(batch))


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
) -> StepResult:
    """Return the sum of the RPN's and the detector's loss, and its gradients.

    Parameters
    ----------
    network
        Both of whose parts learn.
    image
        (3, H, W), preprocessed.
    anchors
        What the RPN is asked.
    gt_boxes, gt_classes
        (M, 4) in its pixels, and (M,) int64.
    scale
        Resized over original size.
    rng
        Draws regions, and what is dropped, in this order.
    config
        The form of the RPN's loss.
    detector
        What is asked of the detector.

    Notes
    -----
    Section 3.2, "approximate joint training", takes the proposals as given numbers. With
    `through_boxes` they are what they are, functions of the RPN's deltas: the detector's loss is
    then differentiated by the boxes (RoI align), through clipping and decoding, and added to
    what the RPN's own loss asks of its deltas. Which proposals there are, which are sampled, their
    labels and their targets count as given in both.
    """
    rpn_loss, output, (network_cache, rpn_cache) = forward_loss(
        network.rpn, image, anchors, config=config
    )
    image_size = (image.shape[1], image.shape[2])
    objectness, deltas = output.objectness[0, ...], output.deltas[0, ...]
    proposals = trace_proposals(
        output.anchors, objectness, deltas, image_size, scale=scale, config=detector.proposals
    )
    batch = make_regions(proposals.boxes, gt_boxes, gt_classes, rng=rng, config=detector.regions)
    loss, caches = _look(network, output.features, batch, rng)
    need_dfeatures = network.rpn.trains_backbone
    grads = _look_back(
        network, caches, need_dfeatures=need_dfeatures, need_dboxes=detector.through_boxes
    )
    dobjectness, ddeltas = rpn_loss_backward(1.0, rpn_cache)
    if grads.dboxes is not None:
        ddeltas = ddeltas + through_proposals(grads.dboxes, batch, proposals, output, image_size)
    of_rpn = network.rpn.backward(
        dobjectness[None, ...], ddeltas[None, ...], network_cache, dfeatures=grads.dfeatures
    )
    losses = rpn_losses(rpn_loss) | _detector_terms(loss)
    losses["loss"] = rpn_loss.total + loss.total
    counts = anchor_counts(anchors) | _region_counts(batch)
    return StepResult(losses, of_rpn | grads.parameters, counts)


def through_proposals(
    dregions: Array,
    batch: RegionBatch,
    proposals: TracedProposals,
    output: RPNOutput,
    image_size: ImageSize,
) -> Array:
    """Return the gradient (K, 4) by the RPN's deltas of a loss whose gradient by regions is known.

    region <- proposal <- clip <- decode <- deltas of the anchor it comes from

    Parameters
    ----------
    dregions
        (S, 4) gradient by the regions of `batch`.
    batch, proposals, output
        Where the regions come from: the proposals, and these from the anchors and deltas.
    image_size
        (height, width) that the proposals were clipped to.

    Notes
    -----
    An anchor gives at most one proposal, and a proposal at most one region, so nothing is added up.
    Ground truths among the regions are no functions of the deltas.
    """
    xp = backend.namespace_of(dregions)
    count = proposals.boxes.shape[0]
    rows = np.flatnonzero(batch.host_indices < count)  # of regions that are proposals
    anchor_of = backend.to_host(proposals.anchors)[batch.host_indices[rows]]
    rows_there = backend.to_device(rows, dregions)
    anchors_there = xp.take(proposals.anchors, xp.take(batch.indices, rows_there))
    dboxes = xp.take(dregions, rows_there, axis=0)
    anchors = xp.take(output.anchors, anchors_there, axis=0)
    deltas = xp.take(output.deltas[0, ...], anchors_there, axis=0)
    boxes = box_ops.decode(anchors, deltas)
    ddeltas = decode_backward(clip_backward(dboxes, boxes, image_size), anchors, deltas)
    # The array standard cannot write to a list of places. So each anchor reads its row, or a last
    # one of zeros.
    row_of = np.full(output.anchors.shape[0], len(rows), dtype=np.int64)
    row_of[anchor_of] = np.arange(len(rows))
    padded = xp.concat([ddeltas, xp.zeros_like(output.deltas[0, :1, :])], axis=0)
    return xp.take(padded, backend.to_device(row_of, dregions), axis=0)


def _look(
    network: FasterRCNN, features: Array, batch: RegionBatch, rng: np.random.Generator
) -> tuple[DetectorLoss, tuple[FastRCNNCache, DetectorLossCache]]:
    """Return the detector's loss on a batch of regions, and the caches for going back."""
    answers, cache = network.detector.forward(features, batch.regions, rng=rng)
    loss, loss_cache = detector_loss_forward(*answers, batch.labels, batch.targets)
    return loss, (cache, loss_cache)


def _look_back(
    network: FasterRCNN,
    caches: tuple[FastRCNNCache, DetectorLossCache],
    *,
    need_dfeatures: bool,
    need_dboxes: bool,
) -> FastRCNNGrads:
    cache, loss_cache = caches
    return network.detector.backward(
        *detector_loss_backward(1.0, loss_cache),
        cache,
        need_dfeatures=need_dfeatures,
        need_dboxes=need_dboxes,
    )


def _detector_terms(loss: DetectorLoss) -> dict[str, Array]:
    return {"class_loss": loss.classes, "region_loss": loss.boxes}


def _region_counts(batch: RegionBatch) -> dict[str, int]:
    """Return how many regions were sampled that show objects, and that show background."""
    objects = int((batch.host_labels > BACKGROUND).sum())
    return {"objects": objects, "background": len(batch.host_labels) - objects}
