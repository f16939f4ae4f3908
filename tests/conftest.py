"""What all tests share: profiles, seeds, worlds, tolerances, the folder of real data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import array_api_strict
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from minirpn import backend
from minirpn.devices import NO_CUPY, find_gpus
from tests import documentation

mpl.use("Agg")

_SLOW_OK = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=40, deadline=None, suppress_health_check=_SLOW_OK)
settings.register_profile(
    "ci", max_examples=40, deadline=None, derandomize=True, suppress_health_check=_SLOW_OK
)
settings.register_profile(
    "thorough", max_examples=10_000, deadline=None, suppress_health_check=_SLOW_OK
)
# For a Python that is ten times as slow; the tests there look for what is different.
settings.register_profile(
    "browser", max_examples=4, deadline=None, derandomize=True, suppress_health_check=_SLOW_OK
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Relative and absolute tolerance for results that may differ by rounding alone. A test that needs
# more says why.
TOLERANCES = {"float32": {"rtol": 2e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}


@dataclass(frozen=True)
class World:
    """An array library and device in which array-agnostic functions must run."""

    name: str
    make: Callable[[Any], Any]

    def array(self, values: Any, dtype: Any = np.float64) -> Any:
        """Bring a NumPy array, or nested lists, into this world."""
        return self.make(np.array(values, dtype=dtype))

    def check(self, array: Any) -> np.ndarray:
        """Assert that `array` belongs to this world, and return it on the host."""
        if isinstance(array, np.generic):  # what NumPy makes of an array of shape ()
            array = np.asarray(array)
        sample = self.make(np.zeros(1))
        assert type(array) is type(sample), f"{type(array)} came out of world {self.name}"
        assert backend.device_of(array) == backend.device_of(sample)
        return backend.to_host(array)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _fake_gpu(array: np.ndarray) -> Any:
    return array_api_strict.asarray(array, device=array_api_strict.Device("device1"))


def _cupy(array: np.ndarray) -> Any:
    cupy = pytest.importorskip("cupy")
    return cupy.asarray(array)


WORLDS = [
    World("numpy", lambda array: array),
    World("numpy-readonly", _read_only),
    World("fake-gpu", _fake_gpu),
]


@pytest.fixture(
    params=[*WORLDS, pytest.param(World("cupy", _cupy), marks=pytest.mark.gpu)],
    ids=lambda w: w.name,
)
def world(request: pytest.FixtureRequest) -> World:
    """Each array library in turn."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and recorded results, named by MINIRPN_SHARED."""
    folder = os.environ.get("MINIRPN_SHARED")
    if not folder:
        pytest.skip("MINIRPN_SHARED is not set: no real data or recorded results here")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"MINIRPN_SHARED names no folder: {path}")
    return path


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Load the recorded results of one implementation, such as ``oracle("pyfrcnn")``."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(shared / "oracles" / f"{name}_0.npz", allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return load


@pytest.fixture(scope="session")
def close() -> Callable[..., None]:
    """Assert equality up to the tolerance of the dtype of the first argument."""

    def check(actual: Any, expected: Any, **wider: float) -> None:
        actual, expected = np.asarray(actual), np.asarray(expected)
        tolerance = TOLERANCES[str(actual.dtype)] | wider
        np.testing.assert_allclose(actual, expected, **tolerance)

    return check


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The documentation, a `tests.documentation.Site`: in MINIRPN_SITE, or else built here."""
    pytest.importorskip("sphinx", reason="needs the extra 'docs'")
    if folder := os.environ.get("MINIRPN_SITE"):
        return documentation.opened(Path(folder))
    base = tmp_path_factory.getbasetemp()
    # With xdist the folder above is that of all workers.
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    return documentation.built(shared / "site")


class _Asked:
    """Stands in for `minirpn.training.terminal.InterruptRequest`: asks to stop the n-th time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> _Asked:
        return self

    def __enter__(self) -> _Asked:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def stop_after() -> Callable[[pytest.MonkeyPatch, int], None]:
    """Return a function that lets trainings look so often whether to stop, and then stops them."""

    def stops(patch: pytest.MonkeyPatch, times: int) -> None:
        patch.setattr("minirpn.training.train.InterruptRequest", _Asked(times))

    return stops


@pytest.fixture
def no_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the last part of training, which takes the longest, where a test needs none.

    It measures the network, draws and writes the report: several times as long as a small training.
    """
    monkeypatch.setattr("minirpn.training.train.finish_run", lambda *args: (None, None))


@pytest.fixture(scope="session")
def without_figures() -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which a pixel is written in place of every figure.

    Each takes half a second, and most tests of a run look at none.
    """

    def save(picture: Any, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(path)
        return path

    @contextmanager
    def context() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minirpn.viz.save", save)
            yield

    return context


@pytest.fixture
def no_figures(without_figures: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Write a pixel in place of every figure."""
    with without_figures():
        yield


@pytest.fixture
def run_and_kill() -> Callable[..., Any]:
    """Return a function that runs a program with kills.py beside it, and reads what it prints."""

    def run(program: str, *arguments: object) -> Any:
        # One thread, or there would be some that are not in a forked child.
        environment = os.environ | dict.fromkeys(
            ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"
        )
        folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file together, which share what they trained or built.

    Files come in the order of the collection, see `pytest_collection_modifyitems`.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # that would be by the number of tests
    return ByFile(config, log)


def scope_of(nodeid: str) -> str:
    """Return the file of a test; those of the documentation are one, for they share a build."""
    file = nodeid.partition("::")[0]
    return "docs" if file.startswith("tests/docs/") else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with many slow tests first, so that no worker begins one when the others are done.

    Skip the tests that need a GPU where none can be used, and say why.
    """
    slow = Counter(scope_of(item.nodeid) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[scope_of(item.nodeid)])
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    found = find_gpus()
    if all(gpu.trouble is not None for gpu in found):
        reasons = "; ".join(f"{gpu.name}: {gpu.trouble}" for gpu in found)
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=f"no GPU: {reasons or NO_CUPY}"))
