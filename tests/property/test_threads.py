"""Work that threads share: every piece once, the caller's settings, errors, the same result."""

import contextvars
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from minirpn.accel import threads

COUNTS = st.integers(1, 4)
SETTING = contextvars.ContextVar("SETTING", default="none")


@pytest.fixture(autouse=True, scope="module")
def _as_before():
    count = threads.thread_count()
    yield
    threads.set_threads(count)


@given(COUNTS, st.integers(0, 20))
def test_every_piece_is_done_once_in_the_caller_s_context(count, pieces):
    threads.set_threads(count)
    assert threads.thread_count() == count
    done = []
    token = SETTING.set("mine")
    threads.share(lambda piece: done.append((piece, SETTING.get())), range(pieces))
    SETTING.reset(token)
    assert sorted(done) == [(piece, "mine") for piece in range(pieces)]


@given(st.integers(2, 4))
def test_as_many_threads_work_as_there_may_be_and_no_more(count):
    threads.set_threads(count)
    at_once = threading.Barrier(count, timeout=20)
    names = set()

    def work(piece):
        names.add(threading.current_thread().name)
        if piece < count:  # each of the first pieces waits for the others
            at_once.wait()

    threads.share(work, range(3 * count))
    assert len(names) == count
    assert threading.current_thread().name in names


@given(COUNTS, st.integers(1, 12), st.data())
def test_an_error_ends_the_work_and_is_raised(count, pieces, data):
    threads.set_threads(count)
    wrong = data.draw(st.integers(0, pieces - 1))
    begun = []

    def work(piece):
        begun.append(piece)
        if piece == wrong:
            raise KeyError(piece)

    with pytest.raises(KeyError) as raised:
        threads.share(work, range(pieces))
    assert raised.value.args == (wrong,)
    assert len(begun) == len(set(begun))
    if count == 1:  # no further piece began
        assert begun == list(range(wrong + 1))
    threads.share(begun.append, ["after"])  # and the threads work on
    assert begun[-1] == "after"


@given(COUNTS, st.integers(1, 4), st.integers(0, 6))
def test_a_piece_may_share_its_own_work(count, outer, inner):
    threads.set_threads(count)
    done, busy, most = [], set(), []

    def work(piece):
        def part(k):
            busy.add(threading.get_ident())
            most.append(len(busy))
            done.append((piece, k))

        threads.share(part, range(inner))

    threads.share(work, range(outer))
    assert sorted(done) == [(piece, k) for piece in range(outer) for k in range(inner)]
    assert max(most, default=0) <= count


@pytest.mark.parametrize(("count", "pieces", "each"), [(4, 2, 2), (5, 2, 2), (3, 1, 3), (2, 4, 1)])
def test_each_piece_has_its_part_of_the_threads(count, pieces, each):
    threads.set_threads(count)
    names = {}
    at_once = threading.Barrier(min(pieces, count) * each, timeout=20)

    def work(piece):
        names[piece] = set()

        def part(_):
            names[piece].add(threading.get_ident())
            at_once.wait()  # all parts of the pieces that run now

        threads.share(part, range(each))

    threads.share(work, range(pieces))
    assert [len(names[piece]) for piece in range(pieces)] == [each] * pieces


def test_an_error_in_a_shared_part_of_a_piece_is_raised():
    threads.set_threads(3)
    with pytest.raises(ZeroDivisionError):
        threads.share(lambda piece: threads.share(lambda part: 1 / part, [1, 0]), [1, 2])


@given(COUNTS, st.integers(0, 12), st.integers(1, 5))
def test_results_come_in_order_and_pieces_are_taken_when_they_are_needed(count, pieces, at_once):
    threads.set_threads(count)
    taken = []

    def source():
        for piece in range(pieces):
            taken.append(piece)
            yield piece

    results = threads.results_in_order(lambda piece: piece**2, source(), at_once=at_once)
    for place, result in enumerate(results):
        assert result == place**2
        assert len(taken) == min(pieces, (place // at_once + 1) * at_once)
    assert taken == list(range(pieces))


def test_a_result_that_fails_ends_them():
    results = threads.results_in_order(lambda piece: 1 // piece, [1, 1, 0, 1], at_once=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_work_in_the_background_does_not_wait_for_the_threads_that_compute():
    threads.set_threads(2)
    done = []

    def background():
        with threads.on_this_thread():
            threads.share(done.append, range(3))

    def work(_):
        other = threading.Thread(target=background)
        other.start()
        other.join(timeout=20)
        assert done == [0, 1, 2]  # while this piece runs

    threads.share(work, ["one"])


def blas_threads():
    np.matmul(np.ones((2, 2)), np.ones((2, 2)))
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_the_blas_has_one_thread_meanwhile_and_its_own_before_and_after():
    threads.set_threads(2)
    before, seen = blas_threads(), []
    threads.share(lambda piece: seen.append(blas_threads()), range(2))
    assert all(found <= {1} for found in seen)
    assert blas_threads() == before
    assert before <= {2}


@given(st.integers(0, 40), st.integers(1, 50), st.booleans())
def test_parts_of_work_are_even_and_cover_it(length, most, even):
    from minirpn.accel.numba.strips import cut

    parts = list(cut(length, most, even=even))
    assert [k for part in parts for k in part] == list(range(length))
    if length:
        sizes = {len(part) for part in parts}
        assert max(sizes) <= most
        assert max(sizes) - min(sizes) <= 1
        if even:
            assert len(parts) % 2 == 0 or len(parts) in (1, length)
        else:
            assert len(parts) == -(-length // most)
    if length <= most:
        assert len(parts) <= 1


FORKED = """
import os, signal
from minirpn.accel import threads
threads.set_threads(2)
done = []
threads.share(done.append, range(8))
child = os.fork()
if child == 0:
    signal.alarm(20)  # a thread of the parent is waited for in vain
    threads.share(done.append, range(8, 16))
    os._exit(sorted(done) != list(range(16)))
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that are copies")
def test_a_copy_of_the_process_has_threads_of_its_own():
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    assert subprocess.run(command, check=False).returncode == 0
