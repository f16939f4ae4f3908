"""What leads to a device: sources, options, sizes of grids, and what is kept of the compiling."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minirpn.accel.cuda import _load
from minirpn.devices import Gpu


@pytest.mark.parametrize("path", sorted(_load.FOLDER.glob("*.cu")), ids=lambda path: path.stem)
def test_a_source_is_whole_and_needs_no_header(path):
    text = _load.source_of(path.stem)
    assert "#include" not in text
    assert text.count("typedef REAL real;") == 1
    for reserved in ("__syncwarp", "__shfl", "__ballot", "cooperative"):  # the CPU has no such
        assert reserved not in text


def test_real_is_what_the_dtype_says():
    assert _load.options_for("float32") == ("--fmad=false", "-DREAL=float")
    assert _load.options_for("float64") == ("--fmad=false", "-DREAL=double")


@pytest.mark.parametrize(
    ("size", "grid"),
    [((1, 1), (1, 1)), ((256, 3), (1, 3)), ((257, 3), (2, 3)), ((10, 70_000), (1, 65_535))],
)
def test_a_grid_has_a_thread_for_each_place(size, grid, monkeypatch):
    launched = []
    monkeypatch.setattr(_load, "launch", lambda *args: launched.append(args))
    kernel = _load.Kernel("file", "name", "float32")
    _load.for_each(kernel, size, 3, 0.5, True, np.float32(2))
    assert [launch[:3] for launch in launched] == [(kernel, grid, (256,))]
    assert [(arg.dtype.char, arg) for arg in launched[0][3]] == [
        ("i", 3),
        ("d", 0.5),
        ("i", 1),
        ("f", 2),
    ]


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_launched_for_nothing(size, monkeypatch):
    monkeypatch.setattr(_load, "launch", None)
    _load.for_each(_load.Kernel("file", "name", "float32"), size)


@pytest.mark.parametrize(("size", "args"), [((2**31 - 1, 1), ()), ((1, 1), (2**31,))])
def test_numbers_that_do_not_fit_are_refused(size, args):
    with pytest.raises(OverflowError):
        _load.for_each(_load.Kernel("file", "name", "float32"), size, *args)


@pytest.fixture
def fake_cupy(monkeypatch):
    """A CuPy that writes down what is compiled and launched."""
    seen = SimpleNamespace(compiled=[], launched=[], device=0)

    class Module:
        def load(self, machine_code):
            self.options = machine_code

        def get_function(self, name):
            return lambda *launch: seen.launched.append((seen.device, name, self.options, *launch))

    def compile_using_nvrtc(source, options, filename):
        seen.compiled.append((source, options))
        return options, None

    class Device:
        def __init__(self, number):
            self.id = number

        def __enter__(self):
            seen.device = self.id
            return self

        def __exit__(self, *error):
            seen.device = 0

    seen.array = lambda number: SimpleNamespace(device=Device(number))
    cuda = SimpleNamespace(
        compiler=SimpleNamespace(compile_using_nvrtc=compile_using_nvrtc),
        function=SimpleNamespace(Module=Module),
        runtime=SimpleNamespace(getDevice=lambda: seen.device),
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    monkeypatch.setattr(_load, "device_of", lambda array: array.device)
    for kept in (_load._function, _load._module):
        kept.cache_clear()
    yield seen
    for kept in (_load._function, _load._module):
        kept.cache_clear()


def test_a_kernel_runs_on_the_device_of_its_arrays_and_is_compiled_once(fake_cupy):
    kernels = [_load.Kernel("boxes", name, "float32") for name in ("nms_mask", "nms_settle")]
    in_double = _load.Kernel("boxes", "nms_mask", "float64")
    wanted = [(kernels[0], 0), (kernels[1], 0), (kernels[0], 0), (in_double, 0), (kernels[0], 1)]
    for kernel, device in wanted:
        array = fake_cupy.array(device)
        _load.launch(kernel, (2, 1), (256,), (array, np.int32(3)))
        options = _load.options_for(kernel.dtype)
        args = (array, np.int32(3))
        assert fake_cupy.launched[-1] == (device, kernel.name, options, (2, 1), (256,), args)
    # For nms in float on device 0, in double on device 0, in float on device 1.
    code = _load.source_of("boxes")
    assert fake_cupy.compiled == [
        (code, _load.options_for(dtype)) for dtype in ("float32", "float64", "float32")
    ]


def test_without_a_device_the_implementation_is_not_there(monkeypatch):
    broken, working = Gpu("cuda:0", "a card", "no memory"), Gpu("cuda:1", "a card", None)
    for gpus, present in (([], False), ([broken], False), ([broken, working], True)):
        monkeypatch.setattr(_load, "find_gpus", lambda gpus=gpus: gpus)
        _load.cuda_present.cache_clear()
        assert _load.cuda_present() == present
    _load.cuda_present.cache_clear()
