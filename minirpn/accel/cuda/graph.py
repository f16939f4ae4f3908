"""Work of a GPU that is recorded once and then launched as a whole: CUDA graphs.

To launch a kernel takes the host longer than a fast GPU needs to run many of them. A training step
launches some 150, always the same ones for images of one size. So they are recorded, and from then
on launched in one call.

A recording refers to places in memory, not to arrays of Python. So inputs are copied to where the
recorded ones were, and results are where they were the last time. Whatever else the work reads,
such as parameters, has to stay in its place.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from minirpn._typing import Array, OtherArray
from minirpn.accel.implementation import on_cuda
from minirpn.backend import namespace_of, wait_for
from minirpn.devices import tf32_allowed

Result = TypeVar("Result")
# Whether the calling thread records; see `is_recording`.
_THREAD = threading.local()
# Recordings kept, one for each size of image: a graph and its results, such as gradients (67 MB for
# VGG-16). The memory for everything in between is shared by all.
MOST = 16
# Shapes that cannot be recorded before no others are tried.
MOST_VAIN = 3


def is_recording() -> bool:
    """Tell whether the kernels that this thread launches are being recorded."""
    return getattr(_THREAD, "recording", False)


class HasValue(Protocol):
    """A parameter of a network."""

    value: Array


class StepRunner:
    """Runs the work of training steps: recorded on a GPU, as it is anywhere else.

    Parameters
    ----------
    parameters
        The parameters that the work reads.
    record
        Whether to record on a GPU.

    Attributes
    ----------
    records : bool
        Whether it records. If so, change the values of the parameters in place: if one of them
        gets another array, everything is recorded again.
    """

    def __init__(self, parameters: Sequence[HasValue], *, record: bool) -> None:
        self._parameters = parameters
        self._recorder = Recorder()
        self.records = record and on_cuda(parameters[0].value)

    def __call__(self, function: Callable[..., Result], *inputs: Array) -> Result:
        """Return ``function(*inputs)``; the next call may overwrite its arrays if it `records`."""
        if not self.records:
            return function(*inputs)
        fixed = [parameter.value for parameter in self._parameters]
        return self._recorder(function, inputs, fixed, tf32_allowed())


class Recording(NamedTuple):
    """Work that can be launched again."""

    inputs: tuple[Array, ...]  # where it reads them
    result: Any
    launch: Callable[[], object]


class Record(Protocol):
    """Records work: `OnDevice`, or a stand-in for it."""

    def __call__(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], object]]:
        """Return the result of `work`, valid once the function beside it has been called."""


class OnDevice:
    """Records work on CuPy arrays, on a stream and in memory of its own."""

    def __init__(self) -> None:
        import cupy

        # This stream and the default one do not wait for each other. So nothing that other threads
        # launch meanwhile gets into the recording.
        self._stream = cupy.cuda.Stream(non_blocking=True)
        # Memory that recorded work gives back is used again by recordings alone.
        self._pool = cupy.cuda.MemoryPool()

    def __call__(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], object]]:
        """Record `work`; see `Record`."""
        import cupy

        # The memory that the same work used before would lie idle from now on.
        cupy.get_default_memory_pool().free_all_blocks()
        with cupy.cuda.using_allocator(self._pool.malloc), self._stream:
            self._stream.begin_capture()
            _THREAD.recording = True
            try:
                result = work()
            except BaseException:
                # End the failed recording. CUDA may have ended it already.
                with contextlib.suppress(Exception):
                    self._stream.end_capture()
                raise
            finally:
                _THREAD.recording = False
            graph = self._stream.end_capture()
        return result, graph.launch


class Recorder:
    """Calls a function of arrays on a GPU; records the second call and replays it from then on.

    Parameters
    ----------
    record
        Records the work; None for `OnDevice`, made when it is needed.

    Notes
    -----
    The first call with inputs of some shapes runs the function: this compiles kernels and makes
    cuDNN's plans. The second call records. Where `MOST` recordings are kept, shapes that come more
    than twice as often as the rarest take its place. For all other shapes the function runs.

    Work that raises `NotImplementedError` cannot be recorded and runs too: CuPy does not record
    products of matrices (`minirpn.accel.cuda.winograd` does). Any other error, such as too little
    memory or work that waits for the GPU, gives one warning, and nothing more is recorded.
    """

    def __init__(self, record: Record | None = None) -> None:
        self._record = record
        self._recordings: dict[Hashable, Recording] = {}
        self._calls: Counter[Hashable] = Counter()  # by the shapes of the inputs
        self._state: Hashable = None  # all recordings depend on it
        self._unrecordable: set[Hashable] = set()
        self._failed = False

    def __call__(
        self,
        function: Callable[..., Result],
        inputs: Sequence[Array],
        fixed: Sequence[OtherArray] = (),
        mode: Hashable = None,
    ) -> Result:
        """Return ``function(*inputs)``; a later call may overwrite its arrays.

        Parameters
        ----------
        function
            Always the same for a recorder. It returns arrays, in tuples and dicts.
        inputs
            What changes from call to call; of any shapes.
        fixed
            The other arrays it reads, such as parameters. If one of them is in another place than
            before, everything is recorded again.
        mode
            Whatever else it depends on, such as whether TF32 is allowed. Another mode, too, means
            that everything is recorded again.
        """
        if self._failed or not on_cuda(inputs[0]):
            return function(*inputs)
        state = mode, tuple(array.data.ptr for array in fixed)
        if state != self._state:
            self._state = state
            self._recordings.clear()
            self._unrecordable.clear()
            self._calls.clear()
        key = tuple((array.shape, array.strides, array.dtype) for array in inputs)
        self._calls[key] += 1
        if key not in self._recordings:
            recording = self._recorded(function, inputs, key) if self._is_due(key) else None
            if recording is None:
                return function(*inputs)
            self._recordings[key] = recording
        recording = self._recordings[key]
        for place, array in zip(recording.inputs, inputs, strict=True):
            place[...] = array
        recording.launch()
        return recording.result

    def _is_due(self, key: Hashable) -> bool:
        """Tell whether to record now; if so and all places are taken, drop the rarest recording."""
        if self._calls[key] < 2 or key in self._unrecordable:
            return False
        if len(self._recordings) < MOST:
            return True
        rarest = min(self._recordings, key=self._calls.__getitem__)
        if self._calls[key] <= 2 * self._calls[rarest]:
            return False
        del self._recordings[rarest]
        return True

    def _recorded(
        self, function: Callable[..., Result], inputs: Sequence[Array], key: Hashable
    ) -> Recording | None:
        """Return a recording; None where the work cannot be recorded."""
        own = tuple(namespace_of(array).empty_like(array) for array in inputs)
        wait_for(inputs[0])  # work that is still running is no part of the recording
        try:
            if self._record is None:
                self._record = OnDevice()
            result, launch = self._record(lambda: function(*own))
        except NotImplementedError:
            self._unrecordable.add(key)
            # Other shapes may use other implementations, but not all of them are tried in vain.
            self._failed = not self._recordings and len(self._unrecordable) >= MOST_VAIN
            return None
        except Exception as error:  # whatever CUDA, CuPy or a library finds wrong with it
            self._failed, self._record = True, None  # this frees its memory too
            self._recordings.clear()
            reason = str(error).splitlines()[0] if str(error) else ""
            warnings.warn(
                f"no CUDA graph: {type(error).__name__}: {reason}; each kernel of a step is "
                "launched by itself",
                RuntimeWarning,
                stacklevel=3,
            )
            return None
        return Recording(own, result, launch)
