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

from minirpn._typing import Array
from minirpn.backend import device_of, is_numpy, namespace_of
from minirpn.devices import find_gpus

FOLDER = Path(__file__).parent
REALS = {"float32": "float", "float64": "double"}
# Looked up, because NumPy takes longer to spell a dtype than a device to start a kernel.
_NAMES = {np.dtype(name): name for name in REALS}
# A compiler for the GPU makes one operation, rounded once, of a product and the sum it is in. CPUs
# round both; so the last bit of an IoU would differ, and with it the label of an anchor whose IoU
# is at a threshold or ties with another's.
OPTIONS = ("--fmad=false",)
THREADS = 256  # in a block; a multiple of the 32 that run in step
MOST_DOWN = 65_535  # blocks along the second axis of a grid, a limit of CUDA
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class Kernel(NamedTuple):
    """A kernel in the dtype that ``real`` stands for."""

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
    """Return the text of ``file.cu`` with what it includes in place.

    In place, because CuPy keeps what it compiled under the text of the source alone, and would not
    see that an included file has changed.
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
    """Return what makes a device the current one of this thread; it mostly is, at no cost."""
    from cupy.cuda import runtime

    return nullcontext() if runtime.getDevice() == device.id else device


@cache
def _function(kernel: Kernel, device: int) -> Any:
    return _module(kernel.file, kernel.dtype, device).get_function(kernel.name)


@cache
def _module(file: str, dtype: str, device: int) -> Any:
    """Return the compiled source, loaded on the current device.

    Not by `cupy.RawModule`, which adds ``-ftz=true``: numbers near zero become 0 by that, and the
    IoU of a tiny box with itself would be 0 here and 1 on the host.
    """
    from cupy.cuda import compiler, function

    options = options_for(dtype)
    machine_code, _ = compiler.compile_using_nvrtc(source_of(file), options, filename=f"{file}.cu")
    module = function.Module()
    module.load(machine_code)
    return module


def for_each(kernel: Kernel, size: tuple[int, int], *args: Any) -> None:
    """Run a kernel with a thread for each place of `size`; an empty one needs none.

    The first number is how many threads there are along x, and may be exceeded; the second is how
    many blocks there are along y, and may not be reached: a kernel goes on in steps of
    ``gridDim.y``. Python's numbers become C's ``int`` and ``double``.
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
    """Return the array with its elements in row-major order, itself if they are."""
    return array if array.flags.c_contiguous else namespace_of(array).ascontiguousarray(array)


def address_of(array: Array) -> int:
    """Return where in memory the first element of a NumPy or CuPy array is."""
    return array.ctypes.data if is_numpy(array) else array.data.ptr
