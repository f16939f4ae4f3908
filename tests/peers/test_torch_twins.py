"""Forward, loss and gradients of the backbones equal those of PyTorch on the same weights."""

import numpy as np
import pytest

from minirpn import accel
from minirpn.backbones import CAFFE_BGR, build_backbone
from minirpn.rpn import RPN, AnchorConfig
from minirpn.rpn.head import RPNHead
from minirpn.training.step import Objective, loss_and_gradients, make_minibatch
from minirpn.weights import load_weights
from minirpn.weights.files import read_weights
from minirpn.weights.names import match

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
functional = torch.nn.functional

SIZE = (75, 109)  # odd on every level, where floor and ceil differ
ANCHORS = AnchorConfig(scales=(1.0, 2.0))
PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-4)]


def assert_near(actual, expected, tolerance):
    """Compare, relative to the largest number."""
    expected = expected.detach().numpy()
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert np.max(np.abs(actual - expected)) <= tolerance * np.max(np.abs(expected))


@pytest.fixture(params=["vgg16", "zf", "squeezenet"])
def name(request):
    return request.param


@pytest.fixture(params=PRECISIONS, ids=["float64", "float32"])
def pair(request, name, twin, tmp_path, rng):
    """Return minirpn's network, PyTorch's twin, names of parameters there, and the tolerance."""
    dtype, tolerance = request.param
    module, features = twin(name, dtype)
    torch.save(module.state_dict(), tmp_path / "twin.pth")
    backbone = build_backbone(name, rng=None)
    head = RPNHead(backbone.channels, 32, ANCHORS.count, rng=rng, std=0.05)
    network = RPN(backbone, head, ANCHORS)
    for parameter in network.parameters():
        parameter.value = parameter.value.astype(str(dtype).removeprefix("torch."))
    path = tmp_path / "twin.pth"
    report = load_weights(name, network.parameters(), path, preprocessing=CAFFE_BGR)
    assert report.unused == ()
    file = read_weights(path)
    theirs = match(name, file.arrays, kind=file.kind).theirs
    parameters = dict(module.named_parameters())
    for parameter in head.parameters():
        parameters[parameter.name] = torch.tensor(parameter.value, requires_grad=True)
        theirs[parameter.name] = parameter.name
    return network, features, {ours: parameters[name] for ours, name in theirs.items()}, tolerance


def test_forward(pair, rng):
    network, features, parameters, tolerance = pair
    dtype = network.head.conv.weight.value.dtype
    images = rng.normal(size=(2, 3, *SIZE)).astype(dtype)
    actual, _ = network.backbone.forward(images)
    assert_near(actual, features(torch.tensor(images)), tolerance)
    assert set(parameters) == {parameter.name for parameter in network.parameters()}


def torch_loss(features, parameters, image, batch):
    """Return eq. 1 of the paper for one image, from PyTorch's parts."""
    maps = features(torch.tensor(image)[None])

    def conv(x, layer, padding=0):
        weight, bias = parameters[f"rpn.{layer}.weight"], parameters[f"rpn.{layer}.bias"]
        return functional.conv2d(x, weight, bias, padding=padding)

    hidden = conv(maps, "conv", padding=1).relu()
    scores = conv(hidden, "objectness").permute(0, 2, 3, 1).reshape(-1, 2)
    deltas = conv(hidden, "deltas").permute(0, 2, 3, 1).reshape(-1, 4)
    labels = torch.tensor(batch.labels.astype(np.int64))
    chosen, positive = labels >= 0, labels == 1
    objectness = functional.cross_entropy(scores[chosen], labels[chosen], reduction="sum") / 256
    targets = torch.tensor(batch.targets)[positive]
    box = functional.smooth_l1_loss(deltas[positive], targets, reduction="sum")
    return objectness + 10 * box / (maps.shape[2] * maps.shape[3])


def test_one_training_steps_gradients(pair, rng):
    network, features, parameters, tolerance = pair
    dtype = network.head.conv.weight.value.dtype
    image = rng.normal(size=(3, *SIZE)).astype(dtype)
    gt_boxes = np.array([[10, 12, 40, 50], [60, 20, 90, 66]], dtype)
    anchors, objective = network.anchors_for(SIZE, like=image), Objective()
    batch = make_minibatch(
        anchors, gt_boxes, SIZE, rng=np.random.default_rng(5), objective=objective
    )
    # Direct sums: Winograd's larger rounding in float32 turns a ReLU or the winner of a pooling
    # here and there, and each such turn moves a whole gradient by its share.
    with accel.use("array"):
        result = loss_and_gradients(network, image, batch, config=objective.loss)
    assert result.counts["positives"] > 0
    assert result.counts["negatives"] > 0
    loss = torch_loss(features, parameters, image, batch)
    loss.backward()
    np.testing.assert_allclose(float(result.losses["loss"]), loss.item(), rtol=tolerance)
    trained = {p.name for p in network.parameters() if p.trainable}
    assert set(result.grads) == trained
    for name in trained:
        assert_near(result.grads[name], parameters[name].grad, tolerance)
