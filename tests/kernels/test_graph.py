"""What a GPU is asked for as a whole, with a stand-in for the recording of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from minirpn.accel.cuda import graph
from minirpn.accel.cuda.graph import Recorder


class Place(np.ndarray):
    """A NumPy array that tells its address as CuPy's do."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


def array(*numbers):
    return np.array(numbers, np.float32).view(Place)


class Tape:
    """Keeps work, and does it again into the very arrays that it returned."""

    def __init__(self):
        self.recorded = self.launched = 0

    def __call__(self, work):
        self.recorded += 1
        with np.errstate(all="ignore"):  # there is nothing yet in the inputs
            result = {name: np.full_like(value, np.nan) for name, value in work().items()}

        def launch():
            self.launched += 1
            for name, value in work().items():
                result[name][...] = value

        return result, launch


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch):
    monkeypatch.setattr(graph, "on_cuda", lambda array: True)


@pytest.fixture
def tape():
    return Tape()


def square(x):
    return {"y": x * x}


def test_the_first_call_computes_the_second_records_and_all_give_what_the_function_does(tape):
    recorder, calls = Recorder(tape), []

    def function(x):
        calls.append(x)
        return square(x)

    for number in (1, 2, 3, 4):
        x = array(number, 2 * number)
        result = recorder(function, [x])
        np.testing.assert_array_equal(result["y"], x * x)
        np.testing.assert_array_equal(x, [number, 2 * number])
    assert (tape.recorded, tape.launched) == (1, 3)
    assert all(own is calls[1] for own in calls[1:])  # what is read lies in one place


def test_a_result_is_where_the_last_one_was(tape):
    recorder = Recorder(tape)
    results = [recorder(square, [array(number)])["y"] for number in (1, 2, 3)]
    assert results[1] is results[2]
    assert results[0] is not results[1]


def call(recorder, length, times=1):
    for _ in range(times):
        x = array(*range(length))
        np.testing.assert_array_equal(recorder(square, [x])["y"], x * x)


def test_there_is_a_recording_for_each_shape(tape):
    recorder = Recorder(tape)
    for length in (1, 2, 3):
        call(recorder, length, 3)
    assert (tape.recorded, tape.launched) == (3, 6)


def test_of_many_shapes_the_frequent_ones_are_kept(tape, monkeypatch):
    monkeypatch.setattr(graph, "MOST", 2)
    recorder = Recorder(tape)
    call(recorder, 1, 5)
    call(recorder, 2, 3)
    for length in range(3, 9):  # these come too seldom
        call(recorder, length, 3)
    assert tape.recorded == 2
    call(recorder, 3, 3)  # for the sixth time: no more than twice as often as the second
    assert tape.recorded == 2
    call(recorder, 3)  # and now it takes its place
    assert tape.recorded == 3
    call(recorder, 2, 3)
    call(recorder, 1)
    assert tape.recorded == 3


def test_what_else_is_read_may_change_but_not_move(tape):
    recorder, factor = Recorder(tape), array(2)

    def call(number):
        return recorder(lambda x: {"y": x * factor}, [array(number)], [factor])["y"].item()

    assert [call(number) for number in (1, 2, 3)] == [2, 4, 6]
    factor[...] = 10
    assert call(3) == 30
    factor = array(7)  # elsewhere: what was recorded would not see it
    assert [call(number) for number in (1, 2, 3)] == [7, 14, 21]
    assert tape.recorded == 2


def test_another_mode_is_recorded_anew(tape):
    recorder, mode = Recorder(tape), "plain"

    def function(x):
        return {"y": x * x if mode == "plain" else -x}

    for mode, expected in (("plain", 9), ("rounded", -3), ("plain", 9)):
        for _ in range(3):
            assert recorder(function, [array(3)], mode=mode)["y"].item() == expected
    assert tape.recorded == 3


def test_what_cublas_is_asked_for_is_passed_over_in_silence():
    def refuse(work):
        raise NotImplementedError("cuBLAS")

    recorder = Recorder(refuse)
    for number in (1, 2, 3):
        assert recorder(square, [array(number)])["y"].item() == number**2
    assert not recorder._failed


def test_and_tried_in_vain_but_a_few_times():
    tries = []

    def refuse(work):
        tries.append(work)
        raise NotImplementedError("cuBLAS")

    recorder = Recorder(refuse)
    for length in range(1, 9):
        call(recorder, length, 3)
    assert len(tries) == graph.MOST_VAIN


def test_a_recording_that_fails_is_said_once_and_the_work_is_done():
    tries = []

    def fail(work):
        tries.append(work)
        raise RuntimeError("operation would wait\nand more")

    recorder = Recorder(fail)
    recorder(square, [array(1)])
    with pytest.warns(RuntimeWarning, match="no CUDA graph: RuntimeError: operation would wait;"):
        assert recorder(square, [array(2)])["y"].item() == 4
    for length in (1, 2, 2):
        recorder(square, [array(*range(length))])
    assert len(tries) == 1


def test_what_is_not_on_a_gpu_is_computed_as_always(tape, monkeypatch):
    monkeypatch.setattr(graph, "on_cuda", lambda array: False)
    recorder = Recorder(tape)
    for number in (1, 2, 3):
        assert recorder(square, [array(number)])["y"].item() == number**2
    assert tape.recorded == 0
