"""What is timed of boxes: overlaps, labels, proposals, on arrays as one image gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minirpn import boxes as box_ops
from minirpn._typing import ImageSize
from minirpn.bench.peers import peer, peer_on
from minirpn.bench.twin import tensor
from minirpn.devices import CPU, Device
from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.proposals import ProposalConfig, propose
from minirpn.rpn.targets import label_anchors

Contenders = dict[str, Callable[[], object]]
IMAGE_SIZE = (600, 1000)
FEATURE_SIZE = (38, 63)  # VGG-16's of it


def anchors_of(feature_size: ImageSize = FEATURE_SIZE) -> np.ndarray:
    """Return the paper's anchors on a feature map: 21,546 on VGG-16's of 600x1000."""
    like = np.zeros(0, np.float32)
    return grid_anchors(base_anchors(AnchorConfig()), feature_size, 16, like=like)


def random_boxes(count: int) -> np.ndarray:
    """Return boxes (count, 4) inside of the image, sides of 20 to 400 pixels."""
    rng = np.random.default_rng(count)
    limits = np.array(IMAGE_SIZE[::-1])
    centres = rng.uniform(0, limits, (count, 2))
    sides = np.exp(rng.uniform(np.log(20), np.log(400), (count, 2)))
    corners = [np.clip(centres + sign * sides / 2, 0, limits) for sign in (-1, 1)]
    return np.concatenate(corners, axis=1).astype(np.float32)


def iou_contenders(a: np.ndarray, b: np.ndarray, *, peers: bool) -> Contenders:
    """Return all overlaps of a (N, 4) and b (M, 4), each peer with the arrays it likes best."""
    contenders: Contenders = {"minirpn": lambda: box_ops.iou(a, b)}
    if not peers:
        return contenders
    doubles = a.astype(np.float64), b.astype(np.float64)
    if module := peer("powerboxes"):
        powerboxes = module
        contenders["powerboxes"] = lambda: powerboxes.iou_distance(a, b)
    if module := peer("cython_bbox"):
        cython_bbox = module
        contenders["cython_bbox"] = lambda: cython_bbox.bbox_overlaps(*doubles)
    if module := peer("pycocotools"):
        coco, sided = module, [_corner_and_sides(boxes) for boxes in doubles]
        contenders["pycocotools"] = lambda: coco.iou(*sided, [0] * len(b))
    if torch := peer("torch"):
        tensors = tensor(a), tensor(b)
        contenders["torch"] = lambda: _torch_iou(torch, *tensors)
    return contenders


def label_contenders(
    *, peers: bool, device: Device = CPU, feature_size: ImageSize = FEATURE_SIZE
) -> Contenders:
    """Return the labelling of 21,546 anchors against 40 ground truths, which lie on the device."""
    anchors, gt_boxes = anchors_of(feature_size), random_boxes(40)
    ours = device.put(anchors), device.put(gt_boxes)
    contenders: Contenders = {"minirpn": lambda: label_anchors(*ours, IMAGE_SIZE)}
    torchvision = peer_on("torchvision", device) if peers else None
    if torchvision:
        matcher = torchvision.models.detection._utils.Matcher(
            0.7, 0.3, allow_low_quality_matches=True
        )
        tensors = tensor(gt_boxes, device), tensor(anchors, device)
        contenders["torchvision"] = lambda: matcher(torchvision.ops.box_iou(*tensors))
    return contenders


def propose_contenders(*, peers: bool) -> Contenders:
    """Return the proposals of one image from 21,546 anchors; the peer's is NMS alone."""
    anchors, config = anchors_of(), ProposalConfig(pre_nms=12_000, post_nms=2_000)
    objectness, deltas = random_outputs(len(anchors))
    contenders: Contenders = {
        "minirpn": lambda: propose(anchors, objectness, deltas, IMAGE_SIZE, config=config)
    }
    torchvision = peer("torchvision") if peers else None
    if torchvision:
        tensors = tuple(map(tensor, scored_boxes(config.pre_nms)))
        contenders["torchvision"] = lambda: torchvision.ops.nms(*tensors, config.iou_threshold)
    return contenders


def nms_contenders(
    count: int = 12_000, max_keep: int = 2_000, *, peers: bool, device: Device = CPU
) -> Contenders:
    """Return NMS alone, of `count` boxes to `max_keep`, all of it on the device.

    The peer has no limit: it looks at all boxes, and its best are then taken.
    """
    boxes, scores = scored_boxes(count)
    ours, threshold = (device.put(boxes), device.put(scores)), ProposalConfig().iou_threshold
    contenders: Contenders = {
        "minirpn": lambda: box_ops.nms(*ours, iou_threshold=threshold, max_keep=max_keep)
    }
    torchvision = peer_on("torchvision", device) if peers else None
    if torchvision:
        tensors = tensor(boxes, device), tensor(scores, device)
        contenders["torchvision"] = lambda: torchvision.ops.nms(*tensors, threshold)[:max_keep]
    return contenders


def random_outputs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return objectness (count, 2) and deltas (count, 4), as of a network that has learnt a bit."""
    rng = np.random.default_rng(0)
    objectness = rng.normal(size=(count, 2)).astype(np.float32)
    return objectness, rng.normal(scale=(0.3, 0.3, 0.2, 0.2), size=(count, 4)).astype(np.float32)


def scored_boxes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (count, 4) that enter NMS in one image, and their scores, best first."""
    anchors = anchors_of()
    objectness, deltas = random_outputs(len(anchors))
    scores = objectness[:, 1] - objectness[:, 0]
    best = np.argsort(-scores)[:count]
    return box_ops.clip(box_ops.decode(anchors, deltas), IMAGE_SIZE)[best], scores[best]


def _corner_and_sides(boxes: np.ndarray) -> np.ndarray:
    """Return boxes as x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _torch_iou(torch: Any, a: Any, b: Any) -> Any:
    """Return overlaps by broadcasting, as torchvision's box_iou does."""
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    shared = sides.clamp(min=0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)
