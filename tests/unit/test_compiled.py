"""Functions compiled on their first call: what is said, and what runs where numba fails."""

import gc
import logging
import sys

import numpy as np
import pytest

from minirpn import accel
from minirpn._checks import is_numpy
from minirpn.accel import Implementation, dispatch, implementation, table
from minirpn.accel.implementation import UnusableError, numba_available, numba_trouble
from minirpn.accel.numba.compiled import compiled, compiler_trouble

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(not numba_available(), reason="numba cannot be used")


@pytest.fixture
def said(monkeypatch, caplog):
    """What a test logs, as if nothing had been logged before."""
    monkeypatch.setattr(implementation, "SAID", set())
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def numba_forgotten(monkeypatch):
    """Before and after the test, whether numba can be used is not known."""
    numba_trouble.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    numba_trouble.cache_clear()


@pytest.fixture
def toy_of(monkeypatch):
    """Returns an operation with array code, and with implementations that need numba."""

    def make(*functions):
        names = ("strips", "numba")[-len(functions) :]
        faster = [
            Implementation(name, function, is_numpy, numba_available)
            for name, function in zip(names, functions, strict=True)
        ]
        monkeypatch.setitem(table.FASTER, "toy", faster)
        return dispatch.accelerated("toy")(lambda x: x * 2)

    yield make
    dispatch.OPERATIONS.pop("toy", None)


def twice(x):
    return x * 2


def unknown_to_numba(x):
    return open(x)  # noqa: PTH123


def picky(x):
    if x[0] < 0:
        raise ValueError("negative")
    return x


def test_a_browser_has_no_numba_and_is_not_told_so_again_and_again(
    said, numba_forgotten, toy_of, monkeypatch
):
    monkeypatch.setattr(implementation, "IN_BROWSER", True)
    toy = toy_of(twice)
    assert toy(np.array([2.0])) == [4]
    assert said.messages == []
    with (
        accel.use("numba", "toy"),
        pytest.raises(RuntimeError, match=r"^toy: 'numba' cannot be used here: numba .* browser$"),
    ):
        toy(np.array([2.0]))


def test_memory_that_runs_out_while_compiling_is_no_fault_of_the_function(monkeypatch):
    def out_of_memory():
        raise MemoryError("nothing left")

    function = compiled(twice)
    with monkeypatch.context() as full:
        full.setattr(function, "_made", out_of_memory)
        with pytest.raises(MemoryError, match="nothing left"):
            function(3)
    assert function(3) == 6  # it is tried again


def test_what_numba_cannot_compile_is_unusable_and_not_tried_again(monkeypatch):
    function = compiled(unknown_to_numba)
    for _ in range(2):
        with pytest.raises(UnusableError, match=r"^numba cannot compile unknown_to_numba: Typing"):
            function("name")
        monkeypatch.setattr(function, "_machine", None)
        monkeypatch.setattr(function, "_made", None)  # would raise another error


def test_arguments_of_another_type_are_still_compiled():
    function = compiled(twice)
    with pytest.raises(UnusableError, match="float16"):
        function(np.ones(2, np.float16))
    assert function(np.ones(2))[0] == 2


def test_what_the_compiled_code_raises_is_raised():
    function = compiled(picky)
    assert function(np.ones(1)) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            function(-np.ones(1))


def test_array_code_runs_where_numba_cannot_compile_and_that_is_said_once(toy_of, said):
    toy = toy_of(compiled(unknown_to_numba))
    x = np.ones(2)
    assert [toy(x)[0], toy(x)[0], toy(x.astype(np.float32))[0]] == [2, 2, 2]
    line = said.messages[-1]
    assert len([line for line in said.messages if "slower" in line]) == 1
    assert line.startswith("slower code runs in place of numba's, so that last digits may differ (")
    assert "numba cannot compile unknown_to_numba: TypingError: " in line
    assert len(line) < 450
    assert "\n" not in line


def test_each_unusable_implementation_is_tried_once_in_a_call(toy_of):
    tried = []

    def unusable(x):
        tried.append(x.dtype)
        raise UnusableError("no")

    toy = toy_of(unusable, unusable)
    assert toy(np.ones(2))[0] == 2
    assert len(tried) == 2


def test_numba_asked_for_by_name_says_why_it_cannot(toy_of, said):
    toy = toy_of(compiled(unknown_to_numba))
    wanted = "toy: 'numba' cannot be used here: numba cannot compile unknown_to_numba: "
    for _ in range(2):
        with accel.use("numba"), pytest.raises(RuntimeError, match=wanted) as caught:
            toy(np.ones(2))
        assert not isinstance(caught.value, UnusableError)
    assert "slower" not in said.text


def test_an_error_of_the_caller_is_no_reason_for_array_code(toy_of, said):
    toy = toy_of(compiled(picky))
    with pytest.raises(ValueError, match="negative"):
        toy(-np.ones(1))
    assert "slower" not in said.text


def broken_numba(folder, monkeypatch):
    """Put a numba that cannot be imported before the other."""
    (folder / "numba").mkdir()
    message = "Numba needs NumPy 2.4 or less.\\nGot NumPy 9.9."
    (folder / "numba" / "__init__.py").write_text(f"raise ImportError('{message}')")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "numba")


TROUBLES = {
    "off": "numba is switched off by NUMBA_DISABLE_JIT",
    "broken": "numba cannot be imported: ImportError: Numba needs NumPy 2.4 or less. "
    "Got NumPy 9.9.",
    "absent": "numba is not installed",
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_without_a_numba_that_works_array_code_runs(kind, toy_of, said, numba_forgotten, tmp_path):
    if kind == "off":
        numba_forgotten.setattr(numba.config, "DISABLE_JIT", 1)
    elif kind == "broken":
        broken_numba(tmp_path, numba_forgotten)
    else:
        numba_forgotten.setitem(sys.modules, "numba", None)
    toy, trouble = toy_of(compiled(twice)), TROUBLES[kind]
    assert toy(np.ones(2))[0] == toy(np.ones(2))[1] == 2
    words = "slower code runs in place of numba's, so that last digits may differ"
    assert said.messages == [f"{words} ({trouble})"]
    assert accel.available()["toy"] == ("loops", "array")
    assert compiler_trouble() == trouble
    with accel.use("numba"), pytest.raises(RuntimeError, match=f"cannot be used here: {trouble}"):
        toy(np.ones(2))


def test_a_compiler_that_compiles_nothing_is_found(monkeypatch):
    assert compiler_trouble() is None

    def njit(*args, **options):
        raise OSError("no LLVM")

    monkeypatch.setattr(numba, "njit", njit)
    assert compiler_trouble() == "numba cannot compile: OSError: no LLVM"


def test_compiled_code_leans_on_nothing_that_is_still_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    for _ in range(2):
        assert compiled(twice)(3) == 6
        gc.collect()
