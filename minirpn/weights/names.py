"""Find the parameters of a network among arrays with the names of other programs.

A `Naming` is a table from our names to theirs. Where their layout differs, the table also says
what to do with an array. The format of the file does not matter: readers give OIHW and (O, I).
`match` finds the table, and the network, that fit the arrays of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from minirpn.backbones import BACKBONES, build_backbone
from minirpn.backbones.squeezenet import FIRES
from minirpn.backbones.vgg16 import BLOCKS, CONVOLUTIONS

Change = Callable[[np.ndarray], np.ndarray]
Layers = Iterable[tuple[str, str]]  # our name of a layer, theirs
NUMBERED = re.compile(r"(.*?)conv2d(?:_(\d{1,6}))?\.weight")


class Theirs(NamedTuple):
    """Their name of an array, and the function that changes their layout to ours."""

    name: str
    change: Change | None = None


class Naming(NamedTuple):
    """Whose names these are, and our name -> their array."""

    label: str
    sources: Mapping[str, Theirs]


def foreground_beside_background(scores: np.ndarray) -> np.ndarray:
    """Return py-faster-rcnn's score weight (2 A, C, 1, 1) or bias (2 A,) in minirpn's order.

    There, A background channels come before A foreground channels; here, base anchor a has channel
    2 a for the background and 2 a + 1 for the object.
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


def _table(layers: Layers, **changes: Change) -> dict[str, Theirs]:
    """Return the table of layers with ``weight`` and ``bias``; `changes` by our layer's name."""
    return {
        f"{ours}.{kind}": Theirs(
            f"{theirs}.{kind}", changes.get(ours) if kind == "weight" else None
        )
        for ours, theirs in layers
        for kind in ("weight", "bias")
    }


# Layers that a backbone's file may also hold. `fc6` and `fc7` are the detector's.
_RPN = ("rpn.conv", "rpn.objectness", "rpn.deltas")
_FC = ("fc6", "fc7")


def _own(backbone: Iterable[str]) -> Naming:
    return Naming("minirpn", _table((name, name) for name in (*backbone, *_RPN, *_FC)))


def _with_caffe(backbone: list[tuple[str, str]]) -> tuple[Naming, ...]:
    """Return our own names, and those in the models of Caffe and py-faster-rcnn.

    Caffe's names are also written into ``.npz`` files: as ``fire2_squeeze1x1_b``, or by Chainer as
    ``fire2/squeeze1x1/b``.
    """
    rpn = zip(_RPN, ("rpn_conv/3x3", "rpn_cls_score", "rpn_bbox_pred"), strict=True)
    caffe = _table([*backbone, *rpn, *zip(_FC, _FC, strict=True)])
    for name in ("rpn.objectness.weight", "rpn.objectness.bias"):
        caffe[name] = caffe[name]._replace(change=foreground_beside_background)
    blobs = {}
    for ours, source in caffe.items():
        layer, kind = source.name.rsplit(".", 1)
        blobs[ours] = source._replace(name=f"{layer.replace('/', '_')}_{kind[0]}")
    own = _own(ours for ours, _ in backbone)
    chainer = Naming("Chainer", _as_chainer(caffe))
    return own, Naming("Caffe", caffe), Naming("Caffe blobs", blobs), chainer


def _as_chainer(table: Mapping[str, Theirs]) -> dict[str, Theirs]:
    """Return a table with ``LAYER/W`` and ``LAYER/b`` for ``LAYER.weight`` and ``LAYER.bias``."""
    renamed = {}
    for ours, source in table.items():
        layer, kind = source.name.rsplit(".", 1)
        renamed[ours] = source._replace(name=f"{layer}/{'W' if kind == 'weight' else 'b'}")
    return renamed


def _vgg16() -> tuple[Naming, ...]:
    features = []  # each convolution is followed by a ReLU, each block by a pooling
    index = 0
    names = iter(CONVOLUTIONS)
    for outputs in BLOCKS:
        features += [(next(names), str(index + 2 * number)) for number in range(len(outputs))]
        index += 2 * len(outputs) + 1
    torchvision = [(name, f"features.{number}") for name, number in features]
    timm = [*torchvision, ("fc6", "pre_logits.fc1"), ("fc7", "pre_logits.fc2")]
    torchvision += [("fc6", "classifier.0"), ("fc7", "classifier.3")]
    keras = [(name, f"block{name[4]}_conv{name[6]}") for name in CONVOLUTIONS]
    keras += [("fc6", "fc1"), ("fc7", "fc2")]
    # ChainerCV's layer of a convolution holds the ReLU, too.
    chainercv = [(name, f"{name}/conv") for name in CONVOLUTIONS]
    chainercv += [("fc6", "fc6"), ("fc7", "fc7")]
    return (
        *_with_caffe([(name, name) for name in CONVOLUTIONS]),
        Naming("torchvision", _table(torchvision)),
        Naming("timm", _table(timm, fc6=rows_of_kernels, fc7=rows_of_kernels)),
        # The features alone, as detectors in PyTorch keep them: vgg.0, RCNN_base.0, ...
        Naming("torchvision features", _table(features)),
        Naming("Keras", _table(keras, fc6=channels_first)),
        Naming("ChainerCV", _as_chainer(_table(chainercv))),
    )


def _squeezenet() -> tuple[Naming, ...]:
    parts = {"squeeze": "squeeze1x1", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}
    caffe, torchvision = [("conv1", "conv1")], [("conv1", "features.0")]
    # The poolings are at 2, 5 and 8.
    for (fire, *_), index in zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        for part, caffe_part in parts.items():
            caffe.append((f"{fire}.{part}", f"{fire}/{caffe_part}"))
            torchvision.append((f"{fire}.{part}", f"features.{index}.{part}"))
    return (*_with_caffe(caffe), Naming("torchvision", _table(torchvision)))


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
        return _with_caffe([(f"conv{number}", f"conv{number}") for number in range(1, 6)])
    layers = (name.rsplit(".", 1)[0] for name in backbone_shapes(network))
    return (_own(dict.fromkeys(layers)),)


@cache
def backbone_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a backbone's parameters by name, in order."""
    parameters = build_backbone(network, rng=None).parameters()
    return {parameter.name: tuple(parameter.value.shape) for parameter in parameters}


class Match(NamedTuple):
    """Which arrays are which parameters."""

    network: str
    naming: Naming
    theirs: dict[str, str]  # our name -> the array's name
    missing: tuple[str, ...]  # the backbone's parameters that are not there, by the file's names
    unused: tuple[str, ...]  # arrays that are none of the network's

    def array(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the array of a parameter in minirpn's layout, as far as its shape allows that."""
        array, change = arrays[self.theirs[name]], self.naming.sources[name].change
        if change is None:
            return array
        try:
            return change(array)
        except ValueError:  # of another size: the check of shapes refuses it
            return array

    def fitting(self, arrays: Mapping[str, np.ndarray]) -> list[str]:
        """Return our names of the backbone's parameters that are there in the right shape."""
        return [
            name
            for name, shape in backbone_shapes(self.network).items()
            if name in self.theirs and self.array(name, arrays).shape == shape
        ]


def match(network: str, arrays: Mapping[str, np.ndarray], *, kind: str) -> Match:
    """Return the best match of a network's parameters with named arrays.

    Every naming of the network is tried, also behind a common prefix (``state_dict.module.``,
    ``extractor/``); the one that finds the most wins, the first of equal ones. minirpn's own names,
    some of which are Caffe's too, are only tried if the `kind` of the file is ``"npz"``. Keras'
    numbers for layers without a name (``conv2d_3``) are tried, too.
    """
    candidates = [
        (naming, prefix)
        for naming in namings(network)
        if kind == "npz" or naming.label != "minirpn"
        for prefix in _prefixes(naming, network, arrays)
    ]
    candidates += _numbered(network, arrays)
    if not candidates:  # no other program has a name for this network
        candidates = [(namings(network)[0], "")]
    naming, prefix = max(candidates, key=lambda one: len(_their_names(one[0], one[1], arrays)))
    theirs = _their_names(naming, prefix, arrays)
    missing = [name for name in backbone_shapes(network) if name not in theirs]
    missing_theirs = tuple(prefix + naming.sources[name].name for name in missing)
    unused = sorted(set(arrays) - set(theirs.values()))
    return Match(network, naming, theirs, missing_theirs, tuple(unused))


def recognise(arrays: Mapping[str, np.ndarray], *, kind: str) -> Match:
    """Return the match, as of `match`, of the network with the largest share of fitting arrays.

    Of two equally good ones, the network of which a larger share is there in any shape; then the
    first by the alphabet.
    """

    def fit(one: Match) -> tuple[float, float]:
        total = len(backbone_shapes(one.network))
        return len(one.fitting(arrays)) / total, 1 - len(one.missing) / total

    matches = [match(network, arrays, kind=kind) for network in sorted(BACKBONES)]
    return max(matches, key=fit)


def _prefixes(naming: Naming, network: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return each prefix with which the naming's first array is found."""
    first = naming.sources[next(iter(backbone_shapes(network)))].name
    endings = (
        name for name in arrays if name == first or name.endswith((f".{first}", f"/{first}"))
    )
    return sorted({name.removesuffix(first) for name in endings}) or [""]


def _numbered(network: str, arrays: Mapping[str, np.ndarray]) -> list[tuple[Naming, str]]:
    """Return a naming, and its prefix, for each run of Keras' numbered layers that fits.

    Keras numbers convolutions in the order in which they were made: ``conv2d``, ``conv2d_1``, ...,
    ``conv2d_10``. The first number need not be 0, and Keras 2.13 to 2.15 leaves numbers out. Any
    network may have these names, so a run fits only if its kernels have the network's shapes.
    """
    runs: dict[str, dict[int, str]] = {}
    for name in arrays:
        if found := NUMBERED.fullmatch(name):
            prefix, number = found.groups()
            runs.setdefault(prefix, {})[int(number or 0)] = name.removeprefix(prefix)
    kernels = [name for name in backbone_shapes(network) if name.endswith(".weight")]
    fitting = []
    for prefix, run in sorted(runs.items()):
        theirs = [run[number].removesuffix(".weight") for number in sorted(run)][: len(kernels)]
        shapes = [arrays[f"{prefix}{layer}.weight"].shape for layer in theirs]
        if shapes == [backbone_shapes(network)[name] for name in kernels]:
            layers = [name.removesuffix(".weight") for name in kernels]
            table = _table(zip(layers, theirs, strict=True))
            fitting.append((Naming("numbered", table), prefix))
    return fitting


def _their_names(naming: Naming, prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {
        ours: prefix + source.name
        for ours, source in naming.sources.items()
        if prefix + source.name in arrays
    }
