"""The contents of a run folder for its report, and notices on what is missing."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image

from minirpn.errors import InputError
from minirpn.evaluation import APResult, RecallResult
from minirpn.files import one_line_errors

Content = TypeVar("Content")

_LARGE = 120_000  # bytes of a PNG
_WIDTH = 640  # pixels, more than a column of the page has


class Picture(NamedTuple):
    """A PNG file and what it shows."""

    path: Path
    caption: str

    def data_uri(self) -> str:
        """Return the picture as a data URI, so that the page needs no other file.

        A large one shows a photograph. It becomes a JPEG of at most `_WIDTH`, a quarter of the
        size, so that a page of thirty pictures stays below 3 MB.
        """
        kind, content = "png", self.path.read_bytes()
        if len(content) > _LARGE:
            kind, content = "jpeg", _as_jpeg(content)
        return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass
class Contents:
    """What a run folder holds; `notices` explain what is empty.

    Parameters
    ----------
    run
        The folder.
    notices
        What is missing or cannot be read, a line each.
    settings
        The text of ``config.toml``.
    environment
        ``env.json``.
    records
        ``metrics.jsonl``.
    recall
        ``recall.json``; None if there is none.
    measured_on
        The images of `recall`, such as "test, 120 images".
    precision, precision_on
        ``precision.json``, None if there is none, and its images.
    """

    run: Path
    notices: list[str] = field(default_factory=list)
    settings: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    recall: RecallResult | None = None
    measured_on: str = ""
    precision: APResult | None = None
    precision_on: str = ""

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of one kind, in their order."""
        return [record for record in self.records if record.get("kind") == kind]

    def pictures(self) -> list[Picture]:
        """Return the pictures in ``plots/`` by name, number 2 before number 10."""
        paths = sorted((self.run / "plots").glob("*.png"), key=_natural)
        captions: dict[str, Any] = {}
        if (self.run / "plots" / "captions.json").exists():
            captions = self.read("plots/captions.json", _json_object, {})
        return [Picture(path, str(captions.get(path.name, path.stem))) for path in paths]

    def read(self, name: str, parse: Callable[[Path], Content], missing: Content) -> Content:
        """Return the file, parsed; if that fails, return `missing` and add a notice."""
        path = self.run / name
        if not path.is_file():
            self.notices.append(f"{name} is missing.")
            return missing
        try:
            return parse(path)
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ")
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
        self.notices.append(f"{name} cannot be used: {reason}.")
        return missing


def read_contents(run: Path) -> Contents:
    """Return what a run folder holds; whatever is missing or broken becomes a notice."""
    contents = Contents(run)
    contents.settings = contents.read("config.toml", _text, "")
    contents.environment = contents.read("env.json", _json_object, {})
    contents.records = contents.read("metrics.jsonl", read_metrics, [])
    if (run / "recall.json").exists():
        measured: tuple[RecallResult | None, str] = (None, "")
        contents.recall, contents.measured_on = contents.read("recall.json", _recall, measured)
    else:
        contents.notices.append(
            "recall.json is missing: no recall was measured after the last step "
            "(the run goes on, was stopped, or has no validation images)."
        )
    if (run / "precision.json").exists():
        none: tuple[APResult | None, str] = (None, "")
        contents.precision, contents.precision_on = contents.read(
            "precision.json", _precision, none
        )
    return contents


def _as_jpeg(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB")
        small.thumbnail((_WIDTH, _WIDTH * 2))
        small.save(buffer, format="JPEG", quality=75, optimize=True)
    return buffer.getvalue()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _json_object(path: Path) -> dict[str, Any]:
    plain = json.loads(path.read_bytes())
    if not isinstance(plain, dict):
        raise ValueError("not a JSON object")
    return plain


def _recall(path: Path) -> tuple[RecallResult | None, str]:
    plain = _json_object(path)
    return RecallResult.from_dict(plain), _measured_on(plain)


def _precision(path: Path) -> tuple[APResult | None, str]:
    plain = _json_object(path)
    result = APResult.from_dict(plain)
    # This raises here, and not later on the page, if numbers contradict each other.
    result.mean_by("area")
    return result, _measured_on(plain)


def _measured_on(plain: dict[str, Any]) -> str:
    where = [str(plain["split"])] if "split" in plain else []
    where += [f"{plain['images']} images"] if "images" in plain else []
    return ", ".join(where)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a sort key in which numbers count as numbers."""
    parts = re.split(r"(\d+)", path.stem)  # words and numbers in turn, a word first
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


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
        In the order of the file; a number that was not finite is None.

    Raises
    ------
    InputError
        The file cannot be read, or a line before the last is not a JSON object.
    """
    path = Path(path)
    with one_line_errors(path, "read the metrics"):
        lines = path.read_bytes().splitlines()
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
