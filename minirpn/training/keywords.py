"""Settings by keyword, as Python passes them: ``lr=0.01``, ``detections={"iou_threshold": 0.5}``.

They are those of ``config.toml``. A setting whose name is in one section only needs no more than
its name; the others come with their section.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from minirpn.errors import InputError, did_you_mean
from minirpn.training.config import TrainConfig
from minirpn.training.tables import flat, to_table, type_of

SECTIONS = tuple(section.name for section in fields(TrainConfig))


def settings_by_key(
    keywords: Mapping[str, Any],
    sections: Sequence[str] = SECTIONS,
    *,
    others: Iterable[str] = (),
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings by dotted key, and what the user called each.

    Parameters
    ----------
    keywords
        The name of a setting and its value; or the name of a section, and a dict of settings in it
        or the section itself, such as ``ProposalConfig(post_nms=100)``. Paths become strings.
    sections
        The sections that count.
    others
        Further keywords of the function, for the suggestion of the nearest known one.

    Returns
    -------
    values, names
        ``{"optimizer.lr": 0.01}`` and ``{"optimizer.lr": "lr"}``, for
        `minirpn.training.config.load_config` and `override`.

    Raises
    ------
    InputError
        There is no such setting (the nearest known is named), several sections have it, or one is
        given twice. Values are not checked here.

    Notes
    -----
    What ``synthetic`` shares with another section (``seed``, ``classes``) means the other one: it
    describes the generated pictures alone.
    """
    members = {name: [field.name for field in fields(_kind(name))] for name in sections}
    values: dict[str, Any] = {}
    names: dict[str, str] = {}

    def set_value(key: str, value: Any, name: str) -> None:
        if key in values:
            raise InputError(f"{name}: given twice")
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, np.generic):
            value = value.item()  # NumPy's number as Python's
        values[key] = value
        names[key] = name

    for word, value in keywords.items():
        if word in members:
            for name, inner in _members(word, value, members[word]).items():
                set_value(f"{word}.{name}", inner, f"{word}.{name}")
            continue
        having = [section for section, inside in members.items() if word in inside]
        if len(having) > 1:
            having = [section for section in having if section != "synthetic"]
        if not having:
            every = [*others, *members, *(name for inside in members.values() for name in inside)]
            raise InputError(f"{word}: no such setting{did_you_mean(word, every)}")
        if len(having) > 1:
            raise InputError(
                f"{word}: a setting of {' and of '.join(having)}; "
                f"say which: {having[0]}={{{word!r}: {value!r}}}"
            )
        set_value(f"{having[0]}.{word}", value, word)
    return values, names


def _kind(section: str) -> Any:
    return type_of(TrainConfig, section)


def _members(section: str, value: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return the settings that a dict, or a section as a whole, gives."""
    if is_dataclass(value) and isinstance(value, _kind(section)):
        return flat(to_table(value))
    if not isinstance(value, Mapping):
        raise InputError(f"{section}: expected a dict of its settings, got {value!r}")
    for name in value:
        if name not in known:
            nearest = did_you_mean(str(name), known) or f"; there are {', '.join(known)}"
            raise InputError(f"{section}.{name}: no such setting{nearest}")
    return dict(value)
