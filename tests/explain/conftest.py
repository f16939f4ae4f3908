"""A step of an untrained network on generated shapes, opened up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minirpn.data.synthetic import generate
from minirpn.explain import OpenStep, find_picture, open_step
from minirpn.rpn.network import RPN
from minirpn.training.build import build_network
from minirpn.training.config import TrainConfig, load_config
from minirpn.training.run_folder import RunFolder

# Small anchors, many of which cross no border; few are sampled, so that some positives are not.
SMALL = {
    "synthetic.images": 5,
    "synthetic.image_size": [80, 96],
    "synthetic.min_side": 16,
    "resize.short_side": 80,
    "resize.max_side": 96,
    "anchors.base_size": 8.0,
    "anchors.scales": [2.0, 4.0],
    "labels.inside_only": True,
    "labels.positive_iou": 0.45,
    "sampling.batch_size": 20,
    "sampling.positive_fraction": 0.1,
    "loss.n_cls": 20,
    "proposals.post_nms": 30,
}


@pytest.fixture(scope="session")
def settings() -> Callable[..., TrainConfig]:
    """Return the small settings with some of them changed."""

    def changed(**values: object) -> TrainConfig:
        dotted = {name.replace("__", "."): value for name, value in values.items()}
        return load_config(None, SMALL | dotted)

    return changed


@pytest.fixture(scope="session")
def run_folder(
    tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., TrainConfig]
) -> RunFolder:
    """Return a folder with shapes in it, as a run leaves them."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    generate(folder.path / "shapes", settings().synthetic)
    return folder


@pytest.fixture(scope="session")
def network_of() -> Callable[[TrainConfig], RPN]:
    """Return a network whose outputs are far from 0, as after some training."""

    def build(config: TrainConfig) -> RPN:
        network = build_network(config, rng=np.random.default_rng(5))
        weight = network.head.objectness.parameters()[0]
        weight.value = weight.value * np.float32(20)
        weight = network.head.deltas.parameters()[0]
        weight.value = weight.value * np.float32(20)
        return network

    return build


@pytest.fixture(scope="session")
def opened(
    run_folder: RunFolder,
    settings: Callable[..., TrainConfig],
    network_of: Callable[[TrainConfig], RPN],
) -> Callable[..., OpenStep]:
    """Open a step on an image, of the shapes or a file, some settings changed."""

    def make(image: str | Path = "000001", **values: object) -> OpenStep:
        config = settings(**values)
        picture = find_picture(str(image), run_folder, config.data)
        return open_step(network_of(config), config, picture)

    return make


@pytest.fixture
def lone_image(run_folder: RunFolder, tmp_path: Path) -> Callable[[str], Path]:
    """Copy an image of the shapes to where there is no annotation, under some name."""

    def copy(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes((run_folder.path / "shapes/JPEGImages/000001.jpg").read_bytes())
        return path

    return copy
