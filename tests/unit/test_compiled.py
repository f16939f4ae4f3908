"""Functions compiled on their first call: what is said, and when."""

import gc
import importlib
import logging
import sys

import pytest

from minirpn.accel.implementation import numba_available
from minirpn.accel.numba import compiled as _compiled

pytestmark = pytest.mark.skipif(not numba_available(), reason="numba is not installed")
SOURCE = "def twice(x):\n    return 2 * x\n"


@pytest.fixture
def twice(tmp_path, monkeypatch):
    """A function that numba keeps beside its own file, where no run has been before."""
    (tmp_path / "source_of_twice.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("source_of_twice").twice
    del sys.modules["source_of_twice"]


def test_the_wait_for_the_compiler_is_said_once_and_not_again_from_disk(twice, caplog):
    caplog.set_level(logging.INFO)
    _compiled._announce.cache_clear()
    for _ in range(2):
        assert _compiled.compiled(twice)(3) == 6
        gc.collect()  # what comes from disk may lean on nothing that is still in memory
    assert [record.getMessage()[:9] for record in caplog.records] == ["compiling"]
    _compiled._announce.cache_clear()
    assert _compiled.compiled(twice)(4) == 8
    assert len(caplog.records) == 1
