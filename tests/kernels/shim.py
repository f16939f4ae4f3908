"""Compiles the kernels for the CPU, and launches them there as a device would.

Stricter than a device, on which a wrong argument is a wrong result at best: types have to be those
the kernel declares, arrays to be contiguous and, where the kernel writes, writable. They lie
between guards all of whose bits are set, which is NaN to whoever reads past an end.
"""

import ctypes
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import array_api_compat.numpy
import numpy as np

from minirpn.accel.cuda import _load

HERE = Path(__file__).parent
FILES = sorted(path.stem for path in _load.FOLDER.glob("*.cu"))
LETTERS = {"f": "float32", "d": "float64", "i": "int32", "x": "int64", "y": "uint64", "b": "bool"}
LETTERS |= {"a": "int8"}
KERNEL = re.compile(r'^extern "C" __global__ void (\w+)\((.*?)^}', re.MULTILINE | re.DOTALL)
RUN = """
extern "C" const char* types_{0}() {{ return types_of({1}); }}
extern "C" bool run_{0}(const unsigned* grid, unsigned block, bool backwards, void** args) {{
    return run({1}, {2}, grid, block, backwards, args);
}}
"""


def translated(file, dtype):
    """Return a source as C++, in a namespace of its own, and functions that run its kernels."""
    source, space = _load.source_of(file), f"{file}_{dtype}"
    plain = source.replace('extern "C" __global__', "static")
    runs = [
        RUN.format(f"{name}_{dtype}", f"{space}::{name}", str("__syncthreads" in text).lower())
        for name, text in KERNEL.findall(source)
    ]
    real = f"#define REAL {_load.REALS[dtype]}"
    return "\n".join([real, f"namespace {space} {{", plain, "}", "#undef REAL", *runs])


def build(folder, *flags):
    """Return the library of all kernels in float and double, compiled into `folder`."""
    parts = [translated(file, dtype) for file in FILES for dtype in _load.REALS]
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    source.write_text(f'#include "{HERE / "shim.h"}"\n' + "\n".join(parts))
    # Each operation rounded by itself, as with the options for the device.
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", *flags]
    flags += ["-Wall", "-Werror", "-Wno-unknown-pragmas"]  # the device's compiler unrolls loops
    command = ["g++", *flags, "-shared", "-fPIC", source, "-o", library]
    subprocess.run(command, check=True)
    return library


class OnCpu:
    """Stands in for `_load.launch`: runs the kernels on the CPU and keeps their names.

    `guard` is the number of bytes on either side of an array.
    """

    def __init__(self, library, *, backwards=False, guard=64):
        self.library, self.backwards, self.guard = ctypes.CDLL(str(library)), backwards, guard
        self.launched = []

    def __call__(self, kernel, grid, block, args):
        name = f"{kernel.name}_{kernel.dtype}"
        self.launched.append(kernel.name)
        assert 0 < grid[0] < 2**31, grid  # CUDA's limits
        assert 0 < grid[1] <= 65_535, grid
        assert 0 < block[0] <= 1024, block
        types_of = self.library[f"types_{name}"]
        types_of.restype = ctypes.c_char_p
        types = types_of().decode().split()
        assert len(types) == len(args), f"{name} takes {types}, got {len(args)} arguments"
        passed = [self._passed(*both) for both in zip(types, args, strict=True)]
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.addressof(one.value) for one in passed))
        run = self.library[f"run_{name}"]
        run.restype = ctypes.c_bool
        together = run(
            (ctypes.c_uint * 2)(*grid), ctypes.c_uint(block[0]), self.backwards, pointers
        )
        assert together, f"{name}: some threads of a block ended where others wait for them"
        for argument in passed:
            argument.give_back()

    def _passed(self, letters, argument):
        given = f"{letters} got {argument}"
        assert str(argument.dtype) == LETTERS[letters[-1]], given
        assert isinstance(argument, np.ndarray) == letters.startswith("P"), given
        if isinstance(argument, np.generic):
            return Passed(np.ctypeslib.as_ctypes_type(argument.dtype)(argument.item()))
        assert argument.flags.c_contiguous, given
        assert argument.flags.writeable or letters.startswith("PK"), given
        memory = np.full(argument.nbytes + 2 * self.guard, 255, np.uint8)
        inside = memory[self.guard :][: argument.nbytes]
        inside[:] = argument.reshape(-1).view(np.uint8)
        return Passed(ctypes.c_void_p(inside.ctypes.data), memory, inside, argument)


class Passed(NamedTuple):
    """An argument on its way to a kernel and back."""

    value: object  # ctypes: the number, or the address of what is inside
    memory: np.ndarray | None = None
    inside: np.ndarray | None = None  # the memory without its guards
    array: np.ndarray | None = None

    def give_back(self):
        """Check the guards, and copy into the array what is in the memory between them."""
        if self.memory is None:
            return
        guard = (self.memory.size - self.inside.size) // 2
        assert (self.memory[:guard] == 255).all(), "written before the array"
        assert (self.memory[guard + self.inside.size :] == 255).all(), "written behind the array"
        if self.array.flags.writeable:
            self.array.reshape(-1).view(np.uint8)[:] = self.inside


@contextmanager
def poisoned():
    """Fill with NaN, or -1, what is allocated: an element no kernel writes is then seen."""

    def empty(shape, *, dtype, device=None):
        array = np.zeros(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = 255
        return array

    with mock.patch.object(array_api_compat.numpy, "empty", empty):
        yield
