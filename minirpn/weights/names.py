"""Under which names, and in which layout, other programs keep the parameters of a network.

A `Naming` is a table from our names to theirs. Where their layout differs, the table also says
what to do with an array. Kinds of files do not matter here: readers give OIHW and (O, I).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from minirpn.backbones import build_backbone
from minirpn.backbones.squeezenet import FIRES
from minirpn.backbones.vgg16 import BLOCKS, CONVOLUTIONS

Change = Callable[[np.ndarray], np.ndarray]
Layers = Iterable[tuple[str, str]]  # our name of a layer, theirs


class Source(NamedTuple):
    """Their name of an array, and what turns their layout into ours."""

    name: str
    change: Change | None = None


class Naming(NamedTuple):
    """Whose names these are, and our name -> their array."""

    label: str
    sources: Mapping[str, Source]


def foreground_beside_background(scores: np.ndarray) -> np.ndarray:
    """Return py-faster-rcnn's score channels in minirpn's order.

    There, A background channels come before A foreground channels; here, base anchor a has channel
    2 a for the background and 2 a + 1 for the object.

    Parameters
    ----------
    scores
        Weight (2 A, C, 1, 1) or bias (2 A,).
    """
    # (2 A, ...) -> (2, A, ...) -> (A, 2, ...) -> (2 A, ...)
    pairs = scores.reshape(2, -1, *scores.shape[1:])
    return pairs.swapaxes(0, 1).reshape(scores.shape)


def rows_of_kernels(weight: np.ndarray) -> np.ndarray:
    """Return a 7x7 convolution (O, C, 7, 7) as the fully connected layer (O, C 7 7) that it is."""
    return weight.reshape(weight.shape[0], -1)


def channels_first(weight: np.ndarray) -> np.ndarray:
    """Return fc6 (O, 7 7 C), on features flattened with channels last, for channels first."""
    # (O, 7 7 C) -> (O, 7, 7, C) -> (O, C, 7, 7) -> (O, C 7 7)
    return rows_of_kernels(weight.reshape(weight.shape[0], 7, 7, -1).transpose(0, 3, 1, 2))


def _table(layers: Layers, **changes: Change) -> dict[str, Source]:
    """Return the table of layers with ``weight`` and ``bias``; `changes` by our layer's name."""
    return {
        f"{ours}.{kind}": Source(
            f"{theirs}.{kind}", changes.get(ours) if kind == "weight" else None
        )
        for ours, theirs in layers
        for kind in ("weight", "bias")
    }


# Layers that a backbone's file may hold beside the backbone. `fc6` and `fc7` wait for the detector.
_RPN = ("rpn.conv", "rpn.objectness", "rpn.deltas")
_FC = ("fc6", "fc7")


def _own(backbone: Iterable[str]) -> Naming:
    return Naming("minirpn", _table((name, name) for name in (*backbone, *_RPN, *_FC)))


def _caffe(backbone: Layers) -> Naming:
    """Return the names in Caffe's models and in those of py-faster-rcnn."""
    sources = _table([*backbone, *((name, name) for name in _FC)])
    sources |= _table(
        [
            ("rpn.conv", "rpn_conv/3x3"),
            ("rpn.objectness", "rpn_cls_score"),
            ("rpn.deltas", "rpn_bbox_pred"),
        ]
    )
    for kind in ("weight", "bias"):
        scores = sources[f"rpn.objectness.{kind}"]
        sources[f"rpn.objectness.{kind}"] = scores._replace(change=foreground_beside_background)
    return Naming("Caffe", sources)


def _caffe_blobs(caffe: Naming) -> Naming:
    """Return Caffe's names as they are written into ``.npz`` files: ``fire2_squeeze1x1_b``."""
    sources = {}
    for ours, source in caffe.sources.items():
        layer, kind = source.name.rsplit(".", 1)
        sources[ours] = source._replace(name=f"{layer.replace('/', '_')}_{kind[0]}")
    return Naming("Caffe blobs", sources)


def _with_caffe(backbone: Layers) -> tuple[Naming, ...]:
    backbone = list(backbone)
    caffe = _caffe(backbone)
    return (_own(ours for ours, _ in backbone), caffe, _caffe_blobs(caffe))


def _vgg16() -> tuple[Naming, ...]:
    features = []  # each convolution is followed by a ReLU, each block by a pooling
    index = 0
    names = iter(CONVOLUTIONS)
    for outputs in BLOCKS:
        features += [(next(names), index + 2 * number) for number in range(len(outputs))]
        index += 2 * len(outputs) + 1
    in_torchvision = [(name, f"features.{number}") for name, number in features]
    in_keras = [(name, f"block{name[4]}_conv{name[6]}") for name in CONVOLUTIONS]
    return (
        *_with_caffe((name, name) for name in CONVOLUTIONS),
        Naming(
            "torchvision",
            _table([*in_torchvision, ("fc6", "classifier.0"), ("fc7", "classifier.3")]),
        ),
        Naming(
            "timm",
            _table(
                [*in_torchvision, ("fc6", "pre_logits.fc1"), ("fc7", "pre_logits.fc2")],
                fc6=rows_of_kernels,
                fc7=rows_of_kernels,
            ),
        ),
        # The features alone, as detectors in PyTorch keep them: vgg.0, RCNN_base.0, ...
        Naming("torchvision features", _table((name, str(number)) for name, number in features)),
        Naming(
            "Keras",
            _table([*in_keras, ("fc6", "fc1"), ("fc7", "fc2")], fc6=channels_first),
        ),
    )


def _squeezenet() -> tuple[Naming, ...]:
    parts = ("squeeze", "expand1x1", "expand3x3")
    in_caffe = [("conv1", "conv1")]
    in_torchvision = [("conv1", "features.0")]
    # Poolings stand at 2, 5 and 8.
    for (fire, *_), index in zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        for part in parts:
            caffe_part = "squeeze1x1" if part == "squeeze" else part
            in_caffe.append((f"{fire}.{part}", f"{fire}/{caffe_part}"))
            in_torchvision.append((f"{fire}.{part}", f"features.{index}.{part}"))
    return (*_with_caffe(in_caffe), Naming("torchvision", _table(in_torchvision)))


@cache
def namings(network: str) -> tuple[Naming, ...]:
    """Return the namings of a backbone that files are known to use, its own first.

    The tables also hold the RPN head, where others have one, and fc6 and fc7.
    """
    if network == "vgg16":
        return _vgg16()
    if network == "squeezenet":
        return _squeezenet()
    if network == "zf":
        return _with_caffe((f"conv{number}", f"conv{number}") for number in range(1, 6))
    layers = (name.rsplit(".", 1)[0] for name in backbone_shapes(network))
    return (_own(dict.fromkeys(layers)),)


@cache
def backbone_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a backbone's parameters by name, in order.

    Raises
    ------
    InputError
        There is no backbone of this name.
    """
    parameters = build_backbone(network, rng=None).parameters()
    return {parameter.name: tuple(parameter.value.shape) for parameter in parameters}
