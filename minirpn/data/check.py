"""Everything that is wrong with a data set, found before it costs a training."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from minirpn.data.check_report import CheckReport
from minirpn.data.check_splits import read_splits, same_bytes, shared_ids
from minirpn.data.classes import count_classes, odd_classes, unknown_classes
from minirpn.data.entries import Entry, read_entry
from minirpn.data.findings import Finding, Kind, Severity
from minirpn.data.images import examine_image
from minirpn.data.layout import Folder, find_folder, image_files, split_ids

_MOST_THREADS = 8  # more only wait for the disk and for the interpreter's lock


class _Examined(NamedTuple):
    """What one thread brings back about one id."""

    image_id: str
    entry: Entry | None
    findings: list[Finding]
    digest: tuple[Path, bytes] | None


def _all_at_once(items: Iterable[_Examined], total: int) -> Iterable[_Examined]:
    return items


def check_dataset(
    root: str | Path,
    *,
    year: int | str | None = None,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    threads: int | None = None,
    track: Callable[[Iterable[_Examined], int], Iterable[_Examined]] = _all_at_once,
) -> CheckReport:
    """Return everything that is wrong with a data set, every file of it read.

    Parameters
    ----------
    root, year
        As of `VOCDataset`.
    splits
        Only the images of these; None for everything in the folder.
    classes
        The class names that may occur; None warns of names that look like slips of the pen.
    threads
        How many files are read at a time; None for as many as there are cores, at most 8.
    track
        Called with the images in the order in which they are done and their number, gives them
        back: for a progress bar.

    Returns
    -------
    CheckReport
        Sorted by severity and kind. `VOCDataset` raises on the very errors that are found here.

    Raises
    ------
    InputError
        There is no such folder, year or split, so that nothing can be checked.

    Notes
    -----
    Where there are splits, an image in none of them stops no training: what would be an error is
    a warning there. Images count as the same when their files are, byte for byte.
    """
    folder = find_folder(Path(root), year)
    images = image_files(folder)
    listed = read_splits(folder, splits, images)
    used = {image_id for members in listed.ids.values() for image_id in members}
    ids = sorted(used | set(split_ids(folder, None, images)) if splits is None else used)
    unused = set(ids) - used if listed.ids else set()
    read = partial(_examine, folder=folder, images=images)
    done = list(track(_in_threads(read, ids, threads), len(ids)))

    entries = [one.entry for one in done if one.entry is not None]
    findings = [*listed.findings, *shared_ids(folder, listed.ids)]
    for one in done:
        findings += map(_mild, one.findings) if one.image_id in unused else one.findings
    if classes is None:
        findings += odd_classes(entries)
    else:
        of_splits = [entry for entry in entries if entry.image_id not in unused]
        others = [entry for entry in entries if entry.image_id in unused]
        findings += unknown_classes(of_splits, classes)
        findings += map(_mild, unknown_classes(others, classes))
    findings += same_bytes({one.image_id: one.digest for one in done if one.digest}, listed.ids)
    return CheckReport(
        root=folder.path,
        images=len(done),
        splits={name: len(members) for name, members in listed.ids.items()},
        classes=dict(count_classes(entries).most_common()),
        findings=tuple(sorted(findings, key=_worst_first)),
    )


def _in_threads(
    read: Callable[[str], _Examined], ids: Sequence[str], threads: int | None
) -> Iterator[_Examined]:
    threads = threads or min(_MOST_THREADS, os.cpu_count() or 1)
    # Filters are shared by all threads, so they are set around them. What Pillow warns of is
    # either an error afterwards, or read as every viewer reads it.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        yield from pool.map(read, ids)


def _examine(image_id: str, *, folder: Folder, images: dict[str, Path]) -> _Examined:
    path = images.get(image_id)
    entry, findings = read_entry(image_id, path, folder, examine_image)
    digest = None
    # What cannot be read is among the findings already.
    with contextlib.suppress(OSError):
        if path is not None:
            digest = path, hashlib.blake2b(path.read_bytes()).digest()
    return _Examined(image_id, entry, findings, digest)


def _mild(found: Finding) -> Finding:
    """Return the finding as one about an image that no split names."""
    if found.severity is not Severity.ERROR:
        return found
    kind = Kind.ORPHAN if found.kind is Kind.MISSING_FILE else found.kind
    reason = f"{found.reason} (in no split)"
    return found._replace(kind=kind, severity=Severity.WARNING, reason=reason)


def _worst_first(found: Finding) -> tuple[int, int, str, str]:
    severities, kinds = list(Severity), list(Kind)
    return (
        severities.index(found.severity),
        kinds.index(found.kind),
        str(found.path),
        found.part,
    )
