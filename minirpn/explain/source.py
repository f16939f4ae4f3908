"""Find the image to explain, and its ground truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from minirpn.data.images import read_image
from minirpn.data.layout import Layout, Source, find_layout
from minirpn.data.lists import IdFinder
from minirpn.data.samples import Sample, unannotated
from minirpn.data.voc import Files, read_sample
from minirpn.errors import InputError
from minirpn.training.config import DataConfig
from minirpn.training.run_folder import RunFolder

_AS_VOC = Source(Path())
_LISTED = 4  # ids in an error


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
    beside: Source = _AS_VOC,
) -> Picture:
    """Return the image that a user names, with its ground truth.

    Parameters
    ----------
    image
        An image file, or the name of an image in the data set, with or without its folders and its
        ending.
    folder, data
        The run and its settings, which name the data set if `voc` is None; a model that is in no
        run has no folder.
    voc
        Another data set.
    beside
        How an annotation beside an image file of neither data set is read; its folders do not
        matter.

    Returns
    -------
    Picture
        The annotation is that of `voc`, if given; or else that of the run's data set, if the image
        is in it. Otherwise it is a file in ``Annotations`` beside the ``JPEGImages`` of the image,
        or an XML file next to the image. An image without such a file has no ground truth.

    Raises
    ------
    InputError
        There is no such image, or several have that name, or the image or its annotation cannot be
        used; or `voc` is no data set, or has no annotation of the image.
    """
    path = Path(image)
    if voc is not None:
        return _in_other_data(image, voc, skip_bad=data.skip_bad)
    own = _own_source(folder, data)
    if not path.is_file():
        if own is None:
            raise InputError(f"{image}: image: {_lack_of(path)}")
        place = find_layout(own)
        image_id = _id_of_name(image, place)
        return _in_own_data(place.images[image_id], image_id, place, own, skip_bad=data.skip_bad)
    if own is not None and _lies_in(path, own):
        place = find_layout(own, need_images=False)
        known = _id_of_file(path, place)
        if known is not None:
            return _in_own_data(path, known, place, own, skip_bad=data.skip_bad)
    return _in_no_data(path, beside, skip_bad=data.skip_bad)


def _own_source(folder: RunFolder | None, data: DataConfig) -> Source | None:
    """Return how the run reads its data set; None if it has none, or it is gone."""
    source = data.source
    if source is None and folder is not None:
        source = Source(folder.path / "shapes")
    return source if source is not None and source.root.is_dir() else None


# The ground truth.


def _in_other_data(image: str, voc: Source, *, skip_bad: bool) -> Picture:
    """Return an image with its annotation in a data set, which may have the annotation alone."""
    path, place = Path(image), find_layout(voc)
    image_id: str | None
    if not path.is_file():
        image_id = _id_of_name(image, place)
        path = place.images[image_id]
    else:
        image_id = _id_of_file(path, place)
        if image_id is None and not _lies_in(path, voc):
            finder = IdFinder([*place.images, *place.annotations])
            image_id = _only(image, finder.named(path.absolute().as_posix()))
    if image_id is None:
        raise InputError(f"{path}: annotation: none of that name in {place.annotation_folder}")
    picture = _annotated(path, image_id, place, voc, skip_bad=skip_bad)
    if picture is None:
        xml = place.annotation_folder / f"{image_id}.xml"
        raise InputError(f"{xml}: annotation: no such file")
    return picture


def _in_own_data(
    path: Path, image_id: str, place: Layout, own: Source, *, skip_bad: bool
) -> Picture:
    """Return an image of the run's data set; one without an annotation has no ground truth."""
    picture = _annotated(path, image_id, place, own, skip_bad=skip_bad)
    if picture is not None:
        return picture
    xml = place.annotation_folder / f"{image_id}.xml"
    sample = unannotated(path, read_image(path))
    sample = replace(sample, annotation=replace(sample.annotation, image_id=image_id))
    return Picture(sample, (), f"{path}: there is no annotation {xml}")


def _in_no_data(path: Path, beside: Source, *, skip_bad: bool) -> Picture:
    """Return an image with the annotation that lies beside it, if there is one."""
    xml = _annotation_of(path)
    there = xml if xml is not None and xml.exists() else None
    if there is not None or beside.no_annotation == "negative":
        return Picture(*read_sample(Files(path.stem, path, there), beside, skip_bad=skip_bad))
    sample = unannotated(path, read_image(path))
    return Picture(sample, (), f"{path}: there is no annotation {xml or 'beside it'}")


def _annotated(
    path: Path, image_id: str, place: Layout, source: Source, *, skip_bad: bool
) -> Picture | None:
    """Return an image with its annotation in a data set, None if there is no such annotation."""
    xml = place.annotations.get(image_id)
    if xml is None and source.no_annotation != "negative":
        return None
    return Picture(*read_sample(Files(image_id, path, xml), source, skip_bad=skip_bad))


def _annotation_of(path: Path) -> Path | None:
    """Return where the annotation of an image file should be: beside it, or in VOC's folder."""
    beside, folder = path.with_suffix(".xml"), path.parent.parent / "Annotations"
    if beside.is_file():
        return beside
    if path.parent.name == "JPEGImages" and folder.is_dir():
        return folder / f"{path.stem}.xml"
    return None


# Which image of a data set is meant.


def _lies_in(path: Path, source: Source) -> bool:
    """Tell whether a file is in the folder of a data set, or in that of its images."""
    folders = [source.root]
    if source.images is not None:
        folders += [source.root / source.images, source.images]
    return any(
        file.is_relative_to(folder.resolve()) for folder in folders for file in _places(path)
    )


def _id_of_file(path: Path, place: Layout) -> str | None:
    """Return the id of an image file of a data set, None if it is not among the images.

    A file of the same name in the same folder that differs in its ending has the same id.
    """
    wanted = {file.with_suffix("") for file in _places(path)}
    stems = {file.name for file in wanted}
    for image_id, file in place.images.items():
        if file.stem in stems and file.parent.resolve() / file.stem in wanted:
            return image_id
    return None


def _places(path: Path) -> set[Path]:
    """Return where a file is: itself, and what it links to."""
    return {path.parent.resolve() / path.name, path.resolve()}


def _id_of_name(image: str, place: Layout) -> str:
    """Return the id of the image of a data set that a user names."""
    image_id = _only(image, IdFinder(place.images).named(image))
    if image_id is None:
        where = place.image_folder
        lack = _lack_of(Path(image))
        raise InputError(f"{image}: image: {lack}, and none of that name in {where}")
    return image_id


def _lack_of(path: Path) -> str:
    """Return why a path is no picture."""
    return "a folder, not a picture" if path.is_dir() else "no such file"


def _only(image: str, ids: list[str]) -> str | None:
    """Return the one id of a list, None if it is empty."""
    if len(ids) > 1:
        some = ", ".join([*sorted(ids)[:_LISTED], *(["..."] if len(ids) > _LISTED else [])])
        raise InputError(f"{image}: image: several have that name: {some}")
    return ids[0] if ids else None
