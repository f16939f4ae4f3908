"""Compilers for CUDA devices that need no device: NVRTC, as CuPy uses it, or nvcc."""

import ctypes
import ctypes.util
import importlib.util
import shutil
import subprocess
from pathlib import Path


class Nvrtc:
    """The compiler as a library: from pip (extra ``cuda-check``, CuPy, PyTorch), or of CUDA."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))

    def compiled(self, source, options, architecture):
        """Return a source in machine code (sm_90), or in PTX (compute_90), as bytes."""
        program = ctypes.c_void_p()
        self._call("CreateProgram", ctypes.byref(program), source.encode(), b"k.cu", 0, None, None)
        flags = [flag.encode() for flag in (*options, f"--gpu-architecture={architecture}")]
        array = (ctypes.c_char_p * len(flags))(*flags)
        failed = self.library.nvrtcCompileProgram(program, len(flags), array)
        assert not failed, self._text(program, "ProgramLog").decode()
        return self._text(program, "CUBIN" if architecture.startswith("sm_") else "PTX")

    def architectures(self):
        """Return what it can compile for."""
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", numbers)
        return [f"sm_{number}" for number in numbers]

    def _text(self, program, what):
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, text)
        return text.raw

    def _call(self, name, *args):
        failed = self.library[f"nvrtc{name}"](*args)
        assert not failed, f"nvrtc{name} failed with {failed}"


class Nvcc:
    """The compiler as a command; slower, for each call starts half a dozen programs."""

    def __init__(self, path, folder):
        self.path, self.folder = path, folder

    def compiled(self, source, options, architecture):
        """Return a source in machine code (sm_90), or in PTX (compute_90), as bytes."""
        kind = "cubin" if architecture.startswith("sm_") else "ptx"
        path, result = self.folder / "k.cu", self.folder / f"k.{kind}"
        path.write_text(source)
        command = [self.path, f"-{kind}", *options, f"-arch={architecture}", path, "-o", result]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return result.read_bytes()


def find(folder):
    """Return a compiler that knows the youngest architecture, or None."""
    for path in _libraries():
        found = Nvrtc(path)
        if "sm_120" in found.architectures():
            return found
    nvcc = shutil.which("nvcc")
    return Nvcc(nvcc, folder) if nvcc else None


def _libraries():
    """Return the NVRTC libraries on this machine, those of pip first."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else map(Path, spec.submodule_search_locations)
    names = "libnvrtc.so.*", "nvrtc64_*.dll"
    inside = [path for folder in folders for name in names for path in sorted(folder.rglob(name))]
    everywhere = ctypes.util.find_library("nvrtc")
    return [*(p for p in inside if "alt" not in p.name), *([everywhere] if everywhere else [])]
