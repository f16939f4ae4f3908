"""A study small enough for tests: a dozen tiny images, a handful of steps."""

from dataclasses import replace

import numpy as np
import pytest

from minirpn.data.synthetic import SyntheticConfig
from minirpn.data.transforms import ResizeConfig
from minirpn.evaluation import COUNTS, IOU_THRESHOLDS, RecallResult
from minirpn.rpn.anchors import AnchorConfig
from minirpn.studies import Outcome
from minirpn.training.config import OptimizerConfig, RunConfig, default_config


@pytest.fixture(scope="session")
def base():
    """Four steps on twelve generated images."""
    return replace(
        default_config(voc=False),
        synthetic=SyntheticConfig(images=12, image_size=(64, 80), max_objects=2, min_side=14),
        resize=ResizeConfig(short_side=64, max_side=96),
        anchors=AnchorConfig(base_size=8, scales=(2.0, 4.0, 8.0)),
        optimizer=OptimizerConfig(steps=4, lr=0.01),
        run=RunConfig(threads=1, checkpoint_every=1, diagnose_every=4),
    )


@pytest.fixture
def outcome():
    """Make an outcome that found a share of ten objects, whatever the count and the IoU."""

    def make(variant, seed, found, **more):
        recall = np.full((len(COUNTS), len(IOU_THRESHOLDS)), found, float)
        sizes = ("small", "medium", "large")
        result = RecallResult(
            COUNTS,
            IOU_THRESHOLDS,
            recall,
            10,
            dict.fromkeys(sizes, recall),
            dict.fromkeys(sizes, 3),
        )
        return Outcome(
            variant, seed, result, images=4, train_seconds=50, measure_seconds=10, **more
        )

    return make
