"""Find the image to explain, and its ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from minirpn.data.images import read_image
from minirpn.data.samples import Sample, unannotated
from minirpn.data.voc import Folder, find_folder, image_files, read_sample
from minirpn.errors import InputError
from minirpn.training.config import DataConfig
from minirpn.training.run_folder import RunFolder


class Picture(NamedTuple):
    """An image with its ground truth, or with the reason why it has none."""

    sample: Sample
    classes: tuple[str, ...]  # names, by the numbers in the sample's annotation
    no_truth: str | None = None


def find_picture(
    image: str,
    folder: RunFolder | None,
    data: DataConfig,
    *,
    voc: Path | None = None,
    year: str | None = None,
) -> Picture:
    """Return the image that a user names, with its ground truth.

    Parameters
    ----------
    image
        An image file, or the name of an image in the data set, with or without its suffix.
    folder, data
        The run and its settings, which name the data set if `voc` is None; a model that is in no
        run has no folder.
    voc, year
        A data set in VOC layout, and its year.

    Returns
    -------
    Picture
        The annotation is that of `voc`, if given. Otherwise it is a file in ``Annotations`` beside
        the ``JPEGImages`` of the image, or an XML file next to the image. An image without such a
        file has no ground truth.

    Raises
    ------
    InputError
        There is no such image, or the image or its annotation cannot be used; or `voc` is no data
        set, or has no annotation of that name.
    """
    path = Path(image)
    if voc is not None:
        place = find_folder(voc, year)
        path = path if path.is_file() else _by_name(image, place)
        return _annotated(path, place, data)
    if not path.is_file():
        path = _by_name(image, _own_data(folder, data))
    beside = _place_of(path)
    if beside is None:
        return _not_annotated(path, f"{path}: there is no annotation beside it")
    xml = beside.annotations / f"{path.stem}.xml"
    if not xml.exists():
        return _not_annotated(path, f"{path}: there is no annotation {xml}")
    return _annotated(path, beside, data)


def _own_data(folder: RunFolder | None, data: DataConfig) -> Folder | None:
    """Return the data set of the run, None if there is none, or if it is gone."""
    if data.voc is not None:
        root = Path(data.voc)
    elif folder is not None:
        root = folder.path / "shapes"
    else:
        return None
    return find_folder(root, data.year) if root.is_dir() else None


def _by_name(image: str, place: Folder | None) -> Path:
    """Return the file of an image of a data set."""
    files = {} if place is None else image_files(place)
    path = files.get(image) or files.get(Path(image).stem)
    if path is None:
        where = "" if place is None else f", and none of that name in {place.images}"
        raise InputError(f"{image}: image: no such file{where}")
    return path


def _place_of(path: Path) -> Folder | None:
    """Return the data set in VOC layout, or the bare folder, that an image file lies in."""
    root = path.parent.parent
    if path.parent.name == "JPEGImages" and (root / "Annotations").is_dir():
        return find_folder(root, None)
    if path.with_suffix(".xml").is_file():
        return Folder(path.parent, path.parent, path.parent, path.parent / "ImageSets" / "Main")
    return None


def _annotated(path: Path, place: Folder, data: DataConfig) -> Picture:
    return Picture(*read_sample(path, place, skip_bad=data.skip_bad))


def _not_annotated(path: Path, reason: str) -> Picture:
    return Picture(unannotated(path, read_image(path)), (), reason)
