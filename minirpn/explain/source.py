"""Find the image to explain, and its ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from minirpn.data.images import read_image
from minirpn.data.layout import Layout, Source, find_layout
from minirpn.data.samples import Sample, unannotated
from minirpn.data.voc import read_sample
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
    voc: Source | None = None,
) -> Picture:
    """Return the image that a user names, with its ground truth.

    Parameters
    ----------
    image
        An image file, or the name of an image in the data set, with or without its suffix.
    folder, data
        The run and its settings, which name the data set if `voc` is None; a model that is in no
        run has no folder.
    voc
        Another data set.

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
        place = find_layout(voc)
        image_id = _id_of(image, place)
        if not path.is_file():
            path = _file_of(image, image_id, place)
        name = image_id or path.stem
        xml = place.annotations.get(name, place.annotation_folder / f"{name}.xml")
        return Picture(*read_sample(path, xml, voc, skip_bad=data.skip_bad))
    source, own = _own_data(folder, data)
    if not path.is_file():
        image_id = None if own is None else _id_of(image, own)
        path = _file_of(image, image_id, own)
        if own is not None and image_id is not None and image_id in own.annotations:
            xml = own.annotations[image_id]
            return Picture(*read_sample(path, xml, source, skip_bad=data.skip_bad))
    beside = _annotation_of(path)
    if beside is None:
        return _not_annotated(path, f"{path}: there is no annotation beside it")
    if not beside.exists():
        return _not_annotated(path, f"{path}: there is no annotation {beside}")
    return Picture(*read_sample(path, beside, source, skip_bad=data.skip_bad))


def _own_data(folder: RunFolder | None, data: DataConfig) -> tuple[Source, Layout | None]:
    """Return how the run reads its data set, and its files; None if it has none, or it is gone."""
    source = data.source
    if source is None and folder is not None:
        source = Source(folder.path / "shapes")
    if source is None or not source.root.is_dir():
        return source or Source(Path()), None
    return source, find_layout(source)


def _id_of(image: str, place: Layout) -> str | None:
    """Return the id of an image of a data set, given its name or its file."""
    stem = Path(image).stem
    return next((one for one in (image, stem) if one in place.images), None)


def _file_of(image: str, image_id: str | None, place: Layout | None) -> Path:
    """Return the file of an image of a data set."""
    if place is None or image_id is None:
        where = "" if place is None else f", and none of that name in {place.image_folder}"
        raise InputError(f"{image}: image: no such file{where}")
    return place.images[image_id]


def _annotation_of(path: Path) -> Path | None:
    """Return where the annotation of an image file should be: beside it, or in VOC's folder."""
    beside, folder = path.with_suffix(".xml"), path.parent.parent / "Annotations"
    if beside.is_file():
        return beside
    if path.parent.name == "JPEGImages" and folder.is_dir():
        return folder / f"{path.stem}.xml"
    return None


def _not_annotated(path: Path, reason: str) -> Picture:
    return Picture(unannotated(path, read_image(path)), (), reason)
