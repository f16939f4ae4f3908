"""Several processes that do one piece of work together: MPI, and NCCL between GPUs.

An MPI launcher (``mpiexec -n 4 minirpn train ...``, Slurm's ``srun``) starts the same command
several times. Each process is a *rank*, and they exchange messages through `Ranks`. The messages
are MPI's (mpi4py); the sum of gradients on GPUs is NCCL's (``cupyx.distributed``).

Nothing may hang when a rank fails. So all ranks meet in `Ranks.exchange`, and a rank that cannot go
on says so there, in place of its own message. Then all of them raise an error at the same point.
"""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from minirpn import backend
from minirpn._typing import Array
from minirpn.accel.threads import set_threads
from minirpn.data.findings import BadFileError, Finding
from minirpn.devices import Device, card_of, open_device
from minirpn.errors import InputError, reason_of
from minirpn.launcher import INTERRUPTED, end_all, have_met, launched

_Result = TypeVar("_Result")

# --- an error on its way to the other ranks ------------------------------------------------------


class _Failure(NamedTuple):
    """Why a rank cannot go on, as the others are told."""

    kind: type[Exception]  # one that every rank can build again
    reason: str
    finding: Finding | None = None  # of a `BadFileError`
    most: int | None = None  # of an `InputError`
    trace: str = ""  # of an error that is minirpn's own

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        """Return what to tell about an error."""
        reason = reason_of(error)
        if isinstance(error, BadFileError):
            return cls(BadFileError, reason, finding=error.finding)
        if isinstance(error, InputError):
            return cls(InputError, reason, most=error.most)
        for kind in (MemoryError, FloatingPointError):
            if isinstance(error, kind):
                return cls(kind, reason)
        if isinstance(error, OSError):
            return cls(InputError, reason)
        trace = "".join(traceback.format_exception(error))
        return cls(RuntimeError, f"{type(error).__name__}: {reason}", trace=trace)

    def error(self, who: str) -> Exception:
        """Return the error as another rank raises it; `who` is the rank it is from."""
        if self.finding is not None:
            one = self.finding
            return BadFileError(one.kind, one.path, one.part, f"{one.reason} ({who})")
        if self.most is not None:
            return InputError(f"{who}: {self.reason}", most=self.most)
        error = self.kind(f"{who}: {self.reason}")
        if self.trace:
            error.add_note(f"On {who}:\n{self.trace}")
        return error


def told(error: Exception) -> Exception:
    """Return an error with the mark that the first rank tells of it, so that no other has to."""
    error.is_told = True  # type: ignore[attr-defined]
    return error


class _ToldError(Exception):
    """Carries an error that all ranks know of up to `Ranks.perform`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Message(NamedTuple):
    """What a rank brings to an exchange."""

    value: Any = None
    failure: _Failure | None = None
    stop: bool = False  # whether it was asked to stop


# --- the ranks -----------------------------------------------------------------------------------


class Communicator(Protocol):
    """What is used of an ``mpi4py.MPI.Comm``."""

    def Get_rank(self) -> int: ...  # noqa: D102, N802
    def Get_size(self) -> int: ...  # noqa: D102, N802
    def allgather(self, value: Any) -> list[Any]: ...  # noqa: D102
    def bcast(self, value: Any, root: int = 0) -> Any: ...  # noqa: D102
    def Bcast(self, array: Any, root: int = 0) -> None: ...  # noqa: D102, N802
    def Allreduce(self, array: Any, total: Any) -> None: ...  # noqa: D102, N802
    def Abort(self, status: int) -> None: ...  # noqa: D102, N802


class _Place(NamedTuple):
    """Where a rank runs."""

    host: str
    process: int
    cores: tuple[int, ...]  # that it may use


def _cores() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _never() -> bool:
    return False


class Ranks:
    """The processes that work together, as one of them sees them.

    Parameters
    ----------
    comm
        Their communicator; None for a process that is alone.
    about
        The MPI library.

    Attributes
    ----------
    rank, size
        The number of this process, from 0 on, and how many there are.
    hosts, processes
        The name of each rank's machine, and its number there.
    threads
        With how many threads this rank should compute: its part of the cores of its machine.
    """

    def __init__(self, comm: Communicator | None = None, *, about: str = "") -> None:
        self.rank, self.size = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
        self._stops, self._another_stops = _never, False
        self._is_guarded = False  # by `ending_all`
        self._comm, self._about = comm, about
        self._nccl: Any = None
        self._buffers: tuple[Any, Array, Array] | None = None
        self._sums = "MPI"
        places = self.exchange(_Place(platform.node() or "localhost", os.getpid(), _cores()))
        self.hosts = tuple(place.host for place in places)
        self.processes = tuple(place.process for place in places)
        mine = places[self.rank]
        self._local = [rank for rank, host in enumerate(self.hosts) if host == mine.host]
        # A launcher may give each rank its own cores. Those that share them divide them.
        sharing = sum(places[rank].cores == mine.cores for rank in self._local)
        self.threads = max(1, len(mine.cores) // sharing)

    @property
    def is_first(self) -> bool:
        """Whether this rank leads: it alone writes and prints."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def name_of(self, rank: int) -> str:
        """Return how a rank is called in a message."""
        return f"rank {rank} of {self.size} on {self.hosts[rank]}"

    @contextlib.contextmanager
    def stopping_when(self, asked: Callable[[], bool]) -> Iterator[None]:
        """Let the other ranks know, in the block, when `asked` says that this one shall stop."""
        self._stops, self._another_stops = asked, False
        try:
            yield
        finally:
            self._stops = _never

    @property
    def must_stop(self) -> bool:
        """Whether a rank was asked to stop; of another one this is known after an exchange."""
        return self._another_stops or self._stops()

    def part(self, count: int) -> range:
        """Return which of `count` things are this rank's: the parts follow one another."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def exchange(self, value: Any = None) -> list[Any]:
        """Return the values of all ranks, in their order; the ranks wait for each other here.

        If one of them brings an error, all of them raise. `perform` then raises it.
        """
        if self._comm is None:
            return [value]
        messages = self._gather(_Message(value, stop=self._stops()))
        for rank, one in enumerate(messages):
            if one.failure is not None:
                raise _ToldError(one.failure.error(self.name_of(rank)))
        return [one.value for one in messages]

    def _gather(self, message: _Message) -> list[_Message]:
        assert self._comm is not None
        messages = self._comm.allgather(message)
        self._another_stops |= any(one.stop for one in messages)
        return messages

    def perform(self, work: Callable[[], _Result]) -> _Result:
        """Do `work` on this rank, as all do at the same time, and return its result.

        If it fails on a rank, it fails on all of them: each raises its own error, or that of the
        first rank that has one. All of them are `told`.
        """
        if self.is_alone:
            return work()
        with self.ending_all():
            try:
                result = work()
                self.exchange()
                return result
            except _ToldError as carrier:
                raise told(carrier.error) from carrier.error.__cause__
            except Exception as error:  # only this rank knows of it
                self._gather(_Message(failure=_Failure.of(error)))
                told(error)
                raise

    @contextlib.contextmanager
    def ending_all(self) -> Iterator[None]:
        """End all ranks if Ctrl-C ends the block at once: they wait for messages from it.

        Of such blocks within each other the outermost does so, when the inner ones have cleaned up.
        """
        is_outermost, self._is_guarded = not self._is_guarded, True
        try:
            yield
        except Exception:
            raise
        except BaseException:
            if is_outermost:
                self.abort(INTERRUPTED)
            raise
        finally:
            if is_outermost:
                self._is_guarded = False

    def tell(self, order: Any = None) -> Any:
        """Return what the first rank gives, on every rank: the others wait for it."""
        return order if self._comm is None else self._comm.bcast(order)

    def copies_of_first(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the first rank's arrays, given some of the same shapes and dtypes on each rank."""
        copies = {name: np.array(array, order="C") for name, array in arrays.items()}
        self.exchange()  # no rank is missing when arrays travel
        if self._comm is not None:
            for array in copies.values():
                self._comm.Bcast(array)
        return copies

    def sums(
        self, arrays: Sequence[Array], value: Any = None, *, factor: float = 1.0
    ) -> tuple[list[Array], list[Any]]:
        """Return the sum over all ranks of each array, and the values of all as `exchange` does.

        All arrays have one dtype, and each rank has the same shapes. They travel as one. Every rank
        gets the same bits, and the same in another run of as many ranks. The next call may
        overwrite the sums.

        Parameters
        ----------
        arrays
            Those of this rank.
        value
            What this rank brings to the exchange.
        factor
            This rank's arrays are multiplied by it.
        """
        if self._comm is None:
            return [factor * array for array in arrays], [value]
        # All that a rank may lack the memory for is there before the exchange: if arrays travelled
        # while one rank is missing, the others would wait for it for ever.
        ends = np.cumsum([array.size for array in arrays]).tolist()
        flat, total = self._buffers_like(arrays[0], ends[-1])
        xp = backend.namespace_of(flat)
        for array, end in zip(arrays, ends, strict=True):
            flat[end - array.size : end] = xp.reshape(array, (-1,))
        flat *= factor
        if self._nccl is not None:
            values = self.exchange(value)
            self._nccl.all_reduce(flat, total)
        else:
            on_host = backend.to_host(flat)
            summed = total if backend.is_numpy(total) else np.empty_like(on_host)
            values = self.exchange(value)
            self._comm.Allreduce(on_host, summed)
            total = backend.to_device(summed, flat)
        sums = [
            xp.reshape(total[end - array.size : end], array.shape)
            for array, end in zip(arrays, ends, strict=True)
        ]
        return sums, values

    def _buffers_like(self, array: Array, size: int) -> tuple[Array, Array]:
        """Return two arrays (size,) like `array`, the same ones in every step: new memory costs."""
        kind = size, array.dtype, backend.device_of(array)
        if self._buffers is None or self._buffers[0] != kind:
            xp = backend.namespace_of(array)
            one, other = (xp.empty(size, dtype=array.dtype, device=kind[2]) for _ in range(2))
            self._buffers = kind, one, other
        return self._buffers[1:]

    def use_threads(self, count: int | None = None) -> None:
        """Compute with so many threads from now on; None leaves one that is alone as it is."""
        if count is not None or not self.is_alone:
            set_threads(count or self.threads)

    def open_device(self, name: str, *, tf32: bool = False) -> Device:
        """Return this rank's device: each rank of a machine gets a GPU of its own.

        Raises
        ------
        InputError
            It cannot be used; there are more ranks on a machine than GPUs; or some ranks have a
            GPU, and others none.
        """
        if self.is_alone or name == "cpu":
            return open_device(name, tf32=tf32)
        local = self._local.index(self.rank)
        device = open_device(name, tf32=tf32, turn=local)
        cards = self.exchange((device.name, None if device.is_host else card_of(device)))
        for rank, (other, card) in enumerate(cards):
            if (card is None) != device.is_host:
                raise InputError(
                    f"device {name}: {self.name_of(self.rank)} computes on {device.name}, "
                    f"{self.name_of(rank)} on {other}: name one for all, with --device"
                )
            first = [one[1] for one in cards].index(card)
            if card is not None and first != rank and self.hosts[first] == self.hosts[rank]:
                host = self.hosts[rank]
                own = {one for (_, one), at in zip(cards, self.hosts, strict=True) if at == host}
                raise InputError(
                    f"device {name}: {self.hosts.count(host)} ranks on {host}, and {len(own)} GPU"
                    f"{'s' * (len(own) > 1)}: start one rank for each, or --device cpu"
                )
        if not device.is_host:
            self._join_nccl()
        return device

    def _join_nccl(self) -> None:
        """Sum arrays on the devices from now on, if all ranks have NCCL."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy's advice; that of minirpn is below
            from cupy.cuda import nccl
        if not all(self.exchange(bool(nccl.available))):
            self._sums = (
                "MPI through the host, for NCCL is missing (pip install 'minirpn[nccl12]' or "
                "'minirpn[nccl13]')"
            )
            return
        from cupyx.distributed import init_process_group

        self._nccl = init_process_group(self.size, self.rank, use_mpi=True)
        major, rest = divmod(nccl.get_version(), 10_000)
        self._sums = f"NCCL {major}.{rest // 100}.{rest % 100}"

    def describe(self) -> dict[str, Any]:
        """Return what ``env.json`` says about the ranks, as plain data."""
        return {
            "size": self.size,
            "hosts": list(self.hosts),
            "threads": self.threads,
            "mpi": self._about,
            "gradients": self._sums,
        }

    def lines(self) -> list[str]:
        """Return what the log says about the ranks: nothing of one that is alone.

        A launcher names a process that was killed by its number and machine.
        """
        if self.is_alone:
            return []
        each = ", ".join(
            f"{rank} is process {process} on {host}"
            for rank, (process, host) in enumerate(zip(self.processes, self.hosts, strict=True))
        )
        return [str(self), f"rank {each}"]

    def __str__(self) -> str:
        hosts = dict.fromkeys(self.hosts)
        where = ", ".join(f"{self.hosts.count(host)} on {host}" for host in hosts)
        return f"{self.size} ranks ({where}); gradients by {self._sums}"

    def abort(self, status: int) -> None:
        """End all ranks at once, without a word."""
        if have_met():
            end_all(status)
        if self._comm is not None:
            self._comm.Abort(status)


ALONE = Ranks()
"""Shares images with nobody. A training has ranks of its own, which know whether it shall stop."""


def open_ranks(mode: str = "auto") -> Ranks:
    """Return the processes that a launcher has started together with this one.

    Parameters
    ----------
    mode
        ``"auto"``; or ``"off"``, with which each process works for itself.

    Raises
    ------
    InputError
        A launcher has started several processes, but they cannot find each other: mpi4py or the
        MPI library is missing, or the launcher belongs to another MPI.
    """
    size = launched().size
    if mode == "off" or size == 1:
        return Ranks()
    try:
        from mpi4py import MPI
    except ImportError:
        raise _apart(size, "which needs mpi4py: pip install 'minirpn[mpi]'") from None
    except RuntimeError as error:  # there is no MPI library
        raise _apart(size, f"but {reason_of(error)}") from None
    library = " ".join(MPI.Get_library_version().splitlines()[0].strip("\0").split())
    comm = MPI.COMM_WORLD
    if comm.Get_size() != size:
        raise _apart(
            size,
            f"but {library} sees {comm.Get_size()}: launcher and library must be of one MPI (with "
            "Slurm: srun --mpi=pmi2 or pmix)",
        )
    return Ranks(comm.Dup(), about=library)


def _apart(size: int, reason: str) -> Exception:
    """Return the error of processes that cannot find each other: the first one tells of it."""
    return told(
        InputError(
            f"started as {size} processes to work together, {reason}; --distributed off lets each "
            "work for itself"
        )
    )
