"""Weights files: whose names they use, what fits, and that a bad file changes nothing."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minirpn.backbones import CAFFE_BGR, GIRSHICK_BGR, build_backbone
from minirpn.errors import InputError
from minirpn.rpn.head import RPNHead
from minirpn.weights import PRESETS, convert, load_weights, read_npz, read_weights, write_weights
from minirpn.weights.names import (
    Match,
    backbone_shapes,
    channels_first,
    foreground_beside_background,
    match,
    namings,
    recognise,
    rows_of_kernels,
)
from minirpn.weights.presets import known_preprocessing
from minirpn.weights.resemblance import holds, misfit


@pytest.fixture
def parameters(rng):
    return build_backbone("squeezenet", rng=rng).parameters()


def namings_of(network):
    return {naming.label: naming for naming in namings(network)}


def arrays_for(network, label, rng):
    """Return random arrays of a backbone by another program's names."""
    sources = namings_of(network)[label].sources
    return {
        sources[name].name: rng.normal(size=shape).astype(np.float32)
        for name, shape in backbone_shapes(network).items()
    }


@pytest.mark.parametrize(
    ("network", "label", "ours", "theirs"),
    [
        ("squeezenet", "Caffe blobs", "conv1.weight", "conv1_w"),
        ("squeezenet", "Caffe blobs", "fire2.squeeze.bias", "fire2_squeeze1x1_b"),
        ("squeezenet", "Caffe", "fire9.expand3x3.weight", "fire9/expand3x3.weight"),
        ("squeezenet", "torchvision", "conv1.bias", "features.0.bias"),
        ("squeezenet", "torchvision", "fire2.squeeze.weight", "features.3.squeeze.weight"),
        ("squeezenet", "torchvision", "fire9.expand1x1.bias", "features.12.expand1x1.bias"),
        ("vgg16", "torchvision", "conv1_1.weight", "features.0.weight"),
        ("vgg16", "torchvision", "conv2_2.weight", "features.7.weight"),
        ("vgg16", "torchvision", "conv3_1.weight", "features.10.weight"),
        ("vgg16", "torchvision", "conv5_3.bias", "features.28.bias"),
        ("vgg16", "torchvision", "fc7.weight", "classifier.3.weight"),
        ("vgg16", "timm", "fc6.weight", "pre_logits.fc1.weight"),
        ("vgg16", "torchvision features", "conv5_3.weight", "28.weight"),
        ("vgg16", "Keras", "conv4_2.weight", "block4_conv2.weight"),
        ("vgg16", "Caffe", "conv1_1.weight", "conv1_1.weight"),
        ("vgg16", "Caffe", "rpn.conv.bias", "rpn_conv/3x3.bias"),
        ("vgg16", "Chainer", "conv1_1.weight", "conv1_1/W"),
        ("vgg16", "Chainer", "fc6.bias", "fc6/b"),
        ("vgg16", "ChainerCV", "conv5_3.bias", "conv5_3/conv/b"),
        ("vgg16", "ChainerCV", "fc7.weight", "fc7/W"),
        ("squeezenet", "Chainer", "fire2.squeeze.bias", "fire2/squeeze1x1/b"),
        ("zf", "Caffe", "rpn.objectness.weight", "rpn_cls_score.weight"),
        ("zf", "Caffe blobs", "rpn.deltas.weight", "rpn_bbox_pred_w"),
    ],
)
def test_names_elsewhere(network, label, ours, theirs):
    assert namings_of(network)[label].sources[ours].name == theirs


def test_layouts_elsewhere():
    # 2 A channels, all background first: background of base anchors 0, 1, 2, then foreground.
    scores = np.array([10, 11, 12, 20, 21, 22])
    assert foreground_beside_background(scores).tolist() == [10, 20, 11, 21, 12, 22]
    x, kernel = np.random.default_rng(0).normal(size=(2, 3, 7, 7))
    convolved = np.sum(x * kernel)
    assert np.isclose(rows_of_kernels(kernel[None])[0] @ x.ravel(), convolved)
    rows = kernel.transpose(1, 2, 0).reshape(1, -1)  # channels last
    assert np.isclose(channels_first(rows)[0] @ x.ravel(), convolved)


@pytest.mark.parametrize(
    ("network", "label"),
    [
        (network, naming.label)
        for network in ("squeezenet", "vgg16", "zf", "tiny")
        for naming in namings(network)
    ],
)
def test_every_parameter_gets_its_array(network, label, tmp_path, rng):
    arrays = arrays_for(network, label, rng)
    parameters = build_backbone(network, rng=None).parameters()
    extra = {"other": np.zeros(3, np.float32)}
    np.savez(tmp_path / "w.npz", **arrays, **extra)
    report = load_weights(network, parameters, tmp_path / "w.npz", preprocessing=CAFFE_BGR)
    shared_by_two = {"timm": "torchvision", "Caffe": "minirpn"}  # whose backbones have equal names
    equal = network in ("vgg16", "zf") or label == "timm"
    assert report.naming == (shared_by_two.get(label, label) if equal else label)
    assert report.unused == ("other",)
    assert len(report.matched) == len(parameters)
    sources = namings_of(network)[label].sources
    for parameter in parameters:
        np.testing.assert_array_equal(parameter.value, arrays[sources[parameter.name].name])


def test_a_prefix_in_front_of_all_names(parameters, tmp_path, rng):
    arrays = arrays_for("squeezenet", "torchvision", rng)
    np.savez(
        tmp_path / "w.npz", **{f"state_dict.module.{name}": array for name, array in arrays.items()}
    )
    report = load_weights("squeezenet", parameters, tmp_path / "w.npz", preprocessing=CAFFE_BGR)
    assert (report.naming, report.unused) == ("torchvision", ())


def zeros(network, names, **changed):
    """Return arrays that take no memory: a network's shapes under these names, in order."""
    shapes = [changed.get(name, shape) for name, shape in backbone_shapes(network).items()]
    return {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in zip(names, shapes, strict=False)
    }


def zeros_for(network, label, **changed):
    sources = namings_of(network)[label].sources
    return zeros(network, [sources[name].name for name in backbone_shapes(network)], **changed)


@pytest.mark.parametrize("prefix", ["extractor/", "faster_rcnn.extractor/"])
def test_the_extractor_of_a_detector_in_chainer(prefix):
    arrays = {f"{prefix}{name}": array for name, array in zeros_for("vgg16", "ChainerCV").items()}
    matched = match("vgg16", arrays | {"rpn/conv1/W": np.zeros(3)}, kind="npz")
    assert (matched.naming.label, matched.missing) == ("ChainerCV", ())
    assert matched.theirs["conv1_1.weight"] == f"{prefix}conv1_1/conv/W"
    assert matched.unused == ("rpn/conv1/W",)


def numbered(numbers, prefix=""):
    """Return Keras' names of layers without a name, such as ``conv2d_3.weight``."""
    layers = [f"conv2d_{number}" if number else "conv2d" for number in numbers]
    return [f"{prefix}{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("numbers", "prefix"),
    [
        (range(13), ""),
        (range(13, 26), ""),  # the second model of a session
        (range(0, 26, 2), "functional/layers/"),  # Keras 2.13 counts every layer twice
    ],
    ids=str,
)
def test_layers_that_keras_has_numbered(numbers, prefix):
    names = numbered(numbers, prefix)
    arrays = dict(sorted(zeros("vgg16", names).items()))
    # Behind the backbone, the layers of a head; and a model beside it.
    arrays |= {f"{prefix}conv2d_99.weight": np.zeros((512, 512, 3, 3), np.float32)}
    arrays |= {"other/conv2d.weight": np.zeros((64, 3, 7, 7), np.float32)}
    matched = recognise(arrays, kind="Keras")
    assert (matched.network, matched.naming.label) == ("vgg16", "numbered")
    assert [matched.theirs[name] for name in backbone_shapes("vgg16")] == names
    assert matched.missing == ()


def test_numbered_layers_of_another_network_are_nobodys():
    arrays = zeros("vgg16", numbered(range(13)), **{"conv3_2.weight": (256, 256, 1, 1)})
    assert recognise(arrays, kind="Keras").theirs == {}
    arrays = {f"conv2d_{'9' * 5000}.weight": np.zeros((64, 3, 3, 3), np.float32)}
    assert recognise(arrays, kind="Keras").theirs == {}


def test_the_report_says_what_became_of_everything(rng, tmp_path):
    """A file of backbone and half of a head; the head's other half stays, the rest is unused."""
    arrays = arrays_for("zf", "Caffe", rng)
    hidden = rng.normal(size=(256, 256, 3, 3)).astype(np.float32)
    arrays |= {"rpn_conv/3x3.weight": hidden, "fc6.bias": np.full(4096, np.nan, np.float32)}
    np.savez(tmp_path / "zf.npz", **arrays)
    head = RPNHead(256, 256, 9, rng=rng).parameters()
    before = head[2].value
    parameters = build_backbone("zf", rng=None).parameters() + head
    report = load_weights("zf", parameters, tmp_path / "zf.npz", preprocessing=CAFFE_BGR)
    np.testing.assert_array_equal(head[0].value, hidden)
    np.testing.assert_array_equal(head[2].value, before)
    assert report.kept == tuple(parameter.name for parameter in head[1:])
    assert report.lines() == [
        "11 arrays loaded (npz, Caffe names)",
        f"not in the file, left as they were: {', '.join(report.kept)}",
        "unused: fc6.bias",
        "pixels: BGR, minus (104, 117, 123), divided by (1, 1, 1): preset caffe, as asked",
    ]


def test_arrays_that_the_network_does_not_have_are_left_alone(rng, tmp_path, monkeypatch):
    """To bring fc6 of VGG-16 into our layout takes 400 MB."""
    arrays = arrays_for("zf", "Caffe", rng) | {"fc6.bias": np.zeros(4096, np.float32)}
    np.savez(tmp_path / "zf.npz", **arrays)
    made = []

    def watched(self, name, arrays, _array=Match.array):
        made.append(name)
        return _array(self, name, arrays)

    monkeypatch.setattr(Match, "array", watched)
    parameters = build_backbone("zf", rng=None).parameters()
    load_weights("zf", parameters, tmp_path / "zf.npz", preprocessing=CAFFE_BGR)
    assert sorted(made) == sorted(parameter.name for parameter in parameters)


def refused(parameters, path, match):
    before = [parameter.value.copy() for parameter in parameters]
    with pytest.raises(InputError, match=match) as error:
        load_weights("squeezenet", parameters, path)
    assert "\n" not in str(error.value)
    for parameter, value in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_weights_of_another_network_change_nothing(parameters, tmp_path, rng):
    np.savez(tmp_path / "tiny.npz", **arrays_for("tiny", "minirpn", rng))
    refused(
        parameters,
        tmp_path / "tiny.npz",
        r"tiny.npz: these look like tiny's, and --backbone is squeezenet: 10 of tiny's 10 arrays "
        r"are there \(minirpn names\); the file holds 10 arrays: 'conv1.weight' \(16, 3, 3, 3\), "
        r"'conv2.weight' \(32, 16, 3, 3\), 'conv3.weight' \(64, 32, 3, 3\), 7 more$",
    )


def why(arrays, asked=None, *, kind="npz"):
    """Return why arrays are not the network that was asked for."""
    reason = misfit(arrays, asked, kind=kind, flag="--backbone")
    assert "\n" not in reason
    return reason.partition("; the file holds ")[0]


def test_an_array_too_few():
    arrays = zeros_for("vgg16", "torchvision")
    del arrays["features.28.bias"]
    there = "25 of vgg16's 26 arrays are there (torchvision names), 'features.28.bias' is missing"
    assert why(arrays) == why(arrays, "vgg16") == f"not weights of vgg16: {there}"
    del arrays["features.0.weight"]
    assert "24 of" in why(arrays)
    assert why(arrays).endswith("'features.0.weight' and 1 more are missing")


def foreign(network, *, outputs_last=False):
    """Return a network's shapes under names that nobody has."""
    arrays = zeros(network, (f"layer-{number}" for number in range(100)))
    if not outputs_last:
        return arrays
    return {name: a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for name, a in arrays.items()}


@pytest.mark.parametrize(("outputs_last", "words"), [(False, ""), (True, ", outputs last")])
def test_shapes_alone_tell_a_network(outputs_last, words):
    arrays = foreign("vgg16", outputs_last=outputs_last)
    there = (
        f"the shapes of 13 of vgg16's 13 kernels are there{words}, but only 0 of its 26 arrays "
        "have names that minirpn knows"
    )
    assert why(arrays) == f"not weights of vgg16: {there}"
    assert why(arrays, "zf") == f"these look like vgg16's, and --backbone is zf: {there}"


def test_many_more_arrays_than_the_networks():
    """A detector on VGG-16, and the first ten kernels, as networks that count crowds have them."""
    extra = {f"extra{k}": np.broadcast_to(0, (512, 512, 1, 1)) for k in range(40)}
    assert "13 of vgg16's 13 kernels" in why(foreign("vgg16") | extra)
    first = dict(list(foreign("vgg16").items())[:20])
    assert "10 of vgg16's 13 kernels" in why(first)


def resnet(blocks):
    """Return the kernels of a ResNet of basic blocks: of 34 layers, it has 12 of VGG-16's 13."""
    shapes, inputs = [(64, 3, 7, 7)], 64
    for number, outputs in zip(blocks, (64, 128, 256, 512), strict=True):
        shapes += [(outputs, inputs, 3, 3)] + [(outputs, outputs, 3, 3)] * (2 * number - 1)
        shapes += [(outputs, inputs, 1, 1)] * (outputs > inputs)
        inputs = outputs
    return {f"k{k}": np.broadcast_to(0, shape) for k, shape in enumerate(shapes)}


@pytest.mark.parametrize(
    "arrays",
    [resnet((2, 2, 2, 2)), resnet((3, 4, 6, 3)), {"a": np.zeros(3)}, {}],
    ids=["ResNet-18", "ResNet-34", "one array", "nothing"],
)
def test_what_is_like_no_network_blames_none(arrays):
    assert why(arrays) == "weights of none of squeezenet, tiny, vgg16, zf"
    assert why(arrays, "zf") == (
        "not weights of zf: 0 of its 10 arrays are there, "
        "and they are like none of squeezenet, tiny, vgg16"
    )


def test_what_a_file_holds():
    assert holds({}) == "the file holds 0 arrays"
    assert holds({"a": np.zeros(3)}) == "the file holds 1 array: 'a' (3,)"
    assert len(holds({"a\nb" * 1000: np.zeros(())}).splitlines()) == 1
    assert len(holds({"a\nb" * 1000: np.zeros(())})) < 200


def test_names_of_a_network_in_other_shapes(tmp_path):
    """Half as many channels: all are there by name, so the shapes say the most."""
    shapes = backbone_shapes("vgg16")
    sources = namings_of("vgg16")["torchvision"].sources
    thin = {
        sources[name].name: np.zeros([1 + side // 64 for side in shape], np.float32)
        for name, shape in shapes.items()
    }
    np.savez(tmp_path / "thin.npz", **thin)
    with pytest.raises(InputError, match=r"thin.npz: vgg16's shapes do not fit: conv1_1.weight \("):
        convert(read_weights(tmp_path / "thin.npz"))


def test_wrong_shapes_change_nothing_and_are_all_named(parameters, tmp_path, rng):
    arrays = arrays_for("squeezenet", "Caffe blobs", rng)
    arrays["conv1_w"] = arrays["conv1_w"][:, :2]
    arrays["fire9_expand3x3_b"] = arrays["fire9_expand3x3_b"][:-1]
    np.savez(tmp_path / "w.npz", **arrays)
    refused(
        parameters,
        tmp_path / "w.npz",
        r"shapes do not fit: conv1.weight \(64, 2, 3, 3\), expected \(64, 3, 3, 3\); "
        r"fire9.expand3x3.bias \(255,\), expected \(256,\)",
    )


def test_numbers_that_are_not_finite_change_nothing(parameters, tmp_path, rng):
    arrays = arrays_for("squeezenet", "Caffe blobs", rng)
    arrays["fire9_expand3x3_b"][7] = np.nan
    np.savez(tmp_path / "w.npz", **arrays)
    refused(parameters, tmp_path / "w.npz", r"fire9.expand3x3.bias: holds values that are not")


# --- how pixels are prepared ---


def test_unknown_files_must_say_how_pixels_are_prepared(parameters, tmp_path, rng):
    np.savez(tmp_path / "mine.npz", **arrays_for("squeezenet", "Caffe", rng))
    refused(
        parameters,
        tmp_path / "mine.npz",
        r"mine\.npz: it is unknown how pixels are prepared .*: give --preset torchvision\|girshick",
    )


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("vgg16-397923af.pth", "torchvision"),
        ("vgg16_features-amdegroot-88682ab5.pth", "ssd"),
        ("vgg16_caffe.pth", "girshick"),
        ("VGG_ILSVRC_16_layers.caffemodel", "vgg"),
        ("VGG16.v2.caffemodel", "girshick"),
        ("ZF.v2.caffemodel", "girshick"),
        ("VGG16_faster_rcnn_final.caffemodel", "girshick"),
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg"),
        ("vgg16.tv_in1k.safetensors", "torchvision"),
        ("squeezenet1_1-b8a52dc0.pth", "torchvision"),
        ("squeezenet_v1.1.caffemodel", "caffe"),
        ("squeezenet_v1_1.npz", "caffe"),
        ("VGG_ILSVRC_16_layers.npz", "vgg"),
        ("vgg16_imagenet_converted_2017_07_18.npz", "vgg-rgb"),
        ("ssd_vgg16_imagenet_converted_2017_06_09.npz", "ssd"),
        ("faster_rcnn_vgg16_voc07_trained_2018_06_01.npz", "girshick-rgb"),
        ("faster_rcnn_vgg16_voc0712_trained_2017_07_21.npz", "girshick-rgb"),
    ],
)
def test_known_names(name, preset):
    known = known_preprocessing(Path("folder") / name, "0" * 64, {})
    assert known == (PRESETS[preset], f"preset {preset}, by the file's name")


def test_known_checksums_win_over_names():
    known = known_preprocessing(Path("vgg_ilsvrc_16_layers.pth"), "397923af" + "0" * 56, {})
    assert known == (PRESETS["torchvision"], "preset torchvision, by the file's checksum")
    assert known_preprocessing(Path("model.pth"), "0" * 64, {}) is None


def test_the_torchvision_preset_is_its_arithmetic():
    image = np.array([[[10, 20, 30]]], np.uint8)
    expected = (np.array([10, 20, 30]) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(PRESETS["torchvision"](image).ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["girshick", "vgg"])
def test_presets_in_rgb_give_the_same_numbers_in_the_other_order(name, rng):
    image = rng.integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(PRESETS[f"{name}-rgb"](image), PRESETS[name](image)[::-1])


# --- conversion ---


@pytest.fixture
def caffe_file(tmp_path, rng):
    """ZF in Caffe's names, with a head, and fc6 that is not finite."""
    arrays = arrays_for("zf", "Caffe", rng)
    shapes = {"rpn_conv/3x3": (256, 256, 3, 3), "rpn_cls_score": (18, 256, 1, 1)}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    arrays |= {"fc6.bias": np.full(4096, np.nan, np.float32), "cls_score.bias": np.zeros(21)}
    np.savez(tmp_path / "zf.v2.caffemodel", **arrays)
    (tmp_path / "zf.v2.caffemodel.npz").rename(tmp_path / "zf.v2.caffemodel")
    return tmp_path / "zf.v2.caffemodel", arrays


def test_a_converted_file_tells_what_it_is(caffe_file, tmp_path, rng):
    path, arrays = caffe_file
    converted = convert(read_weights(path))
    assert converted.lines() == [
        "zf: 10 arrays matched (npz, Caffe names)",
        "also: rpn.conv.weight, rpn.conv.bias, rpn.objectness.weight, rpn.objectness.bias",
        "left out, not finite: fc6.bias",
        "unused: cls_score.bias",
        "pixels: BGR, minus (102.98, 115.947, 122.772), divided by (1, 1, 1): "
        "preset girshick, by the file's name",
    ]
    mine = tmp_path / "mine.npz"
    write_weights(mine, converted)
    again = read_weights(mine)
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    assert again.metadata == {
        "format": "minirpn weights",
        "network": "zf",
        "order": "BGR",
        "mean": [102.9801, 115.9465, 122.7717],
        "std": [1, 1, 1],
        "source": "zf.v2.caffemodel",
        "sha256": source,
    }
    parameters = (
        build_backbone("zf", rng=None).parameters() + RPNHead(256, 256, 9, rng=rng).parameters()
    )
    report = load_weights("zf", parameters, mine)
    assert (report.naming, report.reason) == ("minirpn", "written in the file")
    assert report.preprocessing == GIRSHICK_BGR
    values = {parameter.name: parameter.value for parameter in parameters}
    np.testing.assert_array_equal(values["conv4.weight"], arrays["conv4.weight"])
    scores = foreground_beside_background(arrays["rpn_cls_score.bias"])
    np.testing.assert_array_equal(values["rpn.objectness.bias"], scores)
    assert convert(again).network == "zf"


@pytest.mark.parametrize(
    "metadata", [{"order": "GBR"}, {"mean": [1, 2]}, {"std": 3}, {"mean": None}, {"std": [1, 1, 0]}]
)
def test_metadata_without_sense_is_refused(metadata, parameters, tmp_path, rng):
    whole = {"format": "minirpn weights", "order": "RGB", "mean": [0, 0, 0], "std": [1, 1, 1]}
    encoded = np.frombuffer(json.dumps(whole | metadata).encode(), np.uint8)
    arrays = arrays_for("squeezenet", "minirpn", rng)
    np.savez(tmp_path / "w.npz", metadata=encoded, **arrays)
    refused(parameters, tmp_path / "w.npz", r"w\.npz: ")


def test_networks_are_told_apart_by_their_shapes(tmp_path, rng):
    """tiny's names are ZF's."""
    for network in ("tiny", "zf", "vgg16", "squeezenet"):
        np.savez(tmp_path / "w.npz", **arrays_for(network, "minirpn", rng))
        assert convert(read_weights(tmp_path / "w.npz"), preprocessing=CAFFE_BGR).network == network


# --- broken archives ---


def damaged(tmp_path, name, edit):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(1000.0))
    content = bytearray(buffer.getvalue())
    (tmp_path / name).write_bytes(edit(content))
    return tmp_path / name


def flip_a_byte(content):
    content[400] ^= 1
    return content


def pickled():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{"a": 1}], dtype=object))
    return buffer.getvalue()


def lying_header():
    """Return an archive whose array claims to be far larger than it is."""
    buffer = io.BytesIO()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + b"\x76\x00" + header)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: b"",
        lambda content: b"not an archive",
        lambda content: content[:-100],
        lambda content: content[:300],
        flip_a_byte,
        lambda content: pickled(),
        lambda content: lying_header(),
    ],
    ids=["empty", "text", "cut at the end", "cut", "flipped byte", "pickle", "lying header"],
)
def test_broken_files_are_named_in_one_line(tmp_path, edit):
    path = damaged(tmp_path, "broken.npz", edit)
    with pytest.raises(InputError, match=r"broken.npz: not a whole weights file") as error:
        read_npz(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        read_npz(tmp_path / "none.npz")


def test_the_real_squeezenet_fits(shared, parameters):
    report = load_weights("squeezenet", parameters, shared / "weights" / "squeezenet_v1_1.npz")
    assert report.naming == "Caffe blobs"
    assert report.unused == ("conv10_b", "conv10_w")
    assert report.preprocessing == CAFFE_BGR
