"""A small trained run that the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from minirpn.cli.main import main
from minirpn.training.tables import write_toml

# Three steps on small pictures: enough for every file of a run to be there.
SMALL = {
    "synthetic": {"images": 5, "image_size": [80, 96], "min_side": 16},
    "resize": {"short_side": 80, "max_side": 96},
    "anchors": {"base_size": 8, "scales": [2.0, 4.0]},
    "optimizer": {"steps": 3},
    "run": {"checkpoint_every": 2, "device": "cpu"},
}


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A settings file for a run of a second or two."""
    path = tmp_path_factory.mktemp("settings") / "small.toml"
    write_toml(path, SMALL)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_config: Path) -> Path:
    """The folder of a finished run; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "shapes"
    assert main(["train", "--config", str(small_config), "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def trained_detector(
    tmp_path_factory: pytest.TempPathFactory,
    without_figures: Callable[[], AbstractContextManager[None]],
) -> Path:
    """The folder of a finished run with a detector; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    table = SMALL | {
        # Enough pictures for every class to be in the training split.
        "synthetic": SMALL["synthetic"] | {"images": 30},
        "sharing": {"kind": "approximate-joint"},
        "proposals": {"post_nms": 20},
        # After three steps the detector is sure of nothing but the background.
        "detections": {"score_threshold": 0.0},
    }
    write_toml(folder / "settings.toml", table)
    words = ["train", "--config", str(folder / "settings.toml"), "--out", str(folder / "run")]
    with without_figures():
        assert main(words) == 0
    return folder / "run"


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must end in one line on stderr and status 2; return what it says."""

    def check(*words: object) -> str:
        status = main([str(word) for word in words])
        error = capsys.readouterr().err
        assert status == 2
        # Progress and warnings of what went before aside, there is one line and no traceback.
        aside = ("step ", "image ", "training ", "warning: ")
        (line,) = (line for line in error.splitlines() if not line.startswith(aside))
        assert line.startswith("minirpn: error: ")
        return line.removeprefix("minirpn: error: ")

    return check
