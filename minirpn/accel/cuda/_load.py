"""CUDA C sources, and how their kernels are launched.

A ``.cu`` file is written for ``real``, which is float or double. CuPy compiles it for the device,
once for each dtype. Every kernel is launched by `launch`, which tests replace: so they run the same
code and the same sources on a machine without a device.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minirpn._typing import Array, OtherArray
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.devices import find_gpus

FOLDER = Path(__file__).parent
REALS = {"float32": "float", "float64": "double"}
# A table, because NumPy needs longer to name a dtype than a device to start a kernel.
_NAMES = {np.dtype(name): name for name in REALS}
# Without this, the compiler turns a product and a sum into one operation, which rounds once. CPUs
# round twice, so the last bit of an IoU would differ, and so could the label of an anchor whose IoU
# is at a threshold or ties with another's.
OPTIONS = ("--fmad=false",)
THREADS = 256  # in a block; a multiple of 32, the number that run in step
MOST_DOWN = 65_535  # blocks along the second axis of a grid, a limit of CUDA
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class Kernel(NamedTuple):
    """A kernel, and the dtype that ``real`` stands for in it."""

    file: str  # in this folder, without its ending
    name: str
    dtype: str


def real_of(array: Array) -> str:
    """Return ``"float32"`` or ``"float64"``, the dtype that ``real`` stands for."""
    return _NAMES[array.dtype]


@cache
def cuda_present() -> bool:
    """Tell whether there is a CUDA device that works; `minirpn info` says why not."""
    return any(gpu.trouble is None for gpu in find_gpus())


def source_of(file: str) -> str:
    """Return the text of ``file.cu``, with the text of the files that it includes.

    CuPy keeps compiled code by the text of the source, and would not see that an included file has
    changed.
    """
    text = (FOLDER / f"{file}.cu").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda line: (FOLDER / line[1]).read_text(encoding="utf-8"), text)


def options_for(dtype: str) -> tuple[str, ...]:
    """Return the compiler's options, with float or double for ``real``."""
    return (*OPTIONS, f"-DREAL={REALS[dtype]}")


def launch(kernel: Kernel, grid: tuple[int, int], block: tuple[int], args: tuple[Any, ...]) -> None:
    """Run `block` threads in each block of `grid`, on the device of the first argument.

    Arrays are C-contiguous, and numbers are NumPy's.
    """
    device = device_of(args[0])
    with computing_on(device):
        _function(kernel, device.id)(grid, block, args)


def computing_on(device: Any) -> AbstractContextManager[object]:
    """Return a context in which a device is the current one of this thread."""
    from cupy.cuda import runtime

    # It mostly is already, and then a context that does nothing is faster.
    return nullcontext() if runtime.getDevice() == device.id else device


@cache
def _function(kernel: Kernel, device: int) -> Any:
    return _module(kernel.file, kernel.dtype, device).get_function(kernel.name)


@cache
def _module(file: str, dtype: str, device: int) -> Any:
    """Return the compiled source, loaded on the current device.

    `cupy.RawModule` would add the option ``-ftz=true``, which turns numbers near zero into 0: the
    IoU of a tiny box with itself would be 0 here and 1 on the host.
    """
    from cupy.cuda import compiler, function

    options = options_for(dtype)
    machine_code, _ = compiler.compile_using_nvrtc(source_of(file), options, filename=f"{file}.cu")
    module = function.Module()
    module.load(machine_code)
    return module


def for_each(kernel: Kernel, size: tuple[int, int], *args: Any) -> None:
    """Run a kernel with a thread for each place of `size`; do nothing if there is none.

    The first number is the number of threads along x; there may be more. The second is the number
    of blocks along y; there may be fewer, so a kernel loops in steps of ``gridDim.y``. Python's
    numbers become C's ``int`` and ``double``.
    """
    across, down = size
    np.int32(across + THREADS)  # raises OverflowError where a thread's number would not fit
    if across and down:
        grid = -(-across // THREADS), min(down, MOST_DOWN)
        launch(kernel, grid, (THREADS,), tuple(map(_as_in_c, args)))


def _as_in_c(argument: Any) -> Any:
    if isinstance(argument, int):
        return np.int32(argument)  # raises OverflowError where the number does not fit
    return np.float64(argument) if type(argument) is float else argument


def empty(shape: tuple[int, ...], like: Array, dtype: str | None = None) -> Array:
    """Return an uninitialised array on the device of `like`; of its dtype if none is given."""
    xp = namespace_of(like)
    return xp.empty(shape, dtype=dtype or like.dtype, device=device_of(like))


def contiguous(array: Array) -> Array:
    """Return the array with its elements in row-major order, itself if it has them so."""
    return array if array.flags.c_contiguous else namespace_of(array).ascontiguousarray(array)


def address_of(array: OtherArray) -> int:
    """Return the address of the first element of a NumPy or CuPy array."""
    return array.ctypes.data if is_numpy(array) else array.data.ptr
