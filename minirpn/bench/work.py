"""What is measured: work on boxes, and steps of whole networks, on images of 600x1000.

Each function ``..._contenders`` returns functions that do the same work, by implementation.
Their input is on the device before the clock starts, for minirpn and for its peers. For a training
step this is the image, and for minirpn also its mini-batch: labels and targets. In a training the
loader's thread makes and sends them during the step before. The row ``label`` measures labelling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minirpn import backend
from minirpn import boxes as box_ops
from minirpn._typing import Array, ImageSize
from minirpn.accel.threads import results_in_order
from minirpn.bench.peers import Twin, peer, peer_on, tensor
from minirpn.devices import CPU, Device
from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig, propose
from minirpn.rpn.targets import label_anchors
from minirpn.training.config import RECIPES, TrainConfig
from minirpn.training.step import Minibatch, make_minibatch, sgd_update
from minirpn.training.trainer import Trainer, mean_of

Contenders = dict[str, Callable[[], object]]
IMAGE_SIZE = (600, 1000)
FEATURE_SIZE = (38, 63)  # of VGG-16 for such an image
LR = 1e-9  # so small that many steps do not change the weights
GT_BOXES = np.array([[100, 100, 400, 300], [500, 200, 900, 550], [20, 30, 200, 180]], np.float32)


def grid(feature_size: ImageSize = FEATURE_SIZE) -> np.ndarray:
    """Return the paper's anchors on a feature map: 21,546 for VGG-16 and 600x1000."""
    like = np.zeros(0, np.float32)
    return grid_anchors(base_anchors(AnchorConfig()), feature_size, 16, like=like)


def random_boxes(count: int) -> np.ndarray:
    """Return boxes (count, 4) inside the image, with sides of 20 to 400 pixels."""
    rng = np.random.default_rng(count)
    limits = np.array(IMAGE_SIZE[::-1])
    centers = rng.uniform(0, limits, (count, 2))
    sides = np.exp(rng.uniform(np.log(20), np.log(400), (count, 2)))
    corners = [np.clip(centers + sign * sides / 2, 0, limits) for sign in (-1, 1)]
    return np.concatenate(corners, axis=1).astype(np.float32)


def random_outputs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return objectness (count, 2) and deltas (count, 4) like those of a trained network."""
    rng = np.random.default_rng(0)
    objectness = rng.normal(size=(count, 2)).astype(np.float32)
    return objectness, rng.normal(scale=(0.3, 0.3, 0.2, 0.2), size=(count, 4)).astype(np.float32)


def scored_boxes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (count, 4) that enter NMS in one image, and their scores, best first."""
    anchors = grid()
    objectness, deltas = random_outputs(len(anchors))
    scores = objectness[:, 1] - objectness[:, 0]
    best = np.argsort(-scores)[:count]
    return box_ops.clip(box_ops.decode(anchors, deltas), IMAGE_SIZE)[best], scores[best]


def iou_contenders(a: np.ndarray, b: np.ndarray, *, peers: bool) -> Contenders:
    """Return IoU of a (N, 4) with b (M, 4); each peer gets the layout and dtype it is made for."""
    contenders: Contenders = {"minirpn": lambda: box_ops.iou(a, b)}
    if not peers:
        return contenders
    doubles = a.astype(np.float64), b.astype(np.float64)
    if powerboxes := peer("powerboxes"):
        contenders["powerboxes"] = partial(powerboxes.iou_distance, a, b)
    if cython_bbox := peer("cython_bbox"):
        contenders["cython_bbox"] = partial(cython_bbox.bbox_overlaps, *doubles)
    if coco := peer("pycocotools"):
        # corners -> x, y, width, height
        sided = [np.hstack([c[:, :2], c[:, 2:] - c[:, :2]]) for c in doubles]
        contenders["pycocotools"] = partial(coco.iou, *sided, [0] * len(b))
    if torch := peer("torch"):
        contenders["torch"] = partial(_torch_iou, torch, tensor(a), tensor(b))
    return contenders


def _torch_iou(torch: Any, a: Any, b: Any) -> Any:
    """Return IoU by broadcasting, as torchvision's box_iou does."""
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    shared = sides.clamp(min=0).prod(dim=2)
    areas = [(corners[:, 2:] - corners[:, :2]).prod(dim=1) for corners in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def label_contenders(
    *, peers: bool, device: Device = CPU, feature_size: ImageSize = FEATURE_SIZE
) -> Contenders:
    """Return the labelling of 21,546 anchors by 40 ground truths."""
    anchors, gt_boxes = grid(feature_size), random_boxes(40)
    ours = device.put(anchors), device.put(gt_boxes)
    contenders: Contenders = {"minirpn": lambda: label_anchors(*ours, IMAGE_SIZE)}
    if peers and (torchvision := peer_on("torchvision", device)):
        matcher = torchvision.models.detection._utils.Matcher(
            0.7, 0.3, allow_low_quality_matches=True
        )
        tensors = tensor(gt_boxes, device), tensor(anchors, device)
        contenders["torchvision"] = lambda: matcher(torchvision.ops.box_iou(*tensors))
    return contenders


def propose_contenders(*, peers: bool) -> Contenders:
    """Return the proposals of one image from 21,546 anchors; the peer does NMS alone."""
    anchors, config = grid(), ProposalConfig(pre_nms=12_000, post_nms=2_000)
    objectness, deltas = random_outputs(len(anchors))
    contenders: Contenders = {
        "minirpn": lambda: propose(anchors, objectness, deltas, IMAGE_SIZE, config=config)
    }
    if peers and (torchvision := peer("torchvision")):
        tensors = tuple(map(tensor, scored_boxes(config.pre_nms)))
        contenders["torchvision"] = lambda: torchvision.ops.nms(*tensors, config.iou_threshold)
    return contenders


def nms_contenders(
    count: int = 12_000, max_keep: int = 2_000, *, peers: bool, device: Device = CPU
) -> Contenders:
    """Return NMS alone, of `count` boxes to `max_keep`.

    The peer has no limit: it goes through all boxes, and the best are selected afterwards.
    """
    boxes, scores = scored_boxes(count)
    ours, threshold = (device.put(boxes), device.put(scores)), ProposalConfig().iou_threshold
    contenders: Contenders = {
        "minirpn": lambda: box_ops.nms(*ours, iou_threshold=threshold, max_keep=max_keep)
    }
    if peers and (torchvision := peer_on("torchvision", device)):
        tensors = tensor(boxes, device), tensor(scores, device)
        contenders["torchvision"] = lambda: torchvision.ops.nms(*tensors, threshold)[:max_keep]
    return contenders


def new_trainer(backbone: str, device: Device = CPU) -> Trainer:
    """Return the trainer of a new run, as ``minirpn train --backbone`` makes it."""
    config = TrainConfig()
    return Trainer(replace(config, model=replace(config.model, backbone=backbone)), device)


def noise_image(image_size: ImageSize = IMAGE_SIZE) -> np.ndarray:
    """Return one preprocessed image (1, 3, H, W) of noise."""
    noise = np.random.default_rng(0).normal(scale=50, size=(1, 3, *image_size))
    return noise.astype(np.float32)


def minibatch_for(trainer: Trainer, image: Array) -> Minibatch:
    """Return a mini-batch for an image (3, H, W), on its device, as a loader's thread makes it."""
    image_size = (image.shape[1], image.shape[2])
    anchors = trainer.network.anchors_for(image_size, like=GT_BOXES)
    batch = make_minibatch(
        anchors, GT_BOXES, image_size, rng=trainer.rng(), objective=trainer.objective
    )
    return batch.on(image)


def take_step(trainer: Trainer, image: Array, batch: Minibatch) -> None:
    """Take a training step: loss, gradients, update."""
    trainer.optimizer.step(trainer.rpn_step(image, batch, recorded=True).grads, lr=LR)


def take_checked_step(trainer: Trainer, image: Array, batch: Minibatch) -> None:
    """Take a step as a training does: it waits for the losses, to check that they are finite."""
    sgd_update(trainer.optimizer, trainer.rpn_step(image, batch, recorded=True), lr=LR)


def forward_contenders(backbone: str, *, peers: bool) -> Contenders:
    """Return the forward pass of the RPN on a backbone, ours and PyTorch's."""
    network, images = new_trainer(backbone).network, noise_image()
    contenders: Contenders = {"minirpn": lambda: network.forward(images)}
    if peers and peer_on("torch", CPU):
        contenders["torch"] = partial(Twin(network).forward, tensor(images))
    return contenders


def step_contenders(
    backbone: str, *, peers: bool, device: Device = CPU, image_size: ImageSize = IMAGE_SIZE
) -> Contenders:
    """Return a training step of the RPN on a backbone, ours and PyTorch's eager one.

    PyTorch chooses cuDNN's algorithms by rule, as it does by default. To try them all
    (``torch.backends.cudnn.benchmark``) only pays for images of one size.
    """
    trainer, images = new_trainer(backbone, device), noise_image(image_size)
    image = device.put(images)[0, ...]
    batch = minibatch_for(trainer, image)
    contenders: Contenders = {"minirpn": partial(take_step, trainer, image, batch)}
    if peers and peer_on("torch", device):
        contenders["torch"] = partial(Twin(trainer.network, device).step, tensor(images, device))
    return contenders


def images_contenders(*, peers: bool, count: int = 2) -> Contenders:
    """Return a training step of the recipe `small` on `count` images of 300x500.

    PyTorch takes them as a batch, or one by one in as many steps.
    """
    trainer, image = Trainer(RECIPES["small"]), noise_image((300, 500))
    given = [(image[0], minibatch_for(trainer, image[0]))] * count

    def step() -> None:
        results = results_in_order(lambda one: trainer.rpn_step(*one), given, at_once=count)
        trainer.optimizer.step(mean_of(results, count).grads, lr=LR)

    contenders: Contenders = {"minirpn": step}
    if peers and peer_on("torch", CPU):
        twin, one = Twin(trainer.network), tensor(image)
        contenders["torch"] = partial(twin.step, tensor(np.repeat(image, count, axis=0)))

        def one_by_one() -> None:
            for _ in range(count):
                twin.step(one)

        contenders["torch one by one"] = one_by_one
    return contenders


def twin_step(backbone: str) -> Callable[[], object]:
    """Return the training step of PyTorch's twin alone; the original is freed."""
    return partial(Twin(new_trainer(backbone).network).step, tensor(noise_image()))


def network_propose_contenders(
    backbone: str, *, peers: bool, device: Device = CPU, image_size: ImageSize = IMAGE_SIZE
) -> Contenders:
    """Return the way from an image to 300 proposals; the peer does the forward pass alone."""
    network, images = new_trainer(backbone, device).network, noise_image(image_size)
    image = device.put(images)[0, ...]
    scale_outputs(network, image)
    contenders: Contenders = {"minirpn": lambda: network.propose(image)}
    if peers and peer_on("torch", device):
        contenders["torch"] = partial(Twin(network, device).forward, tensor(images, device))
    return contenders


def scale_outputs(network: RPN, image: Array) -> None:
    """Scale the last layers in place, so that outputs spread as a trained network's (1 and 0.3).

    With its first weights VGG-16 moves boxes by ten times their sides. After clipping, they would
    not be the work that NMS has after a trained network.
    """
    output, _ = network.forward(image[None, ...])
    head = network.head
    for layer, values, spread in (
        (head.objectness, output.objectness, 1.0),
        (head.deltas, output.deltas, 0.3),
    ):
        factor = spread / float(np.std(backend.to_host(values)))
        for parameter in layer.parameters():
            parameter.value = parameter.value * factor
