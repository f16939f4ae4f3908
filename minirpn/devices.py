"""The devices of this machine: which can be used, why the others cannot, and how one is opened.

Functions have no use for this: they compute where their inputs lie. It is for programs, which have
to bring the first arrays somewhere.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of, send, to_device, wait_for
from minirpn.errors import InputError

NO_CUPY = "CuPy is not installed (pip install 'minirpn[cuda12]' or 'minirpn[cuda13]')"


class Device(NamedTuple):
    """A place where arrays lie and are computed with; `open_device` gives one."""

    name: str  # "cpu", "cuda:0"
    like: Array  # some array there: what is made like it is there too
    about: str = ""  # which card, or why there is none
    tf32: bool = False  # products of float32 are rounded to 10 bits before they are added

    def put(self, array: np.ndarray) -> Array:
        """Return a host array on this device.

        With TF32 an image (3,H,W), a map (N,C,H,W) or a weight (O,C,kh,kw) lies in its memory with
        channels last, as tensor cores want it; what is computed from it lies so as well.
        """
        return self._brought(array, to_device)

    def send(self, array: np.ndarray) -> Array:
        """Return a host array on this device as `put` does, beside what it computes meanwhile.

        For threads that prepare what is needed later; see `minirpn.backend.send`.
        """
        return self._brought(array, send)

    def _brought(self, array: np.ndarray, bring: Callable[[np.ndarray, Array], Array]) -> Array:
        """Return an array on this device, brought as it is to lie there."""
        if not (self.tf32 and array.ndim in (3, 4)):
            return bring(array, self.like)
        there = bring(np.ascontiguousarray(np.moveaxis(array, -3, -1)), self.like)
        return namespace_of(there).moveaxis(there, -1, -3)

    def wait(self) -> None:
        """Return when it has done all that was asked of it."""
        wait_for(self.like)

    @property
    def is_host(self) -> bool:
        """Whether its arrays are NumPy's."""
        return is_numpy(self.like)

    def __str__(self) -> str:
        mode = ", TF32" if self.tf32 else ""
        return f"{self.name} ({self.about}{mode})" if self.about else self.name


CPU = Device("cpu", np.empty(0, np.float32))


class Gpu(NamedTuple):
    """A CUDA device that the driver knows of, or why it knows of none."""

    name: str  # "cuda:0"; "cuda" where they cannot even be counted
    about: str  # such as "NVIDIA H100 80GB HBM3, 79 GiB, CuPy 14.2.0"
    trouble: str | None  # why it cannot be used; None if it has multiplied two matrices


def device_with(array: Array) -> Device:
    """Return the device that an array lies on."""
    if is_numpy(array):
        return CPU
    place = device_of(array)
    like = namespace_of(array).empty(0, dtype=array.dtype, device=place)
    if not hasattr(place, "id"):
        return Device(str(place), like)
    return Device(f"cuda:{place.id}", like, tf32=tf32_allowed())


def check_device_name(name: str, *, auto: bool = True) -> None:
    """Raise InputError unless `name` is one that `open_device` knows; ``"auto"`` if `auto` says."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name) and not (auto and name == "auto"):
        names = f"{'auto, ' if auto else ''}cpu, cuda or cuda:0, cuda:1, ..."
        raise InputError(f"device: expected {names}, got {name!r}")


def open_device(name: str = "auto", *, tf32: bool = False) -> Device:
    """Return a device that can be used.

    Parameters
    ----------
    name
        ``"cpu"``; ``"cuda"`` for the first GPU that can be used, ``"cuda:1"`` for that very one;
        ``"auto"`` for a GPU if one can be used, and otherwise the CPU.
    tf32
        Let matrix products round their float32 factors to 10 bits, for speed. It holds for all
        products of this process from now on, and so does False.

    Raises
    ------
    InputError
        It cannot be used (no driver, no memory, no CuPy, no such device), or has no TF32.

    Notes
    -----
    The calling thread computes on it from now on, which CuPy wants to be told besides.
    """
    check_device_name(name)
    found = [] if name == "cpu" else find_gpus()
    asked = [gpu for gpu in found if name in ("auto", "cuda", gpu.name) or gpu.name == "cuda"]
    usable = [gpu for gpu in asked if gpu.trouble is None]
    if usable:
        return _open(usable[0], tf32)
    if name.startswith("cuda"):
        raise InputError(f"device {name}: {_why_not(asked, found)}")
    if tf32:
        raise InputError("tf32: only a GPU has it, and this would run on the CPU")
    return CPU._replace(about=f"no GPU: {_why_not(asked, found)}" if found else "")


def _why_not(asked: list[Gpu], found: list[Gpu]) -> str:
    """Return why none of the GPUs asked for, among those found, can be used."""
    if not found:
        return NO_CUPY
    if not asked:
        return f"there is no such device; there are {', '.join(gpu.name for gpu in found)}"
    if len(asked) == 1:
        return str(asked[0].trouble)
    return "; ".join(f"{gpu.name}: {gpu.trouble}" for gpu in asked)


def find_gpus() -> list[Gpu]:
    """Return the CUDA devices of this machine, each tried out; none without CuPy.

    Trying means: get memory, multiply two matrices, add up the product. That takes a driver, free
    memory, cuBLAS, and the compiler for the sum.
    """
    if importlib.util.find_spec("cupy") is None:
        return []
    try:
        import cupy

        if cupy.cuda.runtime.driverGetVersion() == 0:
            return [Gpu("cuda", "", "no NVIDIA driver is installed")]
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # whatever wheel, runtime or driver find wrong
        return [Gpu("cuda", "", _one_line(error))]
    if count == 0:
        return [Gpu("cuda", "", f"CuPy {cupy.__version__} finds no device")]
    return [_tried(cupy, index) for index in range(count)]


def _tried(cupy: Any, index: int) -> Gpu:
    about, trouble = f"CuPy {cupy.__version__}", None
    try:
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        memory = f"{properties['totalGlobalMem'] / 2**30:.0f} GiB"
        about = f"{properties['name'].decode()}, {memory}, {about}"
        with cupy.cuda.Device(index):
            ones = cupy.ones((2, 2), dtype=np.float32)
            (ones @ ones).sum().get()
    except Exception as error:  # as above
        trouble = _one_line(error)
    return Gpu(f"cuda:{index}", about, trouble)


def _one_line(error: Exception) -> str:
    """Return the last line that says something: CuPy puts the reason behind advice and rulers."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line.strip("=-")]
    return said[-1] if said else type(error).__name__


def _open(gpu: Gpu, tf32: bool) -> Device:
    import cupy

    cupy.cuda.Device(int(gpu.name.removeprefix("cuda:"))).use()
    _set_product_mode(gpu, tf32)
    return Device(gpu.name, cupy.empty(0, dtype=np.float32), gpu.about, tf32)


def tf32_allowed() -> bool:
    """Tell whether a GPU may round factors of float32 to 10 bits; `open_device` says so."""
    products = _products()
    return bool(products.get_compute_type(np.float32) == products.COMPUTE_TYPE_TF32)


def _set_product_mode(gpu: Gpu, tf32: bool) -> None:
    """Say how matrix products of float32 are computed, whatever ``CUPY_TF32`` says."""
    products = _products()
    wanted = products.COMPUTE_TYPE_TF32 if tf32 else products.COMPUTE_TYPE_DEFAULT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a device without TF32: an error, below
        products.set_compute_type(np.float32, wanted)
    if products.get_compute_type(np.float32) != wanted:
        raise InputError(f"tf32: {gpu.name} has none (compute capability below 8.0)")


def _products() -> Any:
    """Return what knows how CuPy computes matrix products.

    The public way is a variable, ``CUPY_TF32``. It is read at the first product of a process, which
    may be long past; behind it are functions of this module.
    """
    from cupy._core import _routines_linalg

    return _routines_linalg
