"""The folders of a data set: their usual names, and the images and annotations in them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

# In any case; those that come first count.
ANNOTATIONS = (
    "annotations", "annotation", "annots", "annot", "anns", "xml", "xmls", "labels", "label",
)  # fmt: skip
IMAGES = ("jpegimages", "images", "image", "imgs", "img", "pngimages", "pictures", "photos")
# Each with the split that it means.
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
# If an image is there in several formats, the first one counts. Pillow reads the last few only with
# a plug-in; without one, the error says so.
IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip
_LITTER = ("__macosx",)  # besides all names that begin with a dot


def is_litter(name: str) -> bool:
    """Tell whether a file or folder is one that a system or an archive leaves behind."""
    return name.startswith(".") or name.lower() in _LITTER


def as_utf8(name: str) -> str:
    """Return a name from the system as UTF-8 reads its bytes, whatever the locale is.

    Lists and annotations are UTF-8 under every locale. Bytes that are none are kept apart.
    """
    return name if name.isascii() else os.fsencode(name).decode(errors="surrogateescape")


def subfolders(path: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name."""
    return sorted(one for one in path.iterdir() if one.is_dir() and not is_litter(one.name))


# Images and annotations.


class Pair(NamedTuple):
    """A folder of images, and the folder of their annotations: perhaps the same."""

    image_folder: Path
    annotation_folder: Path
    images: dict[str, Path]
    annotations: dict[str, Path]
    passed_over: list[Path]  # images with the name of another one


def find_pair(
    path: Path, images: Path | None = None, annotations: Path | None = None, prefix: str = ""
) -> Pair | None:
    """Return the images and the annotations in a folder; None if it has neither.

    `images` and `annotations` are folders that are known; `prefix` begins the ids.
    """
    inside = {one.name.lower(): one for one in subfolders(path)}

    def search(known: Path | None, names: Iterable[str], endings: tuple[str, ...]) -> Scan:
        if known is not None:
            return scan(known, endings, prefix)
        named = (inside[name] for name in names if name in inside)
        scans = [scan(folder, endings, prefix) for folder in named]
        scans.append(scan(path, endings, prefix, deep=False))
        return next((one for one in scans if one.files), scans[0])

    xml = search(annotations, ANNOTATIONS, (".xml",))
    pictures = search(images, IMAGES, IMAGE_ENDINGS)
    # One of the two may lie in the folder of the other.
    if not pictures.files and images is None and xml.folder != path:
        pictures = scan(xml.folder, IMAGE_ENDINGS, prefix)
    if not xml.files and annotations is None and pictures.folder != path:
        xml = scan(pictures.folder, (".xml",), prefix)
    if not xml.files and not pictures.files:
        return None
    xml_files = matched(xml.files, pictures.files)
    return Pair(pictures.folder, xml.folder, pictures.files, xml_files, pictures.passed_over)


def matched(annotations: Mapping[str, Path], images: Mapping[str, Path]) -> dict[str, Path]:
    """Return annotations by the ids of their images; the others keep their own ids.

    ``a.jpg.xml`` belongs to ``a.jpg``, and a name with an umlaut to the same name in the other form
    of Unicode. If no id fits, images and annotations lie in different folders within theirs. Then
    files of the same name belong together, if no other has it.
    """
    rest = [one for one in annotations if one not in images]
    if not rest:
        return dict(annotations)
    composed = {unicodedata.normalize("NFC", one): one for one in images}
    fitting: dict[str, str] = {}
    for one in rest:
        names = (one, unicodedata.normalize("NFC", one))
        for name in (*names, *map(without_ending, names)):
            if one not in fitting and name in composed:
                fitting[one] = composed[name]
    if not fitting and len(rest) == len(annotations):
        image_ids, xml_ids = by_name(images), by_name(annotations)
        both = ((xml_ids[name], image_ids[name]) for name in xml_ids.keys() & image_ids.keys())
        fitting = {xml[0]: image[0] for xml, image in both if len(xml) == len(image) == 1}
    own = {one: path for one, path in annotations.items() if one in images}
    return {fitting.get(one, one): annotations[one] for one in rest} | own


def by_name(ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids of each file name, in their order: one for each folder that has it."""
    found: dict[str, list[str]] = {}
    for one in ids:
        found.setdefault(one.rpartition("/")[2], []).append(one)
    return found


def without_ending(name: str) -> str:
    """Return the name of a file without its ending, if that is one of an image or of XML."""
    stem, dot, ending = name.strip("\"'").replace("\\", "/").rpartition(".")
    return stem if dot + ending.lower() in (*IMAGE_ENDINGS, ".xml") else stem + dot + ending


class Scan(NamedTuple):
    """The files of a kind in a folder by id, and those that have the id of another one."""

    folder: Path
    files: dict[str, Path]
    passed_over: list[Path]


def scan(folder: Path, endings: tuple[str, ...], prefix: str = "", *, deep: bool = True) -> Scan:
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
                image_id = as_utf8(start + stem)
                found.setdefault(image_id, []).append((rank, name, Path(root, name)))
    files = {image_id: min(ranked)[2] for image_id, ranked in found.items()}
    others = (sorted(ranked)[1:] for ranked in found.values() if len(ranked) > 1)
    return Scan(folder, files, [path for ranked in others for _, _, path in ranked])
