"""The one-file network computes what the library computes, and learns to find shapes."""

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minirpn
from minirpn import boxes, nn, rpn
from minirpn.backbones import tiny
from minirpn.testing import strategies

PATH = Path(minirpn.__file__).parents[1] / "tutorials" / "rpn.py"
# (height, width) in pixels; larger than the file's own, so that large anchors fit and are positive.
SIZE = (224, 320)
# Of a whole gradient: sums of many terms, added in another order.
RTOL = {"float32": 1e-5, "float64": 1e-10}
SEEDS = range(12)

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
seeds = pytest.mark.parametrize("seed", SEEDS)


@pytest.fixture(scope="module")
def file():
    """Return the file as a module."""
    return load()


@functools.cache
def load():
    spec = importlib.util.spec_from_file_location("rpn_in_one_file", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def equal(actual, expected, dtype="float64"):
    """Assert that two arrays are equal but for rounding, relative to the largest number in them."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    largest = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * largest)


# What the file promises of itself.


def test_it_is_short():
    lines = PATH.read_text().splitlines()
    assert len(lines) <= 350
    assert max(map(len, lines)) <= 100


def test_it_imports_numpy_and_the_standard_library_alone():
    tree = ast.parse(PATH.read_text())
    drawing = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "save_picture"
    )
    optional = {id(node) for node in ast.walk(drawing)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module]
        else:
            continue
        allowed = sys.stdlib_module_names | {"numpy"}
        if id(node) in optional:
            allowed |= {"matplotlib"}
        assert {name.partition(".")[0] for name in names} <= allowed


def test_every_function_says_what_it_does_in_one_line():
    for node in ast.parse(PATH.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            assert len(ast.get_docstring(node).splitlines()) == 1, node.name


def test_every_part_of_the_library_that_it_names_is_there():
    named = re.findall(r"Library: (.*?) =", PATH.read_text())
    assert len(named) >= 10
    for line in named:
        for name in line.split(", "):
            path = PATH.parents[1] / "minirpn" / name.removeprefix("minirpn/")
            assert path.is_file(), name


# Boxes: Hypothesis draws empty, negative, equal, touching and nested ones.


@given(strategies.boxes(), strategies.boxes())
def test_iou(a, b):
    equal(load().iou(a, b), boxes.iou(a, b))


def test_iou_of_empty_boxes_is_0(file):
    empty = np.array([[2.0, 2, 2, 5], [3, 3, 1, 1], [0, 0, 4, 4]])
    assert file.iou(empty, empty).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]


@given(strategies.boxes(), strategies.image_sizes())
def test_clip(some, image_size):
    equal(load().clip(some, image_size), boxes.clip(some, image_size))


@given(
    strategies.boxes(min_count=4, max_count=4, min_side=0.5),
    strategies.boxes(min_count=4, max_count=4, min_side=0.5),
)
def test_encode_and_decode(anchors, some):
    deltas = load().encode(anchors, some)
    equal(deltas, boxes.encode(anchors, some))
    equal(load().decode(anchors, deltas), boxes.decode(anchors, deltas))
    np.testing.assert_allclose(load().decode(anchors, deltas), some, atol=1e-9)


@given(strategies.boxes(), st.data())
def test_nms(some, data):
    # Few values, so that many scores are equal.
    drawn = [data.draw(st.sampled_from([0.25, 0.5, 0.75])) for _ in some]
    scores = np.array(drawn, dtype=np.float64)
    threshold = data.draw(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.7, 1.0]))
    most = data.draw(st.integers(0, 9))
    kept = load().nms(some, scores, threshold, most)
    expected = boxes.nms(some, scores, iou_threshold=threshold, max_keep=most)
    assert kept.dtype == expected.dtype
    assert kept.tolist() == expected.tolist()


def test_nms_keeps_a_box_whose_iou_is_the_threshold(file):
    two = np.array([[0.0, 0, 4, 4], [0, 0, 4, 2]])
    scores = np.array([0.5, 0.5])
    assert file.nms(two, scores, 0.5, 2).tolist() == [0, 1]
    assert file.nms(two, scores, 0.49, 2).tolist() == [0]


# Anchors and what the network should answer.


def the_anchors(file, dtype="float64", size=SIZE):
    base = file.base_anchors()
    return file.grid_anchors(base, (size[0] // 16, size[1] // 16)).astype(dtype)


def some_objects(rng, dtype="float64", size=SIZE):
    """Return a few ground truths (M, 4) on multiples of 8 pixels, so that overlaps tie."""
    count = rng.integers(1, 6)
    sides = rng.integers(8, min(size) * 5 // 8, (count, 2)) // 8 * 8
    corners = rng.integers(0, (size[1], size[0]) - sides) // 8 * 8
    return np.concatenate([corners, corners + sides], axis=1).astype(dtype)


def test_anchors(file):
    published = file.base_anchors(scales=(8, 16, 32))
    assert published[3].tolist() == [-56, -56, 72, 72]
    equal(published, rpn.base_anchors(rpn.AnchorConfig()))
    base = rpn.base_anchors(rpn.AnchorConfig(scales=file.SCALES))
    equal(file.base_anchors(), base)
    equal(file.grid_anchors(base, (3, 5)), rpn.grid_anchors(base, (3, 5), 16))


@dtypes
@seeds
def test_labels_and_sample(file, seed, dtype):
    anchors, rng = the_anchors(file, dtype), np.random.default_rng(seed)
    gt_boxes = some_objects(rng, dtype)
    labels, matched_gt = file.label_anchors(anchors, gt_boxes, SIZE)
    expected = rpn.label_anchors(anchors, gt_boxes, SIZE)
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_array_equal(matched_gt, expected.matched_gt)
    assert labels.dtype == expected.labels.dtype
    # Of many positives a draw as well.
    for given_labels in (labels, np.where(rng.random(len(labels)) < 0.3, 1, labels)):
        drawn = file.sample_minibatch(given_labels, np.random.default_rng(seed))
        again = rpn.sample_minibatch(given_labels, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(drawn, again)
        assert np.count_nonzero(drawn != file.IGNORE) == 256


def test_the_labels_seen_here_are_of_all_kinds(file):
    seen = {"tied": 0, "by iou": 0, "two objects": 0}
    for seed in SEEDS:
        anchors, gt_boxes = the_anchors(file), some_objects(np.random.default_rng(seed))
        found = rpn.label_anchors(anchors, gt_boxes, SIZE)
        best = (boxes.iou(anchors, gt_boxes) == found.gt_max_iou) & (found.labels == 1)[:, None]
        seen["tied"] += (best.sum(axis=0) > 1).any()
        seen["by iou"] += (found.max_iou >= 0.7).any()
        seen["two objects"] += len(set(found.matched_gt[found.labels == 1].tolist())) > 1
    assert min(seen.values()) > 0, seen


def test_an_object_that_no_anchor_touches_makes_none_positive(file):
    anchors = np.array([[0.0, 0, 32, 32], [40, 0, 72, 32]])
    far = np.array([[100.0, 100, 120, 120]])
    labels, _ = file.label_anchors(anchors, far, SIZE)
    assert labels.tolist() == rpn.label_anchors(anchors, far, SIZE).labels.tolist() == [0, 0]


def test_an_anchor_across_the_border_is_ignored_however_well_it_fits(file):
    anchors = np.array([[-4.0, 0, 28, 32], [0, 0, 32, 32], [40, 0, 72, 32]])
    gt_boxes = np.array([[0.0, 0, 28, 32]])
    for width, expected in ((100, [-1, 1, 0]), (71, [-1, 1, -1])):
        labels, _ = file.label_anchors(anchors, gt_boxes, (32, width))
        assert labels.tolist() == expected
        assert rpn.label_anchors(anchors, gt_boxes, (32, width)).labels.tolist() == expected


# The layers' gradients.


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 1, 3), (2, 1, 3), (1, 0, 1)])
def test_conv2d(file, rng, stride, padding, kernel):
    x, bias = rng.normal(size=(2, 3, 6, 8)), rng.normal(size=4)
    weight = rng.normal(size=(4, 3, kernel, kernel))
    forward = functools.partial(file.conv2d_forward, stride=stride, padding=padding)
    nn.check_gradients(forward, file.conv2d_backward, (x, weight, bias), rng=rng)
    y, cache = forward(x, weight, bias)
    expected, expected_cache = nn.conv2d_forward(x, weight, bias, stride=stride, padding=padding)
    equal(y, expected)
    dy = rng.normal(size=y.shape)
    grads = file.conv2d_backward(dy, cache), nn.conv2d_backward(dy, expected_cache)
    for grad, expected_grad in zip(*grads, strict=True):
        equal(grad, expected_grad)


def test_relu(file, rng):
    x = rng.normal(size=50)
    x = np.where(np.abs(x) < 1e-2, 1e-2, x)  # away from the kink
    nn.check_gradients(file.relu_forward, file.relu_backward, x, rng=rng)
    x[:3] = 0
    assert file.relu_backward(np.ones(50), file.relu_forward(x)[1])[:3].tolist() == [0, 0, 0]


def test_max_pool2d(file, rng):
    # Whole numbers, shuffled: no two are closer than the step, so no maximum is near a tie.
    x = rng.permutation(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).astype(float)
    nn.check_gradients(file.max_pool2d_forward, file.max_pool2d_backward, x, rng=rng)
    x //= 20  # now there are ties
    y, cache = file.max_pool2d_forward(x)
    expected, expected_cache = nn.max_pool2d_forward(x, kernel=2, stride=2)
    equal(y, expected)
    dy = rng.normal(size=y.shape)
    equal(file.max_pool2d_backward(dy, cache), nn.max_pool2d_backward(dy, expected_cache))


def test_loss(file, rng):
    K = 2 * file.A
    labels = np.resize([1, 0, -1], K)
    targets = rng.normal(size=(K, 4))

    def forward(objectness, deltas):
        return file.rpn_loss_forward(objectness, deltas, labels, targets)

    def backward(dloss, cache):
        return [dloss * grad for grad in file.rpn_loss_backward(cache)]

    inputs = rng.normal(size=(K, 2)), 2 * rng.normal(size=(K, 4))
    nn.check_gradients(forward, backward, inputs, rng=rng)
    sure = np.array([[-900.0, 900]] * K)  # exp(900) overflows
    assert file.rpn_loss_forward(sure, targets, np.ones(K), targets)[0] == 0


# One training step, with the same weights on both sides.


def networks(file, dtype):
    """Return the file's parameters, and the library's network with the same ones."""
    parameters = file.init_parameters(np.random.default_rng(5))
    rng = np.random.default_rng(6)
    for name, (weight, bias) in parameters.items():
        # The head's first weights say about the same of all anchors; and biases are 0.
        weight = weight * 2 if name.startswith("rpn.") else weight
        bias = rng.normal(0, 0.1, bias.shape)
        parameters[name] = [weight.astype(dtype), bias.astype(dtype)]
    backbone = tiny(rng=rng)
    head = rpn.RPNHead(backbone.channels, backbone.head_channels, file.A, rng=rng)
    network = rpn.RPN(backbone, head, rpn.AnchorConfig(scales=file.SCALES))
    for parameter in network.parameters():
        name, _, kind = parameter.name.rpartition(".")
        parameter.value = parameters[name][("weight", "bias").index(kind)]
        parameter.lr_multiplier = 2.0 if kind == "bias" else 1.0
    assert len(network.parameters()) == 2 * len(parameters)
    return parameters, network


def test_first_weights_are_those_of_the_library(file):
    parameters, rng = file.init_parameters(np.random.default_rng(3)), np.random.default_rng(3)
    backbone = tiny(rng=rng)
    head = rpn.RPNHead(backbone.channels, backbone.head_channels, file.A, rng=rng)
    for parameter in backbone.parameters() + head.parameters():
        name, _, kind = parameter.name.rpartition(".")
        equal(parameters[name][kind == "bias"], parameter.value)


@dtypes
def test_training_steps(file, dtype):
    parameters, network = networks(file, dtype)
    velocity = {name: [0, 0] for name in parameters}
    optimizer = nn.SGD(network.parameters())
    # Small, lest in float32 some ReLU or maximum be so near a tie that rounding decides it.
    size = (96, 128)
    anchors, rng = the_anchors(file, dtype, size), np.random.default_rng(0)
    for lr in (0.01, 0.001):  # two, for momentum to show
        image = rng.normal(size=(3, *size)).astype(dtype)
        gt_boxes = some_objects(rng, dtype, size)
        labels, matched_gt = file.label_anchors(anchors, gt_boxes, size)
        labels = file.sample_minibatch(labels, rng)
        assert (labels == file.POSITIVE).any()
        targets = file.encode(anchors, gt_boxes[matched_gt])

        objectness, deltas, cache = file.network_forward(parameters, image)
        loss, loss_cache = file.rpn_loss_forward(objectness, deltas, labels, targets)
        dobjectness, ddeltas = file.rpn_loss_backward(loss_cache)
        grads = file.network_backward(dobjectness, ddeltas, cache)

        output, network_cache = network.forward(image[None])
        expected_targets = rpn.anchor_targets(anchors, gt_boxes, matched_gt, labels)
        expected_loss, expected_cache = rpn.rpn_loss_forward(
            output.objectness[0],
            output.deltas[0],
            labels,
            expected_targets,
            locations=output.locations,
        )
        dloss = rpn.rpn_loss_backward(1.0, expected_cache)
        expected = network.backward(dloss.dobjectness[None], dloss.ddeltas[None], network_cache)

        equal(anchors, output.anchors, dtype)
        equal(objectness, output.objectness[0], dtype)
        equal(deltas, output.deltas[0], dtype)
        equal(loss, expected_loss.total, dtype)
        equal(dobjectness, dloss.dobjectness, dtype)
        equal(ddeltas, dloss.ddeltas, dtype)
        for name, (dweight, dbias) in grads.items():
            equal(dweight, expected[f"{name}.weight"], dtype)
            equal(dbias, expected[f"{name}.bias"], dtype)
        assert len(expected) == 2 * len(grads)

        file.sgd_step(parameters, velocity, grads, lr)
        optimizer.step(expected, lr=lr)
        for parameter in network.parameters():
            name, _, kind = parameter.name.rpartition(".")
            equal(parameters[name][kind == "bias"], parameter.value, dtype)
            equal(velocity[name][kind == "bias"], optimizer.velocity[parameter.name], dtype)


@dtypes
@seeds
def test_proposals(file, seed, dtype):
    rng, anchors = np.random.default_rng(seed), the_anchors(file, dtype)
    K = len(anchors)
    # Some scores are equal; the others lie further apart than rounding goes.
    objectness = np.stack([np.zeros(K), rng.permutation(K) // 2 * 8 / K - 2], axis=1).astype(dtype)
    deltas = rng.normal(0, 0.5, (K, 4)).astype(dtype)
    for counts in ({}, {"pre_nms": 100, "min_size": 40}):
        found, scores = file.propose(anchors, objectness, deltas, SIZE, **counts)
        config = rpn.ProposalConfig(**counts)
        expected = rpn.propose(anchors, objectness, deltas, SIZE, config=config)
        equal(found, expected.boxes, dtype)
        equal(scores, expected.scores, dtype)


def test_pictures(file):
    for seed in SEEDS:
        image, gt_boxes = file.draw_picture(np.random.default_rng(seed))
        assert image.shape == (3, *file.IMAGE_SIZE)
        assert image.dtype == gt_boxes.dtype == np.float32
        assert len(gt_boxes) >= 1
        assert (gt_boxes[:, 2:] - gt_boxes[:, :2]).min() >= 28
        np.testing.assert_array_equal(file.clip(gt_boxes, file.IMAGE_SIZE), gt_boxes)
        np.testing.assert_array_equal(file.iou(gt_boxes, gt_boxes), np.eye(len(gt_boxes)))
        again, _ = file.draw_picture(np.random.default_rng(seed))
        np.testing.assert_array_equal(image, again)


# And it learns.


def run(folder, *arguments):
    command = [sys.executable, "-W", "error", PATH, *arguments]
    # One thread: other tests run beside this one, and threads that wait for a core take longer.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed_recall(output):
    return float(re.search(r"^recall (\d\.\d+)", output, re.MULTILINE)[1])


@pytest.mark.slow
def test_it_finds_shapes_and_draws_a_picture(tmp_path):
    output = run(tmp_path, "500")  # a quarter of its steps; boxes of an untrained one find 0.6
    assert printed_recall(output) >= 0.95
    assert output.count("step ") == 5
    assert "rpn.png" in output
    assert (tmp_path / "rpn.png").read_bytes().startswith(b"\x89PNG")
