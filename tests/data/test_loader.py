"""The order of training images, and the threads that prepare them."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import accel
from minirpn.data import AS_IS, Augmentation, AugmentConfig, Draw, Loader, training_order
from minirpn.errors import InputError


def augment_configs() -> st.SearchStrategy[AugmentConfig]:
    return st.builds(AugmentConfig, st.booleans(), st.floats(0, 4), st.floats(0, 1))


def take(count: int, draws) -> list[Draw]:
    return list(itertools.islice(draws, count))


class TestOrder:
    @given(count=st.integers(1, 40), seed=st.integers(0, 2**32))
    def test_every_epoch_is_a_permutation(self, count, seed):
        draws = take(3 * count, training_order(count, seed=seed))
        for start in range(0, 3 * count, count):
            epoch = draws[start : start + count]
            assert sorted(draw.index for draw in epoch) == list(range(count))

    @given(count=st.integers(1, 40), start=st.integers(0, 200), augment=augment_configs())
    def test_resuming_is_the_tail(self, count, start, augment):
        whole = take(start + 60, training_order(count, seed=3, augment=augment))
        tail = take(60, training_order(count, seed=3, augment=augment, start=start))
        assert tail == whole[start:]

    def test_flips_are_fair_and_leave_the_order(self):
        flipped = take(4000, training_order(100, seed=0))
        plain = take(4000, training_order(100, seed=0, augment=AugmentConfig(flip=False)))
        assert [draw.index for draw in flipped] == [draw.index for draw in plain]
        assert all(draw.augmentation == AS_IS for draw in plain)
        # 4000 fair coins: 2000 heads, standard deviation 32
        assert abs(Counter(draw.augmentation.flip for draw in flipped)[True] - 2000) < 150

    def test_epochs_and_seeds_differ(self):
        first, second = np.array_split([d.index for d in take(200, training_order(100, seed=0))], 2)
        other = [draw.index for draw in take(100, training_order(100, seed=1))]
        assert first.tolist() != second.tolist()
        assert first.tolist() != other

    @pytest.mark.parametrize(("count", "start"), [(0, 0), (3, -1)])
    def test_no_images_or_a_negative_start(self, count, start):
        with pytest.raises(ValueError, match="training_order: expected count >= 1, start >= 0"):
            training_order(count, seed=0, start=start)


class Numbers:
    """A data set whose samples are their own positions; some take longer, one may be bad."""

    def __init__(self, bad: int | None = None) -> None:
        self.bad = bad
        self.running = self.most_running = 0
        self.loaded: list[int] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        time.sleep(0.004 if index % 3 == 0 else 0)
        with self._lock:
            self.running -= 1
            self.loaded.append(index)
        if index == self.bad:
            raise InputError(f"image {index}: bad")
        return index


def prepare(sample: int, *, augmentation: Augmentation) -> tuple[int, Augmentation]:
    return sample, augmentation


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "minirpn-loader" in thread.name]


@pytest.mark.parametrize(("threads", "prefetch"), [(1, 1), (1, 4), (3, 2), (4, 8)])
def test_examples_come_in_the_order_of_the_draws(threads, prefetch):
    draws = take(30, training_order(10, seed=5))
    dataset = Numbers()
    with Loader(dataset, draws, prepare, threads=threads, prefetch=prefetch) as loader:
        assert list(loader) == [(draw.index, draw.augmentation) for draw in draws]
    assert dataset.most_running <= min(threads, prefetch)
    assert not our_threads()


def test_several_threads_really_run_at_a_time():
    barrier = threading.Barrier(3, timeout=10)  # broken unless three threads meet

    def meet(sample: int, *, augmentation: Augmentation) -> int:
        barrier.wait()
        return sample

    with Loader(Numbers(), [Draw(1)] * 6, meet, threads=3, prefetch=6) as loader:
        assert list(loader) == [1] * 6


def test_no_more_is_loaded_than_asked_for():
    dataset = Numbers()
    with Loader(dataset, training_order(10, seed=0), prepare, threads=2, prefetch=3) as loader:
        for _ in range(5):
            next(loader)
    assert len(dataset.loaded) <= 4 + 3


def test_an_error_comes_at_its_place():
    draws = [Draw(index) for index in (1, 2, 3, 4, 5)]
    with Loader(Numbers(bad=3), draws, prepare) as loader:
        assert [next(loader), next(loader)] == [(1, AS_IS), (2, AS_IS)]
        with pytest.raises(InputError, match="image 3: bad"):
            next(loader)
        assert next(loader) == (4, AS_IS)
    assert not our_threads()


def test_threads_end_when_the_block_is_left_by_an_exception():
    def consume():
        with Loader(Numbers(), training_order(10, seed=0), prepare) as loader:
            next(loader)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert not our_threads()


def test_waiting_is_measured():
    def slow(sample: int, *, augmentation: Augmentation) -> int:
        time.sleep(0.1)
        return sample

    with Loader(Numbers(), [Draw(1)] * 3, slow, threads=1) as loader:
        next(loader)
        assert loader.wait_seconds >= 0.09
        time.sleep(0.3)
        waited = loader.wait_seconds
        next(loader)
        assert loader.wait_seconds - waited < 0.05  # it was ready


@pytest.mark.parametrize(("threads", "prefetch"), [(1, 1), (3, 4), (4, 8)])
def test_examples_are_finished_one_at_a_time_in_their_order(threads, prefetch):
    draws = take(30, training_order(10, seed=5))
    rng, busy = np.random.default_rng(0), threading.Lock()

    def finish(example):
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        busy.release()
        return example[0], rng.random()

    settings = {"threads": threads, "prefetch": prefetch, "finish": finish}
    with Loader(Numbers(), draws, prepare, **settings) as loader:
        finished = list(loader)
    again = np.random.default_rng(0)
    assert finished == [(draw.index, again.random()) for draw in draws]
    assert not our_threads()


def test_an_error_while_finishing_comes_at_its_place():
    def finish(example):
        if example[0] == 3:
            raise InputError("3: cannot be finished")
        return example

    draws = [Draw(index) for index in (1, 2, 3, 4, 5)]
    with Loader(Numbers(bad=4), draws, prepare, finish=finish) as loader:
        assert [next(loader), next(loader)] == [(1, AS_IS), (2, AS_IS)]
        with pytest.raises(InputError, match="3: cannot be finished"):
            next(loader)
        with pytest.raises(InputError, match="image 4: bad"):
            next(loader)
        assert next(loader) == (5, AS_IS)
    assert not our_threads()


def test_finishing_has_the_context_of_the_caller():
    def finish(_):
        return np.geterr()["under"], accel.operations()["iou"].choose(np.zeros((1, 4))).name

    with np.errstate(under="raise"), accel.use("loops"):
        loader = Loader(Numbers(), [Draw(1)] * 2, prepare, finish=finish)
    with loader:
        assert list(loader) == [("raise", "loops")] * 2


def test_threads_end_when_one_is_finishing():
    begun, go_on, finished = threading.Event(), threading.Event(), []

    def finish(example):
        begun.set()
        go_on.wait(10)
        finished.append(example)
        return example

    draws = [Draw(1)] * 4
    # One is under way at a time: nothing is to be asked for while the threads end.
    with Loader(Numbers(), draws, prepare, threads=2, prefetch=1, finish=finish) as loader:
        waiting = threading.Thread(target=lambda: next(loader), daemon=True)
        waiting.start()
        assert begun.wait(10)
        threading.Timer(0.1, go_on.set).start()
    assert not our_threads()
    assert len(finished) == 1
    waiting.join(10)
    assert not waiting.is_alive()


def test_threads_end_though_the_finisher_waits():
    begun, go_on = threading.Event(), threading.Event()

    def slow(sample: int, *, augmentation: Augmentation) -> int:
        begun.set()
        go_on.wait(10)
        return sample

    def wait_for_one():
        # It may still be asking for more when the threads end.
        with contextlib.suppress(RuntimeError):
            next(loader, None)

    finished = []
    draws = [Draw(1)] * 4
    with Loader(Numbers(), draws, slow, threads=1, finish=finished.append) as loader:
        waiting = threading.Thread(target=wait_for_one, daemon=True)
        waiting.start()
        assert begun.wait(10)
        threading.Timer(0.05, go_on.set).start()
    assert not our_threads()
    assert len(finished) <= 1
    waiting.join(10)
    assert not waiting.is_alive()


def test_waiting_for_the_finish_is_measured():
    def finish(example):
        time.sleep(0.1)
        return example

    with Loader(Numbers(), [Draw(1)] * 3, prepare, finish=finish) as loader:
        next(loader)
        assert loader.wait_seconds >= 0.09
        time.sleep(0.35)
        waited = loader.wait_seconds
        next(loader)
        assert loader.wait_seconds - waited < 0.05  # it was ready


@pytest.mark.parametrize("settings", [{"threads": 0}, {"prefetch": 0}])
def test_at_least_one_thread_and_one_example(settings):
    with pytest.raises(ValueError, match="Loader: threads and prefetch start at 1"):
        Loader(Numbers(), [], prepare, **settings)
