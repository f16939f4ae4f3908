"""What ``minirpn bench --device`` measures runs on a device, and the clock waits for it."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import pytest

from minirpn import backend, bench
from minirpn.bench import measure, peers, work
from minirpn.cli.main import main
from minirpn.devices import Device, open_device

SIZE = (150, 200)
# The work of the rows of a device, made small.
SMALL = {
    "vgg16-step": partial(work.step_contenders, "tiny", image_size=SIZE),
    "vgg16-propose": partial(work.network_propose_contenders, "tiny", image_size=SIZE),
    "nms": partial(work.nms_contenders, 300, 40),
    "label": partial(work.label_contenders, feature_size=(5, 7)),
    "kernel-share": partial(measure.busy_share, "tiny", image_size=SIZE),
}
TIMED = [name for name in SMALL if name != "kernel-share"]


@pytest.fixture
def small_rows(device):
    """The rows of the device by name, with little work."""
    found = {row.name: row for row in bench.rows(device)}
    assert list(found) == list(SMALL)
    return {
        name: row._replace(contenders=partial(SMALL[name], device=device))
        for name, row in found.items()
    }


@pytest.mark.parametrize("name", TIMED)
def test_a_row_runs_and_is_waited_for(name, small_rows, monkeypatch):
    calls, really_wait = [], Device.wait

    def wait(device):
        calls.append("wait")
        really_wait(device)

    def clock():
        calls.append("clock")
        return float(len(calls))

    monkeypatch.setattr(Device, "wait", wait)
    monkeypatch.setattr(measure, "perf_counter", clock)
    row = small_rows[name]
    found = bench.run_row(row, rounds=2, peers=False)
    assert calls == 4 * ["wait", "clock"]
    assert found.values == {"minirpn": 2.0}  # ticks of that clock
    assert found.to_record()["what"] == row.what


def test_the_work_ends_on_the_device(device, small_rows):
    for name in ("nms", "label"):
        work = small_rows[name].contenders(peers=False)["minirpn"]
        found = work()
        for array in found if isinstance(found, tuple) else (found,):
            assert backend.device_of(array) == backend.device_of(device.like)
    proposals = small_rows["vgg16-propose"].contenders(peers=False)["minirpn"]()
    assert backend.device_of(proposals.boxes) == backend.device_of(device.like)
    assert 0 < proposals.boxes.shape[0] <= 300


def test_outputs_spread_as_a_trained_networks(device):
    network = work.new_trainer("tiny", device).network
    image = device.put(work.noise_image(SIZE))[0, ...]
    work.scale_outputs(network, image)
    output, _ = network.forward(image[None, ...])
    assert backend.to_host(output.objectness).std() == pytest.approx(1.0, rel=1e-3)
    assert backend.to_host(output.deltas).std() == pytest.approx(0.3, rel=1e-3)


def test_without_pytorch_the_busy_share_is_no_number(small_rows, monkeypatch):
    monkeypatch.setattr(peers, "peer", lambda name: None)
    found = bench.run_row(small_rows["kernel-share"], peers=False)
    assert found.values == {}
    assert found.line().endswith(
        "not measured: it needs the profiler of PyTorch with CUDA, and torch is not here, or not "
        "working"
    )


class FakeTorch:
    """Stands in for PyTorch with CUDA; its profiler tells of what it is given."""

    def __init__(self, events, calls):
        self.calls = calls
        self.cuda = SimpleNamespace(
            is_available=lambda: True, synchronize=lambda name: calls.append("begin")
        )
        self.device = lambda name: SimpleNamespace(index=1)
        self.autograd = SimpleNamespace(DeviceType=SimpleNamespace(CUDA="gpu"))
        self.profiler = SimpleNamespace(
            profile=lambda activities, acc_events: self,
            ProfilerActivity=SimpleNamespace(CUDA="gpu"),
        )
        self.events = lambda: events

    def __enter__(self):
        self.calls.append("profile")
        return self

    def __exit__(self, *_):
        self.calls.append("end")


def event(start, end, kind="gpu", index=1, named=False):
    """Return what the profiler tells of something that took from `start` to `end`, in seconds."""
    return SimpleNamespace(
        time_range=SimpleNamespace(start=start * 1e6, end=end * 1e6),
        device_type=kind,
        device_index=index,
        is_user_annotation=named,
    )


EVENTS = [
    event(10.0, 11.0),
    event(10.5, 12.0),  # beside it for half a second: together two
    event(13.0, 14.0),
    event(14.0, 20.0, kind="cpu"),
    event(14.0, 20.0, index=0),
    event(10.0, 20.0, named=True),
]


@pytest.mark.parametrize("events", [EVENTS, EVENTS[3:]], ids=["busy", "nothing seen"])
def test_the_busy_share_is_that_of_the_device_in_the_time_of_the_steps(
    events, small_rows, monkeypatch
):
    calls, row = [], small_rows["kernel-share"]
    torch = FakeTorch(events, calls)
    for module in (peers, measure):
        monkeypatch.setattr(module, "peer", {"torch": torch}.get)
    moments = iter([100.0, 104.0])
    monkeypatch.setattr(measure, "perf_counter", lambda: calls.append("clock") or next(moments))
    monkeypatch.setattr(work, "take_checked_step", lambda *_: calls.append("step"))
    monkeypatch.setattr(Device, "wait", lambda device: calls.append("wait"))
    found = bench.run_row(row, peers=False)
    warm_up, steps = measure.WARM_UP * ["step"], measure.STEPS * ["step"]
    measured = ["profile", "wait", "clock", *steps, "wait", "clock", "end"]
    assert calls == [*warm_up, "begin", *measured]
    if events is EVENTS:
        assert found.values == {"minirpn": pytest.approx(3.0 / 4.0)}
        assert found.met is False
    else:
        assert "saw nothing that the device did" in found.line()


def test_the_whole_step_is_that_of_a_training(device):
    trainer = work.new_trainer("tiny", device)
    image = device.put(work.noise_image(SIZE))[0, ...]
    batch = work.minibatch_for(trainer, image)
    before = backend.to_host(trainer.network.head.conv.weight.value)
    with backend.watched_moves() as moves:
        work.take_checked_step(trainer, image, batch)
    (down,) = (move for move in moves if move.way == "to the host")
    assert down.shape == (4,)  # the losses are looked at
    after = backend.to_host(trainer.network.head.conv.weight.value)
    assert abs(after - before).max() < 1e-6


def test_the_command_names_device_and_precision(device, small_rows, monkeypatch, tmp_path, capsys):
    opened = []

    def open_(name, *, tf32):
        opened.append((name, tf32))
        return device

    monkeypatch.setattr("minirpn.devices.open_device", open_)
    monkeypatch.setattr("minirpn.bench.rows", lambda device: tuple(small_rows.values()))
    path = tmp_path / "bench.json"
    words = ["--device", "cuda", "--no-peers", "--rounds", "1", "--json", str(path)]
    assert main(["bench", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"device: {device}; products in float32"
    assert [line.split("  ")[0] for line in lines[1:]] == [row.what for row in small_rows.values()]
    record = json.loads(path.read_text())
    assert (record["device"], record["tf32"]) == (str(device), False)
    assert record["machine"]["device"]["name"] == device.name
    assert [row["name"] for row in record["rows"]] == list(SMALL)
    assert opened == [("cuda", False)]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("tf32", [False, True], ids=["float32", "tf32"])
@pytest.mark.parametrize("name", list(SMALL))
def test_a_row_at_its_size_on_a_card(name, tf32):
    try:
        device = open_device("cuda", tf32=tf32)
        peers.use_tf32(tf32)
        (row,) = (row for row in bench.rows(device) if row.name == name)
        found = bench.run_row(row, rounds=1)
        print(found.line())
        if found.not_measured is None:
            assert found.values["minirpn"] > 0
        else:
            assert "torch" in found.not_measured
        if name == "kernel-share" and found.values:
            assert found.values["minirpn"] <= 1.01  # two clocks
    finally:
        open_device("cuda", tf32=False)
        peers.use_tf32(False)
