"""A GPU to train on: a real one where there is one, and everywhere one that is faked.

The fake is the second device of array-api-strict. Its arrays lie in host memory, but they refuse to
mix with NumPy's and to become such unasked. What Python asks of an array of one number (``float``,
``bool``) it grants; here it is refused too, for a GPU has to be waited for.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import array_api_strict
import pytest

from minirpn import accel
from minirpn.data import generate
from minirpn.data.synthetic import SyntheticConfig
from minirpn.data.transforms import ResizeConfig
from minirpn.devices import CPU, Device, open_device
from minirpn.rpn.anchors import AnchorConfig
from minirpn.training.config import (
    DataConfig,
    OptimizerConfig,
    RunConfig,
    SharingConfig,
    default_config,
)
from minirpn.training.run_folder import create_run, open_run
from minirpn.training.train import train

FAKE = array_api_strict.Device("device1")
# Who may make arrays of what lies on the host. docs/explanation/devices.md tells of `roi_align`.
MAY_UPLOAD = {"minirpn.backend", "minirpn.nn.roi_align"}


def _refuse_what_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(array_api_strict.zeros(1))

    def refusing(name):
        method = getattr(kind, name)

        def guarded(array, *args):
            assert array.device != FAKE, f"{name} of an array on the device"
            return method(array, *args)

        return guarded

    for name in ("__float__", "__int__", "__bool__", "__index__", "__complex__"):
        monkeypatch.setattr(kind, name, refusing(name))
    asarray = array_api_strict.asarray

    def guarded_asarray(values, **options):
        caller = sys._getframe(1).f_globals["__name__"]
        assert isinstance(values, kind) or caller in MAY_UPLOAD, f"upload by {caller}"
        return asarray(values, **options)

    monkeypatch.setattr(array_api_strict, "asarray", guarded_asarray)


@pytest.fixture(autouse=True)
def no_recording(monkeypatch):
    """Ask for every kernel by itself over a driver that stands in for a card: it cannot record."""
    if "fakegpu" in sys.modules:
        monkeypatch.setattr("minirpn.accel.cuda.graph.on_cuda", lambda array: False)


@pytest.fixture(params=["fake", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch) -> Device:
    """A device that is not the host."""
    if request.param == "cuda":
        return open_device("cuda")
    like = array_api_strict.empty(0, dtype=array_api_strict.float32, device=FAKE)
    _refuse_what_is_not_asked_for(monkeypatch)
    return Device("fake", like)


@pytest.fixture
def same_arithmetic(device):
    """Let the CPU compute as the fake does, so that they differ by nothing; a GPU has its own."""

    def context():
        if device.name != "fake":
            return nullcontext()
        return accel.use("array")

    return context


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder of twelve generated images."""
    looks = SyntheticConfig(images=12, image_size=(64, 80), max_objects=2, min_side=14)
    return generate(tmp_path_factory.mktemp("data") / "shapes", looks)


@pytest.fixture
def config_of(shapes):
    """Make the settings of a small run of some kind."""

    def make(kind, steps, **run):
        often = {"validate_every": 6, "checkpoint_every": 5, "diagnose_every": 6} | run
        return replace(
            default_config(voc=False),
            data=DataConfig(voc=str(shapes), split="train", val_split="val"),
            resize=ResizeConfig(short_side=64, max_side=96),
            anchors=AnchorConfig(base_size=8, scales=(2.0, 4.0)),
            sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=20),
            optimizer=OptimizerConfig(steps=steps, lr=0.01),
            run=RunConfig(threads=1, device="cpu", **often),
        )

    return make


@pytest.fixture
def run(tmp_path, monkeypatch, stop_after):
    """Train in a folder by name; with `stop`, be asked to stop after so many steps."""

    def go(name, config, device=CPU, *, stop=None, finish=False):
        folder = tmp_path / name
        with monkeypatch.context() as patch:
            if stop is not None:
                stop_after(patch, stop)
            if not finish:
                patch.setattr("minirpn.training.train.finish_run", lambda *args: (None, None))
            resume = folder.exists()
            run_folder = open_run(folder) if resume else create_run(folder, config, device)
            train(config, run_folder, device=device, resume=resume, progress=False)
        return run_folder

    return go


@pytest.fixture(scope="session")
def records():
    """Read the records of a run, of one kind or all, without the times in them."""

    def read(folder, kind=None):
        times = {"step_seconds", "data_wait_seconds", "seconds"}
        found = map(json.loads, folder.metrics.read_text().splitlines())
        wanted = (record for record in found if kind in (None, record["kind"]))
        return [{k: v for k, v in record.items() if k not in times} for record in wanted]

    return read
