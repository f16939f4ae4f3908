"""What can be wrong with a data set: the kinds, how bad each one is, and the line for one case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from pathlib import Path
from typing import NamedTuple

from minirpn.errors import InputError
from minirpn.text import message


class Severity(StrEnum):
    """How a training reacts to a finding."""

    ERROR = "error"  # it stops; or, with --skip-bad, leaves the file or box out
    WARNING = "warning"  # suspicious; the training continues
    REPAIRED = "repaired"  # the meaning is clear; the training continues with it


class Kind(Enum):
    """Every kind of finding: its name, and how bad it is."""

    MISSING_FILE = "missing file", Severity.ERROR
    NO_ANNOTATION = "image without annotation", Severity.ERROR
    UNREADABLE_XML = "unreadable annotation", Severity.ERROR
    UNREADABLE_OBJECT = "unreadable object", Severity.ERROR
    UNREADABLE_IMAGE = "unreadable image", Severity.ERROR
    WRONG_SIZE = "size of another image", Severity.ERROR
    UNTURNED = "boxes on an unturned image", Severity.ERROR
    OUTSIDE = "box outside the image", Severity.ERROR
    SWAPPED = "corners the wrong way round", Severity.ERROR
    NO_AREA = "box without area", Severity.ERROR
    UNKNOWN_CLASS = "unknown class", Severity.ERROR
    EMPTY_SPLIT = "empty split", Severity.ERROR
    NO_OBJECT_AT_ALL = "split without objects", Severity.ERROR

    BOX_FORMAT = "boxes of another convention", Severity.WARNING
    LEAKAGE = "image in two splits", Severity.WARNING
    SAME_IMAGE = "image twice", Severity.WARNING
    SAME_NAME = "two images of one name", Severity.WARNING
    LISTED_TWICE = "id listed twice", Severity.WARNING
    ORPHAN = "orphan file", Severity.WARNING
    NOT_READ = "files that are not read", Severity.WARNING
    NO_OBJECTS = "no objects", Severity.WARNING
    NO_NAME = "object without a name", Severity.WARNING
    ODD_TAG = "tag that is not read", Severity.WARNING
    SAME_BOX = "box twice", Severity.WARNING
    ODD_CLASS = "odd class name", Severity.WARNING
    BLANK_IMAGE = "image that shows nothing", Severity.WARNING
    MAYBE_UNTURNED = "EXIF orientation unclear", Severity.WARNING

    CLIPPED = "box clipped", Severity.REPAIRED
    FRACTION = "coordinate not whole", Severity.REPAIRED
    BLANKS = "blanks in a class name", Severity.REPAIRED
    SIZE_FROM_IMAGE = "size taken from the image", Severity.REPAIRED
    TURNED = "image turned upright", Severity.REPAIRED
    NOT_RGB = "image not RGB", Severity.REPAIRED

    def __init__(self, label: str, severity: Severity) -> None:
        self.label = label
        self.severity = severity


class Finding(NamedTuple):
    """One thing that is wrong. As text, it is one printable line with file, object and reason."""

    kind: Kind
    path: Path
    part: str  # of the file, such as "object 2 (cat)"
    reason: str
    severity: Severity

    def __str__(self) -> str:
        return message(f"{self.path}: {self.part}: {self.reason}")


def finding(kind: Kind, path: Path, part: str, reason: str) -> Finding:
    """Return a finding with the severity of its kind; what it quotes from a file is made a line."""
    return Finding(kind, path, message(part), message(reason), kind.severity)


class BadFileError(InputError):
    """A file cannot be used; `finding` says why."""

    def __init__(self, kind: Kind, path: Path, part: str, reason: str) -> None:
        self.finding = finding(kind, path, part, reason)
        super().__init__(str(self.finding))


class BadDataError(InputError):
    """A data set has errors; `findings` are all of them, and `hint` is what may explain them."""

    def __init__(self, findings: Sequence[Finding], hint: str = "") -> None:
        more = len(findings) - 1
        also = f" (and {more} more bad files or boxes; `minirpn check` lists them)" if more else ""
        super().__init__(f"{findings[0]}{also}{f'; {hint}' if hint else ''}")
        self.findings, self.hint = tuple(findings), hint


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings that stop a training."""
    return tuple(one for one in findings if one.severity is Severity.ERROR)


def hints_for(findings: Sequence[Finding]) -> str:
    """Return the flags that may explain findings, "" if there are none."""
    hints = [one.reason for one in findings if one.kind is Kind.BOX_FORMAT]
    if any(one.kind is Kind.NO_ANNOTATION for one in findings):
        hints.append(
            "--no-annotation skip leaves out images without one, negative takes them as images "
            "without objects"
        )
    return "; ".join(hints)


def summary(findings: Iterable[Finding]) -> str:
    """Return one line that counts the findings by severity and kind, the worst first.

    Examples
    --------
    >>> summary([finding(Kind.NO_OBJECTS, Path("a.xml"), "objects", "none")])
    '1 warning (1 no objects)'
    """
    counts = Counter((one.severity, one.kind) for one in findings)
    parts = []
    for severity in Severity:
        of_kind = {kind: counts[severity, kind] for kind in Kind if counts[severity, kind]}
        if of_kind:
            total = sum(of_kind.values())
            plural = "s" if total > 1 and severity is not Severity.REPAIRED else ""
            kinds = ", ".join(f"{count:,} {kind.label}" for kind, count in of_kind.items())
            parts.append(f"{total:,} {severity}{plural} ({kinds})")
    return "; ".join(parts)
