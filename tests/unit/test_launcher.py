"""What a process prints before it ends all that were started with it."""

import os
import select
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="reads pipes as POSIX has them")

PROGRAM = """
import os, sys
from types import SimpleNamespace
from minirpn import launcher

launcher._PATIENCE = {patience}
world = SimpleNamespace(Abort=os._exit)
sys.modules["mpi4py.MPI"] = SimpleNamespace(
    Is_initialized=lambda: True, Is_finalized=lambda: False, COMM_WORLD=world)
print("said", file=sys.stderr)
launcher.end_all(130)
"""


def started(patience):
    """Return a process that has printed and ends all; nobody has read it yet."""
    program = PROGRAM.format(patience=patience)
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    select.select([process.stderr], [], [])
    return process


def test_it_ends_when_the_launcher_has_read_all():
    with started(patience=600) as process:
        time.sleep(0.5)
        assert process.poll() is None
        assert process.stderr.read() == b"said\n"
        assert process.wait() == 130


def test_it_ends_though_nobody_reads():
    with started(patience=0.1) as process:
        assert process.wait() == 130
