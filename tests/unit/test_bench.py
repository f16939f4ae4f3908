"""The benchmark measures what it says; how fast that is, no test asks."""

from types import SimpleNamespace

import array_api_strict as xp
import numpy as np
import pytest

import minirpn
from minirpn import bench
from minirpn.bench import measure, peers, table, work
from minirpn.bench.measure import NotMeasuredError, peak_bytes
from minirpn.bench.photo import ModelTwin
from minirpn.bench.table import Row
from minirpn.boxes import iou
from minirpn.data.images import read_image
from minirpn.devices import CPU, Device
from minirpn.samples import photos


def test_contenders_take_turns(monkeypatch):
    calls = []
    monkeypatch.setattr(measure, "sleep", lambda seconds: calls.append("rest"))
    found = measure.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", *2 * ["rest", "a", "rest", "b"]]
    assert 0 <= found["a"].fastest <= found["a"].median


def test_the_clock_is_read_when_the_device_has_done_its_work(monkeypatch):
    calls = []

    def note(what, result=None):
        return lambda *_: calls.append(what) or result

    monkeypatch.setattr(measure, "sleep", note("rest"))
    monkeypatch.setattr(measure, "perf_counter", note("clock", 0.0))
    measure.alternate({"a": note("a"), "b": note("b")}, 2, wait=note("wait"))
    measured = [["rest", "wait", "clock", name, "wait", "clock"] for name in "ab"]
    assert calls == ["a", "b", *2 * [call for each in measured for call in each]]


def test_the_ratio_is_to_the_fastest_peer():
    row = Row("x", "work", 0.5, lambda peers: {})
    found = table.RowResult(row, {"minirpn": 0.3, "slow": 9.0, "quick": 0.5}, {})
    assert found.best_peer == "quick"
    assert found.ratio == pytest.approx(0.6)
    assert "0.60 (aim 0.5)  missed" in found.line()
    alone = table.RowResult(row, {"minirpn": 0.3}, {})
    assert alone.ratio is None
    assert alone.line().split() == ["work", "300.0", "ms"]


def test_a_limit_is_held_against_minirpn_alone():
    row = Row("x", "work", 0.01, lambda peers: {}, aim_is="at most")
    found = table.RowResult(row, {"minirpn": 0.012, "torch": 0.02}, {})
    assert found.met is False
    assert found.line().split("ms", 1)[1].split() == (
        ["20.0", "ms", "torch", "0.60", "(at", "most", "10", "ms)", "missed"]
    )
    assert table.RowResult(row, {"minirpn": 0.01}, {}).met is True
    without = row._replace(aim=None)
    assert table.RowResult(without, {"minirpn": 1.0}, {}).met is None


def test_a_share_should_be_large():
    row = Row("x", "busy", 0.9, lambda peers: {"minirpn": 0.93}, "share", "at least")
    found = bench.run_row(row)
    assert (found.met, found.to_record()["unit"]) == (True, "share")
    assert found.line().split() == ["busy", "93.0", "%", "(at", "least", "90", "%)"]
    assert table.RowResult(row, {"minirpn": 0.89}, {}).line().endswith("(at least 90 %)  missed")


def test_what_cannot_be_measured_is_no_number():
    def contenders(peers):
        raise NotMeasuredError("it takes a card")

    found = bench.run_row(Row("x", "busy", 0.9, contenders, "share", "at least"))
    assert found.line().split(maxsplit=1) == ["busy", "not measured: it takes a card"]
    record = found.to_record()
    assert (record["values"], record["ratio"], record["met"]) == ({}, None, None)
    assert record["not_measured"] == "it takes a card"


@pytest.mark.parametrize("tf32", [False, True])
def test_rows_of_a_device_say_their_precision(tf32):
    there = Device("cuda:0", xp.empty(0), "a card", tf32)
    found = {row.name: row for row in bench.rows(there)}
    assert list(found) == ["vgg16-step", "vgg16-propose", "nms", "label", "kernel-share"]
    assert all(row.device is there for row in found.values())
    for name in ("vgg16-step", "vgg16-propose", "kernel-share"):
        assert found[name].what.endswith("TF32" if tf32 else "float32")
    # The limit of 10 ms is meant with TF32.
    assert found["vgg16-propose"].aim == (0.010 if tf32 else None)


def test_pytorch_computes_at_the_same_precision():
    torch = pytest.importorskip("torch")
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    try:
        for tf32 in (True, False, True):
            peers.use_tf32(tf32)
            assert products.allow_tf32 is tf32
            assert convolutions.allow_tf32 is tf32
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def test_a_peer_without_cuda_has_no_part_on_a_device(monkeypatch):
    def stand_ins(cuda, nms):
        torch = SimpleNamespace(
            cuda=SimpleNamespace(is_available=lambda: cuda),
            ops=SimpleNamespace(torchvision=SimpleNamespace(_cuda_version=lambda: nms)),
        )
        modules = {"torch": torch, "torchvision": SimpleNamespace()}
        monkeypatch.setattr(peers, "peer", modules.get)
        return modules

    there = Device("cuda:0", xp.empty(0))
    modules = stand_ins(cuda=False, nms=-1)
    assert peers.missing_peers(there) == "torch has no CUDA here; torchvision has no CUDA here"
    assert peers.peer_on("torch", there) is None
    assert peers.peer_on("torch", CPU) is modules["torch"]
    assert set(work.label_contenders(peers=True, device=there)) == {"minirpn"}
    stand_ins(cuda=True, nms=-1)
    assert peers.missing_peers(there) == "torchvision has no CUDA here"
    modules = stand_ins(cuda=True, nms=12080)
    assert peers.missing_peers(there) is None
    assert peers.peer_on("torchvision", there) is modules["torchvision"]
    del modules["torchvision"]
    assert peers.missing_peers(there) == "not here, or not working: torchvision"
    expected = "not here, or not working: torchvision, powerboxes, cython_bbox, pycocotools"
    assert peers.missing_peers(CPU) == expected


@pytest.mark.parametrize(
    "name", ["label", "iou-anchors", "iou-square", "propose", "photo-propose", "photo-detect"]
)
def test_box_rows_run_without_peers(name):
    row = next(row for row in bench.rows() if row.name == name)
    found = bench.run_row(row, rounds=1, peers=False)
    assert set(found.values) == {"minirpn"}
    assert found.to_record()["values"]["minirpn"] > 0


def test_a_peer_that_does_not_load_is_left_out(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "powerboxes", "minirpn.no_such_module")
    peers.peer.cache_clear()
    assert peers.peer("powerboxes") is None
    assert "powerboxes" not in work.iou_contenders(*2 * [work.random_boxes(2)], peers=True)
    assert peers.peer_versions()["powerboxes"] is None
    peers.peer.cache_clear()


def test_peers_find_the_same_overlaps(close):
    a, b = work.random_boxes(30), work.random_boxes(20)
    contenders = work.iou_contenders(a, b, peers=True)
    expected = contenders["minirpn"]()
    for name, function in contenders.items():
        if name == "cython_bbox":  # it takes the last pixel in, as py-faster-rcnn does
            continue
        overlaps = np.asarray(function())
        # powerboxes gives distances.
        close(1 - overlaps if name == "powerboxes" else overlaps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backbone", ["squeezenet", "tiny"])
def test_the_twin_computes_the_same(backbone, close):
    torch = pytest.importorskip("torch")
    from minirpn.bench.peers import Twin, tensor

    network = work.new_trainer(backbone).network
    images = work.noise_image()[:, :, :150, :200]
    twin = Twin(network)
    output, _ = network.forward(images)
    scores, deltas = (maps.numpy() for maps in twin.forward(tensor(images)))
    largest = np.max(np.abs(scores))
    # Channel a * values + v is value v of anchor a (see `minirpn.rpn.head.anchor_rows`).
    for maps, expected in ((scores, output.objectness), (deltas, output.deltas)):
        found = np.moveaxis(maps, 1, 3).reshape(expected.shape)
        close(found, expected, rtol=1e-3, atol=1e-4 * largest)
    trained = sum(p.value.size for p in network.parameters() if p.trainable)
    groups = twin.optimizer.param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == trained
    twin.step(tensor(images))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["voc-small", "shapes"])
def test_the_twin_of_a_model_finds_the_same(name, close):
    torchvision = peers.peer("torchvision")
    if torchvision is None:
        pytest.skip("torchvision is not installed")
    model, pixels = minirpn.load(name, device="cpu"), read_image(photos()["chelsea"])
    twin, found = ModelTwin(model), model.propose(pixels)
    boxes, scores = (part.numpy() for part in twin.propose(pixels))
    assert abs(len(scores) - len(found.scores)) <= 3
    # The two resize by the same formula, but round to whole colours in other ways.
    close(scores[:20], found.scores[:20], rtol=0, atol=0.02)
    overlaps = iou(found.boxes[:20], boxes)
    assert np.all(overlaps.max(axis=1) > 0.9)
    if model.has_detector:
        detected = model.detect(pixels, score_threshold=0.3)
        boxes, scores, classes = (part.numpy() for part in twin.detect(pixels, score_threshold=0.3))
        assert len(detected.scores) > 0
        np.testing.assert_array_equal(classes, detected.classes)
        close(scores, detected.scores, rtol=0, atol=0.02)
        close(boxes, detected.boxes, rtol=0, atol=4)


@pytest.mark.slow
def test_memory_is_that_of_the_step():
    # tiny at 600x1000 keeps some 100 MB of activations.
    assert 2**24 < peak_bytes("tiny", peers=False)["minirpn"] < 2**31
