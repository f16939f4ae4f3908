"""Ranks in threads of one process: what MPI does for processes, for tests that need no MPI."""

import pickle
import threading

import numpy as np

from minirpn.training.distributed import Ranks

PATIENCE = 60  # seconds until ranks that wait for each other in vain are an error


class Communicator:
    """What `Ranks` uses of an MPI communicator; `meeting` is that of all ranks."""

    def __init__(self, meeting, rank):
        self.meeting, self.rank = meeting, rank

    def Get_rank(self):  # noqa: N802
        return self.rank

    def Get_size(self):  # noqa: N802
        return len(self.meeting.places)

    def allgather(self, value):
        """Return copies of all values, as a message between processes is a copy."""
        return [pickle.loads(one) for one in self.meeting.all(self.rank, pickle.dumps(value))]

    def bcast(self, value, root=0):
        return self.allgather(value)[root]

    def Bcast(self, array, root=0):  # noqa: N802
        array[...] = self.allgather(array)[root]

    def Allreduce(self, array, total):  # noqa: N802
        total[...] = np.sum(self.allgather(array), axis=0)

    def Abort(self, status):  # noqa: N802
        self.meeting.barrier.abort()


class _Meeting:
    def __init__(self, size):
        self.places = [None] * size
        self.barrier = threading.Barrier(size, timeout=PATIENCE)

    def all(self, rank, value):
        self.places[rank] = value
        self.barrier.wait()
        values = list(self.places)
        self.barrier.wait()
        return values


def on_ranks(size, work):
    """Call `work(ranks)` on so many ranks; return what each returns, or the error it raises."""
    meeting, outcomes = _Meeting(size), [None] * size

    def run(rank):
        try:
            outcomes[rank] = work(Ranks(Communicator(meeting, rank), about="threads"))
        except Exception as error:
            outcomes[rank] = error
        finally:
            if isinstance(outcomes[rank], threading.BrokenBarrierError):
                meeting.barrier.abort()

    others = [
        threading.Thread(target=run, args=(rank,), name=f"rank-{rank}") for rank in range(1, size)
    ]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in others)
    return outcomes
