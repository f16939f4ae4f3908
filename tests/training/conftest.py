"""A run small enough for tests: a dozen tiny images, a handful of steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from minirpn.data import generate
from minirpn.data.synthetic import SyntheticConfig
from minirpn.data.transforms import ResizeConfig
from minirpn.rpn.anchors import AnchorConfig
from minirpn.training.config import (
    DataConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    default_config,
)
from minirpn.training.run_folder import RunFolder, create_run

SHAPES = SyntheticConfig(images=12, image_size=(64, 80), max_objects=2, min_side=14)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve generated images."""
    return generate(tmp_path_factory.mktemp("data") / "shapes", SHAPES)


@pytest.fixture(scope="session")
def small_config(shapes: Path) -> TrainConfig:
    """Six steps on those images, measured and saved on the way."""
    return replace(
        default_config(voc=False),
        data=DataConfig(voc=str(shapes), split="train", val_split="val"),
        resize=ResizeConfig(short_side=64, max_side=96),
        anchors=AnchorConfig(base_size=8, scales=(2.0, 4.0)),
        optimizer=OptimizerConfig(steps=6, lr=0.01),
        run=RunConfig(
            threads=1, device="cpu", validate_every=3, checkpoint_every=2, diagnose_every=3
        ),
    )


@pytest.fixture
def new_run(tmp_path: Path, small_config: TrainConfig):
    """Make a run folder by name."""

    def make(name: str, config: TrainConfig = small_config) -> RunFolder:
        return create_run(tmp_path / name, config)

    return make
