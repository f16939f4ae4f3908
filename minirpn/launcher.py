"""What an MPI launcher (mpiexec, srun) tells the processes that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import time
from typing import NamedTuple, NoReturn

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C has ended."""

_PATIENCE = 2.0  # seconds for a launcher to read

# How many there are, and which one this is: MPICH and Intel MPI, Open MPI, a step of Slurm.
_VARIABLES = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)


class Launched(NamedTuple):
    """How this process was started."""

    size: int  # processes that were started together
    rank: int  # of this one, from 0 on


def launched() -> Launched:
    """Return how this process was started; without a launcher it is alone."""
    for names in _VARIABLES:
        size, rank = (os.environ.get(name, "") for name in names)
        if size.isdecimal() and rank.isdecimal():
            return Launched(int(size), int(rank))
    return Launched(1, 0)


def have_met() -> bool:
    """Return whether MPI connects this process with the others."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized()


def end_all(status: int, *, is_asked: bool = False) -> NoReturn:
    """End this process at once, and through its launcher all that were started with it.

    Parameters
    ----------
    status
        The exit status.
    is_asked
        Whether Ctrl-C asked for it. Then a process that has not found the others yet ends by a
        signal: some launchers take its exit status for an end that all the others will come to.
    """
    if have_met():
        _wait_until_read(1)
        _wait_until_read(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the library would print how it ends
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(status)
    if is_asked:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    os._exit(status)


def _wait_until_read(descriptor: int) -> None:
    """Wait until the launcher has read what was printed: what it has not read, `Abort` loses.

    `_PATIENCE` at most, and not at all where no pipe leads to the launcher.
    """
    with contextlib.suppress(ImportError, OSError):  # Windows has no fcntl
        import array
        import fcntl
        import termios

        unread = array.array("i", [0])
        is_pipe, ends = stat.S_ISFIFO(os.fstat(descriptor).st_mode), time.monotonic() + _PATIENCE
        while is_pipe and time.monotonic() < ends:
            fcntl.ioctl(descriptor, termios.FIONREAD, unread)
            if unread[0] == 0:
                return
            time.sleep(0.001)
