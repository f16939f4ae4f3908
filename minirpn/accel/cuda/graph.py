"""Work of a GPU that is recorded once and then asked for as a whole: CUDA graphs.

To ask a GPU for a kernel takes the host longer than a fast one needs for many of them. A training
step asks for some 150, always the same ones for images of one size; so they are recorded, and from
then on asked for in one call.

What is recorded refers to places in memory, not to arrays of Python. So inputs are copied to where
the recorded ones were, results are where they were the last time, and whatever else the work reads,
such as parameters, has to stay where it is.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from minirpn._typing import Array
from minirpn.accel.implementation import on_cuda
from minirpn.backend import namespace_of, wait_for

Result = TypeVar("Result")
# Whether the calling thread records; see `is_recording`.
_THREAD = threading.local()
# Recordings kept, one for each size of image: a graph and what it returns, such as gradients, 67 MB
# for VGG-16. What lies between is shared by all.
MOST = 16
# Shapes that cannot be recorded before no others are tried.
MOST_VAIN = 3


def is_recording() -> bool:
    """Tell whether what this thread asks a GPU for is being recorded."""
    return getattr(_THREAD, "recording", False)


class Recording(NamedTuple):
    """Work that can be asked for again."""

    inputs: tuple[Array, ...]  # where it reads them
    result: Any
    launch: Callable[[], object]


class Record(Protocol):
    """Records work: `OnDevice`, or a stand-in for it."""

    def __call__(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], object]]:
        """Return what `work` will have returned when what comes second has been called."""


class OnDevice:
    """Records what CuPy's arrays are asked for, on a stream and in memory of its own."""

    def __init__(self) -> None:
        import cupy

        # A stream that does not wait for the usual one, and that one not for it: nothing of what
        # other threads ask for meanwhile gets into the recording.
        self._stream = cupy.cuda.Stream(non_blocking=True)
        # What was computed with, and is given back, is used again by recordings alone.
        self._pool = cupy.cuda.MemoryPool()

    def __call__(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], object]]:
        """Record `work`; see `Record`."""
        import cupy

        # What the same work was computed with before would lie idle from now on.
        cupy.get_default_memory_pool().free_all_blocks()
        with cupy.cuda.using_allocator(self._pool.malloc), self._stream:
            self._stream.begin_capture()
            _THREAD.recording = True
            try:
                result = work()
            except BaseException:
                self._abandon()
                raise
            finally:
                _THREAD.recording = False
            graph = self._stream.end_capture()
        return result, graph.launch

    def _abandon(self) -> None:
        """End a recording that has failed, which the GPU may have noticed before."""
        with contextlib.suppress(Exception):  # the reason is on its way already
            self._stream.end_capture()


class Recorder:
    """Calls a function of arrays on a GPU, of the third call on by what it recorded.

    Parameters
    ----------
    record
        How; None for `OnDevice`, made when it is needed.

    Notes
    -----
    The first call with inputs of some shapes computes as always: kernels are compiled by that, and
    cuDNN plans. The second records. Where `MOST` are kept, shapes that come more than twice as
    often as the rarest of them take its place; all others are computed as always. So is what
    cannot be recorded: products by CuPy (`NotImplementedError`; `minirpn.accel.cuda.products`
    can be) are passed over. Anything else, such as memory that is short, or work that waits for
    the GPU, is said once as a warning, and nothing is recorded from then on.
    """

    def __init__(self, record: Record | None = None) -> None:
        self._record = record
        self._recordings: dict[Hashable, Recording] = {}
        self._met: Counter[Hashable] = Counter()  # calls with inputs of some shapes
        self._state: Hashable = None  # what all recordings rest on
        self._unrecordable: set[Hashable] = set()
        self._failed = False

    def __call__(
        self,
        function: Callable[..., Result],
        inputs: Sequence[Array],
        fixed: Sequence[Array] = (),
        mode: Hashable = None,
    ) -> Result:
        """Return ``function(*inputs)``; the arrays in it may be those of an earlier call.

        Parameters
        ----------
        function
            Always the same for a recorder. It returns arrays, in tuples and dicts.
        inputs
            What changes from call to call; of any shapes.
        fixed
            What else it reads, and who holds its arrays does not change their place. If they lie
            elsewhere than they did, all is recorded again.
        mode
            Whatever else it depends on, such as whether TF32 is allowed; likewise.
        """
        if self._failed or not on_cuda(inputs[0]):
            return function(*inputs)
        state = mode, tuple(array.data.ptr for array in fixed)
        if state != self._state:
            self._state = state
            self._recordings.clear()
            self._unrecordable.clear()
            self._met.clear()
        key = tuple((array.shape, array.strides, array.dtype) for array in inputs)
        self._met[key] += 1
        if key not in self._recordings:
            recording = self._recorded(function, inputs, key) if self._is_due(key) else None
            if recording is None:
                return function(*inputs)
            self._recordings[key] = recording
        recording = self._recordings[key]
        for there, array in zip(recording.inputs, inputs, strict=True):
            there[...] = array
        recording.launch()
        return recording.result

    def _is_due(self, key: Hashable) -> bool:
        """Tell whether to record now; a rarer recording has made place then."""
        if self._met[key] < 2 or key in self._unrecordable:
            return False
        if len(self._recordings) < MOST:
            return True
        rarest = min(self._recordings, key=self._met.__getitem__)
        if self._met[key] <= 2 * self._met[rarest]:
            return False
        del self._recordings[rarest]
        return True

    def _recorded(
        self, function: Callable[..., Result], inputs: Sequence[Array], key: Hashable
    ) -> Recording | None:
        """Return a recording; None where the work cannot be recorded."""
        own = tuple(namespace_of(array).empty_like(array) for array in inputs)
        wait_for(inputs[0])  # whatever is under way has not to do with what is recorded
        try:
            if self._record is None:
                self._record = OnDevice()
            result, launch = self._record(lambda: function(*own))
        except NotImplementedError:
            self._unrecordable.add(key)
            # Other shapes may go other ways; but not all of them are tried in vain.
            self._failed = not self._recordings and len(self._unrecordable) >= MOST_VAIN
            return None
        except Exception as error:  # whatever CUDA, CuPy or a library finds wrong with it
            self._failed, self._record = True, None  # and with it the memory it has got
            self._recordings.clear()
            reason = str(error).splitlines()[0] if str(error) else ""
            warnings.warn(
                f"no CUDA graph: {type(error).__name__}: {reason}; steps are asked for kernel by "
                "kernel",
                RuntimeWarning,
                stacklevel=3,
            )
            return None
        return Recording(own, result, launch)
