"""The head of Fast R-CNN: from the pooled features of a region to its class and its box.

Fully connected blocks, then two sibling layers: a logit and four deltas for each of L + 1 classes
(Fast R-CNN, section 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.backend import namespace_of
from minirpn.nn import (
    Conv2d,
    DropoutCache,
    Flatten,
    Linear,
    Parameter,
    ReLU,
    Sequential,
    dropout_backward,
    dropout_forward,
)


class DetectorOutput(NamedTuple):
    """The outputs of the head for R regions."""

    logits: Array  # (R, L + 1) before the softmax, background first
    deltas: Array  # (R, L + 1, 4) for every class, normalized


class DetectorHeadCache(NamedTuple):
    """What `DetectorHead.backward` needs from `DetectorHead.forward`."""

    blocks: tuple[tuple[Any, DropoutCache | None], ...]
    logits: Any
    deltas: Any


class DetectorHead:
    """Blocks of layers, each with dropout after it, and two sibling layers.

    Parameters
    ----------
    blocks
        Layers from pooled features (R, C, h, w) to rows (R, D), in order.
    features
        D.
    classes
        L, without the background.
    dropout
        Probability that a feature after a block is dropped in training; 0 for no dropout.
    rng
        Draws the weights of the siblings: N(0, 0.01) for the logits, N(0, 0.001) for the deltas
        (Fast R-CNN, section 2.3).
    """

    def __init__(
        self,
        blocks: Sequence[Sequential],
        features: int,
        classes: int,
        *,
        dropout: float = 0.0,
        rng: np.random.Generator | None,
    ) -> None:
        if classes < 1:
            raise ValueError(f"classes: expected at least 1, got {classes}")
        self.blocks = tuple(blocks)
        self.dropout = dropout
        self.logits = Linear("detector.scores", features, classes + 1, rng=rng, std=0.01)
        self.deltas = Linear("detector.deltas", features, 4 * (classes + 1), rng=rng, std=0.001)

    def parameters(self) -> list[Parameter]:
        """Return the parameters of the blocks and of the siblings."""
        layers = (*self.blocks, self.logits, self.deltas)
        return [parameter for layer in layers for parameter in layer.parameters()]

    def forward(
        self, pooled: Array, *, rng: np.random.Generator | None = None
    ) -> tuple[DetectorOutput, DetectorHeadCache]:
        """Return logits and deltas of pooled features (R, C, h, w), and the cache.

        Parameters
        ----------
        pooled
            From `minirpn.nn.roi_pool_forward` or `minirpn.nn.roi_align_forward`.
        rng
            For dropout in training; None for no dropout.
        """
        xp = namespace_of(pooled)
        x, caches = pooled, []
        for block in self.blocks:
            x, block_cache = block.forward(x)
            dropped = None
            if rng is not None and self.dropout > 0:
                x, dropped = dropout_forward(x, probability=self.dropout, rng=rng)
            caches.append((block_cache, dropped))
        logits, logits_cache = self.logits.forward(x)
        deltas, deltas_cache = self.deltas.forward(x)
        R, width = deltas.shape
        deltas = xp.reshape(deltas, (R, width // 4, 4))  # (R, 4 (L + 1)) -> (R, L + 1, 4)
        cache = DetectorHeadCache(tuple(caches), logits_cache, deltas_cache)
        return DetectorOutput(logits, deltas), cache

    def backward(
        self, dlogits: Array, ddeltas: Array, cache: DetectorHeadCache, *, need_dx: bool = True
    ) -> tuple[Array | None, dict[str, Array]]:
        """Return the gradient by the pooled features (None if not needed), and by the parameters.

        Parameters
        ----------
        dlogits, ddeltas
            Gradients of the loss by the two outputs of `forward`, in their shapes.
        cache
            The cache that `forward` returned.
        need_dx
            Whether the backbone, or the RPN by the boxes, is trained.
        """
        xp = namespace_of(dlogits, ddeltas)
        R = dlogits.shape[0]
        check_shape(ddeltas, (R, dlogits.shape[1], 4), "ddeltas")
        dx: Any
        dx_by_deltas: Any
        dx, grads = self.logits.backward(dlogits, cache.logits)
        flat = xp.reshape(ddeltas, (R, 4 * dlogits.shape[1]))  # (R, L + 1, 4) -> (R, 4 (L + 1))
        dx_by_deltas, of_deltas = self.deltas.backward(flat, cache.deltas)
        dx = dx + dx_by_deltas
        grads = grads | of_deltas
        for index in reversed(range(len(self.blocks))):
            block_cache, dropped = cache.blocks[index]
            if dropped is not None:
                dx = dropout_backward(dx, dropped)
            dx, of_block = self.blocks[index].backward(
                dx, block_cache, need_dx=need_dx or index > 0
            )
            grads |= of_block
        return dx, grads


def fully_connected_head(
    channels: int, pool_size: tuple[int, int], classes: int, *, rng: np.random.Generator | None
) -> DetectorHead:
    """Return fc6 and fc7 of 4096 outputs, each with ReLU and dropout 0.5: VGG-16's and ZF's.

    The weights are drawn from N(0, 0.005), as in Caffe; ImageNet weights may replace them.
    """
    inputs = channels * pool_size[0] * pool_size[1]
    fc6 = [
        Flatten("flatten"),
        Linear("fc6", inputs, 4096, rng=rng, std=0.005),
        ReLU("relu6"),
    ]
    fc7 = [Linear("fc7", 4096, 4096, rng=rng, std=0.005), ReLU("relu7")]
    blocks = (Sequential("block6", fc6), Sequential("block7", fc7))
    return DetectorHead(blocks, 4096, classes, dropout=0.5, rng=rng)


def light_head(
    channels: int, pool_size: tuple[int, int], classes: int, *, rng: np.random.Generator | None
) -> DetectorHead:
    """Return a head that a CPU trains in tens of milliseconds a step.

    A 1x1 convolution reduces each region to 64 channels. The fully connected layer then has 0.8
    million weights; VGG-16's fc6 has 103 million. The weights are drawn as in He et al. 2015,
    because no pretrained ones exist.
    """
    reduced, hidden = 64, 256
    inputs = reduced * pool_size[0] * pool_size[1]
    layers = [
        Conv2d("detector.reduce", channels, reduced, kernel=1, rng=rng, std=None),
        ReLU("detector.relu1"),
        Flatten("detector.flatten"),
        Linear("detector.hidden", inputs, hidden, rng=rng, std=None),
        ReLU("detector.relu2"),
    ]
    return DetectorHead((Sequential("light", layers),), hidden, classes, rng=rng)


# Backbone -> function that builds its head, and the (h, w) that regions are pooled to.
HEADS: dict[str, tuple[Callable[..., DetectorHead], tuple[int, int]]] = {
    "squeezenet": (light_head, (7, 7)),
    "tiny": (light_head, (7, 7)),
    "vgg16": (fully_connected_head, (7, 7)),
    "zf": (fully_connected_head, (6, 6)),  # as py-faster-rcnn: the size of ZF's pool5
}


def build_head(
    backbone: str, channels: int, classes: int, *, rng: np.random.Generator | None
) -> tuple[DetectorHead, tuple[int, int]]:
    """Return a new head for a backbone, and the (h, w) that its regions are pooled to.

    Parameters
    ----------
    backbone
        The name of the backbone. One that has no head of its own in `HEADS` gets the light head, on
        regions pooled to 7x7.
    channels
        C of its features.
    classes
        L, without the background.
    rng
        Draws the weights; None leaves them 0.
    """
    build, pool_size = HEADS.get(backbone, (light_head, (7, 7)))
    return build(channels, pool_size, classes, rng=rng), pool_size
