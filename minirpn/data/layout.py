"""Where the files of a data set are: its images, its annotations, and the images of each split.

Found are VOC's folders, also under the names that other tools give them; images and XML files in
one folder; and folders ``train``, ``valid`` and ``test`` of either kind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, get_args

from minirpn.data.box_format import BoxFormat
from minirpn.data.findings import BadFileError, Kind
from minirpn.data.folders import ANNOTATIONS, IMAGES, SPLITS, is_litter, subfolders
from minirpn.data.other_formats import how_to_convert
from minirpn.errors import InputError, did_you_mean

NoAnnotation = Literal["error", "skip", "negative"]

# If an image is there in several formats, the first one counts. Pillow reads the last few only with
# a plug-in; without one, the error says so.
IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip

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
            return self._read_list(split)
        if split in self.parts:
            return list(self.parts[split])
        names = ", ".join([*self.splits, "all"])
        near = did_you_mean(split, self.splits)
        raise InputError(f"{self.path}: split {split!r}: not there; there is {names}{near}")

    def _read_list(self, split: str) -> list[str]:
        path = self.lists[split]
        lines = (line.strip() for line in _text(path).splitlines())
        ids = [one for line in lines if line and (one := self._id_in(line)) is not None]
        if not ids:
            raise BadFileError(Kind.EMPTY_SPLIT, path, f"split {split!r}", "lists no image")
        if self.annotated_only:
            ids = [one for one in ids if one in self.annotations]
        if not ids:
            reason = "lists no image that has an annotation"
            raise BadFileError(Kind.EMPTY_SPLIT, path, f"split {split!r}", reason)
        return ids

    def _id_in(self, line: str) -> str | None:
        """Return the id that a line of a list names; None if the line says "-1", not in this list.

        A line may name an id, a file or a path of any system. VOC's lists of a class have a second
        column: 1 if the image shows the class, 0 if only as a difficult object, and -1 if not.
        """
        if (known := self._known_id(line)) is not None:  # an id may have blanks
            return known
        *names, last = line.rsplit(None, 1)
        if not names or last not in {"1", "0", "-1"}:
            return _without_ending(line)
        if last == "-1":
            return None
        return self._known_id(names[0]) or _without_ending(names[0])

    def _known_id(self, text: str) -> str | None:
        """Return the id of an image of the data set that a text names, None if there is none."""
        if text in self._known:
            return text
        parts = text.strip("\"'").replace("\\", "/").split("/")
        # The whole path first, then without its outer folders.
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for name in (tail, _without_ending(tail)):
                if name in self._known:
                    return name
        return self._by_stem.get(_without_ending(parts[-1]))

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
    def _by_stem(self) -> dict[str, str]:
        return _by_name(self._known)


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
    lists = _lists(path)
    parts, note = {}, ""
    folders = _split_folders(known)
    if not lists and folders:
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
        raise InputError(f"{root}: data set: a file; name the folder that it unpacks to")
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


class _Pair(NamedTuple):
    """A folder of images, and the folder of their annotations: perhaps the same."""

    image_folder: Path
    annotation_folder: Path
    images: dict[str, Path]
    annotations: dict[str, Path]
    passed_over: list[Path]  # images with the name of another one


def _pairs(path: Path, source: Source, need_images: bool) -> list[_Pair]:
    """Return the pairs of folders that a data set has: one, or one for each split."""
    given = {
        "images": _given(path, source.images, "images"),
        "annotations": _given(path, source.annotations, "annotations"),
    }
    pair = _pair(path, given["images"], given["annotations"])
    pairs = [] if pair is None else [pair]
    if pair is None or pair.annotation_folder == path or not pair.annotations:
        # What lies beside folders of splits is not what the data set is made of.
        inside = (_pair(folder, None, None, f"{folder.name}/") for folder in _split_roots(path))
        parts = [one for one in inside if one is not None]
        pairs = parts if any(one.annotations for one in parts) else pairs or parts
    if not any(one.annotations for one in pairs) and source.no_annotation != "negative":
        raise InputError(f"{path}: data set: no VOC annotation (XML) found; {_told(path)}")
    if not pairs:
        raise InputError(f"{path}: data set: neither images nor XML files found; {_told(path)}")
    if need_images and not any(one.images for one in pairs):
        raise InputError(f"{path}: data set: has annotations, but no images; {_told(path)}")
    return pairs


def _given(path: Path, folder: Path | None, name: str) -> Path | None:
    """Return a folder that the user named, in the data set or anywhere."""
    if folder is None:
        return None
    for candidate in (path / folder, folder):
        if candidate.is_dir():
            return candidate
    raise InputError(f"{folder}: {name}: no such folder, here or in {path}")


def _pair(
    path: Path, images: Path | None, annotations: Path | None, prefix: str = ""
) -> _Pair | None:
    """Return the images and the annotations in a folder; None if it has neither.

    `images` and `annotations` are folders that are known; `prefix` begins the ids.
    """
    inside = {one.name.lower(): one for one in subfolders(path)}

    def search(known: Path | None, names: Iterable[str], endings: tuple[str, ...]) -> _Scan:
        if known is not None:
            return _scan(known, endings, prefix)
        named = (inside[name] for name in names if name in inside)
        scans = [_scan(folder, endings, prefix) for folder in named]
        scans.append(_scan(path, endings, prefix, deep=False))
        return next((scan for scan in scans if scan.files), scans[0])

    xml = search(annotations, ANNOTATIONS, (".xml",))
    pictures = search(images, IMAGES, IMAGE_ENDINGS)
    # One of the two may lie in the folder of the other.
    if not pictures.files and images is None and xml.folder != path:
        pictures = _scan(xml.folder, IMAGE_ENDINGS, prefix)
    if not xml.files and annotations is None and pictures.folder != path:
        xml = _scan(pictures.folder, (".xml",), prefix)
    if not xml.files and not pictures.files:
        return None
    xml_files = xml.files
    if not xml_files.keys() & pictures.files.keys():  # other folders within the two
        xml_files = _matched_by_name(xml_files, pictures.files)
    return _Pair(pictures.folder, xml.folder, pictures.files, xml_files, pictures.passed_over)


def _matched_by_name(xml_files: dict[str, Path], images: dict[str, Path]) -> dict[str, Path]:
    """Return annotations by the ids of the images of the same names, where a name is the only one.

    The others keep their own ids.
    """
    ids = _by_name(images)
    names = _by_name(xml_files)
    return {
        ids[name] if names.get(name) == one and name in ids else one: path
        for one, path in xml_files.items()
        for name in [PurePosixPath(one).name]
    }


def _by_name(ids: Iterable[str]) -> dict[str, str]:
    """Return the id of each file name that only one folder has."""
    names = [(PurePosixPath(one).name, one) for one in ids]
    count = Counter(name for name, _ in names)
    return {name: one for name, one in names if count[name] == 1}


class _Scan(NamedTuple):
    """The files of a kind in a folder by id, and those that have the id of another one."""

    folder: Path
    files: dict[str, Path]
    passed_over: list[Path]


def _scan(folder: Path, endings: tuple[str, ...], prefix: str = "", *, deep: bool = True) -> _Scan:
    """Return the files in a folder with one of the endings; hidden ones are passed over."""
    ranks = {ending: rank for rank, ending in enumerate(endings)}
    found: dict[str, list[tuple[int, str, Path]]] = {}
    seen = set()  # links may lead back
    for root, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        folders[:] = [name for name in folders if deep and not is_litter(name)]
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        inner = Path(root).relative_to(folder).as_posix()
        start = prefix if inner == "." else f"{prefix}{inner}/"
        for name in names:
            stem, dot, ending = name.rpartition(".")
            rank = ranks.get(dot + ending.lower())
            if rank is not None and stem and not is_litter(name):
                found.setdefault(start + stem, []).append((rank, name, Path(root, name)))
    files = {image_id: min(ranked)[2] for image_id, ranked in found.items()}
    others = (sorted(ranked)[1:] for ranked in found.values() if len(ranked) > 1)
    return _Scan(folder, files, [path for ranked in others for _, _, path in ranked])


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


def _lists(path: Path) -> dict[str, Path]:
    """Return the files that list the images of splits, by split.

    They are those of ``ImageSets/Main`` or ``ImageSets``, or ``train.txt``, ``val.txt`` and the
    like beside the images.
    """
    sets = {one.name.lower(): one for one in subfolders(path)}.get("imagesets")
    if sets is not None:
        main = {one.name.lower(): one for one in subfolders(sets)}.get("main", sets)
        for folder in (main, sets):
            files = {one.stem: one for one in sorted(folder.iterdir()) if _is_list(one)}
            if files:
                lists = {name: one for name, one in files.items() if not _of_class(name, files)}
                return _by_split(lists)
    names = {*SPLITS, "trainval"}
    beside = {one.stem: one for one in sorted(path.iterdir()) if _is_list(one)}
    return _by_split({name: one for name, one in beside.items() if name.lower() in names})


def _by_split(lists: Mapping[str, Path]) -> dict[str, Path]:
    """Return lists by the name of their split: ``valid.txt`` and ``Val.txt`` are those of val."""
    usual = {**SPLITS, "trainval": "trainval"}
    named = {usual.get(name.lower(), name): path for name, path in lists.items()}
    exact = {name: path for name, path in lists.items() if name in named}
    return named | exact


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.is_file() and not is_litter(path.name)


def _of_class(name: str, files: Mapping[str, Path]) -> bool:
    """Tell whether a list is VOC's of one class, such as ``cat_train``, and no split of its own."""
    if name.rpartition("_")[2] not in files or "_" not in name:
        return False
    columns = [line.split() for line in _text(files[name]).splitlines() if line.strip()]
    return all(len(words) > 1 and words[-1] in {"1", "0", "-1"} for words in columns)


def _text(path: Path) -> str:
    """Return the text of a list, whatever its encoding is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFileError(Kind.EMPTY_SPLIT, path, "list", f"cannot be read ({error})") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:256]:  # UTF-16 that does not say so
        return data.decode("utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")  # -sig: some editors put a byte order mark in front
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _without_ending(name: str) -> str:
    """Return the name of a file without its ending, if that is one of an image or of XML."""
    stem, dot, ending = name.strip("\"'").replace("\\", "/").rpartition(".")
    return stem if dot + ending.lower() in (*IMAGE_ENDINGS, ".xml") else stem + dot + ending


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
    return hashlib.blake2b(image_id.encode(), digest_size=8, salt=_SALT).digest()


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
    return f"it holds {holds or 'nothing'}; {looked}{_inner_data_set(path)}"


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= _LISTED else [*names[:_LISTED], "..."]


def _is_data_set(path: Path) -> bool:
    pair = _pair(path, None, None)
    voc = any((year / "Annotations").is_dir() for year in path.glob("VOC*"))
    return voc or (pair is not None and bool(pair.images) and bool(pair.annotations))


def _inner_data_set(path: Path) -> str:
    """Return a hint at the folders inside that are data sets, or ""."""
    inside = [str(one) for one in subfolders(path) if _is_data_set(one)]
    return f"; perhaps name {' or '.join(inside[:3])}" if inside else ""
