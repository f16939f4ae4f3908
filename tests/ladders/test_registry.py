"""The choice of rungs: fastest by default, wishes honoured, bad wishes said."""

import subprocess
import sys
import threading

import array_api_compat
import array_api_strict
import numpy as np
import pytest

from minirpn import kernels
from minirpn.backend import is_numpy, namespace_of
from minirpn.kernels._compiled import compiled
from minirpn.kernels._ladder import _LADDERS, Ladder, Rung, each


def is_strict(array):
    return array_api_compat.is_array_api_strict_namespace(namespace_of(array))


@pytest.fixture
def ladder():
    """A ladder of rungs that tell their names; the last is not installed."""
    made = Ladder(
        "toy",
        (
            Rung("slow", lambda x: "slow", takes=is_numpy),
            Rung("fast", lambda x: "fast", suits=lambda x: x.size > 1),
            Rung("elsewhere", lambda x: "elsewhere", takes=is_strict),
            Rung("absent", lambda x: "absent", present=lambda: False),
        ),
    )
    yield made
    del _LADDERS["toy"]


def test_the_fastest_rung_that_suits_runs(ladder):
    assert ladder(np.zeros(2)) == "fast"
    assert ladder(np.zeros(1)) == "slow"


def test_a_wish_holds_inside_the_block_and_nests(ladder):
    with kernels.use_rung("slow"):
        assert ladder(np.zeros(2)) == "slow"
        with kernels.use_rung("fast", "toy"):
            assert ladder(np.zeros(1)) == "fast"
        assert ladder(np.zeros(2)) == "slow"
    assert ladder(np.zeros(2)) == "fast"


def test_a_wish_ends_when_the_block_raises(ladder):
    with pytest.raises(KeyError), kernels.use_rung("slow"):
        raise KeyError
    assert ladder(np.zeros(2)) == "fast"


def test_a_wish_is_not_seen_by_another_thread(ladder):
    seen = []
    with kernels.use_rung("slow"):
        thread = threading.Thread(target=lambda: seen.append(ladder(np.zeros(2))))
        thread.start()
        thread.join()
    assert seen == ["fast"]


def test_impossible_wishes_are_refused(ladder):
    with pytest.raises(ValueError, match="no rung 'warp'"), kernels.use_rung("warp"):
        pass
    with pytest.raises(ValueError, match="no operation 'joust'"), kernels.use_rung("slow", "joust"):
        pass
    with kernels.use_rung("absent"), pytest.raises(RuntimeError, match="not installed"):
        ladder(np.zeros(2))
    on_device = array_api_strict.zeros(2, device=array_api_strict.Device("device1"))
    with kernels.use_rung("slow"), pytest.raises(TypeError, match="takes no array_api_strict"):
        ladder(on_device)


def test_a_rung_runs_on_the_kind_of_array_it_takes(ladder):
    on_device = array_api_strict.zeros(2, device=array_api_strict.Device("device1"))
    assert ladder(on_device) == "elsewhere"
    assert ladder(np.zeros(2)) == "fast"
    with kernels.use_rung("elsewhere"), pytest.raises(TypeError, match=r"takes no numpy\.ndarray"):
        ladder(np.zeros(2))
    assert kernels.available()["toy"] == ("slow", "fast", "elsewhere")
    assert kernels.available(np.zeros(2))["toy"] == ("slow", "fast")
    assert kernels.available(on_device)["toy"] == ("fast", "elsewhere")


def test_a_rung_for_a_list_asks_of_every_array_in_it():
    takes = each(is_numpy)
    on_device = array_api_strict.zeros(2, device=array_api_strict.Device("device1"))
    assert takes([np.zeros(2), np.zeros(3)])
    assert not takes((np.zeros(2), on_device))
    assert takes(np.zeros(2))  # as `available` asks
    assert not takes(on_device)


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
from minirpn.kernels._compiled import compiled
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


WITHOUT_NUMBA = """
import sys, warnings
sys.modules["numba"] = None  # as if it were not installed
import numpy as np
from minirpn import kernels
from minirpn.backend import is_numpy, namespace_of
from minirpn.bench.work import minibatch_for, new_trainer, take_step
assert kernels.available()["conv2d"] == ("loops", "im2col")
trainer = new_trainer("tiny")
images = np.random.default_rng(0).normal(size=(1, 3, 240, 320)).astype(np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    take_step(trainer, images[0], minibatch_for(trainer, images[0]))
    trainer.network.propose(images[0])
print(*(str(warning.message) for warning in caught), sep="\\n")
"""


def test_without_numba_everything_works_after_one_warning():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "numba is not installed: slower rungs run instead, with the same results"
    ]
