"""The reference of ``config.toml``, from the dataclasses of the settings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from docs.extensions import DOCS, heading, write
from minirpn.cli.settings import FLAGS
from minirpn.training.config import RECIPES, TrainConfig
from minirpn.training.tables import flat, to_table

PAGE = DOCS / "reference" / "settings.rst"
_ENTRY = re.compile(r"^(\w+(?:, \w+)*)\n((?: {4}.*\n?|\n)+)", re.MULTILINE)


def meanings(section: type) -> dict[str, str]:
    """Return what the docstring of a section says about each field."""
    _, _, parameters = inspect.cleandoc(section.__doc__ or "").partition("Parameters\n----------\n")
    found = {}
    for names, text in _ENTRY.findall(parameters):
        for name in names.split(", "):
            found[name] = " ".join(text.split())
    return found


def page() -> str:
    """Return a table for each section: key, default, defaults of the recipes, flag, meaning."""
    recipes = {name: flat(to_table(config)) for name, config in RECIPES.items()}
    paper = recipes.pop("paper")
    flags = [flag for group in FLAGS.values() for flag in group]
    lines = [heading("Settings", "=")]
    lines.append(
        "A run's settings come from a recipe, then from ``--config FILE``, then from the flags. "
        "``--set SECTION.KEY=VALUE`` gives any of them, and counts as a flag. All are written to "
        "``config.toml`` in the run's folder. TOML has no null: the value "
        '``"none"`` stands for it. The values below are those of ``--recipe paper``. Other values '
        "in the recipes ``small`` (the default with ``--voc``) and ``shapes`` (the default "
        "without) are in brackets.\n"
    )
    for field in dataclasses.fields(TrainConfig):
        section = type(getattr(TrainConfig(), field.name))
        known = meanings(section)
        lines.append(heading(f"[{field.name}]", "-"))
        lines.append(f"{inspect.cleandoc(section.__doc__ or '').splitlines()[0]}\n")
        for item in dataclasses.fields(section):
            key = f"{field.name}.{item.name}"
            others = [
                f"{name} ``{_toml(other[key])}``"
                for name, other in recipes.items()
                if other[key] != paper[key]
            ]
            default = f"``{_toml(paper[key])}``" + (f" ({', '.join(others)})" if others else "")
            lines.append(f".. _setting-{key}:\n")
            lines.append(f"``{item.name}`` = {default}")
            giving = ", ".join(_linked(flag.name) for flag in flags if flag.key == key)
            lines.append(f"   {known.get(item.name, '')}{f' ({giving})' if giving else ''}\n")
    return "\n".join(lines)


def _linked(flag: str) -> str:
    return f":option:`{flag} <minirpn train {flag}>`"


def _toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).replace("'", '"')


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx write this page before it looks for pages."""
    app.connect("builder-inited", lambda app: write(PAGE, page()))
    return {"parallel_read_safe": True}
