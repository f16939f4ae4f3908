"""Flags stand for settings that exist, and reach them."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tomli_w

from minirpn.cli.settings import (
    add_recipe,
    add_settings,
    as_typed,
    count_training_images,
    given_settings,
)
from minirpn.data import SyntheticConfig, VOCDataset, generate
from minirpn.errors import InputError
from minirpn.rpn.anchors import AnchorConfig
from minirpn.training.config import RECIPES, load_config
from minirpn.training.tables import flat, to_table
from minirpn.weights import PRESETS


def settings_of(*words: str) -> tuple[dict, dict]:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return given_settings(parser.parse_args(words))


def test_a_flag_takes_what_its_setting_takes():
    words = [
        "--sharing",
        "4-step",
        "--threads",
        "2",
        "--tf32",
        "--no-graphs",
        "--freeze",
        "conv1,conv2",
    ]
    values, _ = settings_of(*words, "--preset", "torchvision")
    config = load_config(None, values)
    assert (config.sharing.kind, config.run.threads) == ("4-step", 2)
    assert (config.run.tf32, config.run.graphs) == (True, False)
    assert config.model.freeze == ("conv1", "conv2")
    assert config.model.preprocessing == PRESETS["torchvision"]
    assert load_config(None, settings_of("--freeze", "nothing")[0]).model.freeze == ()


@pytest.mark.parametrize("words", [["--sharing", "all"], ["--steps", "1.5"], ["--preset", "x"]])
def test_a_flag_takes_nothing_else(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        settings_of(*words)
    assert f"argument {words[0]}: " in capsys.readouterr().err


def test_anchors_sets_every_field_of_the_section():
    with pytest.raises(InputError) as caught:
        settings_of("--anchors", "nothing=1")
    for field in fields(AnchorConfig):
        assert f"{field.name}=" in str(caught.value)


def test_no_flag_means_no_setting_and_no_name_for_messages():
    assert settings_of() == ({}, {})


def test_flags_become_settings():
    values, names = settings_of("--lr", "0.5", "--steps", "7", "--no-flip", "--voc", "none")
    assert values == {
        "optimizer.lr": 0.5,
        "optimizer.steps": 7,
        "data.flip": False,
        "data.voc": "none",
    }
    assert names == {
        "optimizer.lr": "--lr",
        "optimizer.steps": "--steps",
        "data.flip": "--no-flip",
        "data.voc": "--voc",
    }
    assert load_config(None, values).data.voc is None


@pytest.mark.parametrize(
    "words",
    [
        ["--anchors", "scales=2,4", "ratios=0.5,1", "rounding=none"],
        ["--anchors", "scales=2,4 ratios=0.5,1 rounding=none"],
    ],
)
def test_anchors(words: list[str]):
    anchors = load_config(None, settings_of(*words)[0]).anchors
    assert (anchors.scales, anchors.ratios, anchors.rounding) == ((2.0, 4.0), (0.5, 1.0), None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "sizes=3",
            r"^--anchors sizes=3: expected one of scales=, ratios=, base_size=, rounding=$",
        ),
        ("scales=a,b", r"^--anchors scales=a,b: expected numbers separated by commas$"),
        ("scales=", r"^--anchors scales=: expected numbers separated by commas$"),
        ("scales=-1", r"^--anchors scales: expected finite numbers above 0, got -1\.0$"),
        ("ratios=nan", r"^--anchors ratios: expected a finite number, got nan$"),
    ],
)
def test_wrong_anchors_are_one_line(words: str, message: str):
    with pytest.raises(InputError, match=message):
        load_anchors(words)


def load_anchors(words: str) -> None:
    values, names = settings_of("--anchors", words)
    load_config(None, values, origins=names)


# --- --set ---------------------------------------------------------------------------------------


def set_values(*words: str) -> dict:
    return settings_of(*(part for word in words for part in ("--set", word)))[0]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("optimizer.lr=1e-3", 1e-3),
        ("optimizer.steps = 7", 7),
        ("optimizer.clip_norm=none", None),
        ("optimizer.rule=torch", "torch"),
        ('optimizer.rule="torch"', "torch"),
        ("run.tensorboard=true", True),
        ("data.year=2007", "2007"),
        ("data.voc=data/VOC=2", "data/VOC=2"),
        ("data.classes=cat,dog", ("cat", "dog")),
        ("data.classes=[cat, dog]", ("cat", "dog")),
        ('data.classes=["a,b"]', ("a,b",)),
        ("data.classes=7", ("7",)),
        ("data.classes=none", None),
        ("model.freeze=[]", ()),
        ("model.freeze=", ()),
        ("anchors.scales=8", (8.0,)),
        ("anchors.scales=8, 16.5", (8.0, 16.5)),
        ("anchors.rounding=none", None),
        ("synthetic.image_size=[80, 96]", (80, 96)),
        ("model.weights=a\nb=3", "a\nb=3"),
    ],
)
def test_set_reads_a_value_as_its_setting_needs_it(word: str, value: object):
    section, _, key = word.partition("=")[0].strip().partition(".")
    config = load_config(None, set_values(word))
    assert getattr(getattr(config, section), key) == value


def test_set_reaches_every_setting_of_config_toml():
    config = load_config(None, {"data.voc": "/voc"}, recipe="paper")
    words = []
    for key, value in flat(to_table(config)).items():
        text = tomli_w.dumps({"x": value}, indent=0).removeprefix("x = ").replace("\n", " ")
        words.append(f"{key}={text.strip()}")
    assert load_config(None, set_values(*words), recipe="shapes") == config


def test_set_reaches_into_how_pixels_are_prepared():
    values, _ = settings_of("--preset", "vgg", "--set", "model.preprocessing.order=RGB")
    prepared = load_config(None, values).model.preprocessing
    assert prepared == replace(PRESETS["vgg"], order="RGB")


def test_set_wins_over_the_file_and_the_file_over_the_recipe(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("[optimizer]\nlr = 0.5\nmomentum = 0.5\n")
    config = load_config(path, set_values("optimizer.lr=0.25"), recipe="small")
    assert (config.optimizer.lr, config.optimizer.momentum) == (0.25, 0.5)
    assert config.optimizer.steps == RECIPES["small"].optimizer.steps


@pytest.mark.parametrize(
    "words",
    [
        ("--lr", "0.5", "--set", "optimizer.lr=5e-1"),
        ("--no-flip", "--set", "data.flip=false"),
        ("--anchors", "scales=8,16", "--set", "anchors.scales=[8, 16]"),
        ("--set", "optimizer.lr=0.5", "--set", "optimizer.lr=0.50"),
    ],
)
def test_the_same_value_twice_is_no_contradiction(words: tuple[str, ...]):
    values, names = settings_of(*words)
    assert len(values) == len(names) == 1


# --- how many steps an epoch has, and errors that come later -------------------------------------


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    add_recipe(parser)
    add_settings(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("split", ["train", "val", "trainval", "test"])
def test_the_images_of_a_split_are_counted_without_making_them(split: str, tmp_path: Path):
    words = ("--set", "synthetic.images=13", "--split", split)
    folder = generate(tmp_path / "shapes", SyntheticConfig(images=13, image_size=(40, 40)))
    count = len(VOCDataset(folder, split=split))
    assert count_training_images(parsed(*words)) == count
    assert count_training_images(parsed("--voc", str(folder), "--split", split)) == count


def test_a_split_that_shapes_do_not_have_is_not_counted():
    assert count_training_images(parsed("--split", "mine")) is None


def test_an_error_that_comes_later_is_named_as_it_was_typed(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('[data]\nclasses = "none"\n')
    args = parsed("--freeze", "conv9", "--config", str(path))
    assert as_typed("model.freeze: no such stage", args) == "--freeze: no such stage"
    assert as_typed("data.classes: none", args) == f"{path}: data.classes: none"
    for other in ("run.device: not typed", "gone.toml: cannot read", "no setting at all"):
        assert as_typed(other, args) == other
