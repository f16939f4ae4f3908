"""The ONNX file computes what the network does, and its metadata suffices for the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minirpn
from minirpn import boxes as box_ops
from minirpn.backbones import CENTERED_RGB, Backbone, Preprocessing
from minirpn.data.images import read_image
from minirpn.data.transforms import ResizeConfig, resize, resize_scale
from minirpn.errors import InputError
from minirpn.export import OPSET, write_onnx
from minirpn.nn import LRN, Fire, Layer, MaxPool2d, ReLU, Sequential
from minirpn.rpn import (
    RPN,
    AnchorConfig,
    ProposalConfig,
    RPNHead,
    base_anchors,
    grid_anchors,
    propose,
)
from minirpn.training.build import build_network
from minirpn.training.config import DataConfig, ModelConfig, TrainConfig

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CLOSE = 1e-4  # of the largest number among the outputs; what the how-to promises
SMALL = ("tiny", "squeezenet", "zf")  # backbones that run in milliseconds
OUTPUTS = ["objectness", "deltas", "feature_size"]


def configured(backbone: str, **settings: Any) -> TrainConfig:
    return TrainConfig(model=ModelConfig(backbone=backbone, **settings))


def random_network(config: TrainConfig) -> RPN:
    """A network whose biases are not zero, so that none may be forgotten or exchanged."""
    rng = np.random.default_rng(7)
    network = build_network(config, rng=rng)
    fill_biases(network, rng)
    return network


def fill_biases(network: RPN, rng: np.random.Generator) -> None:
    for parameter in network.parameters():
        if parameter.name.endswith(".bias"):
            noise = rng.normal(0, 0.1, parameter.value.shape)
            parameter.value = noise.astype(parameter.value.dtype)


def session_of(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def metadata(session: Any) -> dict[str, Any]:
    """The metadata of a file, as the how-to reads it."""
    stored = session.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in stored.items()}


def pixels(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 2, (1, 3, *size)).astype(np.float32)


def check_equal(session: Any, network: RPN, image: np.ndarray) -> None:
    """Assert that the file and the network give the same outputs for an image."""
    expected, _ = network.forward(image)
    objectness, deltas, feature_size = session.run(OUTPUTS, {"image": image})
    assert tuple(feature_size) == expected.features.shape[2:]
    for actual, wanted in ((objectness, expected.objectness), (deltas, expected.deltas)):
        assert actual.dtype == np.float32
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=CLOSE * np.abs(wanted).max())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, RPN]]:
    """A session and its network for each small backbone."""
    folder, found = tmp_path_factory.mktemp("exported"), {}
    for backbone in SMALL:
        config = configured(backbone)
        network = random_network(config)
        write_onnx(folder / f"{backbone}.onnx", network, config)
        found[backbone] = session_of(folder / f"{backbone}.onnx"), network
    return found


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", ["softmax", "logistic"])
@pytest.mark.parametrize("backbone", [*SMALL, pytest.param("vgg16", marks=pytest.mark.slow)])
def test_outputs_are_those_of_the_network(backbone: str, classifier: str, tmp_path: Path):
    config = configured(backbone, classifier=classifier)
    network = random_network(config)
    write_onnx(tmp_path / "rpn.onnx", network, config)
    session, rng = session_of(tmp_path / "rpn.onnx"), np.random.default_rng(1)
    for size in ((1, 1), (64, 96), (61, 97), (150, 83)):
        check_equal(session, network, pixels(size, rng))


@pytest.mark.slow
@given(
    backbone=st.sampled_from(SMALL),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    seed=st.integers(0, 9),
)
def test_any_size_of_image_is_right(exported, backbone, size, seed):
    """Also one that is too small for a cell, which is padded."""
    session, network = exported[backbone]
    check_equal(session, network, pixels(size, np.random.default_rng(seed)))


def custom_network(layers: Iterable[Layer], channels: int = 3) -> RPN:
    """An RPN on a backbone of these layers."""
    backbone = Backbone("custom", Sequential("custom", layers), channels, 4, CENTERED_RGB, {})
    rng, anchors = np.random.default_rng(3), AnchorConfig()
    # With larger weights than in training, so that a wrong feature shows in the outputs.
    head = RPNHead(channels, 4, anchors.count, rng=rng, std=0.5)
    network = RPN(backbone, head, anchors)
    fill_biases(network, rng)
    return network


def check_custom(
    layers: Iterable[Layer], size: tuple[int, int], path: Path, channels: int = 3
) -> None:
    network = custom_network(layers, channels)
    write_onnx(path, network, TrainConfig())
    check_equal(session_of(path), network, pixels(size, np.random.default_rng(4)))


@pytest.mark.slow
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 5),
    padding=st.integers(0, 3),
    ceil_mode=st.booleans(),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_any_pooling_has_the_windows_of_ours(
    tmp_path_factory, kernel, stride, padding, ceil_mode, size
):
    """Caffe's rounding too: a last, cut window counts, unless it starts behind the image."""
    assume(padding < kernel)
    pool = MaxPool2d("pool", kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    # Half of the pixels are negative, so that padding that counts as 0 would show.
    check_custom([pool], size, tmp_path_factory.getbasetemp() / "pool.onnx")


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_is_within_channels_and_has_zeros_around(size: int, tmp_path: Path):
    """With an alpha so large that every neighbour counts."""
    layers = [LRN("norm", size=size, alpha=2.0, beta=0.75)]
    check_custom(layers, (7, 9), tmp_path / "rpn.onnx")


def test_fire_joins_its_halves_in_order(tmp_path: Path):
    fire = Fire("fire", 3, 4, 2, 4, rng=np.random.default_rng(6), std=0.5)
    check_custom([fire], (6, 8), tmp_path / "rpn.onnx", channels=6)


def test_parameters_of_float64_are_rounded(tmp_path: Path):
    config = configured("tiny")
    network = random_network(config)
    write_onnx(tmp_path / "narrow.onnx", network, config)
    for parameter in network.parameters():
        # Far less than the next number of float32 is away.
        parameter.value = parameter.value.astype(np.float64) * (1 + 1e-12)
    write_onnx(tmp_path / "wide.onnx", network, config)
    assert (tmp_path / "wide.onnx").read_bytes() == (tmp_path / "narrow.onnx").read_bytes()


def test_parameters_of_a_device_are_the_same(tmp_path: Path):
    config = configured("tiny")
    network = random_network(config)
    write_onnx(tmp_path / "host.onnx", network, config)
    device = array_api_strict.Device("device1")
    for parameter in network.parameters():
        parameter.value = array_api_strict.asarray(parameter.value, device=device)
    write_onnx(tmp_path / "device.onnx", network, config)
    assert (tmp_path / "host.onnx").read_bytes() == (tmp_path / "device.onnx").read_bytes()


# --- the file ------------------------------------------------------------------------------------


def test_the_file_is_of_a_version_that_older_programs_read(tmp_path: Path):
    config = configured("tiny")
    write_onnx(tmp_path / "rpn.onnx", random_network(config), config)
    model = onnx.load(tmp_path / "rpn.onnx")
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert model.ir_version == 8  # that of ONNX 1.10, where opset 15 came from
    assert (model.producer_name, model.producer_version) == ("minirpn", minirpn.__version__)
    (image,) = model.graph.input
    sides = image.type.tensor_type.shape.dim
    assert [side.dim_value or side.dim_param for side in sides] == [1, 3, "H", "W"]
    assert [output.name for output in model.graph.output] == OUTPUTS
    # Viewers show these names: those of the layers and parameters.
    assert {"conv1", "relu1", "pool1", "rpn.conv"} <= {node.name for node in model.graph.node}
    assert {"conv1.weight", "rpn.deltas.bias"} <= {one.name for one in model.graph.initializer}


def test_the_checker_looks_before_the_file_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(content: bytes, *, full_check: bool) -> None:
        raise onnx.checker.ValidationError("no graph")

    (tmp_path / "rpn.onnx").write_text("old")
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    config = configured("tiny")
    with pytest.raises(onnx.checker.ValidationError):
        write_onnx(tmp_path / "rpn.onnx", random_network(config), config)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


class Doubled(ReLU):
    """A kind of layer that only a backbone of the user's has; its base class is known."""


def test_a_layer_that_is_not_known_is_named(tmp_path: Path):
    network = custom_network([Doubled("relu7")])
    with pytest.raises(InputError, match=r"^layer 'relu7': a Doubled has no form in ONNX here; "):
        write_onnx(tmp_path / "rpn.onnx", network, TrainConfig())
    assert not list(tmp_path.iterdir())


# --- metadata ------------------------------------------------------------------------------------


def propose_outside(session: Any, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in original pixels and scores, by the outputs and the metadata alone."""
    about = metadata(session)
    scale = resize_scale(picture.shape[:2], ResizeConfig(**about["resize"]))
    image = Preprocessing(**about["preprocessing"])(resize(picture, scale))
    objectness, deltas, feature_size = session.run(OUTPUTS, {"image": image[None]})
    base = np.array(about["base_anchors"], np.float32)
    anchors = grid_anchors(base, tuple(feature_size.tolist()), about["stride"])
    found = propose(
        anchors,
        objectness[0],
        deltas[0],
        image.shape[1:],
        scale=scale,
        config=ProposalConfig(**about["proposals"]),
    )
    return found.boxes / scale, found.scores


@pytest.mark.parametrize("name", ["voc-small", "shapes"])
def test_outputs_and_metadata_give_the_proposals_of_the_model(name: str, tmp_path: Path):
    model = minirpn.load(name, device="cpu")
    model.export(str(tmp_path / "rpn.onnx"))
    picture = read_image(minirpn.samples.photos()["astronaut"])
    boxes, scores = propose_outside(session_of(tmp_path / "rpn.onnx"), picture)
    expected = model.propose(picture)
    assert len(boxes) == len(expected)
    np.testing.assert_allclose(scores, expected.scores, atol=CLOSE)
    # Two scores that differ in the last bits may change places: so each box looks for its partner.
    for some, others in ((boxes, expected.boxes), (expected.boxes, boxes)):
        partners = box_ops.iou(some[:100].astype(np.float64), others.astype(np.float64))
        assert partners.max(axis=1).min() > 0.99


def test_metadata_is_that_of_the_settings(tmp_path: Path):
    anchors = AnchorConfig(base_size=8, ratios=(0.5, 3.0), scales=(2.0, 4.0), rounding=None)
    config = replace(
        configured("squeezenet", anchor_centre="receptive-field", classifier="logistic"),
        anchors=anchors,
        resize=ResizeConfig(300, 500),
        data=DataConfig(classes=("cat", "dög")),
        proposals=ProposalConfig(post_nms=7),
    )
    network = random_network(config)
    write_onnx(tmp_path / "rpn.onnx", network, config)
    about = metadata(session_of(tmp_path / "rpn.onnx"))
    assert about.pop("anchors") == {
        "base_size": 8,
        "ratios": [0.5, 3.0],
        "scales": [2.0, 4.0],
        "rounding": None,
    }
    shift = network.anchor_offset[0]
    assert shift == 12.0  # SqueezeNet's cells look at 15.5, and these anchors at 4; half to even
    assert about.pop("base_anchors") == (base_anchors(anchors) + shift).tolist()
    assert about == {
        "minirpn_version": minirpn.__version__,
        "backbone": "squeezenet",
        "resize": {"short_side": 300, "max_side": 500, "also_at": []},
        "preprocessing": {"order": "BGR", "mean": [104.0, 117.0, 123.0], "std": [1.0, 1.0, 1.0]},
        "classifier": "logistic",
        "stride": 16,
        "proposals": {
            "pre_nms": 6000,
            "iou_threshold": 0.7,
            "post_nms": 7,
            "min_size": 16.0,
            "inside_only": False,
        },
        "classes": ["cat", "dög"],
    }


def test_without_classes_there_is_no_such_key(tmp_path: Path):
    write_onnx(tmp_path / "rpn.onnx", random_network(configured("tiny")), configured("tiny"))
    assert "classes" not in metadata(session_of(tmp_path / "rpn.onnx"))
