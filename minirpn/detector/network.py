"""Fast R-CNN on the features of the RPN: one network for both (section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from minirpn._typing import Array
from minirpn.detector.head import DetectorHead, DetectorHeadCache, DetectorOutput
from minirpn.detector.postprocess import DetectionConfig, Detections, postprocess
from minirpn.nn import (
    Parameter,
    RoIAlignCache,
    RoIPoolCache,
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
)
from minirpn.rpn.network import RPN
from minirpn.rpn.proposals import ProposalConfig, Proposals

Pooling = Literal["pool", "align"]


class FastRCNNCache(NamedTuple):
    """What `FastRCNN.backward` needs from `FastRCNN.forward`."""

    pooled: RoIPoolCache | RoIAlignCache
    head: DetectorHeadCache


class FastRCNNGrads(NamedTuple):
    """Gradients by the inputs of `FastRCNN.forward` and by its parameters."""

    dfeatures: Array | None  # (1, C, Hf, Wf); None if not needed
    dboxes: Array | None  # (R, 4); None if not needed
    parameters: dict[str, Array]


class FastRCNN:
    """The part of the detector behind the shared features: pooling of regions, and the head.

    Parameters
    ----------
    head
        Computes logits and deltas of pooled regions.
    pool_size
        (h, w) of a pooled region.
    stride
        Image pixels per cell of the features.
    pooling
        ``"pool"``: RoI max pooling, as in Fast R-CNN; ``"align"``: RoI align (He et al., *Mask
        R-CNN*, 2017), which has a gradient by the boxes.
    """

    def __init__(
        self, head: DetectorHead, pool_size: tuple[int, int], stride: float, *, pooling: Pooling
    ) -> None:
        if pooling not in ("pool", "align"):
            raise ValueError(f"pooling: expected pool or align, got {pooling!r}")
        self.head = head
        self.pooling = pooling
        self.windows: dict[str, Any] = {"output_size": pool_size, "stride": stride}

    def parameters(self) -> list[Parameter]:
        """Return the parameters of the head."""
        return self.head.parameters()

    def forward(
        self, features: Array, regions: Array, *, rng: np.random.Generator | None = None
    ) -> tuple[DetectorOutput, FastRCNNCache]:
        """Return logits and deltas of the regions of one image, and the cache.

        Parameters
        ----------
        features
            (1, C, Hf, Wf).
        regions
            (R, 4) half-open pixels of the resized image.
        rng
            For dropout in training; None for no dropout.
        """
        forward: Callable[..., Any] = roi_pool_forward
        if self.pooling == "align":
            forward = roi_align_forward
        pooled, pooled_cache = forward(features[0, ...], regions, **self.windows)
        output, head_cache = self.head.forward(pooled, rng=rng)
        return output, FastRCNNCache(pooled_cache, head_cache)

    def backward(
        self,
        dlogits: Array,
        ddeltas: Array,
        cache: FastRCNNCache,
        *,
        need_dfeatures: bool = True,
        need_dboxes: bool = False,
    ) -> FastRCNNGrads:
        """Return the gradients of the loss, given those by the outputs of `forward`.

        Raises
        ------
        ValueError
            `need_dboxes` with RoI max pooling, which has no gradient by the boxes.
        """
        need_dpooled = need_dfeatures or need_dboxes
        dpooled: Any
        dpooled, grads = self.head.backward(dlogits, ddeltas, cache.head, need_dx=need_dpooled)
        if not need_dpooled:
            return FastRCNNGrads(None, None, grads)
        if isinstance(cache.pooled, RoIPoolCache):
            if need_dboxes:
                raise ValueError("need_dboxes: RoI max pooling has no gradient by its boxes")
            return FastRCNNGrads(roi_pool_backward(dpooled, cache.pooled)[None, ...], None, grads)
        dfeatures, dboxes = roi_align_backward(dpooled, cache.pooled, need_dboxes=need_dboxes)
        return FastRCNNGrads(dfeatures[None, ...], dboxes, grads)


class FasterRCNN:
    """An RPN and a detector on one backbone.

    Parameters
    ----------
    rpn
        Contains the backbone.
    detector
        Classifies the proposals of the RPN on the same features.
    """

    def __init__(self, rpn: RPN, detector: FastRCNN) -> None:
        self.rpn = rpn
        self.detector = detector

    def parameters(self) -> list[Parameter]:
        """Return the parameters of the backbone, the RPN's head and the detector."""
        return self.rpn.parameters() + self.detector.parameters()

    def detect(
        self,
        image: Array,
        *,
        scale: float = 1.0,
        proposals: ProposalConfig | None = None,
        config: DetectionConfig | None = None,
    ) -> tuple[Detections, Proposals]:
        """Return the detections in one preprocessed image, and the proposals they come from.

        Parameters
        ----------
        image
            (3, H, W), preprocessed and resized.
        scale
            Resized over original size.
        proposals
            Settings of the proposals; None for the defaults.
        config
            Settings of the detections; None for the defaults.
        """
        image_size = (image.shape[1], image.shape[2])
        output, _ = self.rpn.forward(image[None, ...])
        proposed = output.propose(image_size, scale=scale, config=proposals)
        regions, _ = self.detector.forward(output.features, proposed.boxes)
        detections = postprocess(
            proposed.boxes, *regions, image_size, config=config or DetectionConfig()
        )
        return detections, proposed
