"""Every kernel compiles for every kind of device, without one, and rounds every operation."""

import re
import runpy
from pathlib import Path

import pytest

from minirpn.accel.cuda import _load

COMPILERS = runpy.run_path(str(Path(__file__).with_name("compilers.py")))
# Turing, Ampere, Hopper, and Blackwell in servers and in desktops.
SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("sm_75", "sm_80", "sm_90", "sm_100")
]
ARCHITECTURES = [*SLOW, "sm_120"]
FILES = sorted(path.stem for path in _load.FOLDER.glob("*.cu"))
# CUDA's functions of double, wrong by a last bit at most, are made of what is forbidden elsewhere.
OF_CUDA = re.compile(r"\b(?:exp|log)\((?=\(double\))")
APPROXIMATE = re.compile(r"\S*\.(?:approx|full|ftz)\S*")

SOURCES = pytest.mark.parametrize(
    ("file", "dtype"), [(file, dtype) for file in FILES for dtype in _load.REALS]
)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    found = COMPILERS["find"](tmp_path_factory.mktemp("nvcc"))
    if found is None:
        pytest.skip("neither NVRTC (pip install nvidia-cuda-nvrtc) nor nvcc is installed")
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@SOURCES
def test_compiles(compiler, file, dtype, architecture):
    machine_code = compiler.compiled(_load.source_of(file), _load.options_for(dtype), architecture)
    assert machine_code.startswith(b"\x7fELF")


@SOURCES
def test_no_product_and_sum_are_one_operation(compiler, file, dtype):
    # In place of CUDA's functions one that is a single operation.
    source, options = OF_CUDA.sub("sqrt(", _load.source_of(file)), _load.options_for(dtype)
    ptx = compiler.compiled(source, options, "compute_75").decode()
    assert re.findall(r"\bfma\.rn\S*", ptx) == []
    # Quotients are rounded as IEEE 754 wants, and numbers near zero are kept.
    assert APPROXIMATE.findall(ptx) == []


def test_a_function_of_float_would_be_an_approximation(compiler):
    source = _load.source_of("losses")
    of_float = OF_CUDA.sub("sqrt(", source.replace("exp((double)", "exp((float)"))
    ptx = compiler.compiled(of_float, _load.options_for("float32"), "compute_75").decode()
    assert APPROXIMATE.findall(ptx) != []


def test_the_options_are_what_keeps_them_apart(compiler):
    ptx = compiler.compiled(_load.source_of("boxes"), ("-DREAL=float",), "compute_75").decode()
    assert "fma.rn.f32" in ptx
