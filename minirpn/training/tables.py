"""Settings as nested tables: frozen dataclasses <-> dicts <-> TOML.

The type hints of a dataclass say which keys and values a table may have. A message names the file,
the key and the reason in one line. Both directions are exact: ``from_table(type(config),
to_table(config))`` equals ``config``.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from minirpn.errors import InputError
from minirpn.files import one_line_errors, replace_file

NONE = "none"  # how TOML, which has no null, spells None

Section = TypeVar("Section")
Table = dict[str, Any]


def to_table(config: Any) -> Any:
    """Return a dataclass as nested dicts, lists, numbers and strings: what JSON and TOML hold."""
    if dataclasses.is_dataclass(config):
        return {
            field.name: to_table(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, tuple):
        return [to_table(item) for item in config]
    return NONE if config is None else config


def from_table(
    kind: type[Section],
    table: Mapping[str, Any],
    source: str,
    *,
    origins: Mapping[str, str] | None = None,
) -> Section:
    """Return the dataclass `kind` filled from `table`, the exact inverse of `to_table`.

    Parameters
    ----------
    kind
        A dataclass, whose fields may be dataclasses again.
    table
        Nested dicts, as TOML and JSON give them; a field that is absent has its default.
    source
        The file the table came from, for messages: "SOURCE: section.key: reason".
    origins
        What to call single values instead, by dotted key: ``{"optimizer.lr": "--lr"}``.

    Raises
    ------
    InputError
        A key is unknown, a value has the wrong type, is not finite, or is refused by its section.
    """
    try:
        section: Section = _section(kind, table, "")
    except _WrongValueError as wrong:
        name = (origins or {}).get(wrong.key, f"{source}: {wrong.key}")
        raise InputError(f"{name}: {wrong.reason}") from wrong
    return section


class _WrongValueError(Exception):
    """A value that cannot be used: its dotted key, and why."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key, self.reason = key, reason


def _section(kind: Any, table: Any, key: str) -> Any:
    """Return the dataclass `kind`, which stands at `key`; the whole config at ""."""
    if not isinstance(table, Mapping):
        raise _WrongValueError(key, f"expected a table, got {table!r}")
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    prefix = f"{key}." if key else ""
    for name in table:
        if name not in names:
            raise _WrongValueError(prefix + name, f"unknown; there are {', '.join(names)}")
    values = {name: _value(hints[name], value, prefix + name) for name, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        message = str(error).removeprefix(f"{kind.__name__}: ")
        name, colon, reason = message.partition(": ")
        if colon and name in names:
            raise _WrongValueError(prefix + name, reason) from error
        raise _WrongValueError(key, message) from error


def _value(hint: Any, value: Any, key: str) -> Any:
    """Return `value` as the type `hint` wants it."""
    if without_none(hint) is not hint:
        return None if value in (NONE, None) else _value(without_none(hint), value, key)
    if dataclasses.is_dataclass(hint):
        return _section(hint, value, key)
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        if value not in arguments:
            raise _WrongValueError(
                key, f"expected {' or '.join(map(repr, arguments))}, got {value!r}"
            )
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise _WrongValueError(key, f"expected a list, got {value!r}")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise _WrongValueError(key, f"expected {len(arguments)} values, got {len(value)}")
        return tuple(_value(item, part, key) for item, part in zip(arguments, value, strict=True))
    # A bool is an int to Python, but nobody means it as a number.
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _WrongValueError(key, f"expected a finite number, got {value}")
        return float(value)
    if type(value) is not hint:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
        raise _WrongValueError(key, f"expected {words[hint]}, got {value!r}")
    return value


def without_none(hint: Any) -> Any:
    """Return X for the type hint ``X | None``, any other hint as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    return hint


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Table:
    """Return `base` with the values of `over` in their places, table by table."""
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = merged(inner, value)
        result[key] = value
    return result


def nested(flat: Mapping[str, Any]) -> Table:
    """Return the tables of dotted keys: ``{"a.b": 1}`` gives ``{"a": {"b": 1}}``."""
    table: Table = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return table


def flat(table: Mapping[str, Any]) -> Table:
    """Return the values by dotted key, the inverse of `nested`."""
    result: Table = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            result |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        else:
            result[key] = value
    return result


def read_toml(path: Path) -> Table:
    """Return the tables of a TOML file.

    Raises
    ------
    InputError
        There is no such file, or it is not TOML; the message says the line.
    """
    with one_line_errors(path, "read"):
        content = path.read_bytes()
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError both are
        raise InputError(f"{path}: not TOML: {error}") from error


def write_toml(path: Path, table: Mapping[str, Any]) -> None:
    """Write tables to a TOML file, whole or not at all."""
    import tomli_w

    replace_file(path, lambda file: tomli_w.dump(table, file))
