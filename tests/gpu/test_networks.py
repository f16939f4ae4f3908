"""A trained network proposes and detects the same on a device, by function and by command."""

from __future__ import annotations

import numpy as np
import pytest

from minirpn import backend, boxes
from minirpn.cli.main import main
from minirpn.data import VOCDataset
from minirpn.devices import CPU
from minirpn.rpn.proposals import candidates
from minirpn.training.build import build_pipeline, load_model, load_network

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(run, config_of):
    """A run with a detector, of a few steps on the CPU."""
    return run("trained", config_of("approximate-joint", 6))


@pytest.fixture
def command_line_device(device, monkeypatch):
    """Return what to call the device on the command line."""
    if device.name == "fake":
        opened = {"cuda": device, "cpu": CPU}
        for user in ("minirpn.devices", "minirpn.models", "minirpn.training.distributed"):
            monkeypatch.setattr(f"{user}.open_device", lambda name, **_: opened[name])
    return "cuda"


def test_the_same_boxes_are_proposed(device, same_arithmetic, trained, shapes):
    """What enters NMS is equal but for rounding; of the very same boxes, NMS keeps the very same.

    Where two scores are closer than rounding, their order is open: each box is then looked for.
    """
    (here, config), (there, _) = load_network(trained.path), load_network(trained.path, device)
    dataset = VOCDataset(shapes, split="val")
    pairs = zip(
        build_pipeline(config, here).in_order(dataset, None),
        build_pipeline(config, there).in_order(dataset, None),
        strict=True,
    )
    for on_host, on_device in pairs:
        with same_arithmetic():
            wanted = enters_nms(here, on_host, config)
        found = enters_nms(there, on_device, config)
        ours, theirs = (backend.to_host(part.scores) for part in (found, wanted))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        by_anchor = np.argsort(backend.to_host(found.anchors)), np.argsort(wanted.anchors)
        np.testing.assert_allclose(
            backend.to_host(found.boxes)[by_anchor[0]], wanted.boxes[by_anchor[1]], atol=1e-2
        )
        kept = boxes.nms(wanted.boxes, wanted.scores, iou_threshold=0.7)
        again = [device.put(part) for part in (wanted.boxes, wanted.scores)]
        np.testing.assert_array_equal(backend.to_host(boxes.nms(*again, iou_threshold=0.7)), kept)


def enters_nms(network, example, config):
    output, _ = network.forward(example.image[None, ...])
    return candidates(
        output.anchors,
        output.objectness[0, ...],
        output.deltas[0, ...],
        example.image_size,
        scale=example.scale,
        config=config.proposals,
    )


def test_the_same_objects_are_detected(device, same_arithmetic, trained, shapes):
    (here, config), (there, _) = load_model(trained.path), load_model(trained.path, device)
    dataset = VOCDataset(shapes, split="val")
    for index in range(len(dataset)):
        with same_arithmetic():
            example = build_pipeline(config, here.rpn).example(dataset[index])
            wanted, proposals = here.detect(example.image, proposals=config.proposals)
        given = [device.put(part) for part in (example.image[None, ...], proposals.boxes)]
        features, _ = there.rpn.backbone.forward(given[0])
        answers, _ = there.detector.forward(features, given[1])
        with same_arithmetic():
            features, _ = here.rpn.backbone.forward(example.image[None, ...])
            expected, _ = here.detector.forward(features, proposals.boxes)
        for ours, theirs in zip(answers, expected, strict=True):
            np.testing.assert_allclose(backend.to_host(ours), theirs, rtol=1e-3, atol=1e-4)
        if device.name == "fake":
            image = device.put(example.image)
            found, _ = there.detect(image, proposals=config.proposals)
            for ours, theirs in zip(found, wanted, strict=True):
                np.testing.assert_allclose(backend.to_host(ours), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("words", [["propose"], ["detect"], ["eval", "--split", "val"]])
def test_commands_say_the_same(
    device, command_line_device, same_arithmetic, trained, shapes, capsys, words
):
    images = [] if words[0] == "eval" else sorted(map(str, shapes.rglob("*.jpg")))[:2]
    command = [words[0], str(trained.path), *images, *words[1:]]
    with same_arithmetic():
        assert main([*command, "--device", "cpu"]) == 0
    on_host = capsys.readouterr().out
    assert main([*command, "--device", command_line_device]) == 0
    on_device = capsys.readouterr().out
    if device.name == "fake":
        assert on_device == on_host
    assert on_device.splitlines()[0] == on_host.splitlines()[0] != ""
