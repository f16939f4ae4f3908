"""Work shared among threads: same bits for any number of them, the BLAS as it was afterwards."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minirpn import accel
from minirpn.accel import threads
from minirpn.nn import conv


@pytest.fixture(autouse=True)
def _as_before():
    count = threads.thread_count()
    yield
    threads.set_threads(count)


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.mark.parametrize("implementation", ["strips", "winograd"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((1, 40, 37, 62), (3, 3), (1, 1), (1, 1)),
        ((1, 500, 37, 62), (3, 3), (1, 1), (1, 1)),  # wide: in blocks
        ((2, 3, 61, 90), (3, 3), (2, 2), (0, 1)),
        ((1, 160, 37, 62), (1, 1), (1, 1), (0, 0)),
    ],
)
def test_bits_do_not_depend_on_the_number_of_threads(
    implementation, shape, kernel, stride, padding, rng
):
    pytest.importorskip("numba")
    x = rng.normal(size=shape).astype(np.float32)
    weight = rng.normal(size=(16, shape[1], *kernel)).astype(np.float32)
    bias = rng.normal(size=16).astype(np.float32)

    @accel.use(implementation)
    def run(count):
        threads.set_threads(count)
        y = conv.conv2d(x, weight, bias, stride, padding)
        dx = conv.conv2d_dx(y, weight, shape[2:], stride, padding)
        return y, dx, conv.conv2d_dweight(y, x, kernel, stride, padding)

    for one, many in zip(run(1), run(3), strict=True):
        np.testing.assert_array_equal(one, many)


def test_every_piece_is_done_once_with_one_blas_thread():
    threads.set_threads(2)
    done, seen = [], set()

    def work(piece):
        done.append(piece)
        seen.update(blas_threads())

    threads.share(work, range(20))
    assert sorted(done) == list(range(20))
    assert seen == {1}
    assert blas_threads() == {2}
    threads.share(work, [])


def test_an_error_comes_out_and_the_blas_is_let_go():
    threads.set_threads(2)
    done = []

    def work(piece):
        if piece == 3:
            raise KeyError(piece)
        done.append(piece)

    with pytest.raises(KeyError, match="3"):
        threads.share(work, range(1000))
    assert len(done) < 999  # the rest was not begun
    assert blas_threads() == {2}


def test_any_thread_may_share_its_work_and_lets_the_blas_go():
    threads.set_threads(2)
    seen = []

    def caller():
        threads.share(lambda _: seen.append(blas_threads()), range(4))

    callers = [threading.Thread(target=caller) for _ in range(3)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert seen == 12 * [{1}]
    assert blas_threads() == {2}


def test_what_the_caller_has_set_holds_in_every_thread():
    threads.set_threads(2)
    both = threading.Barrier(2, timeout=20)
    seen = []

    def work(_):
        both.wait()  # so that each thread has one of the two pieces
        seen.append((np.geterr()["over"], accel.operations()["iou"].choose(np.zeros(1)).name))

    with np.errstate(over="ignore"), accel.use("loops"):
        threads.share(work, range(2))
    assert seen == 2 * [("ignore", "loops")]


def test_the_number_of_threads_is_positive():
    assert threads.thread_count() >= 1
    threads.set_threads(1)
    assert threads.thread_count() == 1
    assert blas_threads() == {1}
    with pytest.raises(ValueError, match="count: expected at least 1 thread, got 0"):
        threads.set_threads(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_shares_work_too():
    threads.set_threads(2)
    threads.share(lambda _: None, range(4))
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for the parent's threads would wait for ever
        threads.share(lambda _: None, range(4))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


SPAWNED = """
import hashlib, multiprocessing, sys
import numpy as np
from minirpn.nn import conv2d_forward

def digest(_):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(1, 32, 40, 40)), rng.normal(size=(32, 32, 3, 3))
    y, _ = conv2d_forward(x, weight, np.zeros(32), padding=1)
    return hashlib.sha256(y.tobytes()).hexdigest()

if __name__ == "__main__":
    here = digest(0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(*{here, *pool.map(digest, range(4))})
"""


def test_spawned_children_compute_the_same_bits(tmp_path):
    program = tmp_path / "spawned.py"
    program.write_text(SPAWNED)
    ended = subprocess.run(
        [sys.executable, program], check=True, capture_output=True, text=True, timeout=120
    )
    assert len(ended.stdout.split()) == 1
