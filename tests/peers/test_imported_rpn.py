"""An RPN saved by py-faster-rcnn gives the scores and boxes of a plain PyTorch version of it."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from minirpn import boxes
from minirpn.backbones import GIRSHICK_BGR, build_backbone
from minirpn.rpn import RPN, AnchorConfig
from minirpn.rpn.head import RPNHead
from minirpn.rpn.proposals import object_scores
from minirpn.weights import load_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")
functional = torch.nn.functional

A, SIZE = 9, (90, 130)
# generate_anchors.py's nine, in pixels that count both ends.
INCLUSIVE = [
    *([-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199]),
    *([-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263]),
    *([-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359]),
]


def caffe_names(name, module):
    """Return the twin's arrays by Caffe's names."""
    arrays = {key: value.numpy() for key, value in module.state_dict().items()}
    if name == "zf":
        return arrays
    convolutions = [key for key in arrays if key.endswith("weight")]
    blocks = [f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    renamed = {}
    for key, layer in zip(convolutions, blocks, strict=True):
        renamed[f"{layer}.weight"] = arrays[key]
        renamed[f"{layer}.bias"] = arrays[key.replace("weight", "bias")]
    return renamed


def torch_proposals(features, arrays, image):
    """Return score and box of every anchor, as proposal_layer.py has them before it drops any."""
    maps = features(torch.tensor(image)[None])

    def conv(x, layer, padding=0):
        weight, bias = (torch.tensor(arrays[f"{layer}.{kind}"]) for kind in ("weight", "bias"))
        return functional.conv2d(x, weight.to(x), bias.to(x), padding=padding)

    hidden = conv(maps, "rpn_conv/3x3", padding=1).relu()
    Hf, Wf = maps.shape[2:]
    # Caffe reshapes the 2 A channels to two, and takes the softmax of those.
    scores = conv(hidden, "rpn_cls_score").reshape(1, 2, A * Hf, Wf).softmax(1)
    scores = scores.reshape(1, 2 * A, Hf, Wf)[:, A:].permute(0, 2, 3, 1).reshape(-1)
    deltas = conv(hidden, "rpn_bbox_pred").permute(0, 2, 3, 1).reshape(-1, 4)
    rows, columns = torch.meshgrid(16 * torch.arange(Hf), 16 * torch.arange(Wf), indexing="ij")
    shifts = torch.stack([columns, rows, columns, rows], -1).reshape(-1, 1, 4)
    # Inclusive corners to half-open ones: the last pixel ends one further on.
    anchors = torch.tensor(INCLUSIVE) + torch.tensor([0, 0, 1, 1])
    anchors = (shifts + anchors).reshape(-1, 4).to(deltas)
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = sides * deltas[:, 2:].exp() / 2
    return scores.numpy(), torch.cat([centres - half, centres + half], 1).numpy()


@pytest.mark.parametrize("name", ["zf", "vgg16"])
def test_scores_and_boxes(name, twin, tmp_path, rng):
    module, features = twin(name, torch.float64)
    backbone = build_backbone(name, rng=None)
    hidden, channels = backbone.head_channels, backbone.channels
    arrays = caffe_names(name, module.float())
    for layer, shape in {
        "rpn_conv/3x3": (hidden, channels, 3, 3),
        "rpn_cls_score": (2 * A, hidden, 1, 1),
        "rpn_bbox_pred": (4 * A, hidden, 1, 1),
    }.items():
        arrays[f"{layer}.weight"] = rng.normal(0, 0.01, shape).astype(np.float32)
        arrays[f"{layer}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    write = runpy.run_path(str(Path(__file__).parents[1] / "weights" / "conftest.py"))["caffe"]
    path = tmp_path / f"{name}_rpn.v2.caffemodel"
    path.write_bytes(write(arrays))

    network = RPN(backbone, RPNHead(channels, hidden, A, rng=rng), AnchorConfig())
    for parameter in network.parameters():
        parameter.value = parameter.value.astype(np.float64)
    report = load_weights(name, network.parameters(), path)
    assert (report.kind, report.naming) == ("caffemodel", "Caffe")
    assert (report.kept, report.unused) == ((), ())
    assert report.preprocessing == GIRSHICK_BGR

    image = rng.normal(size=(3, *SIZE))
    output, _ = network.forward(image[None])
    module.double()
    with torch.no_grad():
        scores, found = torch_proposals(features, arrays, image)
    np.testing.assert_allclose(object_scores(output.objectness[0]), scores, rtol=1e-9)
    decoded = boxes.decode(output.anchors, output.deltas[0])
    np.testing.assert_allclose(decoded, found, rtol=1e-9, atol=1e-8)
