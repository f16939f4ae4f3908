"""Machine code on disk: kept, checked, made again, and done without."""

import errno
import importlib
import logging
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from minirpn.accel import implementation
from minirpn.accel.implementation import numba_available
from minirpn.accel.numba.compiled import compiled

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(not numba_available(), reason="numba cannot be used")
caching = importlib.import_module("numba.core.caching")
SOURCE = """
def twice(x):
    return (x + x).sum()


def sum_of(x):
    return x.sum()
"""
COMPILING = "compiling for this machine: some seconds, the first time"
NOT_KEPT = "machine code is not kept on disk: each start compiles it, for seconds ("


@pytest.fixture
def said(monkeypatch, caplog):
    """Returns what is logged, and forgets that anything was."""
    caplog.set_level(logging.INFO)

    def since_last():
        messages = caplog.messages[:]
        caplog.clear()
        monkeypatch.setattr(implementation, "SAID", set())
        return messages

    since_last()
    return since_last


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file of functions, and a folder for machine code where nothing is."""
    (tmp_path / "source_of_sums.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    yield importlib.import_module("source_of_sums")
    del sys.modules["source_of_sums"]


def kept_in(folder):
    """Return the files of machine code, and require that nothing else is left."""
    files = sorted(path for path in (folder / "kept").rglob("*") if path.is_file())
    assert all(path.suffix == ".nbc" for path in files)
    return files


def test_machine_code_is_made_once(source, said, tmp_path):
    assert compiled(source.twice)(np.ones(3)) == 6
    assert said() == [COMPILING]
    (file,) = kept_in(tmp_path)
    content = file.read_bytes()
    assert compiled(source.twice)(np.ones(3)) == 6
    assert said() == []
    assert compiled(source.twice)(np.ones(3, np.float32)) == 6  # another signature
    assert said() == [COMPILING]
    assert len(kept_in(tmp_path)) == 2
    assert file.read_bytes() == content


def test_machine_code_of_another_source_is_replaced(source, said, tmp_path):
    assert compiled(source.twice)(np.ones(3)) == 6
    (file,) = kept_in(tmp_path)
    old = file.read_bytes()
    said()
    (tmp_path / "source_of_sums.py").write_text(SOURCE + "\nUNUSED = 1\n")
    assert compiled(source.twice)(np.ones(3)) == 6
    assert said() == [COMPILING]
    assert kept_in(tmp_path) == [file]
    assert file.read_bytes() != old


def torn(content, other):
    """Return contents that are not machine code for what their file is for, by name."""
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    return {
        "empty": b"",
        **{f"cut to {n}": content[:n] for n in (1, 31, 32, 33, 64, len(content) // 2)},
        "one byte short": content[:-1],
        "longer": content + b"x",
        "zeros": bytes(len(content)),
        "noise": np.random.default_rng(0).bytes(len(content)),
        "a flipped bit": bytes(flipped),
        "another pickle": pickle.dumps({"a": 1}),
        "another signature": other,
        "a pickle without digest": content[32:],
    }


@pytest.mark.slow
def test_torn_files_are_made_again(source, said, tmp_path):
    compiled(source.twice)(np.ones(3, np.float32))
    (other,) = kept_in(tmp_path)
    compiled(source.twice)(np.ones(3))
    (file,) = set(kept_in(tmp_path)) - {other}
    content, other = file.read_bytes(), other.read_bytes()
    said()
    for name, damaged in torn(content, other).items():
        file.write_bytes(damaged)
        assert compiled(source.twice)(np.arange(3.0)) == 6, name
        assert said() == [COMPILING], name
        assert compiled(source.twice)(np.arange(3.0)) == 6, name
        assert said() == [], name


@pytest.mark.parametrize("error", [pickle.UnpicklingError, ImportError, MemoryError, KeyError])
def test_machine_code_that_cannot_be_loaded_is_made_again(error, source, said, monkeypatch):
    compiled(source.twice)(np.ones(3))
    said()

    def rebuild(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(caching.CompileResultCacheImpl, "rebuild", rebuild)
        assert compiled(source.twice)(np.ones(3)) == 6
        assert said() == [COMPILING]
    assert compiled(source.twice)(np.ones(3)) == 6
    assert said() == []


def test_a_folder_in_place_of_a_file_is_left_alone(source, said, tmp_path):
    compiled(source.twice)(np.ones(3))
    (file,) = kept_in(tmp_path)
    file.unlink()
    file.mkdir()
    said()
    assert compiled(source.twice)(np.ones(3)) == 6
    first, second = said()
    assert first == COMPILING
    assert second.startswith(f"{NOT_KEPT}InputError: {file}: cannot write: ")
    assert file.is_dir()
    assert kept_in(tmp_path) == []


def test_without_a_folder_code_is_compiled_in_memory(source, said, tmp_path, monkeypatch):
    (tmp_path / "plain").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "plain" / "kept"))
    named = caching.CacheImpl._locator_classes[:1]  # that of NUMBA_CACHE_DIR
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", named)
    assert compiled(source.twice)(np.ones(3)) == 6
    assert compiled(source.sum_of, source.twice)(np.ones(3)) == 3
    (line,) = said()
    assert line.startswith(f"{NOT_KEPT}RuntimeError: cannot cache function 'twice': no locator")


def test_without_source_files_code_is_compiled_in_memory(source, said, tmp_path):
    (tmp_path / "source_of_sums.py").unlink()
    assert compiled(source.twice)(np.ones(3)) == 6
    (line,) = said()
    assert line.startswith(NOT_KEPT)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_does_not_stop_anything(code, source, said, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert compiled(source.twice)(np.ones(3)) == 6
        assert compiled(source.sum_of)(np.ones(3)) == 3
        first, second = said()
        assert first == COMPILING
        assert second.startswith(f"{NOT_KEPT}InputError: {tmp_path}")
        assert second.endswith(f".nbc: cannot write: {os.strerror(code)})")
    assert kept_in(tmp_path) == []
    assert compiled(source.twice)(np.ones(3)) == 6
    assert len(kept_in(tmp_path)) == 1


PROGRAM = """
import logging, sys
import numpy as np
logging.basicConfig(format="%(message)s", stream=sys.stdout)
{before}
from minirpn import boxes
for dtype in sys.argv[1:]:
    box = np.array([[0, 0, 2, 2]], dtype)
    print(boxes.iou(box, 2 * box).item())
"""


def start(folder, *dtypes, before="", **environment):
    """Start Python anew, which prints an IoU of 0.25 for each dtype."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before), *dtypes],
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines_of(process):
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output.splitlines()


@pytest.mark.slow
def test_two_that_start_at_once_are_right_and_leave_what_is_right(tmp_path):
    # Each begins with a signature of its own, and goes on with that of the other.
    orders = [("float32", "float64"), ("float64", "float32")]
    for process in [start(tmp_path, *order) for order in orders * 2]:
        assert lines_of(process) == ["0.25", "0.25"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.suffix for path in before} == {".nbc"}
    assert lines_of(start(tmp_path, *orders[0])) == ["0.25", "0.25"]
    assert before == {path: path.stat().st_mtime_ns for path in before}  # nothing is made again


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_disk_that_takes_four_kilobytes(tmp_path):
    before = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    )
    line, *numbers = lines_of(start(tmp_path, "float32", "float64", before=before))
    assert line.startswith(f"{NOT_KEPT}InputError: {tmp_path}")
    assert line.endswith(f": {os.strerror(errno.EFBIG)})")
    assert numbers == ["0.25", "0.25"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_a_place_for_machine_code_below_a_plain_file(tmp_path):
    (tmp_path / "plain").touch()
    before = (
        "from numba.core import caching; "
        "caching.CacheImpl._locator_classes = caching.CacheImpl._locator_classes[:1]"
    )
    line, number = lines_of(start(tmp_path / "plain" / "kept", "float32", before=before))
    assert line.startswith(f"{NOT_KEPT}RuntimeError: cannot cache function ")
    assert number == "0.25"


@pytest.mark.slow
def test_numba_switched_off_in_the_environment(tmp_path):
    assert lines_of(start(tmp_path, "float32", "float64", NUMBA_DISABLE_JIT="1")) == [
        "slower code runs in place of numba's, so that last digits may differ "
        "(numba is switched off by NUMBA_DISABLE_JIT)",
        "0.25",
        "0.25",
    ]
    assert list(tmp_path.iterdir()) == []
