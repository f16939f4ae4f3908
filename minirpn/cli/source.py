"""The flags that name a data set and say how its files are read, for commands without settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minirpn.cli.settings import FLAGS

if TYPE_CHECKING:
    from minirpn.data.layout import Source
    from minirpn.training.config import DataConfig

_NAMES = ("year", "image_folder", "annotation_folder", "box_format", "clip_boxes", "no_annotation")
SOURCE_KEYS = frozenset(f"data.{name}" for name in _NAMES)
"""The settings that say where a data set is and how it is read, besides ``data.voc``."""
_FLAGS = tuple(flag for flag in FLAGS["data"] if flag.key in SOURCE_KEYS)


def add_source(parser: argparse.ArgumentParser, *, help: str = "data set in VOC layout") -> None:
    """Add ``--voc`` and the flags that say how its files are read."""
    parser.add_argument("--voc", metavar="DIR", help=help)
    for flag in _FLAGS:
        # Their values are checked when they are used: the settings load NumPy.
        kind: dict[str, Any] = {"metavar": flag.metavar}
        if flag.key == "data.clip_boxes":
            kind = {"action": "store_const", "const": True}
        parser.add_argument(flag.name, dest=flag.key, help=flag.help, **kind)


def names_data(args: argparse.Namespace) -> bool:
    """Tell whether the flags name a data set, and not only how one is read."""
    return args.voc is not None or getattr(args, "data.annotation_folder") is not None


def source_values(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings of the section ``data`` that were typed, and the flag of each.

    They are by dotted key, as for `minirpn.training.config.override`. With ``--voc`` or
    ``--annotations``, all that was said about another data set is forgotten.
    """
    from minirpn.training.config import DataConfig
    from minirpn.training.tables import to_table

    names = {"data.voc": "--voc", **{flag.key: flag.name for flag in _FLAGS}}
    values: dict[str, Any] = {}
    if names_data(args):  # another data set than the settings'
        defaults = to_table(DataConfig())
        values = {flag.key: defaults[flag.key.removeprefix("data.")] for flag in _FLAGS}
        values["data.voc"] = args.voc  # without it, it is where the annotations are
    given = {flag.key: getattr(args, flag.key) for flag in _FLAGS}
    values |= {key: value for key, value in given.items() if value is not None}
    return values, names


def flags_of(data: DataConfig) -> list[str]:
    """Return the words that name the data set of the settings on the command line."""
    from minirpn.training.config import DataConfig

    words = [] if data.voc is None else ["--voc", data.voc]
    for flag in _FLAGS:
        name = flag.key.removeprefix("data.")
        value = getattr(data, name)
        if value != getattr(DataConfig(), name):
            words += [flag.name] if value is True else [flag.name, str(value)]
    return words if data.classes is None else [*words, "--classes", ",".join(data.classes)]


def typed_source(args: argparse.Namespace) -> Sequence[str]:
    """Return the flags of `add_source` that were typed, with their values."""
    keys = {"--voc": "voc", **{flag.name: flag.key for flag in _FLAGS}}
    typed = {name: getattr(args, key) for name, key in keys.items()}
    return [f"{name} {value}" for name, value in typed.items() if value is not None]


def data_of(args: argparse.Namespace, data: DataConfig) -> DataConfig:
    """Return the section ``data`` with what was typed."""
    from dataclasses import replace

    from minirpn.training.config import TrainConfig, override

    values, names = source_values(args)
    config = override(replace(TrainConfig(), data=data), values, origins=names)
    return config.data


def source_of(args: argparse.Namespace) -> Source:
    """Return the data set that the flags name; InputError if they name none."""
    from minirpn.errors import InputError
    from minirpn.training.config import DataConfig

    source = data_of(args, DataConfig()).source
    if source is None:
        raise InputError("--voc: name a data set")
    return source
