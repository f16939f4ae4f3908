"""What a visitor does first, in the browser's Python. `tests.wasm.node` runs this there."""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import minirpn
from minirpn import accel, boxes, rpn, testing, viz

pytestmark = pytest.mark.skipif(sys.platform != "emscripten", reason="for a browser")
PHOTOS = Path(minirpn.__file__).parent / "samples" / "photos"
TWO = np.array([[0.0, 0, 4, 4], [0, 0, 4, 5]])


def test_this_is_a_python_of_32_bits():
    assert np.intp is np.int32


def test_nothing_is_said_of_numba_and_only_array_code_runs(caplog):
    caplog.set_level(logging.INFO)
    assert boxes.nms(TWO, np.array([0.1, 0.2]), iou_threshold=0.5).tolist() == [1]
    assert caplog.messages == []
    assert set(accel.available(TWO)["iou"]) == {"loops", "array"}
    with accel.use("numba", "iou"), pytest.raises(RuntimeError, match="for a browser"):
        boxes.iou(TWO, TWO)


def test_positions_have_64_bits():
    assert boxes.nms(TWO, np.array([0.1, 0.2]), iou_threshold=0.5).dtype == np.int64
    labels = rpn.label_anchors(TWO, TWO[:1], (8, 8))
    assert labels.matched_gt.dtype == np.int64


@pytest.mark.parametrize("name", ["shapes", "voc-small"])
def test_a_model_that_is_shipped_proposes_on_a_photo_and_draws(name, tmp_path):
    photo = min(PHOTOS.glob("*.jpg"))
    proposals = minirpn.load(name).propose(photo, post_nms=20)
    assert len(proposals) == 20
    assert np.isfinite(proposals.boxes).all()
    path = viz.save(proposals.plot(), tmp_path / "proposals.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_checks_accept_the_library_and_refuse_a_mistake():
    testing.check_iou(boxes.iou)
    testing.check_nms(boxes.nms)
    with pytest.raises(AssertionError):
        testing.check_iou(lambda a, b: boxes.iou(a, b) * 0.5)


def test_a_training_makes_steps_without_threads(tmp_path):
    run = minirpn.train(
        out=tmp_path / "run",
        progress=False,
        steps=2,
        synthetic={"images": 5, "image_size": [80, 96], "min_side": 16},
        resize={"short_side": 80, "max_side": 96},
        anchors={"base_size": 8, "scales": [2.0, 4.0]},
    )
    assert run.steps == 2
    assert run.report.is_file()


def test_the_network_in_one_file_learns():
    one_file = runpy.run_path("tutorials/rpn.py")
    size = np.array(one_file["IMAGE_SIZE"]) // one_file["STRIDE"]
    anchors = one_file["grid_anchors"](one_file["base_anchors"](), size)
    parameters = one_file["train"](anchors.astype(np.float32), 3, np.random.default_rng(0))
    assert all(np.isfinite(value).all() for pair in parameters.values() for value in pair)
