"""The names of the package: the door first, and light to import."""

import subprocess
import sys
from importlib import resources

import pytest

import minirpn

DOOR = ["load", "train", "Model", "Run", "Proposals", "Detections"]


def test_the_door_comes_first():
    assert minirpn.__all__[:6] == DOOR
    assert minirpn.__dir__()[:6] == DOOR
    assert set(minirpn.__all__) == set(dir(minirpn))
    for name in minirpn.__all__:
        assert getattr(minirpn, name) is not None
    with pytest.raises(AttributeError, match="module 'minirpn' has no attribute 'lode'"):
        minirpn.lode  # noqa: B018


def test_importing_minirpn_imports_nothing_more_than_python():
    code = "import minirpn; dir(minirpn); import sys; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"numba", "matplotlib", "PIL", "tqdm", "cupy", "numpy"}
    assert not heavy & set(loaded)


def test_a_result_is_shown_by_the_library_that_draws_when_it_draws():
    code = "import minirpn; minirpn.load('shapes'); import sys; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "numpy" in loaded
    assert not {"matplotlib.pyplot", "tensorboardX"} & set(loaded)


def test_the_package_says_that_it_is_typed():
    assert resources.files("minirpn").joinpath("py.typed").is_file()
