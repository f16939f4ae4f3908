"""Signs of life of a network in training: what a sane-looking loss can hide."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array
from minirpn.backbones import stage_of
from minirpn.data.samples import Example
from minirpn.kernels.square_sums import SQUARE_SUMS
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig, candidates, object_scores

# A backbone killed by too large a learning rate shows 99.9 % zeros, with a finite loss that looks
# sane; a healthy ReLU stage stays well under this.
DYING_ZERO_SHARE = 0.98


@dataclass(frozen=True)
class Health:
    """What one image shows of the state of the network.

    Parameters
    ----------
    zero_share
        Stage -> share of its activations that are exactly 0 after the ReLU.
    gradient_norm, weight_norm
        Stage (the backbone's, ``"rpn"``, ``"detector"``) -> Euclidean norm of the gradient by its
        parameters, and of the parameters themselves.
    update_ratio
        Stage -> norm of what the last step changed over the norm of the parameters. About 1e-3 is
        usual; far more unlearns what was there, far less learns nothing.
    layers
        Layer -> its own ``"gradient"``, ``"weight"`` and ``"update"`` norm, those it has.
    proposals_before_nms, proposals_after_nms
        Boxes that enter NMS, and those that leave it when no count limits them.
    objectness_by_anchor
        Mean probability of an object for each base anchor.
    """

    zero_share: dict[str, float]
    gradient_norm: dict[str, float]
    weight_norm: dict[str, float]
    update_ratio: dict[str, float]
    layers: dict[str, dict[str, float]]
    proposals_before_nms: int
    proposals_after_nms: int
    objectness_by_anchor: list[float]

    def to_record(self) -> dict[str, Any]:
        """Return plain numbers for the metrics file."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """Return a line for each stage that seems to be dying."""
        return [
            f"{stage}: {share:.1%} of the activations are zero: the backbone is dying; "
            "a lower learning rate would have kept it"
            for stage, share in self.zero_share.items()
            if share > DYING_ZERO_SHARE
        ]


class LastStep(NamedTuple):
    """What a step went by and what it did, by parameter name."""

    grads: Mapping[str, Array]
    changes: Mapping[str, Array]  # what it took from each parameter that learns
    weights: Mapping[str, Array]  # of all parameters, after it

    def norms(self, group: Callable[[str], str]) -> dict[str, dict[str, float]]:
        """Return the norms of each group, such as `stage_of` or `layer_of` its name."""
        found: dict[str, dict[str, float]] = {}
        kinds = (("gradient", self.grads), ("weight", self.weights), ("update", self.changes))
        for kind, arrays in kinds:
            for name, norm in norms(arrays, group).items():
                found.setdefault(name, {})[kind] = norm
        return found


def layer_of(parameter_name: str) -> str:
    """Return the layer a parameter belongs to: its name up to the last dot."""
    return parameter_name.rpartition(".")[0]


def norms(arrays: Mapping[str, Array], group: Callable[[str], str] = stage_of) -> dict[str, float]:
    """Return the Euclidean norm of each group of arrays, given by parameter name."""
    squares: dict[str, float] = defaultdict(float)
    of_each = backend.to_host(SQUARE_SUMS(list(arrays.values()))).tolist() if arrays else []
    for name, square in zip(arrays, of_each, strict=True):
        squares[group(name)] += square
    return {name: square**0.5 for name, square in squares.items()}


def examine(
    network: RPN,
    example: Example,
    last: LastStep,
    config: ProposalConfig,
) -> Health:
    """Return the health of a network as one image shows it.

    Parameters
    ----------
    network
        Run forward once, with its activations observed.
    example
        The image.
    last
        The last step.
    config
        How proposals are made.
    """
    stage_by_layer = {layer: stage for stage, layer in network.backbone.stages.items()}
    zero_share: dict[str, float] = {}

    def observe(layer: str, y: Array) -> None:
        if layer in stage_by_layer:
            alive = backend.to_host(backend.namespace_of(y).count_nonzero(y)).item()
            zero_share[stage_by_layer[layer]] = 1 - alive / math.prod(y.shape)

    output, _ = network.forward(example.image[None, ...], observe=observe)
    objectness, deltas = output.objectness[0, ...], output.deltas[0, ...]
    before = candidates(
        output.anchors, objectness, deltas, example.image_size, scale=example.scale, config=config
    )
    after = box_ops.nms(before.boxes, before.scores, iou_threshold=config.iou_threshold)
    A = network.base_anchors.shape[0]
    by_anchor = backend.to_host(object_scores(objectness)).reshape(-1, A)  # (K,) -> (Hf*Wf, A)
    weights = norms(last.weights)
    return Health(
        zero_share=zero_share,
        gradient_norm=norms(last.grads),
        weight_norm=weights,
        update_ratio={
            stage: change / weights[stage]
            for stage, change in norms(last.changes).items()
            if weights[stage] > 0
        },
        layers=last.norms(layer_of),
        proposals_before_nms=int(before.boxes.shape[0]),
        proposals_after_nms=int(after.shape[0]),
        objectness_by_anchor=[round(float(mean), 6) for mean in by_anchor.mean(axis=0)],
    )
