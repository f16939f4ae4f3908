"""The benchmark measures what it says; how fast that is, no test asks."""

import numpy as np
import pytest

from minirpn import bench
from minirpn.bench import boxes, networks, peers, run, timing
from minirpn.bench.memory import peak_bytes
from minirpn.bench.rows import Row


def test_contenders_take_turns(monkeypatch):
    calls = []
    monkeypatch.setattr(timing, "sleep", lambda seconds: calls.append("rest"))
    found = timing.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", *2 * ["rest", "a", "rest", "b"]]
    assert 0 <= found["a"].fastest <= found["a"].median


def test_the_ratio_is_to_the_fastest_peer():
    row = Row("x", "work", 0.5, lambda peers: {})
    found = run.RowResult(row, {"minirpn": 0.3, "slow": 9.0, "quick": 0.5}, {})
    assert found.best_peer == "quick"
    assert found.ratio == pytest.approx(0.6)
    assert "0.60 (aim 0.5)  missed" in found.line()
    alone = run.RowResult(row, {"minirpn": 0.3}, {})
    assert alone.ratio is None
    assert alone.line().split() == ["work", "300.0", "ms"]


@pytest.mark.parametrize("name", ["label", "iou-anchors", "iou-square", "propose"])
def test_box_rows_run_without_peers(name):
    row = next(row for row in bench.rows() if row.name == name)
    found = bench.run_row(row, rounds=1, peers=False)
    assert set(found.values) == {"minirpn"}
    assert found.to_record()["values"]["minirpn"] > 0


def test_a_peer_that_does_not_load_is_left_out(monkeypatch):
    monkeypatch.setitem(peers.PEERS, "powerboxes", "minirpn.no_such_module")
    peers.peer.cache_clear()
    assert peers.peer("powerboxes") is None
    assert "powerboxes" not in boxes.iou_contenders(*2 * [boxes.random_boxes(2)], peers=True)
    assert peers.peer_versions()["powerboxes"] is None
    peers.peer.cache_clear()


def test_peers_find_the_same_overlaps(close):
    a, b = boxes.random_boxes(30), boxes.random_boxes(20)
    contenders = boxes.iou_contenders(a, b, peers=True)
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
    from minirpn.bench.twin import Twin

    network = networks.new_trainer(backbone).network
    images = networks.picture()[:, :, :150, :200]
    twin = Twin(network)
    output, _ = network.forward(images)
    scores, deltas = twin.forward(images)
    largest = np.max(np.abs(scores))
    # Channel a * values + v is value v of anchor a (see `minirpn.rpn.head.anchor_rows`).
    for maps, expected in ((scores, output.objectness), (deltas, output.deltas)):
        found = np.moveaxis(maps, 1, 3).reshape(expected.shape)
        close(found, expected, rtol=1e-3, atol=1e-4 * largest)
    trained = sum(p.value.size for p in network.parameters() if p.trainable)
    groups = twin.optimizer.param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == trained
    twin.step(images)
    assert torch.is_grad_enabled()


def test_memory_is_that_of_the_step():
    # tiny at 600x1000 keeps some 100 MB of activations.
    assert 2**24 < peak_bytes("tiny", peers=False)["minirpn"] < 2**31
