"""Where the files of a data set are: its images, its annotations, and the images of each split.

Found are VOC's folders, also under the names that other tools give them; images and XML files in
one folder; and folders ``train``, ``valid`` and ``test`` of either kind.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from minirpn.data.box_format import BoxFormat
from minirpn.data.findings import BadFileError, Kind
from minirpn.data.folders import IMAGE_ENDINGS, SPLITS, Pair, find_pair, matched, subfolders
from minirpn.data.lists import IdFinder, find_lists, read_list
from minirpn.data.other_formats import how_to_convert
from minirpn.errors import InputError, did_you_mean
from minirpn.text import MOST_WITH_COMMANDS

NoAnnotation = Literal["error", "skip", "negative"]

VAL_SHARE = 0.2
"""The share of the images that validate, where the data set has no splits of its own."""
# Of the draw; always the same, so that no run trains on what another validates on.
_SALT = b"train and val"
_LISTED = 8  # names in an error


@dataclass(frozen=True)
class Source:
    """Where a data set is, and how its files are read.

    Parameters
    ----------
    root
        A VOCdevkit, one year's folder in it, or another folder of images and XML files.
    year
        Year of a VOCdevkit; None if there is only one.
    images, annotations
        The folders of the images and of the XML files, in `root` or anywhere; None looks for them.
    box_format, clip_boxes, no_annotation
        See `minirpn.data.VOCDataset`.
    """

    root: Path
    year: int | str | None = None
    images: Path | None = None
    annotations: Path | None = None
    box_format: BoxFormat = "voc"
    clip_boxes: bool = False
    no_annotation: NoAnnotation = "error"

    def __post_init__(self) -> None:
        for name, known in (("box_format", BoxFormat), ("no_annotation", NoAnnotation)):
            if (value := getattr(self, name)) not in get_args(known):
                listed = ", ".join(get_args(known))
                raise InputError(f"{name}: expected one of {listed}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Layout:
    """The files of a data set by image id: the path in its folder of images, without the ending.

    Parameters
    ----------
    path
        The data set's folder.
    images, annotations
        The image file and the XML file of each id that has one.
    image_folder, annotation_folder
        Where files that are missing should be.
    lists
        The file that lists the images of each split.
    parts
        The ids of the splits that no file lists.
    note
        How those splits came about; "" if there are none.
    annotated_only
        Whether images without an annotation are passed over.
    passed_over
        Image files that have the id of another one, such as ``a.png`` beside ``a.jpg``.
    """

    path: Path
    images: Mapping[str, Path]
    annotations: Mapping[str, Path]
    image_folder: Path
    annotation_folder: Path
    lists: Mapping[str, Path]
    parts: Mapping[str, tuple[str, ...]]
    note: str
    annotated_only: bool = False
    passed_over: tuple[Path, ...] = ()

    @property
    def splits(self) -> list[str]:
        """The names of the splits, sorted."""
        return sorted({*self.lists, *self.parts})

    def source_of(self, split: str) -> Path:
        """Return what says which images a split has: its list, or the folder of the data set."""
        return self.lists.get(split, self.path)

    def ids(self, split: str | None) -> list[str]:
        """Return the image ids of a split, in the order of its list, each once.

        None and ``"all"`` mean every id that has an image or an annotation, sorted. An InputError
        says if there is no such split, or if it lists no image.
        """
        return list(dict.fromkeys(self.listed(split)))

    def listed(self, split: str | None) -> list[str]:
        """Return the image ids of a split as they are listed; otherwise as `ids`."""
        if split is None or split == "all":
            return sorted(self._known)
        if split not in self.lists and split not in self.parts:
            split = SPLITS.get(split.lower(), split)  # "valid" is "val"
        if split in self.lists:
            ids = read_list(self.lists[split], self._finder)
            if not ids:
                raise _empty(self.lists[split], split, "lists no image")
            if self.annotated_only and not (ids := [one for one in ids if one in self.annotations]):
                raise _empty(self.lists[split], split, "lists no image that has an annotation")
            return ids
        if split in self.parts:
            return list(self.parts[split])
        names = ", ".join([*self.splits, "all"])
        near = did_you_mean(split, self.splits)
        raise InputError(f"{self.path}: split {split!r}: not there; there is {names}{near}")

    def other_file(self, image_id: str) -> str | None:
        """Return the name of a file of an image that has no ending of an image."""
        return self._others.get(image_id)

    @cached_property
    def _others(self) -> dict[str, str]:
        paths = self.image_folder.iterdir() if self.image_folder.is_dir() else ()
        known = {".xml", ".txt", *IMAGE_ENDINGS}
        return {path.stem: path.name for path in paths if path.suffix.lower() not in known}

    @cached_property
    def _known(self) -> set[str]:
        return {*self.images, *self.annotations}

    @cached_property
    def _finder(self) -> IdFinder:
        return IdFinder(self._known)


def _empty(path: Path, split: str, reason: str) -> BadFileError:
    return BadFileError(Kind.EMPTY_SPLIT, path, f"split {split!r}", reason)


def find_layout(source: Source, *, need_images: bool = True) -> Layout:
    """Return the files of a data set.

    An InputError says if there is no such folder or year, no choice among several years, no XML
    file, or no image although `need_images`. It says what is there, and what was looked for.
    """
    path = _year_folder(source.root, source.year)
    pairs = _pairs(path, source, need_images)
    images: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    for pair in pairs:
        images |= pair.images
        annotations |= pair.annotations
    annotated_only = source.no_annotation == "skip"
    if annotated_only:
        images = {one: file for one, file in images.items() if one in annotations}
    known = sorted({*images, *annotations})
    lists, of_classes = find_lists(path)
    parts, note = {}, ""
    folders = _split_folders(known)
    if of_classes:
        finder = IdFinder(known)
        for split in of_classes.keys() - lists.keys():
            lists_of_split = (read_list(one, finder, every_line=True) for one in of_classes[split])
            parts[split] = tuple(sorted(set().union(*lists_of_split)))
            note = "splits are made of the lists of single classes"
    elif not lists and folders:
        parts, note = folders, f"the splits are its folders {', '.join(_tops(known))}"
    image_folder = pairs[0].image_folder if len(pairs) == 1 else path
    annotation_folder = pairs[0].annotation_folder if len(pairs) == 1 else path
    found = Layout(
        path,
        images,
        annotations,
        image_folder,
        annotation_folder,
        lists,
        parts,
        note,
        annotated_only,
        tuple(path for pair in pairs for path in pair.passed_over),
    )
    return _with_trainval(_with_drawn_splits(found))


def _year_folder(root: Path, year: int | str | None) -> Path:
    """Return the folder of the year of a VOCdevkit, or `root` if it is no VOCdevkit."""
    if root.is_file():
        raise InputError(f"{root}: data set: a file, not a folder; unpack an archive first")
    if not root.is_dir():
        raise InputError(f"{root}: data set: no such folder")
    years = sorted(path.name[3:] for path in root.glob("VOC*") if (path / "Annotations").is_dir())
    if not years:
        if year is not None and root.name != f"VOC{year}":
            raise InputError(f"{root}: year {year}: no folder VOC{year} in it")
        return root
    if year is None and len(years) > 1:
        raise InputError(f"{root}: year: several there, choose one of {', '.join(years)}")
    wanted = years[0] if year is None else str(year)
    if wanted not in years:
        raise InputError(f"{root}: year {wanted}: not there; there is {', '.join(years)}")
    return root / f"VOC{wanted}"


# The folders of images and of annotations.


def _pairs(path: Path, source: Source, need_images: bool) -> list[Pair]:
    """Return the pairs of folders that a data set has: one, or one for each split."""
    images, annotations = (
        _given(path, folder, name)
        for folder, name in ((source.images, "images"), (source.annotations, "annotations"))
    )
    pair = find_pair(path, images, annotations)
    pairs = [] if pair is None else [pair]
    whole = pair is not None and pair.images and pair.annotations and pair.annotation_folder != path
    if not whole and images is None and annotations is None:
        # What lies beside folders of splits is not what the data set is made of.
        inside = (find_pair(one, prefix=f"{one.name}/") for one in _split_roots(path))
        parts = [one for one in inside if one is not None]
        if any(one.annotations for one in parts):
            pairs = parts
        elif pair is not None and pair.annotations and not pair.images:
            pairs = [_with_images_of(pair, path, parts)]
        else:
            pairs = pairs or parts
    lacks = ""
    if not any(one.annotations for one in pairs) and source.no_annotation != "negative":
        lacks = "no VOC annotation (XML) found"
    elif not pairs:
        lacks = "neither images nor XML files found"
    elif need_images and not any(one.images for one in pairs):
        lacks = "has annotations, but no images"
    if lacks:
        raise InputError(f"{path}: data set: {lacks}; {_told(path)}", most=MOST_WITH_COMMANDS)
    return pairs


def _with_images_of(pair: Pair, path: Path, parts: Iterable[Pair]) -> Pair:
    """Return annotations of one folder with the images in folders of splits beside it."""
    images = {one: file for part in parts for one, file in part.images.items()}
    return pair._replace(
        image_folder=path, images=images, annotations=matched(pair.annotations, images)
    )


def _given(path: Path, folder: Path | None, name: str) -> Path | None:
    """Return a folder that the user named, in the data set or anywhere."""
    if folder is None:
        return None
    for candidate in (path / folder, folder):
        if candidate.is_dir():
            return candidate
    raise InputError(f"{folder}: {name}: no such folder, here or in {path}")


# The splits.


def _split_roots(path: Path) -> list[Path]:
    """Return the folders of a data set that are named as splits."""
    return [one for one in subfolders(path) if one.name.lower() in SPLITS]


def _tops(ids: Iterable[str]) -> list[str]:
    """Return the outermost folders of ids, sorted."""
    return sorted({one.partition("/")[0] for one in ids})


def _split_folders(ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the ids of each split if all ids lie in folders that are named as splits; else {}."""
    tops = _tops(ids)
    if len(tops) < 2 or not all("/" in one for one in ids):
        return {}
    if not all(top.lower() in SPLITS for top in tops):
        return {}
    parts: dict[str, list[str]] = {}
    for one in ids:
        parts.setdefault(SPLITS[one.partition("/")[0].lower()], []).append(one)
    return {name: tuple(members) for name, members in parts.items()}


def _with_drawn_splits(found: Layout) -> Layout:
    """Return a layout with splits ``train`` and ``val``, drawn if it has neither.

    They are drawn from ``trainval``, if there is such a split, or else from the images that are not
    in ``test``. Lists of other names divide nothing.
    """
    if {"train", "val"} & {*found.lists, *found.parts}:
        return found
    if "trainval" in found.lists:
        try:
            base = found.ids("trainval")
        except BadFileError:  # its ids are asked for where the error is told
            return found
        origin = "trainval"
    else:
        tested: set[str] = set()
        if "test" in found.splits:
            with contextlib.suppress(BadFileError):
                tested = set(found.ids("test"))
        base = [one for one in found.ids("all") if one not in tested]
        origin = f"{len(base):,} images"
    if len(base) < 2:  # too few to divide
        return replace(found, parts={**found.parts, **({"train": tuple(base)} if base else {})})
    count = max(1, round(VAL_SHARE * len(base)))
    val = set(sorted(base, key=_lot)[:count])
    parts = {
        "train": tuple(one for one in base if one not in val),
        "val": tuple(one for one in base if one in val),
    }
    sizes = f"train {len(base) - count:,} and val {count:,} of {origin}"
    note = f"{sizes}, drawn at random, always the same"
    if found.note:
        note = f"{found.note}; {note}"
    return replace(found, parts={**found.parts, **parts}, note=note)


def _lot(image_id: str) -> bytes:
    """Return a number drawn for an id: it depends on nothing else, so a new image moves no other.

    (At most one, at the border between the splits.)
    """
    name = image_id.encode(errors="surrogatepass")
    return hashlib.blake2b(name, digest_size=8, salt=_SALT).digest()


def _with_trainval(found: Layout) -> Layout:
    """Return a layout with the split ``trainval``: all that is in ``train`` and in ``val``."""
    if "trainval" in found.splits or "train" not in found.splits:
        return found
    ids: list[str] = []
    for name in {"train", "val"} & {*found.splits}:
        with contextlib.suppress(BadFileError):  # told where the ids of that list are asked for
            ids += found.ids(name)
    trainval = tuple(sorted(set(ids)))
    return replace(found, parts={**found.parts, "trainval": trainval}) if ids else found


# What is there instead.


def _told(path: Path) -> str:
    """Return what a folder without a data set holds, what was looked for, and a way on."""
    if way := how_to_convert(path):
        return way
    folders = [f"{one.name}/" for one in subfolders(path)]
    endings = Counter(one.suffix.lower() or "no ending" for one in path.iterdir() if one.is_file())
    files = [f"{count} of {ending}" for ending, count in sorted(endings.items())]
    holds = ", ".join([*_few(folders), *(["files: " + ", ".join(_few(files))] if files else [])])
    looked = (
        "looked for XML files and images in it, in folders such as Annotations and JPEGImages or "
        "annotations and images, and in train, valid and test"
    )
    ways = "; --images and --annotations name other folders"
    return f"it holds {holds or 'nothing'}; {looked}{ways}{_inner_data_set(path)}"


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= _LISTED else [*names[:_LISTED], "..."]


def _is_data_set(path: Path) -> bool:
    pair = find_pair(path)
    voc = any((year / "Annotations").is_dir() for year in path.glob("VOC*"))
    return voc or (pair is not None and bool(pair.images) and bool(pair.annotations))


def _inner_data_set(path: Path) -> str:
    """Return a hint at the folders inside that are data sets, or ""."""
    inside = [str(one) for one in subfolders(path) if _is_data_set(one)]
    return f"; perhaps name {' or '.join(inside[:3])}" if inside else ""
