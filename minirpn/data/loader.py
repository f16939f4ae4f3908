"""The endless order of training images, and threads that prepare them ahead of time."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from minirpn.data.augment import AS_IS, Augmentation, AugmentConfig
from minirpn.data.samples import Dataset, Sample
from minirpn.workers import thread_pool


@dataclass(frozen=True)
class Draw:
    """Which image comes next, and the changes to it."""

    index: int
    augmentation: Augmentation = AS_IS


def training_order(
    count: int, *, seed: int, augment: AugmentConfig | None = None, start: int = 0
) -> Iterator[Draw]:
    """Yield draws without end; every epoch holds each of `count` images once.

    Parameters
    ----------
    count
        Number of images, at least 1.
    seed
        Epoch e is permuted by ``numpy.random.default_rng([seed, e])``. The order depends on
        nothing else, so there is no state to save.
    augment
        How much an image may change; None for mirroring alone. The permutations do not depend on
        it.
    start
        Number of draws to skip, as when a training resumes at that step.

    Notes
    -----
    ``training_order(n, seed=s, start=k)`` is ``training_order(n, seed=s)`` without its first k
    draws. py-faster-rcnn shows each image both ways in an epoch of double length; here mirroring is
    random.
    """
    if count < 1 or start < 0:
        raise ValueError(f"training_order: expected count >= 1, start >= 0, got {count}, {start}")
    return _epochs(count, seed, augment or AugmentConfig(), start)


def _epochs(count: int, seed: int, augment: AugmentConfig, start: int) -> Iterator[Draw]:
    first_epoch, done = divmod(start, count)
    for epoch in itertools.count(first_epoch):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(count)
        augmentations = augment.draw(count, rng)
        for index, augmentation in zip(order[done:].tolist(), augmentations[done:], strict=True):
            yield Draw(index, augmentation)
        done = 0


_Item = TypeVar("_Item")  # an `Example`, or several of one image
_Made = TypeVar("_Made", covariant=True)


class Prepare(Protocol[_Made]):
    """A function from a sample to what a loader yields: an `Example`, or several of one image."""

    def __call__(self, sample: Sample, /, *, augmentation: Augmentation) -> _Made:
        """Return what the loader yields for this sample."""


class Loader(Generic[_Item]):
    """An iterator over examples, in the order of the draws, prepared ahead by threads.

    Decoding and resizing release the interpreter's lock, so threads are enough. Use it in a
    ``with`` block: its threads end with the block.

    Parameters
    ----------
    dataset
        Gives samples by position; called from several threads.
    draws
        Which samples, in which order; may be endless.
    prepare
        Turns a sample into an example; called from several threads.
    threads
        How many threads prepare, at least 1.
    prefetch
        How many examples are in preparation or waiting at most, at least 1.
    finish
        Turns each prepared example into the one that is returned; None returns it unchanged. It may
        draw random numbers: one thread of its own calls it in the order of the draws, in the
        caller's context (`numpy.errstate` and the like).

    Attributes
    ----------
    wait_seconds : float
        How long the caller has waited for examples so far; near zero if the threads keep up.

    Notes
    -----
    An exception in a thread is raised by the ``next`` that would have returned its example. In a
    browser, which has no threads, the ``next`` itself prepares; see `minirpn.workers`.
    """

    def __init__(
        self,
        dataset: Dataset,
        draws: Iterable[Draw],
        prepare: Prepare[_Item],
        *,
        threads: int = 2,
        prefetch: int = 4,
        finish: Callable[[_Item], _Item] | None = None,
    ) -> None:
        if threads < 1 or prefetch < 1:
            raise ValueError(f"Loader: threads and prefetch start at 1, got {threads}, {prefetch}")
        self._dataset = dataset
        self._draws = iter(draws)
        self._prepare = prepare
        self._prefetch = prefetch
        self._finish = finish
        self._context = copy_context()
        self._pool = thread_pool(threads, "minirpn-loader")
        # One thread, so that examples are finished one after the other, in order.
        self._finisher = thread_pool(1, "minirpn-loader-finish")
        self._pending: deque[Future[_Item]] = deque()
        self.wait_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; examples that are not asked for yet are never prepared."""
        # The pool first, so that the finisher does not wait for cancelled examples.
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._finisher.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _Item:
        missing = self._prefetch - len(self._pending)
        for draw in itertools.islice(self._draws, missing):
            self._pending.append(self._submit(draw))
        if not self._pending:
            raise StopIteration
        start = perf_counter()
        try:
            return self._pending.popleft().result()
        finally:
            self.wait_seconds += perf_counter() - start

    def _submit(self, draw: Draw) -> Future[_Item]:
        prepared = self._pool.submit(self._load, draw)
        if self._finish is None:
            return prepared
        finish = self._finish
        return self._finisher.submit(self._context.run, lambda: finish(prepared.result()))

    def _load(self, draw: Draw) -> _Item:
        return self._prepare(self._dataset[draw.index], augmentation=draw.augmentation)
