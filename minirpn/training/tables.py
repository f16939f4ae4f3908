"""Settings as nested tables: frozen dataclasses <-> dicts <-> TOML.

The type hints of a dataclass say which keys and values a table may have. A message names the file,
the key and the reason in one line. Both directions are exact: ``from_table(type(config),
to_table(config))`` equals ``config``.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from minirpn.budget import parse_toml
from minirpn.errors import InputError, did_you_mean
from minirpn.fields import shown
from minirpn.files import one_line_errors, read_file, replace_file

NONE = "none"  #: TOML has no null
_ANY_BYTES = "surrogateescape"  # names of files may be any bytes
_LARGEST = float(np.finfo(np.float64).max)
_MOST_BYTES = 2**20  # of a file of settings
_MOST_PARTS = 20  # of a dotted key; the settings need three
_MOST_ITEMS = 10_000  # in a list
_MOST_TEXT = 4096  # characters of a value, as of the path of a file
EXPECTED: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
}
"""What messages call the types of values."""

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
        What the user typed for values that are not from `source`, by dotted key:
        ``{"optimizer.lr": "--lr"}``.

    Raises
    ------
    InputError
        A key is unknown, a value has the wrong type, is not finite, or is refused by its section.
        The line begins with what was typed. A section refuses values that do not go together by
        ``ValueError("field, field: reason")``; of these, the line names those that are in `table`.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{source}: expected a table, got {shown(table)}")
    try:
        section: Section = _section(kind, table, base, "")
    except _WrongValueError as wrong:
        typed = _typed(wrong.keys, table, source, origins or {})
        hint = nearest_key(kind, wrong.keys[0]) if wrong.unknown else ""
        raise InputError(f"{typed}: {wrong.reason}{hint}") from wrong
    return section


class _WrongValueError(Exception):
    """Values that cannot be used, alone or together: their dotted keys, and why."""

    def __init__(self, *keys: str, reason: str, unknown: bool = False) -> None:
        super().__init__(keys, reason)
        self.keys, self.reason, self.unknown = keys, reason, unknown


def _typed(
    keys: tuple[str, ...], table: Mapping[str, Any], source: str, origins: Mapping[str, str]
) -> str:
    """Return what the user typed to set some keys: flags, and the file with its keys."""
    typed, in_source = [], []
    for key in keys:
        for given in filter(lambda one: _overlap(one, key), flat(table)):
            flag = next((name for one, name in origins.items() if _overlap(one, given)), None)
            if flag is None:
                in_source.append(key)
            else:
                typed.append(flag)
    if in_source or not typed:
        typed.append(f"{source}: {', '.join(dict.fromkeys(in_source or keys))}")
    return " and ".join(dict.fromkeys(typed))


def _overlap(key: str, other: str) -> bool:
    """Tell whether two dotted keys are the same, or one is that of a table around the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def nearest_key(kind: Any, key: str) -> str:
    """Return ``"; did you mean KEY?"`` for a dotted key that a dataclass does not have, or ``""``.

    The same name in another section comes first, then the nearest name in this section.
    """
    section, _, name = key.rpartition(".")
    same = [one for one in keys_of(kind) if one.rpartition(".")[2] == name]
    if same:
        return f"; did you mean {' or '.join(same)}?"
    try:
        around = type_of(kind, section) if section else kind
    except KeyError:  # a dot in a name, which is no section's
        around = kind
    return did_you_mean(name, [field.name for field in fields(around)])


def _section(kind: Any, table: Any, base: Any, key: str) -> Any:
    """Return the dataclass `kind` with the values of `table`, and others from `base`."""
    if isinstance(table, kind):
        table, base = {}, table
    if not isinstance(table, Mapping):
        raise _WrongValueError(key, reason=f"expected a table, got {shown(table)}")
    hints, prefix = get_type_hints(kind), f"{key}." if key else ""
    names = [field.name for field in fields(kind)]
    before = {} if base is None else {name: getattr(base, name) for name in names}
    values = {}
    for name, value in (before | dict(table)).items():
        if name not in names:
            reason = f"unknown; there are {', '.join(names)}"
            raise _WrongValueError(prefix + name, reason=reason, unknown=True)
        values[name] = _value(hints[name], value, before.get(name), prefix + name)
    try:
        return kind(**values)
    except ValueError as error:
        message = str(error).removeprefix(f"{kind.__name__}: ")
        words, colon, reason = message.partition(": ")
        wrong = words.split(", ")
        if colon and all(word.partition(".")[0] in names for word in wrong):
            raise _WrongValueError(*(prefix + word for word in wrong), reason=reason) from error
        raise _WrongValueError(key, reason=message) from error


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
            near = did_you_mean(value.lower(), arguments) if isinstance(value, str) else ""
            raise _WrongValueError(key, reason=f"expected {expected}, got {shown(value)}{near}")
        return value
    if get_origin(plain) is tuple:
        if not isinstance(value, list | tuple):
            raise _WrongValueError(key, reason=f"expected a list, got {shown(value)}")
        if len(value) > _MOST_ITEMS:
            reason = f"expected at most {_MOST_ITEMS:,} values, got {len(value):,}"
            raise _WrongValueError(key, reason=reason)
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise _WrongValueError(
                key, reason=f"expected {len(arguments)} values, got {len(value)}"
            )
        return tuple(
            _value(item, part, None, key) for item, part in zip(arguments, value, strict=True)
        )
    # A bool is an int to Python, but nobody means it as a number.
    if plain is float and isinstance(value, int | float) and not isinstance(value, bool):
        # A whole number may have more digits than float holds, so it is not made one to see.
        if not -_LARGEST <= value <= _LARGEST:
            raise _WrongValueError(key, reason=f"expected a finite number, got {shown(value)}")
        return float(value)
    if type(value) is not plain:
        raise _WrongValueError(key, reason=f"expected {EXPECTED[plain]}, got {shown(value)}")
    if plain is str and not _is_text(value):
        reason = f"expected at most {_MOST_TEXT:,} characters, none of them 0, got {shown(value)}"
        raise _WrongValueError(key, reason=reason)
    return value


def _is_text(value: str) -> bool:
    """Tell whether a string can be in a TOML file, and be the name of one."""
    try:
        value.encode(errors=_ANY_BYTES)
    except UnicodeEncodeError:  # a half of a character
        return False
    return len(value) <= _MOST_TEXT and "\0" not in value


def _without_none(hint: Any) -> Any:
    """Return X for the type hint ``X | None``, any other hint as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    return hint


def keys_of(kind: Any) -> list[str]:
    """Return the dotted keys of all values of a dataclass."""
    keys = []
    for name, hint in get_type_hints(kind).items():
        plain = _without_none(hint)
        inner = [f".{one}" for one in keys_of(plain)] if is_dataclass(plain) else [""]
        keys += [f"{name}{one}" for one in inner]
    return keys


def type_of(kind: Any, key: str) -> Any:
    """Return the type of the field at a dotted key of a dataclass, without ``None``."""
    for name in key.split("."):
        kind = _without_none(get_type_hints(kind)[name])
    return kind


def read_value(text: str, hint: Any) -> Any:
    """Return a value typed on one line, for a field whose type is `hint`.

    It is read as TOML: ``0.01``, ``true``, ``[2, 4]``. What is not TOML is a string, so that words
    need no quotes. Where a field is a string, so is a number; where it is a list, commas suffice:
    ``2,4``. `from_table` then checks the value.
    """
    try:
        table = parse_toml(f"value = {text}")
    except ValueError:
        table = {}
    value = table["value"] if table.keys() == {"value"} else text
    if value == NONE or isinstance(value, list | dict):
        return value
    if get_origin(hint) is tuple:
        items = [item.strip() for item in text.strip("[]").split(",")]
        return [read_value(item, get_args(hint)[0]) for item in items if item]
    return text if hint is str and not isinstance(value, str) else value


def nested(values: Mapping[str, Any], table: Mapping[str, Any] | None = None) -> Table:
    """Return `table` with values by dotted key: ``{"a.b": 1}`` gives ``{"a": {"b": 1}}``."""
    result = dict(table or {})
    for key, value in values.items():
        *sections, name = key.split(".", _MOST_PARTS)
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
    """Return the tables of a TOML file; raise InputError if there is none, or it is not TOML.

    Names of files may hold bytes that are no UTF-8. They are kept as Python keeps them.
    """
    with one_line_errors(path, "read"):
        content = read_file(path, most=_MOST_BYTES)
    try:
        return parse_toml(content.decode(errors=_ANY_BYTES))
    except ValueError as error:
        raise InputError(f"{path}: not TOML: {error}") from error


def write_toml(path: Path, table: Mapping[str, Any]) -> None:
    """Write tables to a TOML file, whole or not at all; `read_toml` reads them back."""
    import tomli_w

    replace_file(path, tomli_w.dumps(table).encode(errors=_ANY_BYTES))
