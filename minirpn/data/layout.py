"""Where the files of a VOC data set lie: its year folder, its splits, its images and XML."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from minirpn.data.findings import BadFileError, Kind, finding
from minirpn.errors import InputError

# In this order of preference, should one image lie there in two formats.
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_ALL = (None, "all")


class Folder(NamedTuple):
    """A folder with images, a folder with annotations (perhaps the same), and where splits are."""

    path: Path
    images: Path
    annotations: Path
    splits: Path


def find_folder(root: Path, year: int | str | None, *, need_images: bool = True) -> Folder:
    """Return the folders of the data set at `root`.

    Parameters
    ----------
    root
        A VOCdevkit (holding ``VOC2007`` and the like), one such year's folder, or a bare folder of
        images and XML side by side.
    year
        Which year of a VOCdevkit; None for the only one.
    need_images
        Whether annotations without an image folder beside them will not do.

    Raises
    ------
    InputError
        There is no such folder or year, several years and no choice, or nothing annotated in it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: data set: no such folder")
    years = sorted(path.name[3:] for path in root.glob("VOC*") if (path / "Annotations").is_dir())
    if years:
        return _checked(_year_folder(root, years, year), need_images)
    if year is not None and root.name != f"VOC{year}":
        raise InputError(f"{root}: year {year}: no folder VOC{year} in it")
    if (root / "Annotations").is_dir():
        return _checked(root, need_images)
    if next(root.glob("*.xml"), None) is None:
        raise InputError(f"{root}: data set: holds no VOC folder, no Annotations, no XML files")
    return Folder(root, root, root, root / "ImageSets" / "Main")


def _year_folder(root: Path, years: list[str], year: int | str | None) -> Path:
    if year is None and len(years) > 1:
        raise InputError(f"{root}: year: several there, choose one of {', '.join(years)}")
    wanted = years[0] if year is None else str(year)
    if wanted not in years:
        raise InputError(f"{root}: year {wanted}: not there; there is {', '.join(years)}")
    return root / f"VOC{wanted}"


def _checked(path: Path, need_images: bool) -> Folder:
    if need_images and not (path / "JPEGImages").is_dir():
        raise InputError(f"{path}: data set: has Annotations but no JPEGImages folder")
    return Folder(path, path / "JPEGImages", path / "Annotations", path / "ImageSets" / "Main")


def image_files(folder: Folder) -> dict[str, Path]:
    """Return the image file of each id there is an image for."""
    files: dict[str, Path] = {}
    for path in sorted(folder.images.iterdir(), key=_preference, reverse=True):
        if path.suffix.lower() in _IMAGE_ENDINGS:
            files[path.stem] = path
    return files


def _preference(path: Path) -> int:
    ending = path.suffix.lower()
    return _IMAGE_ENDINGS.index(ending) if ending in _IMAGE_ENDINGS else len(_IMAGE_ENDINGS)


def split_ids(folder: Folder, split: str | None, images: Iterable[str]) -> list[str]:
    """Return the image ids of a split, in the order of its file.

    Parameters
    ----------
    folder
        What `find_folder` found.
    split
        The name of a file of ``ImageSets/Main``; None or ``"all"`` for every id that has an image
        or an annotation, sorted.
    images
        The ids there is an image for.

    Raises
    ------
    InputError
        There is no such split (the message lists those there are), or it is empty.
    """
    if split in _ALL:
        return sorted({path.stem for path in folder.annotations.glob("*.xml")} | set(images))
    if not folder.splits.is_dir():
        raise InputError(f"{folder.path}: split {split!r}: no ImageSets/Main there, only 'all'")
    path = split_file(folder, split)
    if not path.is_file():
        names = ", ".join(split_names(folder)) or "none"
        raise InputError(f"{folder.path}: split {split!r}: not there; there is {names}")
    # -sig: some editors put a byte order mark in front.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise BadFileError(finding(Kind.EMPTY_SPLIT, path, f"split {split!r}", "lists no image"))
    return ids


def split_names(folder: Folder) -> list[str]:
    """Return the names of the splits there are, sorted.

    Files such as ``cat_train.txt``, which list one class, are none.
    """
    return sorted(path.stem for path in folder.splits.glob("*.txt") if "_" not in path.stem)


def split_file(folder: Folder, split: str) -> Path:
    """Return the file that lists the images of a split."""
    return folder.splits / f"{split}.txt"
