"""The network: a backbone's features, the head that slides over them, the anchors it refers to."""

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
from minirpn.rpn.proposals import ProposalConfig, Proposals, propose

# Feature sizes whose anchors a network keeps; at 600x1000 they take 0.3 MB each.
_KEPT_ANCHORS = 32


class FeatureExtractor(Protocol):
    """What the RPN asks of a backbone (`minirpn.backbones.Backbone` is one)."""

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
        """Tell the stride and the centre of cell (0, 0)."""

    @property
    def stages(self) -> Mapping[str, str]:
        """Name the layer whose output is each stage's activation."""

    @property
    def preprocessing(self) -> Callable[[np.ndarray], np.ndarray]:
        """Make network input (3, H, W) of an image (H, W, 3) uint8."""


class RPNOutput(NamedTuple):
    """What the network says of N images of one size."""

    features: Array  # (N, C, Hf, Wf)
    objectness: Array  # (N, K, 2) softmax scores, or (N, K, 1) logits
    deltas: Array  # (N, K, 4)
    anchors: Array  # (K, 4) half-open pixels of the resized image; see `RPN.anchors`

    @property
    def locations(self) -> int:
        """Return Hf * Wf, the number of anchor locations: N_reg of eq. 1."""
        return int(self.features.shape[2] * self.features.shape[3])

    def propose(
        self, image_size: ImageSize, *, scale: float = 1.0, config: ProposalConfig | None = None
    ) -> Proposals:
        """Return the proposals for the first image; see `minirpn.rpn.proposals.propose`."""
        objectness, deltas = self.objectness[0, ...], self.deltas[0, ...]
        return propose(self.anchors, objectness, deltas, image_size, scale=scale, config=config)


class RPNCache(NamedTuple):
    """What `RPN.backward` needs from `RPN.forward`."""

    backbone: Any
    head: HeadCache


class RPN:
    """A Region Proposal Network (section 3.1).

    Parameters
    ----------
    backbone
        Gives the features.
    head
        Slides over them.
    anchor_config
        The base anchors; as many as the head has outputs for.
    anchor_centre
        ``"cell"``: the anchors of cell (0, 0) are centred at ``base_size / 2``, as published.
        ``"receptive-field"``: they are moved, by whole pixels, to the centre of what that cell
        sees. For VGG-16 the two agree.
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
            # Whole pixels keep whole-number anchors whole, and with them the ties exact.
            shift = float(round(backbone.geometry.center - anchor_config.base_size / 2))
        self.anchor_offset = (shift, shift)
        self._anchors: dict[tuple[Any, ...], Array] = {}

    def parameters(self) -> list[Parameter]:
        """Return the parameters of backbone and head, frozen ones too."""
        return self.backbone.parameters() + self.head.parameters()

    def anchors(self, feature_size: ImageSize, *, like: Array) -> Array:
        """Return the anchors (K, 4) of a feature map, of library, device and dtype of `like`.

        They are made once and kept: what comes back is the same array again, and not to be
        modified. Those that a CUDA graph would make, each time anew, are not kept.
        """
        base, stride, offset = self.base_anchors, self.stride, self.anchor_offset
        where = type(like), str(device_of(like)), host_dtype(like)
        key = (feature_size, base.tobytes(), stride, offset, *where)
        anchors = self._anchors.get(key)
        if anchors is None and is_recording():
            return grid_anchors(base, feature_size, stride, offset=offset, like=like)
        if anchors is None:
            # Threads may do this at the same time; then some anchors are made twice.
            if len(self._anchors) >= _KEPT_ANCHORS:
                self._anchors.clear()
            anchors = grid_anchors(base, feature_size, stride, offset=offset, like=like)
            self._anchors[key] = anchors
        return anchors

    def anchors_for(self, image_size: ImageSize, *, like: Array) -> Array:
        """Return the anchors (K, 4) of an image of (height, width), as `forward` does."""
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
            What `forward` returned.
        dfeatures
            Gradient by the features of whatever else looks at them, such as a detector that shares
            them; None for nothing.
        """
        trained = self.trains_backbone
        by_head, grads = self.head.backward(dobjectness, ddeltas, cache.head, need_dx=trained)
        if trained:
            whole = by_head if dfeatures is None else by_head + dfeatures
            grads = self.backbone.backward(whole, cache.backbone) | grads
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
