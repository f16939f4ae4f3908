"""The choice of an implementation: the fastest by default, or the one asked for by name."""

import subprocess
import sys
import threading

import array_api_compat
import array_api_strict
import numpy as np
import pytest

from minirpn import accel, boxes, nn
from minirpn._checks import is_numpy
from minirpn.accel import Implementation, Operation, dispatch
from minirpn.accel.numba.compiled import compiled
from minirpn.backend import namespace_of


def is_strict(array):
    return array_api_compat.is_array_api_strict_namespace(namespace_of(array))


@pytest.fixture
def toy():
    """An operation that tells the name of its implementation; the last is not installed."""
    operation = Operation(
        "toy",
        (
            Implementation("slow", lambda x: "slow", supports=is_numpy),
            Implementation("fast", lambda x: "fast", is_preferred=lambda x: x.size > 1),
            Implementation("elsewhere", lambda x: "elsewhere", supports=is_strict),
            Implementation("absent", lambda x: "absent", is_available=lambda: False),
        ),
    )
    yield lambda x: operation.choose(x).function(x)
    del dispatch.OPERATIONS["toy"]


def test_the_fastest_implementation_that_pays_runs(toy):
    assert toy(np.zeros(2)) == "fast"
    assert toy(np.zeros(1)) == "slow"


def test_a_choice_holds_inside_the_block_and_nests(toy):
    with accel.use("slow"):
        assert toy(np.zeros(2)) == "slow"
        with accel.use("fast", "toy"):
            assert toy(np.zeros(1)) == "fast"
        assert toy(np.zeros(2)) == "slow"
    assert toy(np.zeros(2)) == "fast"


def test_a_choice_ends_when_the_block_raises(toy):
    with pytest.raises(KeyError), accel.use("slow"):
        raise KeyError
    assert toy(np.zeros(2)) == "fast"


def test_a_choice_is_not_seen_by_another_thread(toy):
    names = []
    with accel.use("slow"):
        thread = threading.Thread(target=lambda: names.append(toy(np.zeros(2))))
        thread.start()
        thread.join()
    assert names == ["fast"]


def test_impossible_choices_are_refused(toy):
    with pytest.raises(ValueError, match="no implementation 'warp'"), accel.use("warp"):
        pass
    with pytest.raises(ValueError, match="no operation 'joust'"), accel.use("slow", "joust"):
        pass
    with pytest.raises(ValueError, match="'fast' for toy, iou"), accel.use("fast", "toy", "iou"):
        pass
    with accel.use("absent"), pytest.raises(RuntimeError, match="not installed"):
        toy(np.zeros(2))
    on_device = array_api_strict.zeros(2, device=array_api_strict.Device("device1"))
    with accel.use("slow"), pytest.raises(TypeError, match="does not support array_api_strict"):
        toy(on_device)


def test_an_implementation_runs_on_the_arrays_it_supports(toy):
    on_device = array_api_strict.zeros(2, device=array_api_strict.Device("device1"))
    assert toy(on_device) == "elsewhere"
    assert toy(np.zeros(2)) == "fast"
    with accel.use("elsewhere"), pytest.raises(TypeError, match=r"not support numpy\.ndarray"):
        toy(np.zeros(2))
    assert accel.available()["toy"] == ("slow", "fast", "elsewhere")
    assert accel.available(np.zeros(2))["toy"] == ("slow", "fast")
    assert accel.available(on_device)["toy"] == ("fast", "elsewhere")


def test_every_array_of_a_list_has_to_be_supported(toy):
    choose = dispatch.OPERATIONS["toy"].choose
    on_device = array_api_strict.zeros(2, device=array_api_strict.Device("device1"))
    with accel.use("slow"):
        assert choose([np.zeros(2), np.zeros(3)]).name == "slow"
        with pytest.raises(TypeError, match="does not support"):
            choose((np.zeros(2), on_device))


def double(x):
    return 2 * x


def double_and_one(x):
    return double(x) + 1


def test_compiled_code_calls_its_helpers():
    pytest.importorskip("numba")
    fast = compiled(double_and_one, double)
    assert fast(20) == double_and_one(20) == 41


HELPER = "def offset(x):\n    return x + {}\n"
CALLER = """
from minirpn.accel.numba.compiled import compiled
from helper_file import offset

def shifted(x):
    return offset(x)

print(compiled(shifted, offset)(10.0))
"""


def test_machine_code_follows_a_helper_in_another_file(tmp_path):
    pytest.importorskip("numba")
    caller = tmp_path / "caller.py"
    caller.write_text(CALLER)
    for step in (1, 2):  # the second process finds the machine code of the first on disk
        (tmp_path / "helper_file.py").write_text(HELPER.format(step))
        printed = subprocess.run(
            [sys.executable, "-B", str(caller)], check=True, capture_output=True, text=True
        ).stdout
        assert float(printed) == 10.0 + step


def test_every_operation_is_there_when_nothing_else_was_imported():
    program = "from minirpn import accel; print(*accel.operations())"
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert printed.split() == list(accel.operations())


WITHOUT_NUMBA = """
import logging, sys
sys.modules["numba"] = None  # as if it were not installed
logging.basicConfig(format="%(message)s", stream=sys.stdout)
import numpy as np
from minirpn import accel, boxes, nn
from minirpn.bench.work import minibatch_for, new_trainer, take_step
assert accel.available()["conv2d"] == ("loops", "array")
trainer = new_trainer("tiny")
images = np.random.default_rng(0).normal(size=(1, 3, 240, 320)).astype(np.float32)
take_step(trainer, images[0], minibatch_for(trainer, images[0]))
trainer.network.propose(images[0])
"""


def test_without_numba_everything_works_after_one_line():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "slower code runs in place of numba's, so that last digits may differ "
        "(numba is not installed)"
    ]


def test_keywords_and_wrong_arguments_are_those_of_the_function():
    a = np.array([[0.0, 0, 2, 2]])
    assert boxes.iou(b=a, a=a).item() == nn.activations.relu(x=np.ones(1)).item() == 1
    with pytest.raises(TypeError, match=r"iou\(\) missing 1 required positional argument: 'b'"):
        boxes.iou(a)
    assert nn.SGD([]).step({}, lr=0.1) is None


def test_a_choice_for_convolution_holds_where_a_relu_is_computed_with_it():
    x, weight, bias = np.zeros((1, 2, 4, 4)), np.zeros((3, 2, 3, 3)), np.zeros(3)
    with accel.use("loops", "conv2d"):
        chosen = accel.operations()["conv2d_relu"].choose(x, weight, bias, (1, 1), (0, 0))
    assert chosen.name == "loops"
