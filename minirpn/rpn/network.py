"""The Region Proposal Network: the features of a backbone, the head, and the anchors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from minirpn._typing import Array, ImageSize
from minirpn.accel.cuda.graph import is_recording
from minirpn.backend import device_of, host_dtype
from minirpn.nn.layers import Parameter
from minirpn.rpn.anchors import AnchorConfig, base_anchors, grid_anchors
from minirpn.rpn.head import HeadCache, RPNHead
from minirpn.rpn.proposals import ProposalConfig, Proposals, candidates, propose

# Feature sizes whose anchors a network keeps; at 600x1000 they take 0.3 MB each.
_KEPT_ANCHORS = 32


class FeatureExtractor(Protocol):
    """What the RPN needs of a backbone, such as `minirpn.backbones.Backbone`."""

    def parameters(self) -> list[Parameter]:
        """Return all parameters, frozen ones too."""

    def forward(
        self, images: Array, *, observe: Callable[[str, Array], None] | None = None
    ) -> tuple[Array, Any]:
        """Return features (N, C, Hf, Wf) of images (N, 3, H, W), and a cache."""

    def backward(self, dfeatures: Array, cache: Any) -> dict[str, Array]:
        """Return the gradients by the trainable parameters, by name."""

    def feature_size(self, image_size: ImageSize) -> ImageSize:
        """Return (Hf, Wf) of the features of an image of (height, width)."""

    @property
    def geometry(self) -> Any:
        """The stride and the center of cell (0, 0)."""

    @property
    def stages(self) -> Mapping[str, str]:
        """Stage -> name of the layer whose output is its activation."""

    @property
    def preprocessing(self) -> Callable[[np.ndarray], np.ndarray]:
        """From an image (H, W, 3) uint8 to network input (3, H, W)."""


class RPNOutput(NamedTuple):
    """The output of the network for N images of one size."""

    features: Array  # (N, C, Hf, Wf)
    objectness: Array  # (N, K, 2) logits of a softmax, or (N, K, 1) logits
    deltas: Array  # (N, K, 4)
    anchors: Array  # (K, 4) half-open pixels of the resized image; see `RPN.anchors`

    @property
    def locations(self) -> int:
        """Return Hf * Wf, the number of anchor locations: N_reg of equation 1."""
        return int(self.features.shape[2] * self.features.shape[3])

    def propose(
        self, image_size: ImageSize, *, scale: float = 1.0, config: ProposalConfig | None = None
    ) -> Proposals:
        """Return the proposals for the first image; see `minirpn.rpn.proposals.propose`."""
        objectness, deltas = self.objectness[0, ...], self.deltas[0, ...]
        return propose(self.anchors, objectness, deltas, image_size, scale=scale, config=config)

    def candidates(
        self, image_size: ImageSize, *, scale: float = 1.0, config: ProposalConfig | None = None
    ) -> Proposals:
        """Return what enters NMS for the first image; see `minirpn.rpn.proposals.candidates`."""
        objectness, deltas = self.objectness[0, ...], self.deltas[0, ...]
        boxes, scores, _ = candidates(
            self.anchors, objectness, deltas, image_size, scale=scale, config=config
        )
        return Proposals(boxes, scores)


class RPNCache(NamedTuple):
    """What `RPN.backward` needs from `RPN.forward`."""

    backbone: Any
    head: HeadCache


class RPN:
    """A Region Proposal Network (section 3.1).

    Parameters
    ----------
    backbone
        Computes the features.
    head
        Computes objectness and deltas of the anchors at each cell of the features.
    anchor_config
        The base anchors, as many as the head has outputs for.
    anchor_centre
        ``"cell"``: the anchors of cell (0, 0) have their center at ``base_size / 2``, as published.
        ``"receptive-field"``: they move by whole pixels to the center of the receptive field of the
        cell. For VGG-16 the two are equal.
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        head: RPNHead,
        anchor_config: AnchorConfig,
        *,
        anchor_centre: str = "cell",
    ) -> None:
        if anchor_centre not in ("cell", "receptive-field"):
            raise ValueError(
                f"anchor_centre: expected cell or receptive-field, got {anchor_centre!r}"
            )
        self.backbone = backbone
        self.head = head
        self.base_anchors = base_anchors(anchor_config)
        self.stride = backbone.geometry.stride
        shift = 0.0
        if anchor_centre == "receptive-field":
            # By whole pixels, so that anchors stay whole numbers and their ties exact.
            shift = float(round(backbone.geometry.center - anchor_config.base_size / 2))
        self.anchor_offset = (shift, shift)
        self._anchors: dict[tuple[Any, ...], Array] = {}

    def parameters(self) -> list[Parameter]:
        """Return the parameters of backbone and head, frozen ones too."""
        return self.backbone.parameters() + self.head.parameters()

    def anchors(self, feature_size: ImageSize, *, like: Array) -> Array:
        """Return the anchors (K, 4) of a feature map, of library, device and dtype of `like`.

        They are made once and kept: do not modify the array, for later calls return it again.
        While a CUDA graph is recorded they are not kept, because its arrays are filled later.
        """
        base, stride, offset = self.base_anchors, self.stride, self.anchor_offset
        where = type(like), str(device_of(like)), host_dtype(like)
        key = (feature_size, base.tobytes(), stride, offset, *where)
        anchors = self._anchors.get(key)
        if anchors is None and is_recording():
            return grid_anchors(base, feature_size, stride, offset=offset, like=like)
        if anchors is None:
            # Two threads may do this at once; then the anchors are made twice, with no harm.
            if len(self._anchors) >= _KEPT_ANCHORS:
                self._anchors.clear()
            anchors = grid_anchors(base, feature_size, stride, offset=offset, like=like)
            self._anchors[key] = anchors
        return anchors

    def anchors_for(self, image_size: ImageSize, *, like: Array) -> Array:
        """Return the anchors (K, 4) of an image of (height, width)."""
        return self.anchors(self.backbone.feature_size(image_size), like=like)

    def forward(
        self, images: Array, *, observe: Callable[[str, Array], None] | None = None
    ) -> tuple[RPNOutput, RPNCache]:
        """Return objectness, deltas and anchors for images (N, 3, H, W).

        Parameters
        ----------
        images
            Preprocessed, all of one size.
        observe
            Called with the name and the output of each layer of the backbone.
        """
        features, backbone_cache = self.backbone.forward(images, observe=observe)
        (objectness, deltas), head_cache = self.head.forward(features)
        anchors = self.anchors((features.shape[2], features.shape[3]), like=features)
        output = RPNOutput(features, objectness, deltas, anchors)
        return output, RPNCache(backbone_cache, head_cache)

    @property
    def trains_backbone(self) -> bool:
        """Whether any parameter of the backbone is trainable."""
        return any(parameter.trainable for parameter in self.backbone.parameters())

    def backward(
        self,
        dobjectness: Array,
        ddeltas: Array,
        cache: RPNCache,
        *,
        dfeatures: Array | None = None,
    ) -> dict[str, Array]:
        """Return the gradient of the loss by each trainable parameter, by name.

        Parameters
        ----------
        dobjectness, ddeltas
            Gradients by the outputs of `forward`, in their shapes.
        cache
            The cache that `forward` returned.
        dfeatures
            Gradient by the features from elsewhere, such as a detector that shares them; or None.
        """
        trained = self.trains_backbone
        by_head, grads = self.head.backward(dobjectness, ddeltas, cache.head, need_dx=trained)
        if trained:
            of_features: Any = by_head if dfeatures is None else by_head + dfeatures
            grads = self.backbone.backward(of_features, cache.backbone) | grads
        return grads

    def propose(
        self,
        image: Array,
        *,
        scale: float = 1.0,
        config: ProposalConfig | None = None,
    ) -> Proposals:
        """Return the proposals for one preprocessed image (3, H, W), in its own pixels.

        Parameters
        ----------
        image
            Preprocessed and resized.
        scale
            Resized over original size.
        config
            Counts and thresholds.
        """
        output, _ = self.forward(image[None, ...])
        return output.propose((image.shape[1], image.shape[2]), scale=scale, config=config)
