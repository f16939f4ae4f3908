"""Flags stand for settings that exist, and reach them."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

from minirpn.cli.settings import add_settings, given_settings
from minirpn.errors import InputError
from minirpn.rpn.anchors import AnchorConfig
from minirpn.training.config import load_config
from minirpn.weights import PRESETS


def settings_of(*words: str) -> tuple[dict, dict]:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return given_settings(parser.parse_args(words))


def test_a_flag_takes_what_its_setting_takes():
    words = ["--sharing", "4-step", "--threads", "2", "--tf32", "--no-graphs", "--freeze", "a,b"]
    values, _ = settings_of(*words, "--preset", "torchvision")
    config = load_config(None, values)
    assert (config.sharing.kind, config.run.threads) == ("4-step", 2)
    assert (config.run.tf32, config.run.graphs) == (True, False)
    assert config.model.freeze == ("a", "b")
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
