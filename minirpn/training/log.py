"""What a run says: numbers for machines, words for people, progress for whoever watches."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from minirpn.files import one_line_errors, replace_file

# Seconds between two progress lines where there is no terminal to draw a bar on.
LINE_INTERVAL = 10.0


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON object as a line, at once on its way to the disk.

    JSON has no nan and no infinity: they are written as null.
    """
    line = json.dumps(_finite(record), allow_nan=False)
    with one_line_errors(path, "write"), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def drop_records_after(path: Path, step: int) -> None:
    """Take out the lines of steps beyond `step`, and a line that a killed process left unfinished.

    A run that resumes at `step` writes those lines again; a missing file stays missing.
    """
    if not path.exists():
        return
    with one_line_errors(path, "read"):
        lines = path.read_bytes().splitlines()
    kept = [line + b"\n" for line in lines if _step_of(line) <= step]
    replace_file(path, lambda file: file.writelines(kept))


def append_text(path: Path, message: str) -> None:
    """Append a line of words with the time (UTC) in front."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with one_line_errors(path, "write"), path.open("a", encoding="utf-8") as file:
        file.write(f"{now} {message}\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(line: bytes) -> float:
    """Return the step a line is about; infinity if the line is not whole."""
    try:
        return json.loads(line)["step"]
    except (ValueError, TypeError, KeyError):
        return math.inf


class Progress:
    """Shows how far a loop is: a bar on a terminal, otherwise a plain line now and then.

    Everything goes to stderr, so that stdout holds results alone.

    Parameters
    ----------
    total
        Steps in all.
    done
        Steps done before, when a run is resumed.
    unit
        What is counted, such as ``"step"`` or ``"image"``.
    show
        False: nothing at all.
    """

    def __init__(self, total: int, *, done: int = 0, unit: str = "step", show: bool = True) -> None:
        self.total, self.done, self.unit, self.show = total, done, unit, show
        self._began = self._shown = time.monotonic()
        self._first = done
        self._bar: Any = None
        if show and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=unit, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, words: str = "") -> None:
        """Count one more step; `words` such as "loss 0.71" say how it went."""
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(words, refresh=False)
            self._bar.update()
        elif self.show and (self._due() or self.done == self.total):
            print(self._line(words), file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        """Show a line of its own, above the bar."""
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)
        elif self.show:
            print(message, file=sys.stderr, flush=True)

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._shown < LINE_INTERVAL:
            return False
        self._shown = now
        return True

    def _line(self, words: str) -> str:
        seconds = (time.monotonic() - self._began) / max(self.done - self._first, 1)
        left = round(seconds * (self.total - self.done))
        pace = f"{seconds:.2g} s/{self.unit}, {left} s left"
        return ", ".join(filter(None, (f"{self.unit} {self.done}/{self.total}", words, pace)))
