"""Find everything that is wrong with a data set before a training, and report it.

`minirpn.data.voc` reads one image with its annotation. This module adds what only several files
show together: lists of ids, and the same image in two splits.
"""

from __future__ import annotations

import hashlib
import os
import signal
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from minirpn.data.findings import (
    BadFileError,
    Finding,
    Kind,
    Severity,
    errors_of,
    finding,
    hints_for,
    summary,
)
from minirpn.data.folders import IMAGE_ENDINGS, SPLITS, is_litter
from minirpn.data.images import MOST_BYTES, ImageHeader, examine_image
from minirpn.data.layout import Layout, Source, find_layout
from minirpn.data.voc import (
    Entry,
    Files,
    count_classes,
    files_of,
    odd_classes,
    odd_format,
    read_entry,
    repeated_ids,
    same_names,
    unknown_classes,
)
from minirpn.files import open_regular
from minirpn.text import elided, message
from minirpn.workers import IN_BROWSER, thread_pool

_MOST_AT_A_TIME = 8  # more would only wait for the disk
_WORTH_PROCESSES = 3000  # images; to start processes takes half a second
_CHUNK = 64  # images that a process is given at a time
_MASKS = {"SegmentationClass", "SegmentationObject"}
_TABLE_CLASSES = 8  # how many classes the head of the table names


class _Examined(NamedTuple):
    """What was found out about one id."""

    image_id: str
    entry: Entry | None
    findings: list[Finding]
    digest: tuple[Path, bytes] | None  # None if there is no image to read


def check_dataset(
    source: Source | str | Path,
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    threads: int | None = None,
    processes: int = 1,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> CheckReport:
    """Read every file of a data set, and return everything that is wrong with it.

    Parameters
    ----------
    source
        The data set; or its folder, if there is nothing else to say about it.
    splits
        Check only the images of these; None for everything in the folder.
    classes
        The class names that may occur; None warns of names that look like typing errors.
    threads
        How many files are read at a time; None for as many as there are cores, at most 8.
    processes
        How many processes read the files, if there are thousands: Python's lock lets threads do
        little at the same time. A script that asks for more than one needs the usual
        ``if __name__ == "__main__":``. With 1, the threads of this process read them.
    track
        Called with the images as they are done, and their number. It gives the images back, and so
        can show progress.

    Returns
    -------
    CheckReport
        Sorted by severity and kind. `VOCDataset` raises on the errors that are found here.

    Raises
    ------
    InputError
        There is no such folder, year or split, so that nothing can be checked.

    Notes
    -----
    Where there are splits, the errors of an image that is in none of them become warnings, because
    they stop no training. Two images are the same if all bytes of their files are.
    """
    source = source if isinstance(source, Source) else Source(Path(source))
    layout = find_layout(source)
    members, findings = _read_splits(layout, splits)
    findings += same_names(layout)
    used = {image_id for ids in members.values() for image_id in ids}
    ids = sorted(used | set(layout.ids("all")) if splits is None else used)
    unused = set(ids) - used if members else set()
    files = [files_of(image_id, layout) for image_id in ids]
    # The places for what is missing are all that a process needs besides the files.
    places = replace(layout, images={}, annotations={}, lists={}, parts={}, passed_over=())
    examine = partial(_examine, layout=places, source=source)
    if processes > 1 and not IN_BROWSER and len(files) >= _WORTH_PROCESSES:
        examined = _in_processes(examine, files, processes)
    else:
        examined = _in_threads(examine, files, threads or most_at_a_time())
    done: list[_Examined] = list(track(examined, len(files)))

    entries = [one.entry for one in done if one.entry is not None]
    for one in done:
        findings += map(_as_warning, one.findings) if one.image_id in unused else one.findings
    of_classes = odd_classes(entries) if classes is None else unknown_classes(entries, classes)
    unused_files = {one.entry.xml_path for one in done if one.entry and one.image_id in unused}
    findings += [_as_warning(one) if one.path in unused_files else one for one in of_classes]
    findings += odd_format(entries, source, layout.path)
    findings += _without_objects(layout, members, done)
    if splits is None:
        findings += _not_read(layout)
    digests = {one.image_id: one.digest for one in done if one.digest}
    findings += _shared_images(layout, _that_divide(layout, members), digests)
    return CheckReport(
        root=layout.path,
        images=len(done),
        splits={name: len(ids) for name, ids in members.items()},
        classes=dict(count_classes(entries).most_common()),
        findings=tuple(sorted(findings, key=_rank)),
        note=layout.note,
    )


def most_at_a_time() -> int:
    """Return how many files are worth reading at the same time: one for each core, at most 8."""
    return min(_MOST_AT_A_TIME, os.cpu_count() or 1)


def _in_threads(
    examine: Callable[[Files], _Examined], files: Sequence[Files], threads: int
) -> Iterator[_Examined]:
    """Yield what `examine` returns for the files of each image, in their order."""
    # All threads share the filters, so they are set here.
    with warnings.catch_warnings(), thread_pool(threads, "minirpn-check") as pool:
        _ignore_pillows_warnings()
        yield from pool.map(examine, files)


def _in_processes(
    examine: Callable[[Files], _Examined], files: Sequence[Files], processes: int
) -> Iterator[_Examined]:
    """Yield the same as `_in_threads`, computed in other processes."""
    from concurrent.futures import ProcessPoolExecutor  # a browser cannot import it
    from multiprocessing import get_context

    chunks = (files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK))
    # Spawned: a fork would copy the locks of other threads.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin_process) as pool:
        try:
            for chunk in pool.map(partial(_examine_each, examine), chunks):
                yield from chunk
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that shows it
    _ignore_pillows_warnings()


def _ignore_pillows_warnings() -> None:
    """Ignore them: what Pillow warns of becomes an error, or is read as every viewer reads it."""
    warnings.filterwarnings("ignore", module="PIL")


def _examine_each(examine: Callable[[Files], _Examined], files: Sequence[Files]) -> list[_Examined]:
    return [examine(one) for one in files]


def _examine(files: Files, *, layout: Layout, source: Source) -> _Examined:
    """Read an image and its annotation completely."""
    digest = None

    def read(path: Path) -> ImageHeader:
        nonlocal digest
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size <= MOST_BYTES:
                    digest = path, hashlib.file_digest(file, "sha256").digest()
                return examine_image(path, file)
        except OSError:
            return examine_image(path)  # which says what is wrong

    entry, findings = read_entry(files, source, read, layout)
    return _Examined(files.image_id, entry, findings, digest)


def _as_warning(one: Finding) -> Finding:
    """Return an error of an image that is in no split as a warning; other findings as they are."""
    if one.severity is not Severity.ERROR:
        return one
    missing = one.kind in {Kind.MISSING_FILE, Kind.NO_ANNOTATION}
    kind = Kind.ORPHAN if missing else one.kind
    reason = f"{one.reason} (in no split)"
    return one._replace(kind=kind, severity=Severity.WARNING, reason=reason)


def _rank(one: Finding) -> tuple[int, int, str, str]:
    """Return the sorting key of a finding: the worst first."""
    severity, kind = list(Severity).index(one.severity), list(Kind).index(one.kind)
    return severity, kind, str(one.path), one.part


# Between the files: lists of ids, files that are not read, the same image in two splits.


def _read_splits(
    layout: Layout, wanted: Sequence[str] | None
) -> tuple[dict[str, tuple[str, ...]], list[Finding]]:
    """Return the ids of each wanted split (None: of all), and what is wrong with the lists."""
    members: dict[str, tuple[str, ...]] = {}
    findings: list[Finding] = []
    for name in layout.splits if wanted is None else wanted:
        try:
            listed = layout.listed(name)
        except BadFileError as error:
            findings.append(error.finding)
            continue
        members[name] = tuple(dict.fromkeys(listed))
        findings += repeated_ids(listed, layout.source_of(name))
    return members, findings


def _without_objects(
    layout: Layout, members: Mapping[str, Sequence[str]], done: Sequence[_Examined]
) -> Iterator[Finding]:
    """Yield an error for each split in which there is nothing to learn or measure.

    A split with other errors is passed over: without them, it may have objects.
    """
    objects = {
        one.image_id: sum(not item.difficult for _, item in one.entry.content.objects)
        for one in done
        if one.entry is not None and not errors_of(one.findings)
    }
    for name, ids in (members or {"all": [one.image_id for one in done]}).items():
        if ids and all(objects.get(image_id) == 0 for image_id in ids):
            reason = f"no object that is not marked difficult in {len(ids):,} images"
            yield finding(Kind.NO_OBJECT_AT_ALL, layout.source_of(name), f"split {name!r}", reason)


def _not_read(layout: Layout) -> Iterator[Finding]:
    """Yield a warning for each folder with images and annotations in it that are not read."""
    read = {*layout.images.values(), *layout.annotations.values(), *layout.passed_over}
    for root, folders, names in os.walk(layout.path):
        # VOC's masks are images, too.
        folders[:] = [one for one in folders if not is_litter(one) and one not in _MASKS]
        paths = [Path(root, name) for name in sorted(names) if not is_litter(name)]
        others = [path for path in paths if path not in read]
        xml = [path for path in others if path.suffix.lower() == ".xml"]
        images = [path for path in others if path.suffix.lower() in IMAGE_ENDINGS]
        if xml and images:
            reason = f"{len(images):,} images and {len(xml):,} XML files in it are not read"
            yield finding(Kind.NOT_READ, Path(root), "folder", reason)


def _that_divide(
    layout: Layout, members: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    """Return the splits that should share no image: not the lists that drawn splits come from."""
    if "train" in layout.lists:
        return members
    return {name: ids for name, ids in members.items() if name in layout.parts or name in SPLITS}


def _shared_images(
    layout: Layout,
    members: Mapping[str, Sequence[str]],  # the ids of each split
    digests: Mapping[str, tuple[Path, bytes]],  # of the image of each id
) -> Iterator[Finding]:
    """Yield a warning for each id that separate splits share, and for each repeated image."""
    separate = cache(_separate_splits)  # many images are in the same splits
    splits_of: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for name, ids in members.items():
        for image_id in ids:
            splits_of[image_id] += (name,)
    for image_id, names in sorted(splits_of.items()):
        if pair := separate(names, names):
            reason = f"in split {pair[1]} as well"
            yield finding(Kind.LEAKAGE, layout.source_of(pair[0]), image_id, reason)

    # Of the images with the same bytes, the first one of those in the same splits.
    same_bytes: dict[bytes, dict[tuple[str, ...], str]] = defaultdict(dict)
    for image_id, (path, digest) in sorted(digests.items()):
        kind, reason = Kind.SAME_IMAGE, ""
        for splits, earlier in same_bytes[digest].items():
            pair = separate(splits_of[image_id], splits)
            if pair or not reason:
                reason = f"the same bytes as {digests[earlier][0].name}"
            if pair:  # worse than the same image twice in one split
                kind, reason = Kind.LEAKAGE, f"{reason}; in {pair[0]}, and in {pair[1]}"
                break
        if reason:
            yield finding(kind, path, "image", reason)
        same_bytes[digest].setdefault(splits_of[image_id], image_id)


def _separate_splits(some: Sequence[str], others: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two splits that should share no image.

    A split may contain another whose name is part of its own, as trainval contains train and val.
    """
    pairs = ((one, other) for one in some for other in others)
    return next((p for p in pairs if p[0] not in p[1] and p[1] not in p[0]), None)


@dataclass(frozen=True)
class CheckReport:
    """Everything that is wrong with a data set.

    Parameters
    ----------
    root
        Its folder.
    images
        How many ids were checked.
    splits
        Number of images by split; empty if there are no splits.
    classes
        Number of sound objects by class, the most frequent first.
    findings
        The worst first, those of a kind together.
    note
        How the splits came about, if no file lists them.
    """

    root: Path
    images: int
    splits: dict[str, int]
    classes: dict[str, int]
    findings: tuple[Finding, ...]
    note: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a training."""
        return errors_of(self.findings)

    def table(self, first: int = 3) -> str:
        """Return a table for the terminal: the kinds, how many of each, and the `first` of them."""
        objects, classes = sum(self.classes.values()), len(self.classes)
        lines = [f"{self.root}: images {self.images:,}, objects {objects:,}, classes {classes}"]
        if self.splits:
            sizes = ", ".join(f"{name} {size:,}" for name, size in self.splits.items())
            lines.append(f"splits: {sizes}{f' ({self.note})' if self.note else ''}")
        if self.classes:
            counts = [f"{elided(name)} {count:,}" for name, count in self.classes.items()]
            more = ["..."] if len(counts) > _TABLE_CLASSES else []
            lines.append(f"classes: {', '.join(counts[:_TABLE_CLASSES] + more)}")
        lines.append(summary(self.findings) or "Nothing is wrong.")
        for (severity, kind), group in groupby(self.findings, lambda f: (f.severity, f.kind)):
            of_kind = [self._relative(one) for one in group]
            lines.append(f"\n{severity:<9} {kind.label:<32} {len(of_kind):>6,}")
            lines += [f"  {message(str(one))}" for one in of_kind[:first]]
            if len(of_kind) > first > 0:
                lines.append(f"  ... and {len(of_kind) - first:,} more")
        if self.findings:
            lines.append("")
        if hints := hints_for(self.findings):
            lines.append(f"{hints[0].upper()}{hints[1:]}.")
        if self.errors:
            lines.append("Errors stop a training; with --skip-bad it leaves out what they name.")
        return "\n".join(lines)

    def _relative(self, one: Finding) -> Finding:
        """Return a finding with its path relative to the data set's folder."""
        inside = one.path.is_relative_to(self.root)
        return one._replace(path=one.path.relative_to(self.root)) if inside else one

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, every finding included."""
        counts = {
            str(severity): dict(
                Counter(one.kind.label for one in self.findings if one.severity is severity)
            )
            for severity in Severity
        }
        return {
            "root": str(self.root),
            "images": self.images,
            "splits": self.splits,
            "classes": self.classes,
            "counts": counts,
            "findings": [
                {
                    "severity": str(one.severity),
                    "kind": one.kind.label,
                    "file": str(one.path),
                    "object": one.part,
                    "reason": one.reason,
                }
                for one in self.findings
            ],
        }
