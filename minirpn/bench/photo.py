"""A photograph and a shipped model, the whole call: from its pixels to boxes in its pixels.

The peer is PyTorch with torchvision's operations: the same weights, and the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from minirpn.backbones import Backbone, Preprocessing
from minirpn.bench.peers import peer, peer_on, tensor, torch_layer
from minirpn.data.images import read_image
from minirpn.data.transforms import resize_scale, resized_size
from minirpn.detector import FasterRCNN, FastRCNN
from minirpn.detector.targets import DELTA_STD
from minirpn.devices import CPU
from minirpn.models import Model, load
from minirpn.samples import photos

PHOTOGRAPH, MODEL = "astronaut", "voc-small"


def propose_contenders(*, peers: bool) -> dict[str, Callable[[], object]]:
    """Return the proposals of a photograph, from its pixels."""
    return _contenders(lambda program, pixels: program.propose(pixels), peers)


def detect_contenders(*, peers: bool) -> dict[str, Callable[[], object]]:
    """Return the detections in a photograph, from its pixels."""
    return _contenders(lambda program, pixels: program.detect(pixels), peers)


def _contenders(
    call: Callable[[Any, np.ndarray], object], peers: bool
) -> dict[str, Callable[[], object]]:
    pixels, model = read_image(photos()[PHOTOGRAPH]), load(MODEL, device=CPU)
    programs: dict[str, Any] = {"minirpn": model}
    if peers and peer_on("torch", CPU) and peer_on("torchvision", CPU):
        programs["torchvision"] = ModelTwin(model)
    return {name: partial(call, program, pixels) for name, program in programs.items()}


class ModelTwin:
    """The same `Model` in PyTorch on the CPU, weights included: `propose` and `detect`.

    The anchors are made before, as ours are kept from call to call.
    """

    def __init__(self, model: Model) -> None:
        torch: Any = peer("torch")
        self.torch, self.model = torch, model
        self.ops = cast(Any, peer("torchvision")).ops
        head = model.rpn.head
        self.backbone = torch_layer(cast(Backbone, model.rpn.backbone).body)
        self.hidden = torch.nn.Sequential(torch_layer(head.conv), torch.nn.ReLU(inplace=True))
        self.outputs = [torch_layer(head.objectness), torch_layer(head.deltas)]
        preprocessing = cast(Preprocessing, model.rpn.backbone.preprocessing)
        self.is_bgr = preprocessing.order == "BGR"
        # (3,) -> (1, 3, 1, 1)
        self.mean, self.std = (
            torch.tensor(values)[None, :, None, None]
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.detector: FastRCNN | None = None
        if isinstance(model.network, FasterRCNN):
            self.detector = model.network.detector
            detector_head = self.detector.head
            blocks = map(torch_layer, detector_head.blocks)
            self.region_hidden = torch.nn.Sequential(*blocks)
            self.region_outputs = [
                torch_layer(layer) for layer in (detector_head.logits, detector_head.deltas)
            ]
            self.delta_std = torch.tensor(DELTA_STD)

    def propose(self, pixels: np.ndarray) -> tuple[Any, Any]:
        """Return boxes (R, 4) and scores (R,) of a picture (H, W, 3) uint8, in its own pixels."""
        with self.torch.inference_mode():
            images, scale = self._input(pixels)
            boxes, scores, _ = self._proposals(images, scale)
            return self._original(boxes, pixels, scale), scores

    def detect(self, pixels: np.ndarray, *, score_threshold: float = 0.5) -> tuple[Any, Any, Any]:
        """Return boxes (D, 4), scores (D,) and classes (D,) of a picture, in its own pixels."""
        assert self.detector is not None, "only of a model with a detector"
        torch, config = self.torch, self.model.config.detections
        with torch.inference_mode():
            images, scale = self._input(pixels)
            regions, _, features = self._proposals(images, scale)
            pool = self.ops.roi_align if self.detector.pooling == "align" else self.ops.roi_pool
            windows = self.detector.windows
            pooled = pool(features, [regions], windows["output_size"], 1 / windows["stride"])
            hidden = self.region_hidden(pooled)
            logits, deltas = (layer(hidden) for layer in self.region_outputs)
            # Without the background, which comes first: (R, L)
            probabilities = logits.softmax(1)[:, 1:]
            rows, classes = (probabilities > score_threshold).nonzero(as_tuple=True)
            scores = probabilities[rows, classes]
            # (R, 4 (L + 1)) -> (R, L + 1, 4) -> (D, 4)
            chosen = deltas.unflatten(1, (-1, 4))[rows, classes + 1] * self.delta_std
            boxes = self._clipped(self._decoded(regions[rows], chosen), images.shape[2:])
            kept = self.ops.batched_nms(boxes, scores, classes, config.iou_threshold)
            kept = kept[: config.max_detections]
            return self._original(boxes[kept], pixels, scale), scores[kept], classes[kept]

    def _input(self, pixels: np.ndarray) -> tuple[Any, float]:
        """Return the network's input (1, 3, H, W), and resized over original size."""
        image_size = (pixels.shape[0], pixels.shape[1])
        scale = resize_scale(image_size, self.model.config.resize)
        # (H, W, 3) -> (1, 3, H, W), channels last, as the pixels lie
        images = self.torch.nn.functional.interpolate(
            tensor(pixels).permute(2, 0, 1)[None, ...],
            resized_size(image_size, scale),
            mode="bilinear",
            antialias=True,
        )
        if self.is_bgr:
            images = images.flip(1)
        images = images.to(self.torch.float32).sub_(self.mean).div_(self.std)
        return images.contiguous(), scale

    def _proposals(self, images: Any, scale: float) -> tuple[Any, Any, Any]:
        """Return boxes and scores of the proposals in the input's pixels, and the features."""
        config = self.model.config.proposals
        features = self.backbone(images)
        hidden = self.hidden(features)
        objectness, deltas = (layer(hidden) for layer in self.outputs)
        # (1, A values, H, W) -> (H W A, values)
        objectness, deltas = (
            maps.permute(0, 2, 3, 1).reshape(-1, values)
            for maps, values in ((objectness, self.model.rpn.head.scores_per_anchor), (deltas, 4))
        )
        logits = objectness[:, -1]
        if objectness.shape[1] == 2:
            logits = logits - objectness[:, 0]
        like = np.zeros(0, np.float32)
        anchors = tensor(self.model.rpn.anchors(tuple(features.shape[2:]), like=like))
        boxes = self._clipped(self._decoded(anchors, deltas), images.shape[2:])
        scores = logits.sigmoid()
        large = ((boxes[:, 2:] - boxes[:, :2]) >= config.min_size * scale).all(1)
        boxes, scores = boxes[large], scores[large]
        scores, best = scores.topk(min(config.pre_nms, len(scores)))
        boxes = boxes[best]
        kept = self.ops.nms(boxes, scores, config.iou_threshold)[: config.post_nms]
        return boxes[kept], scores[kept], features

    def _decoded(self, anchors: Any, deltas: Any) -> Any:
        sides = anchors[:, 2:] - anchors[:, :2]
        centers = anchors[:, :2] + 0.5 * sides + deltas[:, :2] * sides
        half_sides = 0.5 * sides * deltas[:, 2:].exp()
        return self.torch.cat([centers - half_sides, centers + half_sides], 1)

    def _clipped(self, boxes: Any, image_size: Any) -> Any:
        return self.ops.clip_boxes_to_image(boxes, tuple(image_size))

    def _original(self, boxes: Any, pixels: np.ndarray, scale: float) -> Any:
        return self._clipped(boxes / scale, pixels.shape[:2])
