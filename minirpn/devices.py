"""The devices of this machine: which can be used, why the others cannot, and how one is opened.

Functions do not need this: they compute where their inputs are. It is for programs, which must put
the first arrays somewhere.
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
    """A place for arrays and for computing with them; `open_device` returns one."""

    name: str  # "cpu", "cuda:0"
    like: Array  # some array there: an array made like it is there too
    about: str = ""  # which card, or why there is none
    tf32: bool = False  # products of float32 are rounded to 10 bits before they are added

    def put(self, array: np.ndarray) -> Array:
        """Return a host array on this device.

        With TF32 an image (3,H,W), a map (N,C,H,W) or a weight (O,C,kh,kw) is in its memory with
        channels last, as tensor cores need it; and so is what is computed from it.
        """
        return self._move(array, to_device)

    def send(self, array: np.ndarray) -> Array:
        """Return a host array on this device as `put` does, while the device computes.

        For threads that prepare what is needed later; see `minirpn.backend.send`.
        """
        return self._move(array, send)

    def _move(self, array: np.ndarray, move: Callable[[np.ndarray, Array], Array]) -> Array:
        if not (self.tf32 and array.ndim in (3, 4)):
            return move(array, self.like)
        there = move(np.ascontiguousarray(np.moveaxis(array, -3, -1)), self.like)
        return namespace_of(there).moveaxis(there, -1, -3)

    def wait(self) -> None:
        """Return when the device has done all its work."""
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
    """A CUDA device that the driver knows, or why there is none."""

    name: str  # "cuda:0"; "cuda" if devices cannot even be counted
    about: str  # such as "NVIDIA H100 80GB HBM3, 79 GiB, CuPy 14.2.0"
    trouble: str | None  # why it cannot be used; None if it has multiplied two matrices


def device_with(array: Array) -> Device:
    """Return the device that an array is on."""
    if is_numpy(array):
        return CPU
    place = device_of(array)
    like = namespace_of(array).empty(0, dtype=array.dtype, device=place)
    if not hasattr(place, "id"):
        return Device(str(place), like)
    return Device(f"cuda:{place.id}", like, tf32=tf32_allowed())


def check_device_name(name: str, *, auto: bool = True) -> None:
    """Raise InputError unless `open_device` knows this name; ``"auto"`` counts only if `auto`."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name) and not (auto and name == "auto"):
        names = f"{'auto, ' if auto else ''}cpu, cuda or cuda:0, cuda:1, ..."
        raise InputError(f"device: expected {names}, got {name!r}")


def open_device(name: str = "auto", *, tf32: bool = False, turn: int = 0) -> Device:
    """Return a device that can be used.

    Parameters
    ----------
    name
        ``"cpu"``; ``"cuda"`` for the first GPU that can be used, ``"cuda:1"`` for exactly that one;
        ``"auto"`` for a GPU if one can be used, and otherwise the CPU.
    tf32
        Let matrix products round their float32 factors to 10 bits, for speed. Both True and False
        apply to all products of this process from now on.
    turn
        Which of the GPUs that fit the name, counted round and round, if there are several. So the
        processes of one machine get one each.

    Raises
    ------
    InputError
        It cannot be used (no driver, no memory, no CuPy, no such device), or has no TF32.

    Notes
    -----
    The GPU also becomes CuPy's current device for the calling thread.
    """
    check_device_name(name)
    gpus = [] if name == "cpu" else find_gpus()
    candidates = [gpu for gpu in gpus if name in ("auto", "cuda", gpu.name) or gpu.name == "cuda"]
    if usable := [gpu for gpu in candidates if gpu.trouble is None]:
        return _open(usable[turn % len(usable)], tf32)
    if not gpus:
        reason = NO_CUPY
    elif not candidates:
        reason = f"there is no such device; there are {', '.join(gpu.name for gpu in gpus)}"
    elif len(candidates) == 1:
        reason = str(candidates[0].trouble)
    else:
        reason = "; ".join(f"{gpu.name}: {gpu.trouble}" for gpu in candidates)
    if name.startswith("cuda"):
        raise InputError(f"device {name}: {reason}")
    if tf32:
        raise InputError("tf32: only a GPU has it, and this would run on the CPU")
    return CPU._replace(about=f"no GPU: {reason}" if gpus else "")


def card_of(device: Device) -> str:
    """Return what tells a GPU of this machine from the others, whatever each process calls it."""
    import cupy

    return str(cupy.cuda.runtime.deviceGetPCIBusId(int(device.name.removeprefix("cuda:"))))


def find_gpus() -> list[Gpu]:
    """Return the CUDA devices of this machine, each of them tested; none without CuPy.

    The test allocates memory, multiplies two matrices and adds up the product. This needs a driver,
    free memory, cuBLAS, and a compiler for the sum.
    """
    if importlib.util.find_spec("cupy") is None:
        return []
    try:
        import cupy

        if cupy.cuda.runtime.driverGetVersion() == 0:
            return [Gpu("cuda", "", "no NVIDIA driver is installed")]
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # the wheel, the runtime and the driver raise many kinds
        return [Gpu("cuda", "", _one_line(error))]
    if count == 0:
        return [Gpu("cuda", "", f"CuPy {cupy.__version__} finds no device")]
    return [_test(cupy, index) for index in range(count)]


def _test(cupy: Any, index: int) -> Gpu:
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
    """Return the last line with words: CuPy puts the reason after advice and lines of dashes."""
    lines = [line.strip() for line in str(error).splitlines()]
    words = [line for line in lines if line.strip("=-")]
    return words[-1] if words else type(error).__name__


def _open(gpu: Gpu, tf32: bool) -> Device:
    import cupy

    cupy.cuda.Device(int(gpu.name.removeprefix("cuda:"))).use()
    # Set how products of float32 are computed, whatever ``CUPY_TF32`` says.
    products = _products()
    mode = products.COMPUTE_TYPE_TF32 if tf32 else products.COMPUTE_TYPE_DEFAULT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a device without TF32: an error, below
        products.set_compute_type(np.float32, mode)
    if products.get_compute_type(np.float32) != mode:
        raise InputError(f"tf32: {gpu.name} has none (compute capability below 8.0)")
    return Device(gpu.name, cupy.empty(0, dtype=np.float32), gpu.about, tf32)


def tf32_allowed() -> bool:
    """Tell whether a GPU may round factors of float32 to 10 bits, as `open_device` has set it."""
    products = _products()
    return bool(products.get_compute_type(np.float32) == products.COMPUTE_TYPE_TF32)


def _products() -> Any:
    """Return the module with CuPy's mode for matrix products.

    The public way is the variable ``CUPY_TF32``, but CuPy reads it only once, at the first product
    of a process.
    """
    from cupy._core import _routines_linalg

    return _routines_linalg
