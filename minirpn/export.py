"""From a trained RPN to one ONNX file, which other programs run: the backbone and the head.

The graph has one input and three outputs::

    image         (1, 3, H, W) float32, resized and normalised; H and W are free
    objectness    (1, K, 2) logits of a softmax, or (1, K, 1) logits
    deltas        (1, K, 4)
    feature_size  (2,) int64: Hf and Wf, where K = Hf Wf A

They are those of `minirpn.rpn.RPN.forward`, in the same order: row, column, base anchor. The steps
before and after them are not in the graph; `metadata_of` has the numbers that they need.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minirpn
from minirpn.backbones import Backbone
from minirpn.backend import to_host
from minirpn.errors import InputError
from minirpn.files import replace_file
from minirpn.nn import LRN, Conv2d, Fire, Layer, MaxPool2d, Parameter, ReLU, Sequential
from minirpn.nn.window import Pair
from minirpn.rpn.head import RPNHead
from minirpn.rpn.network import RPN
from minirpn.training.config import TrainConfig

__all__ = ["metadata_of", "write_onnx"]

OPSET = 15  # of 2021: the first in which Shape gives a part of a shape

_ABOUT = (
    "A Region Proposal Network: backbone and head. Resizing and normalising before it, and "
    "anchors, decoding and NMS behind it are not in the graph; the metadata has their numbers."
)


def write_onnx(path: Path, network: RPN, config: TrainConfig) -> None:
    """Write backbone and head of a network as an ONNX file, checked, whole or not at all.

    Parameters
    ----------
    path
        The file.
    network
        On any device. Its parameters are written as float32.
    config
        The settings it was trained with; some go into the metadata.

    Raises
    ------
    InputError
        The package onnx is not installed, a layer of the backbone has no form in ONNX, or the file
        cannot be written.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("export: needs onnx; try: pip install 'minirpn[onnx]'") from None
    scores = network.head.scores_per_anchor
    value = onnx.helper.make_tensor_value_info
    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    opset = [onnx.helper.make_opsetid("", OPSET)]
    graph = graph_of(network)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node(
                    node.kind, node.inputs, [node.output], name=node.output, **node.attributes
                )
                for node in graph.nodes
            ],
            "RPN",
            [value("image", real, [1, 3, "H", "W"])],
            [
                value("objectness", real, [1, "K", scores]),
                value("deltas", real, [1, "K", 4]),
                value("feature_size", whole, [2]),
            ],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        opset_imports=opset,
        # Not the newest version of the file's format, which older programs do not read.
        ir_version=onnx.helper.find_min_ir_version_for(opset),
        producer_name="minirpn",
        producer_version=minirpn.__version__,
        doc_string=_ABOUT,
    )
    about = metadata_of(network, config)
    onnx.helper.set_model_props(model, {key: json.dumps(item) for key, item in about.items()})
    content = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(content, full_check=True)
    replace_file(path, content)


def metadata_of(network: RPN, config: TrainConfig) -> dict[str, Any]:
    """Return what a program needs that prepares pictures for the graph and decodes its outputs.

    In the file each value is JSON text. ``base_anchors`` are those of cell (0, 0), wherever the
    setting ``model.anchor_centre`` has put them.
    """
    dy, dx = network.anchor_offset
    base_anchors = network.base_anchors + np.array((dx, dy, dx, dy))
    about: dict[str, Any] = {
        "minirpn_version": minirpn.__version__,
        "backbone": config.model.backbone,
        "resize": asdict(config.looked_at),
        "preprocessing": asdict(_backbone_of(network).preprocessing),
        "classifier": network.head.classifier,
        "stride": network.stride,
        "anchors": asdict(config.anchors),
        "base_anchors": base_anchors.tolist(),
        "proposals": asdict(config.proposals),
    }
    if config.data.classes is not None:
        about["classes"] = list(config.data.classes)
    return about


def _backbone_of(network: RPN) -> Backbone:
    assert isinstance(network.backbone, Backbone)  # `build_network` makes no other
    return network.backbone


# --- the graph -----------------------------------------------------------------------------------


class Node(NamedTuple):
    """One operation."""

    kind: str  # as ONNX calls it
    inputs: tuple[str, ...]  # of the graph, of its arrays, or outputs of earlier nodes
    output: str
    attributes: dict[str, Any]


class Graph:
    """Nodes in the order of computation, and the arrays that they read, by name."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: str, output: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        self.nodes.append(Node(kind, inputs, output, attributes))
        return output

    def array(self, name: str, values: Any, dtype: type = np.float32) -> str:
        """Add an array, and return its name."""
        self.arrays[name] = np.asarray(values, dtype)
        return name

    def parameter(self, parameter: Parameter) -> str:
        """Add the array of a parameter, and return its name."""
        return self.array(parameter.name, to_host(parameter.value))


def graph_of(network: RPN) -> Graph:
    """Return the graph from ``image`` to ``objectness``, ``deltas`` and ``feature_size``."""
    graph, backbone = Graph(), _backbone_of(network)
    image = _add_padding(graph, backbone.least_side, "image")
    features = _add_layer(graph, backbone.body, image)
    _add_head(graph, network.head, features)
    graph.add("Shape", features, output="feature_size", start=2)  # (1, C, Hf, Wf) -> (Hf, Wf)
    return graph


def _add_padding(graph: Graph, least_side: int, image: str) -> str:
    """Pad an image with zeros on the right and below where it is too small for a cell."""
    if least_side == 1:
        return image
    size = graph.add("Shape", image, output="padding.size", start=2)  # (1, 3, H, W) -> (H, W)
    least = graph.array("padding.least", [least_side, least_side], np.int64)
    wanted = graph.add("Max", size, least, output="padding.wanted")
    missing = graph.add("Sub", wanted, size, output="padding.missing")
    # Before each of the four axes, then behind each.
    none = graph.array("padding.none", [0] * 6, np.int64)
    pads = graph.add("Concat", none, missing, output="padding.pads", axis=0)
    return graph.add("Pad", image, pads, output="padding")


def _add_head(graph: Graph, head: RPNHead, features: str) -> None:
    """Add ``objectness`` and ``deltas`` of the features."""
    hidden = _add_relu(graph, head.relu, _add_conv(graph, head.conv, features))
    for layer, values, name in (
        (head.objectness, head.scores_per_anchor, "objectness"),
        (head.deltas, 4, "deltas"),
    ):
        y = _add_conv(graph, layer, hidden)
        # As `anchor_rows`: (1, A v, Hf, Wf) -> (1, Hf, Wf, A v) -> (1, K, v); 0 keeps the 1.
        y = graph.add("Transpose", y, output=f"{name}.cells", perm=(0, 2, 3, 1))
        shape = graph.array(f"{name}.shape", (0, -1, values), np.int64)
        graph.add("Reshape", y, shape, output=name)


# --- one function for each kind of layer: it adds nodes, and returns the name of the output ---


def _add_layer(graph: Graph, layer: Layer, x: str) -> str:
    # By its very type: a subclass may compute something else.
    add = _ADD.get(type(layer))
    if add is None:
        kind, known = type(layer).__name__, ", ".join(kind.__name__ for kind in _ADD)
        raise InputError(f"layer {layer.name!r}: a {kind} has no form in ONNX here; {known} have")
    return add(graph, layer, x)


def _add_sequential(graph: Graph, layers: Sequential, x: str) -> str:
    for layer in layers.layers:
        x = _add_layer(graph, layer, x)
    return x


def _add_conv(graph: Graph, conv: Conv2d, x: str) -> str:
    weight, bias = graph.parameter(conv.weight), graph.parameter(conv.bias)
    return graph.add(
        "Conv",
        *(x, weight, bias),
        output=conv.name,
        kernel_shape=conv.kernel,
        strides=conv.stride,
        pads=(*conv.padding, *conv.padding),
    )


def _add_relu(graph: Graph, relu: ReLU, x: str) -> str:
    return graph.add("Relu", x, output=relu.name)


def _add_max_pool(graph: Graph, pool: MaxPool2d, x: str) -> str:
    behind = pool.padding
    if pool.ceil_mode:
        behind = _padding_that_rounds_up(pool.kernel, pool.stride, pool.padding)
    return graph.add(
        "MaxPool",
        x,
        output=pool.name,
        kernel_shape=pool.kernel,
        strides=pool.stride,
        pads=(*pool.padding, *behind),
    )


def _padding_that_rounds_up(kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Return the padding behind an image that gives as many windows as `ceil_mode`.

    ONNX has a ``ceil_mode`` of its own, but a window that starts behind the image, which Caffe
    drops, counts in ONNX Runtime 1.20, and not in 1.32. Padding says it without doubt, and it is
    never a maximum. With ``stride - 1`` more of it, floor gives what ceil gave before; with less
    than ``kernel`` in all, no window lies in it alone.
    """
    vertical, horizontal = (
        min(p + step - 1, k - 1) for k, step, p in zip(kernel, stride, padding, strict=True)
    )
    return vertical, horizontal


def _add_lrn(graph: Graph, lrn: LRN, x: str) -> str:
    """Add ``x (1 + alpha mean)^-beta``: ONNX's own LRN works across channels."""

    def named(part: str) -> str:
        return f"{lrn.name}.{part}"

    reach = lrn.size // 2
    squares = graph.add("Mul", x, x, output=named("squares"))
    mean = graph.add(
        "AveragePool",
        squares,
        output=named("mean"),
        kernel_shape=(lrn.size, lrn.size),
        pads=(reach,) * 4,
        count_include_pad=1,
    )
    alpha, one = graph.array(named("alpha"), lrn.alpha), graph.array(named("one"), 1)
    scaled = graph.add("Mul", mean, alpha, output=named("scaled"))
    scale = graph.add("Add", scaled, one, output=named("scale"))
    power = graph.array(named("power"), -lrn.beta)
    factor = graph.add("Pow", scale, power, output=named("factor"))
    return graph.add("Mul", x, factor, output=lrn.name)


def _add_fire(graph: Graph, fire: Fire, x: str) -> str:
    def conv_relu(conv: Conv2d, x: str) -> str:
        return graph.add("Relu", _add_conv(graph, conv, x), output=f"{conv.name}.relu")

    squeezed = conv_relu(fire.squeeze, x)
    both = conv_relu(fire.expand1x1, squeezed), conv_relu(fire.expand3x3, squeezed)
    return graph.add("Concat", *both, output=fire.name, axis=1)


_ADD: dict[type[Layer], Callable[[Graph, Any, str], str]] = {
    Conv2d: _add_conv,
    Fire: _add_fire,
    LRN: _add_lrn,
    MaxPool2d: _add_max_pool,
    ReLU: _add_relu,
    Sequential: _add_sequential,
}
