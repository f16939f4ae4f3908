"""From settings to the network they describe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minirpn.training.build import build_model
from minirpn.training.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    SharingConfig,
    TrainConfig,
)

CONFIG = TrainConfig(
    data=DataConfig(classes=("disc", "square")),
    model=ModelConfig(backbone="tiny"),
    optimizer=OptimizerConfig(backbone_lr_multiplier=0.25, bias_lr_multiplier=2.0),
)


@pytest.mark.parametrize("kind", ["rpn-only", "approximate-joint"])
def test_each_parameter_learns_at_the_rate_of_its_part_and_kind(kind):
    model = build_model(
        replace(CONFIG, sharing=SharingConfig(kind=kind)), rng=np.random.default_rng(0)
    )
    rates = {parameter.name: parameter.lr_multiplier for parameter in model.parameters()}
    for name, rate in rates.items():
        of_part = 0.25 if name.startswith("conv") else 1.0  # the backbone's: conv1 to conv5
        of_kind = 2.0 if name.endswith(".bias") else 1.0
        assert rate == of_part * of_kind, name


@pytest.mark.parametrize("use_difficult", [False, True])
def test_difficult_objects_are_learned_if_asked_for(use_difficult):
    difficult = np.array([True, False, True])
    learnt = DataConfig(use_difficult=use_difficult).learnt(difficult)
    assert learnt.tolist() == [use_difficult, True, use_difficult]
