"""Flags stand for settings that exist, and reach them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from minirpn.cli.settings import FLAGS, RECIPE_NAMES, add_settings, given_settings
from minirpn.errors import InputError
from minirpn.rpn.anchors import AnchorConfig
from minirpn.training.config import RECIPES, TrainConfig, load_config
from minirpn.training.tables import without_none

ALL = [flag for flags in FLAGS.values() for flag in flags]


def settings_of(*words: str) -> tuple[dict, dict]:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return given_settings(parser.parse_args(words))


def type_of(key: str):
    """Return the type hint of a setting, without None."""
    hint = TrainConfig
    for name in key.split("."):
        hint = without_none(get_type_hints(hint)[name])
    return hint


@pytest.mark.parametrize("flag", ALL, ids=lambda flag: flag.name)
def test_every_flag_takes_what_its_setting_takes(flag):
    hint = type_of(flag.key)
    if isinstance(flag.values, tuple):
        assert get_origin(hint) is Literal
        assert flag.values == get_args(hint)
    elif isinstance(flag.values, bool):
        assert hint is bool
    elif hint in (int, float, str):
        assert flag.values is hint
    else:
        assert flag.key in ("model.preprocessing", "model.freeze")


def test_anchors_sets_every_field_of_the_section():
    with pytest.raises(InputError) as caught:
        settings_of("--anchors", "nothing=1")
    for field in fields(AnchorConfig):
        assert f"{field.name}=" in str(caught.value)


def test_the_recipes_can_all_be_asked_for():
    assert set(RECIPE_NAMES) == set(RECIPES)


def test_no_flag_means_no_setting():
    assert settings_of()[0] == {}


def test_flags_become_settings():
    values, names = settings_of("--lr", "0.5", "--steps", "7", "--no-flip", "--voc", "none")
    assert values == {
        "optimizer.lr": 0.5,
        "optimizer.steps": 7,
        "data.flip": False,
        "data.voc": "none",
    }
    assert names["optimizer.lr"] == "--lr"
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
