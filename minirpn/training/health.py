"""Signs of life of a network in training: what a sane-looking loss can hide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array
from minirpn.backbones import stage_of
from minirpn.data.samples import Example
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig, candidates, object_scores

# A trunk killed by too large a learning rate shows 99.9 % zeros, with a finite loss that looks
# sane; a healthy ReLU stage stays well under this.
DYING_ZERO_SHARE = 0.98


@dataclass(frozen=True)
class Health:
    """What one image shows of the state of the network.

    Parameters
    ----------
    zero_share
        Stage -> share of its activations that are exactly 0 after the ReLU.
    gradient_norm
        Stage (the backbone's, and ``"rpn"``) -> Euclidean norm of the gradient by its parameters.
    proposals_before_nms, proposals_after_nms
        Boxes that enter NMS, and those that leave it when no count limits them.
    objectness_by_anchor
        Mean probability of an object for each base anchor.
    """

    zero_share: dict[str, float]
    gradient_norm: dict[str, float]
    proposals_before_nms: int
    proposals_after_nms: int
    objectness_by_anchor: list[float]

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for the metrics file."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """Return a line for each stage that seems to be dying."""
        return [
            f"{stage}: {share:.1%} of the activations are zero: the trunk is dying; "
            "a lower learning rate would have kept it"
            for stage, share in self.zero_share.items()
            if share > DYING_ZERO_SHARE
        ]


def gradient_norms(grads: Mapping[str, Array]) -> dict[str, float]:
    """Return the Euclidean norm of the gradient of each stage, from gradients by parameter name."""
    squares: dict[str, float] = defaultdict(float)
    for name, grad in grads.items():
        flat = backend.to_host(grad).ravel()
        squares[stage_of(name)] += float(np.dot(flat, flat))
    return {stage: square**0.5 for stage, square in squares.items()}


def examine(
    network: RPN,
    example: Example,
    grads: Mapping[str, Array],
    config: ProposalConfig,
) -> Health:
    """Return the health of a network as one image shows it.

    Parameters
    ----------
    network
        Run forward once, with its activations observed.
    example
        The image.
    grads
        Gradients of the last step, by parameter name.
    config
        How proposals are made.
    """
    stage_by_layer = {layer: stage for stage, layer in network.backbone.stages.items()}
    zero_share: dict[str, float] = {}

    def observe(layer: str, y: Array) -> None:
        if layer in stage_by_layer:
            host = backend.to_host(y)
            zero_share[stage_by_layer[layer]] = 1 - np.count_nonzero(host) / host.size

    output, _ = network.forward(example.image[None, ...], observe=observe)
    objectness, deltas = output.objectness[0, ...], output.deltas[0, ...]
    before = candidates(
        output.anchors, objectness, deltas, example.image_size, scale=example.scale, config=config
    )
    after = box_ops.nms(before.boxes, before.scores, iou_threshold=config.iou_threshold)
    A = network.base_anchors.shape[0]
    by_anchor = backend.to_host(object_scores(objectness)).reshape(-1, A)  # (K,) -> (Hf*Wf, A)
    return Health(
        zero_share=zero_share,
        gradient_norm=gradient_norms(grads),
        proposals_before_nms=int(before.boxes.shape[0]),
        proposals_after_nms=int(after.shape[0]),
        objectness_by_anchor=[round(float(mean), 6) for mean in by_anchor.mean(axis=0)],
    )
