"""Which device is opened, and what is said of those that cannot be. CuPy is a stand-in here."""

import importlib.machinery
import importlib.util
import json
import sys
import types

import numpy as np
import pytest

from minirpn import backend, devices
from minirpn.cli.main import main
from minirpn.devices import (
    CPU,
    check_device_name,
    device_with,
    find_gpus,
    open_device,
    tf32_allowed,
)
from minirpn.errors import InputError

NO_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"
NO_MEMORY = "cudaErrorMemoryAllocation: out of memory"
TF32, DEFAULT = 7, 1


class FakeCuda:
    """A machine with some cards, of which CuPy tells; `broken` maps their numbers to reasons."""

    def __init__(self, *, count=2, broken=(), capability=90, driver=13000):
        self.broken, self.capability = dict(broken), capability
        self.current, self.product_mode = 0, DEFAULT
        self.used = []
        fake = self

        class Device:
            def __init__(self, index):
                self.id = index

            def use(self):
                fake.used.append(self.id)

            def __enter__(self):
                fake.current = self.id

            def __exit__(self, *_):
                fake.current = 0

        def get_count():
            if isinstance(count, str):
                raise RuntimeError(count)
            return count

        self.module = types.ModuleType("cupy")
        self.module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        self.module.__version__ = "14.2.0"
        properties = {"name": b"Card", "totalGlobalMem": 80 * 2**30}
        runtime = types.SimpleNamespace(
            driverGetVersion=lambda: driver,
            getDeviceCount=get_count,
            getDeviceProperties=lambda index: properties,
        )
        self.module.cuda = types.SimpleNamespace(runtime=runtime, Device=Device)
        self.module.ones = self.ones
        self.module.empty = np.empty
        products = types.SimpleNamespace(
            COMPUTE_TYPE_TF32=TF32,
            COMPUTE_TYPE_DEFAULT=DEFAULT,
            set_compute_type=self.set_compute_type,
            get_compute_type=lambda dtype: self.product_mode,
        )
        self.core = types.ModuleType("cupy._core")
        self.core._routines_linalg = products

    def ones(self, shape, dtype):
        if self.current in self.broken:
            raise MemoryError(self.broken[self.current])
        total = types.SimpleNamespace(get=lambda: 8.0)
        product = types.SimpleNamespace(sum=lambda: total)

        class Ones:
            def __matmul__(self, other):
                return product

        return Ones()

    def set_compute_type(self, dtype, wanted):
        self.product_mode = wanted if self.capability >= 80 else DEFAULT


@pytest.fixture
def install(monkeypatch):
    """Put a stand-in for CuPy in place of whatever is installed."""

    def put(**options):
        fake = FakeCuda(**options)
        monkeypatch.setitem(sys.modules, "cupy", fake.module)
        monkeypatch.setitem(sys.modules, "cupy._core", fake.core)
        return fake

    return put


@pytest.fixture
def no_cupy(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "cupy" else find(name)
    )


def error_of(name, **options):
    with pytest.raises(InputError) as caught:
        open_device(name, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "gpu", "", "cpu:0", "CUDA"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"^device: expected auto, cpu, cuda or cuda:0, "):
        check_device_name(name)


def test_without_cupy_there_is_the_cpu(no_cupy):
    assert find_gpus() == []
    assert open_device("auto") == open_device("cpu") == CPU
    for name in ("cuda", "cuda:0"):
        assert error_of(name).startswith(f"device {name}: CuPy is not installed (pip install")


def test_a_broken_cupy_says_why_in_one_line(monkeypatch):
    """CuPy puts the reason last, behind advice, between rulers."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                return importlib.machinery.ModuleSpec(name, self)
            return None

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            ruler = "=" * 60
            raise ImportError(
                f"\n{ruler}\nFailed to import CuPy.\n\n  libcudart.so: gone\n{ruler}\n"
            )

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert error_of("cuda:1") == "device cuda:1: libcudart.so: gone"


def test_without_a_driver_auto_says_why_it_takes_the_cpu(install):
    install(count=NO_DRIVER)
    assert error_of("cuda") == f"device cuda: {NO_DRIVER}"
    assert error_of("cuda:1") == f"device cuda:1: {NO_DRIVER}"
    device = open_device("auto")
    assert device.name == "cpu"
    assert str(device) == f"cpu (no GPU: {NO_DRIVER})"

    install(driver=0)
    assert error_of("cuda") == "device cuda: no NVIDIA driver is installed"


def test_the_first_gpu_that_can_be_used_is_taken(install):
    fake = install(broken={0: NO_MEMORY})
    assert [(gpu.name, gpu.trouble) for gpu in find_gpus()] == [
        ("cuda:0", NO_MEMORY),
        ("cuda:1", None),
    ]
    for name in ("auto", "cuda", "cuda:1"):
        device = open_device(name)
        assert device.name == "cuda:1"
        assert str(device) == "cuda:1 (Card, 80 GiB, CuPy 14.2.0)"
    assert fake.used == [1, 1, 1]
    assert error_of("cuda:0") == f"device cuda:0: {NO_MEMORY}"
    assert error_of("cuda:2") == "device cuda:2: there is no such device; there are cuda:0, cuda:1"


def test_when_no_gpu_can_be_used_each_says_why(install):
    install(broken={0: NO_MEMORY, 1: "no kernel image"})
    both = f"cuda:0: {NO_MEMORY}; cuda:1: no kernel image"
    assert error_of("cuda") == f"device cuda: {both}"
    assert open_device("auto").about == f"no GPU: {both}"


def test_products_are_of_true_float32_unless_asked(install):
    fake = install()
    fake.product_mode = TF32  # as CUPY_TF32=1 leaves it
    assert tf32_allowed()
    assert not open_device("cuda").tf32
    assert fake.product_mode == DEFAULT
    assert not tf32_allowed()
    device = open_device("cuda", tf32=True)
    assert tf32_allowed()
    assert device.tf32
    assert fake.product_mode == TF32
    assert str(device).endswith(", TF32)")


def test_tf32_is_refused_where_there_is_none(install):
    for name in ("cpu", "auto"):
        install(count=NO_DRIVER)
        assert error_of(name, tf32=True).startswith("tf32: only a GPU has it")
    install(capability=75)
    assert error_of("cuda", tf32=True) == "tf32: cuda:0 has none (compute capability below 8.0)"


def test_a_device_is_waited_for(monkeypatch):
    waited = []
    card = types.SimpleNamespace(synchronize=lambda: waited.append("card"))
    there = CPU._replace(like=np.zeros(1))
    for device in (CPU, there):
        device.wait()
    assert waited == []  # the host has done what it was asked for
    monkeypatch.setattr(backend.array_api_compat, "is_cupy_array", lambda array: True)
    monkeypatch.setattr(backend, "device_of", lambda array: card)
    there.wait()
    assert waited == ["card"]


def test_an_array_knows_its_device():
    assert device_with(np.zeros(3)) is CPU
    assert CPU.put(np.zeros(3)).shape == (3,)


@pytest.mark.parametrize(
    ("cudnn", "words"),
    [
        (("9.28.1, frontend 1.14.1", None), "9.28.1, frontend 1.14.1"),
        (("", "not installed (how to)"), "cannot be used: not installed (how to)"),
    ],
)
def test_info_has_a_line_for_each_gpu_and_for_cudnn(install, capsys, monkeypatch, cudnn, words):
    install(broken={0: NO_MEMORY})
    monkeypatch.setattr("minirpn.accel.cuda.cudnn_plans.find_cudnn", lambda: cudnn)
    assert main(["info"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cu")]
    assert lines == [
        f"cuda:0       cannot be used: {NO_MEMORY}; Card, 80 GiB, CuPy 14.2.0",
        "cuda:1       Card, 80 GiB, CuPy 14.2.0",
        f"cudnn        {words}",
    ]


def test_info_says_that_cupy_is_missing(no_cupy, capsys, monkeypatch):
    assert main(["info"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("cuda"))
    assert line == f"cuda         none: {devices.NO_CUPY}"


@pytest.mark.parametrize("command", ["train", "eval", "propose", "detect", "bench"])
def test_a_device_that_cannot_be_used_is_one_line_and_leaves_nothing(
    install, command, tmp_path, capsys, monkeypatch
):
    install(count=NO_DRIVER)
    monkeypatch.chdir(tmp_path)
    pictures = ["voc-small", "x.jpg"]
    words = {"eval": ["shapes", "--voc", "x"], "propose": pictures, "detect": pictures}
    assert main([command, *words.get(command, []), "--device", "cuda:3"]) == 2
    assert capsys.readouterr().err == f"minirpn: error: device cuda:3: {NO_DRIVER}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_run_notes_its_device(tmp_path, no_cupy):
    from minirpn.training.config import TrainConfig
    from minirpn.training.run_folder import create_run

    folder = create_run(tmp_path / "run", TrainConfig())
    noted = json.loads(folder.environment.read_text())["device"]
    assert noted == {"name": "cpu", "about": "", "tf32": False}
    assert " started on cpu with minirpn " in folder.text.read_text().splitlines()[0]
