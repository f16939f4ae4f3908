"""The records of a run, ``metrics.jsonl``: which keys each kind has, and what their values are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minirpn.budget import Budget, OverBudgetError, values_in
from minirpn.errors import InputError
from minirpn.fields import (
    MOST_NAME,
    Check,
    Fields,
    list_of,
    measured,
    number,
    parsed,
    table_of,
    text,
    whole,
)
from minirpn.files import one_line_errors, read_file

MOST_BYTES = 2**29
"""Of a file of records: 400 a step, those of 1,300,000 steps, where the paper has 80,000."""
MOST_NAMES = 30
"""Stages, or numbers of proposals, in all records of a file: each is a line in a diagram."""

_COUNT, _SECONDS = whole(), number(0, 1e12)
_NORM, _SHARE, _NAME = measured(0), measured(0, 1), text(MOST_NAME)
_SHORT_NAME = 60  # characters of a name in a legend
_MOST_SAMPLES = 100  # pictures at a time

_LOSSES: dict[str, Check[Any]] = dict.fromkeys(
    ("loss", "rpn_loss", "objectness_loss", "box_loss", "class_loss", "region_loss"), measured()
)
_COUNTS: dict[str, Check[Any]] = dict.fromkeys(
    ("positives", "negatives", "objects", "background"), _COUNT
)
_BY_STAGE = ("zero_share", "gradient_norm", "weight_norm", "update_ratio")

# Kind -> key -> check. No key but "step" must be there: earlier versions had fewer.
_KINDS: Mapping[str, Mapping[str, Check[Any]]] = {
    "train": {
        **_LOSSES,
        **_COUNTS,
        "phase": _NAME,
        "image": text(),
        "lr": number(0),
        "step_seconds": _SECONDS,
        "data_wait_seconds": _SECONDS,
    },
    "validate": {
        **_LOSSES,
        "phase": _NAME,
        "recall": table_of(_SHARE, _SHORT_NAME),
        "mean_ap": _SHARE,
        "images": _COUNT,
        "seconds": _SECONDS,
    },
    "diagnose": {
        "zero_share": table_of(_SHARE, _SHORT_NAME),
        "gradient_norm": table_of(_NORM, _SHORT_NAME),
        "weight_norm": table_of(_NORM, _SHORT_NAME),
        "update_ratio": table_of(_NORM, _SHORT_NAME),
        "layers": table_of(table_of(_NORM)),
        "proposals_before_nms": _COUNT,
        "proposals_after_nms": _COUNT,
        "objectness_by_anchor": list_of(_SHARE),
    },
    "samples": {
        "phase": _NAME,
        "images": list_of(text(), most=_MOST_SAMPLES),
        "files": list_of(text(), most=_MOST_SAMPLES),
        "positives": list_of(_COUNT, most=_MOST_SAMPLES),
    },
    "warning": {"message": text()},
}


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Return the records of a ``metrics.jsonl``, one for each line.

    Parameters
    ----------
    path
        A file of JSON objects, one per line. An incomplete last line, as a killed process leaves
        it, is ignored.

    Returns
    -------
    list of dict
        In the order of the file; a number that was not finite is None. Each has ``step``, and the
        keys in the reference have values of their types. A kind or a key from another version is
        as it is.

    Raises
    ------
    InputError
        The file cannot be read; a line before the last is not a JSON object; a value is not what
        its key stands for.
    """
    path = Path(path)
    with one_line_errors(path, "read the metrics"):
        content = read_file(path, most=MOST_BYTES)
    return parse_metrics(content, str(path))


def parse_metrics(content: bytes, where: str) -> list[dict[str, Any]]:
    """Return the records in the bytes of a file; messages begin with `where`."""
    lines, budget = content.splitlines(), Budget(values=values_in(len(content)))
    records: list[dict[str, Any]] = []
    names: dict[str, set[str]] = {"recall": set(), "stages": set()}
    for count, line in enumerate(lines, start=1):
        place = f"{where}: line {count}"
        try:
            plain = parsed(line, place, budget)
        except InputError as error:
            too_much = isinstance(error.__cause__, OverBudgetError)
            if count == len(lines) and not too_much:  # a killed process wrote no more of it
                break
            raise
        record = _checked(Fields(plain, place))
        records.append(record)
        if record["kind"] == "validate":
            names["recall"].update(record.get("recall", ()))
        if record["kind"] == "diagnose":
            names["stages"].update(*(record.get(key, ()) for key in _BY_STAGE))
        if any(len(of_key) > MOST_NAMES for of_key in names.values()):
            raise InputError(f"{place}: more than {MOST_NAMES} different names in the lines so far")
    return records


def _checked(record: Fields) -> dict[str, Any]:
    """Return a record whose known keys have values of their types."""
    kind = record.get("kind", _NAME)
    record.get("step", _COUNT)
    for key, check in _KINDS.get(kind, {}).items():
        record.get(key, check, None)
    return record.plain
