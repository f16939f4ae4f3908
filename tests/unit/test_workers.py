"""Where there are no threads, what is submitted runs at once, and errors stay in their place."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minirpn import workers
from minirpn.accel import threads
from minirpn.data import Draw, Loader
from minirpn.workers import AtOnce, thread_pool


@pytest.fixture
def no_workers(monkeypatch):
    """Let Python be as in a browser: it cannot start threads."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "IN_BROWSER", True)
    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_threads_work_where_there_are_some():
    with thread_pool(1, "some") as pool:
        assert pool.submit(lambda: threading.current_thread().name).result().startswith("some")


def test_what_is_submitted_has_run():
    done = []
    with AtOnce() as pool:
        future = pool.submit(done.append, 1)
        assert done == [1]
        assert future.done()
        failed = pool.submit(lambda: 1 / 0)
        assert list(pool.map(lambda a, b: a + b, [1, 2], [10, 20])) == [11, 22]
    with pytest.raises(ZeroDivisionError):
        failed.result()


@pytest.mark.usefixtures("no_workers")
def test_examples_come_in_their_order_without_threads():
    def prepare(sample, *, augmentation):
        if sample == 3:
            raise ValueError("bad")
        return sample

    draws = [Draw(index) for index in (2, 0, 1, 3, 4)]
    with Loader(range(5), draws, prepare, threads=3, finish=lambda one: one * 10) as loader:
        assert [next(loader), next(loader), next(loader)] == [20, 0, 10]
        with pytest.raises(ValueError, match="bad"):
            next(loader)
        assert next(loader) == 40


@pytest.mark.usefixtures("no_workers")
def test_work_is_shared_without_threads(monkeypatch):
    monkeypatch.setattr(threads, "_STATE", threads._State())
    threads.set_threads(3)
    numbers = np.zeros(5)

    def work(piece):
        numbers[piece] += piece

    threads.share(work, range(5))
    assert numbers.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        threads.share(lambda piece: 1 / piece, range(5))
