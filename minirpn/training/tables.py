"""Settings as nested tables: frozen dataclasses <-> dicts <-> TOML.

The type hints of a dataclass say which keys and values a table may have. A message names the file,
the key and the reason in one line. Both directions are exact: ``from_table(type(config),
to_table(config))`` equals ``config``.
"""

from __future__ import annotations

import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from minirpn.errors import InputError
from minirpn.files import one_line_errors, replace_file

NONE = "none"  # TOML has no null

Section = TypeVar("Section")
Table = dict[str, Any]


def to_table(config: Any) -> Any:
    """Return a dataclass as nested dicts, lists, numbers and strings: what JSON and TOML hold."""
    if is_dataclass(config):
        return {field.name: to_table(getattr(config, field.name)) for field in fields(config)}
    if isinstance(config, tuple):
        return [to_table(item) for item in config]
    return NONE if config is None else config


def from_table(
    kind: type[Section],
    table: Mapping[str, Any],
    source: str,
    *,
    base: Section | None = None,
    origins: Mapping[str, str] | None = None,
) -> Section:
    """Return the dataclass `kind` filled from `table`, the exact inverse of `to_table`.

    Parameters
    ----------
    kind
        A dataclass. Its fields may be dataclasses.
    table
        Nested dicts, as TOML and JSON give them.
    source
        The file the table came from, for messages: "SOURCE: section.key: reason".
    base
        The values of fields that are absent from the table; None for the defaults.
    origins
        What to call single values instead, by dotted key: ``{"optimizer.lr": "--lr"}``.

    Raises
    ------
    InputError
        A key is unknown, a value has the wrong type, is not finite, or is refused by its section.
    """
    try:
        section: Section = _section(kind, table, base, "")
    except _WrongValueError as wrong:
        name = (origins or {}).get(wrong.key, f"{source}: {wrong.key}")
        raise InputError(f"{name}: {wrong.reason}") from wrong
    return section


class _WrongValueError(Exception):
    """A value that cannot be used: its dotted key, and why."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key, self.reason = key, reason


def _section(kind: Any, table: Any, base: Any, key: str) -> Any:
    """Return the dataclass `kind` with the values of `table`, and others from `base`."""
    if isinstance(table, kind):
        table, base = {}, table
    if not isinstance(table, Mapping):
        raise _WrongValueError(key, f"expected a table, got {table!r}")
    hints, prefix = get_type_hints(kind), f"{key}." if key else ""
    names = [field.name for field in fields(kind)]
    before = {} if base is None else {name: getattr(base, name) for name in names}
    values = {}
    for name, value in (before | dict(table)).items():
        if name not in names:
            raise _WrongValueError(prefix + name, f"unknown; there are {', '.join(names)}")
        values[name] = _value(hints[name], value, before.get(name), prefix + name)
    try:
        return kind(**values)
    except ValueError as error:
        message = str(error).removeprefix(f"{kind.__name__}: ")
        name, colon, reason = message.partition(": ")
        if colon and name in names:
            raise _WrongValueError(prefix + name, reason) from error
        raise _WrongValueError(key, message) from error


def _value(hint: Any, value: Any, base: Any, key: str) -> Any:
    """Return `value` as the type `hint` wants it; `base` is the value before."""
    plain = _without_none(hint)
    if plain is not hint and value in (NONE, None):
        return None
    if is_dataclass(plain):
        return _section(plain, value, base, key)
    arguments = get_args(plain)
    if get_origin(plain) is Literal:
        if value not in arguments:
            expected = " or ".join(map(repr, arguments))
            raise _WrongValueError(key, f"expected {expected}, got {value!r}")
        return value
    if get_origin(plain) is tuple:
        if not isinstance(value, list | tuple):
            raise _WrongValueError(key, f"expected a list, got {value!r}")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise _WrongValueError(key, f"expected {len(arguments)} values, got {len(value)}")
        return tuple(
            _value(item, part, None, key) for item, part in zip(arguments, value, strict=True)
        )
    # A bool is an int to Python, but nobody means it as a number.
    if plain is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _WrongValueError(key, f"expected a finite number, got {value}")
        return float(value)
    if type(value) is not plain:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
        raise _WrongValueError(key, f"expected {words[plain]}, got {value!r}")
    return value


def _without_none(hint: Any) -> Any:
    """Return X for the type hint ``X | None``, any other hint as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    return hint


def type_of(kind: Any, key: str) -> Any:
    """Return the type of the field at a dotted key of a dataclass, without ``None``."""
    for name in key.split("."):
        kind = _without_none(get_type_hints(kind)[name])
    return kind


def nested(values: Mapping[str, Any], table: Mapping[str, Any] | None = None) -> Table:
    """Return `table` with values by dotted key: ``{"a.b": 1}`` gives ``{"a": {"b": 1}}``."""
    result = dict(table or {})
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = result
        for section in sections:
            before = inner.get(section)
            inner[section] = dict(before) if isinstance(before, Mapping) else {}
            inner = inner[section]
        inner[name] = value
    return result


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
    """Return the tables of a TOML file; raise InputError if there is none, or it is not TOML."""
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
