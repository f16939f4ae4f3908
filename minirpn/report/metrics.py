"""The records of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minirpn.errors import InputError


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Return the records of a ``metrics.jsonl``, one for each line.

    Parameters
    ----------
    path
        A file of JSON objects, one a line. A last line that is not whole, as a killed process
        leaves it, is passed over.

    Returns
    -------
    list of dict
        In the order of the file. null stands for a number that was not finite.

    Raises
    ------
    InputError
        The file cannot be read, or another line than the last is not a JSON object.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot read the metrics: {error.strerror}") from None
    records = []
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise InputError(f"{path}: line {number}: not a JSON object")
    return records


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the object on a line, None if it holds none."""
    try:
        record = json.loads(line)
    except ValueError:  # not JSON, or not UTF-8
        return None
    return record if isinstance(record, dict) else None
