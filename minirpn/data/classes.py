"""Class names: VOC's own, those of a data set, and names that look like slips of the pen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from minirpn.data.entries import Entry
from minirpn.data.findings import Finding, Kind, finding

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip

# Alike enough to be suggested: "persn" and "person" are, "rat" and "cat" are not (difflib's ratio).
_ALIKE = 0.75


def count_classes(entries: Iterable[Entry]) -> Counter[str]:
    """Return how many objects there are of each class name."""
    return Counter(item.name for entry in entries for _, item in entry.content.objects)


def choose_classes(found: Iterable[str]) -> tuple[str, ...]:
    """Return VOC's classes if they suffice, else the names found, sorted."""
    names = set(found)
    return VOC_CLASSES if names <= set(VOC_CLASSES) else tuple(sorted(names))


def unknown_classes(entries: Sequence[Entry], classes: Sequence[str]) -> list[Finding]:
    """Return an error for each object whose class is not among `classes`."""
    listed = f"the classes are {', '.join(classes)}"
    others = [name for name in count_classes(entries) if name not in classes]
    reasons = {name: f"unknown class{_perhaps(name, classes)}; {listed}" for name in others}
    return _named(entries, reasons, Kind.UNKNOWN_CLASS)


def odd_classes(entries: Sequence[Entry]) -> list[Finding]:
    """Return a warning for each object whose class name looks like a slip of the pen.

    Where at least half of the objects have VOC's names, any other name does; elsewhere a name does
    that differs from a more frequent one by capitals, blanks, hyphens or underscores alone.
    """
    return _named(entries, _slips(count_classes(entries)), Kind.ODD_CLASS)


def _slips(counts: Mapping[str, int]) -> dict[str, str]:
    """Return why a name is odd, for each that is."""
    of_voc = sum(counts[name] for name in VOC_CLASSES if name in counts)
    if of_voc > 0 and 2 * of_voc >= sum(counts.values()):
        others = [name for name in counts if name not in VOC_CLASSES]
        return {name: f"not one of VOC's{_perhaps(name, VOC_CLASSES)}" for name in others}
    reasons: dict[str, str] = {}
    first: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        usual = first.setdefault(_bare(name), name)
        if usual != name:
            reasons[name] = f"written {usual!r} more often"
    return reasons


def _perhaps(name: str, classes: Sequence[str]) -> str:
    """Return ", perhaps CLASS" with the class most like `name`, or nothing if none is alike."""
    by_bare = {_bare(one): one for one in reversed(classes)}
    alike = get_close_matches(_bare(name), by_bare, n=1, cutoff=_ALIKE)
    return f", perhaps {by_bare[alike[0]]!r}" if alike else ""


def _bare(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " -_")


def _named(entries: Iterable[Entry], reasons: Mapping[str, str], kind: Kind) -> list[Finding]:
    """Return a finding for each object whose class name has a reason."""
    if not reasons:
        return []
    return [
        finding(kind, entry.xml_path, f"object {number} ({item.name})", reasons[item.name])
        for entry in entries
        for number, item in entry.content.objects
        if item.name in reasons
    ]
