"""Small trained runs that the tests of the door share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

import minirpn

# Three steps on small pictures: enough for every file of a run to be there.
SMALL: dict[str, Any] = {
    "synthetic": {"images": 5, "image_size": [80, 96], "min_side": 16},
    "resize": {"short_side": 80, "max_side": 96},
    "anchors": {"base_size": 8, "scales": [2.0, 4.0]},
    "steps": 3,
    "checkpoint_every": 2,
    "device": "cpu",
    "progress": False,
}


@pytest.fixture(scope="session")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    without_figures: Callable[[], AbstractContextManager[None]],
) -> minirpn.Run:
    """A finished run; not to be changed."""
    with without_figures():
        return minirpn.train(out=tmp_path_factory.mktemp("api") / "shapes", **SMALL)


@pytest.fixture(scope="session")
def detector_run(
    tmp_path_factory: pytest.TempPathFactory,
    without_figures: Callable[[], AbstractContextManager[None]],
) -> minirpn.Run:
    """A finished run with a detector; not to be changed."""
    settings = SMALL | {
        # Enough pictures for every class to be in the training split.
        "synthetic": SMALL["synthetic"] | {"images": 30},
        "sharing": {"kind": "approximate-joint"},
        "proposals": {"post_nms": 20},
    }
    with without_figures():
        return minirpn.train(out=str(tmp_path_factory.mktemp("api") / "detector"), **settings)


@pytest.fixture(scope="session")
def shapes() -> minirpn.Model:
    """The smallest model that comes with minirpn."""
    return minirpn.load("shapes", device="cpu")


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Three pictures (H, W, 3) uint8, two of one size, with a rectangle in each."""
    rng = np.random.default_rng(0)
    made = []
    for size in ((60, 80), (60, 80), (90, 64)):
        image = np.full((*size, 3), rng.integers(180, 250, 3), np.uint8)
        image[10:40, 15:50] = rng.integers(0, 120, 3)
        made.append(image)
    return made
