"""From settings to the network they describe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minirpn.data import SHAPES, SyntheticConfig, generate
from minirpn.training.build import build_model, find_classes, open_dataset, with_splits_there
from minirpn.training.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    SharingConfig,
    TrainConfig,
)
from minirpn.training.run_folder import RunFolder

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


# --- data sets ------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    """The settings of a data set of shapes, with the splits train and val."""
    root = generate(tmp_path / "data", SyntheticConfig(images=30, image_size=(80, 96), min_side=16))
    return DataConfig(voc=str(root), split="train", val_split="val")


def test_objects_without_a_name_are_no_class_of_a_detector(data, tmp_path):
    folder, config = RunFolder(tmp_path / "run"), TrainConfig(data=data)
    assert set(find_classes(config, folder)) == set(SHAPES)
    files = sorted((tmp_path / "data/Annotations").iterdir())
    first = (
        tmp_path / "data/Annotations" / f"{open_dataset(config, folder, 'train').image_ids[0]}.xml"
    )
    text = first.read_text()
    first.write_text(text.replace("<name>", "<name/><was>", 1).replace("</name>", "</was>", 1))
    assert set(find_classes(config, folder)) == set(SHAPES)
    config = TrainConfig(data=replace(data, classes=SHAPES))
    annotation = open_dataset(config, folder, "train").annotation(0)
    assert len(annotation.ignored) == 1
    assert len(annotation.gt_boxes) == text.count("<object>") - 1
    # Where no object has a name, all are of one class.
    for path in files:
        path.write_text(path.read_text().replace("<name>", "<was>").replace("</name>", "</was>"))
    assert find_classes(TrainConfig(data=data), folder) == ("unnamed",)


def test_splits_that_nobody_named_are_those_of_the_data(data, tmp_path):
    config = TrainConfig(data=data)
    assert with_splits_there(config, ()) == (config, [])
    lists = tmp_path / "data/ImageSets/Main"
    (lists / "val.txt").unlink()
    changed, (line,) = with_splits_there(config, ())
    assert (changed.data.split, changed.data.val_split) == ("train", None)
    assert "no split 'val': training without validation" in line
    assert with_splits_there(config, {"data.val_split"}) == (config, [])
    shapes = TrainConfig()
    assert with_splits_there(shapes, ()) == (shapes, [])
