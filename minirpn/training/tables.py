"""Settings as nested tables: frozen dataclasses <-> dicts <-> TOML.

A section is a frozen dataclass that checks itself in ``__post_init__`` (``ValueError("field:
reason")``). This module turns plain data into sections, checks names and types on the way, and
says in one line which file and key is wrong. Both directions are exact: ``from_table(type(config),
to_table(config))`` equals ``config``. TOML has no null, so None is written ``"none"``.
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

Section = TypeVar("Section")
Table = dict[str, Any]

NONE = "none"


def to_table(config: Any) -> Table:
    """Return a dataclass as nested dicts, lists, numbers and strings: what JSON and TOML hold."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_table(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return NONE if value is None else value


def from_table(
    kind: type[Section],
    table: Mapping[str, Any],
    source: str,
    *,
    origins: Mapping[str, str] | None = None,
) -> Section:
    """Return the dataclass `kind` filled from `table`; what is absent keeps its default.

    Parameters
    ----------
    kind
        A dataclass, whose fields may be dataclasses again.
    table
        Nested dicts, as TOML and JSON give them.
    source
        The file the table came from, for messages: "SOURCE: section.key: reason".
    origins
        What to call single values instead, by dotted key: ``{"optimizer.lr": "--lr"}``.

    Raises
    ------
    InputError
        A key is unknown, a value has the wrong type, is not finite, or is refused by its section.
    """
    return _Reader(source, origins or {}).section(kind, table, "")


@dataclasses.dataclass(frozen=True)
class _Reader:
    """What messages need to know about where the values come from."""

    source: str
    origins: Mapping[str, str]

    def error(self, key: str, reason: str) -> InputError:
        return InputError(f"{self.origins.get(key, f'{self.source}: {key}')}: {reason}")

    def section(self, kind: Any, table: Any, prefix: str) -> Any:
        """Return dataclass `kind`; `prefix` is its dotted key with a dot behind, or empty."""
        if not isinstance(table, Mapping):
            raise self.error(prefix.rstrip("."), f"expected a table, got {table!r}")
        hints = get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        for name in table:
            if name not in names:
                raise self.error(prefix + name, f"unknown; there are {', '.join(names)}")
        values = {
            name: self.value(hints[name], value, prefix + name) for name, value in table.items()
        }
        try:
            return kind(**values)
        except ValueError as error:
            message = str(error).removeprefix(f"{kind.__name__}: ")
            raise self.refused(message, names, prefix) from error

    def refused(self, message: str, names: list[str], prefix: str) -> InputError:
        """Return what a section says about its own values, with the key in full."""
        name, colon, reason = message.partition(": ")
        if colon and name in names:
            return self.error(prefix + name, reason)
        return self.error(prefix.rstrip("."), message)

    def value(self, hint: Any, value: Any, key: str) -> Any:
        """Return `value` as the type `hint` wants it."""
        if dataclasses.is_dataclass(hint):
            return self.section(hint, value, f"{key}.")
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            if value == NONE or value is None:
                return None
            (hint,) = (argument for argument in arguments if argument is not types.NoneType)
            return self.value(hint, value, key)
        if origin is Literal:
            if value not in arguments:
                raise self.error(key, f"expected {_or(arguments)}, got {value!r}")
            return value
        if origin is tuple:
            return self.items(arguments, value, key)
        return self.scalar(hint, value, key)

    def items(self, arguments: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
        """Return a tuple: of any length for ``tuple[X, ...]``, else as long as its hint."""
        if not isinstance(value, list | tuple):
            raise self.error(key, f"expected a list, got {value!r}")
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise self.error(key, f"expected {len(arguments)} values, got {len(value)}")
        return tuple(
            self.value(hint, item, key) for hint, item in zip(arguments, value, strict=True)
        )

    def scalar(self, kind: type, value: Any, key: str) -> Any:
        """Return a bool, int, float (an int will do, if finite) or str."""
        # bool is a kind of int to Python, and never what is meant by a number.
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise self.error(key, f"expected a finite number, got {value}")
            return float(value)
        if type(value) is not kind:
            raise self.error(key, f"expected {_WORDS[kind]}, got {value!r}")
        return value


_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
}


def _or(choices: tuple[Any, ...]) -> str:
    return " or ".join(repr(choice) for choice in choices)


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
