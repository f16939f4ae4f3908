"""What is wrong between the files of a data set: lists of ids, the same image in two splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from minirpn.data.findings import BadFileError, Finding, Kind, finding
from minirpn.data.layout import Folder, split_file, split_ids, split_names


class Splits(NamedTuple):
    """The ids of each split, and what is wrong with the lists themselves."""

    ids: dict[str, tuple[str, ...]]
    findings: list[Finding]


def read_splits(folder: Folder, wanted: Sequence[str] | None, images: Iterable[str]) -> Splits:
    """Return the splits of a data set; none where there is no ``ImageSets/Main``.

    Parameters
    ----------
    folder
        What `find_folder` found.
    wanted
        Their names; None for all there are.
    images
        The ids there is an image for.

    Raises
    ------
    InputError
        A wanted split is not there.
    """
    ids: dict[str, tuple[str, ...]] = {}
    findings: list[Finding] = []
    for name in split_names(folder) if wanted is None else wanted:
        try:
            listed = split_ids(folder, name, images)
        except BadFileError as error:
            findings.append(error.finding)
            continue
        ids[name] = tuple(dict.fromkeys(listed))
        findings += [
            finding(Kind.LISTED_TWICE, split_file(folder, name), image_id, f"{count} times")
            for image_id, count in Counter(listed).items()
            if count > 1
        ]
    return Splits(ids, findings)


def shared_ids(folder: Folder, ids: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield a warning for each id that stands in two splits which should share nothing."""
    homes = _homes(ids)
    for image_id, names in sorted(homes.items()):
        pair = _strangers(names, names)
        if pair is not None:
            path = split_file(folder, pair[0])
            yield finding(Kind.LEAKAGE, path, image_id, f"in split {pair[1]} as well")


def same_bytes(
    digests: Mapping[str, tuple[Path, bytes]], ids: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Yield a warning for each image file whose bytes an earlier one has too.

    Parameters
    ----------
    digests
        Path and digest of the file of each image id.
    ids
        The ids of each split.
    """
    homes = _homes(ids)
    groups = defaultdict(list)
    for image_id, (_, digest) in sorted(digests.items()):
        groups[digest].append(image_id)
    for group in groups.values():
        for number, image_id in enumerate(group[1:], start=1):
            yield _twin(image_id, group[:number], digests, homes)


def _twin(
    image_id: str,
    earlier: Sequence[str],
    digests: Mapping[str, tuple[Path, bytes]],
    homes: Mapping[str, Sequence[str]],
) -> Finding:
    """Return the finding about an image with the bytes of earlier ones; leakage goes first."""
    path = digests[image_id][0]
    for other in earlier:
        pair = _strangers(homes.get(image_id, ()), homes.get(other, ()))
        if pair is not None:
            reason = f"the same bytes as {digests[other][0].name}; in {pair[0]}, and in {pair[1]}"
            return finding(Kind.LEAKAGE, path, "image", reason)
    reason = f"the same bytes as {digests[earlier[0]][0].name}"
    return finding(Kind.SAME_IMAGE, path, "image", reason)


def _homes(ids: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the splits of each id."""
    homes = defaultdict(list)
    for name, members in ids.items():
        for image_id in members:
            homes[image_id].append(name)
    return homes


def _strangers(some: Sequence[str], others: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two splits that should share no image.

    A split may contain another whose name is part of its own, as trainval contains train and val.
    """
    for one in some:
        for other in others:
            if one not in other and other not in one:
                return one, other
    return None
