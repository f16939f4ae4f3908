"""A data set in PASCAL VOC layout: its files, its splits, its classes, its samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minirpn._typing import ImageSize
from minirpn.data.annotation import VOCFile, half_open, read_annotation
from minirpn.data.findings import BadDataError, BadFileError, Finding, Kind, errors_of, finding
from minirpn.data.images import ImageHeader, examine_image, read_image, read_image_header
from minirpn.data.samples import Annotation, Sample
from minirpn.errors import InputError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip

# If an image is there in two formats, the first one counts.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
# The least similarity of a name that is suggested, by difflib's ratio: "persn" and "person" have
# it, "rat" and "cat" do not.
_ALIKE = 0.75


class VOCDataset:
    """The images and ground truths of one split.

    Every annotation and the header of every image are read and checked here (about 0.3 ms an
    image), so that a training does not stop in the middle. An image is decoded when it is needed.

    Parameters
    ----------
    root
        A VOCdevkit, one year's folder in it, or a bare folder of images and XML.
    year
        Which year of a VOCdevkit; not needed if there is only one.
    split
        The name of a file of ``ImageSets/Main``; None or ``"all"`` for everything, the only choice
        where there are no ``ImageSets``.
    classes
        Class names, in the order of their numbers. None takes VOC's twenty where they suffice,
        else the names that occur, sorted. Give a validation set the classes of its training set.
    skip_bad
        Leave out what is bad and keep the reasons in `skipped`: of a bad object the box alone, of a
        bad file the whole image. Every image is then decoded once here, to find the truncated ones
        (a few milliseconds an image of VOC).

    Attributes
    ----------
    classes : tuple of str
    image_ids : tuple of str
    skipped : tuple of str
        One line for each file or box left out.
    left_out : tuple of str
        The ids of the images that are left out whole.
    findings : tuple of Finding
        What was left out, what is suspicious, what was repaired; `minirpn.data.check_dataset`
        finds more.

    Raises
    ------
    InputError
        There is no such folder, year or split; or, without `skip_bad`, a file or a box is bad. The
        line names file, object and reason, and says how many more there are.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        year: int | str | None = None,
        split: str | None = "trainval",
        classes: Sequence[str] | None = None,
        skip_bad: bool = False,
    ) -> None:
        folder = find_folder(Path(root), year)
        read_header = examine_image if skip_bad else read_image_header
        entries, left_out, findings = _read_split(folder, split, read_header)
        if classes is None:
            self.classes = choose_classes(count_classes(entries))
            findings += odd_classes(entries)
        else:
            self.classes = tuple(classes)
            findings += unknown_classes(entries, self.classes)
        problems = errors_of(findings)
        if problems and not skip_bad:
            raise BadDataError(problems)
        if not entries:
            raise InputError(f"{folder.path}: split {split!r}: every file in it is bad")
        self._annotations = [_to_annotation(entry, self.classes) for entry in entries]
        self.image_ids = tuple(entry.image_id for entry in entries)
        self.left_out = tuple(left_out)
        self.skipped = tuple(str(problem) for problem in problems)
        self.findings = tuple(findings)

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> Sample:
        """Return the annotation and the decoded image at a position.

        Raises
        ------
        InputError
            The image is truncated or damaged, or not the one whose header was checked.
        """
        annotation = self._annotations[index]
        image = read_image(annotation.image_path)
        if image.shape[:2] != annotation.image_size:
            raise InputError(f"{annotation.image_path}: image: changed since it was checked")
        return Sample(annotation, image)

    def annotation(self, index: int) -> Annotation:
        """Return the ground truth at a position without reading the image."""
        return self._annotations[index]


def read_ground_truth(
    root: str | Path, *, year: int | str | None = None, split: str | None = "trainval"
) -> tuple[list[Annotation], tuple[Finding, ...]]:
    """Return the annotations of a split from its XML alone, and what is wrong with them.

    The images need not be there. Bad files and boxes are left out.

    Parameters
    ----------
    root, year, split
        As for `VOCDataset`.

    Raises
    ------
    InputError
        There is no such folder, year or split.
    """
    folder = find_folder(Path(root), year, need_images=False)
    entries, _, findings = _read_split(folder, split, None)
    classes = choose_classes(count_classes(entries))
    return [_to_annotation(entry, classes) for entry in entries], tuple(findings)


def read_sample(
    image_path: Path, folder: Folder, *, skip_bad: bool = False
) -> tuple[Sample, tuple[str, ...]]:
    """Return one image with its ground truth, and the class names its numbers stand for.

    The image may be anywhere; its annotation is in the folder, under the image's name. An
    InputError says if one of them is missing or bad (without `skip_bad`, one bad box is enough), or
    if they do not belong together.
    """
    entry, findings = read_entry(image_path.stem, image_path, folder, read_image_header)
    problems = errors_of(findings)
    if entry is None or (problems and not skip_bad):
        raise BadDataError(problems)
    classes = choose_classes(count_classes([entry]))
    return Sample(_to_annotation(entry, classes), read_image(image_path)), classes


# The files.


class Folder(NamedTuple):
    """The folders of a data set."""

    path: Path
    images: Path
    annotations: Path  # may be the same as `images`
    splits: Path

    def split_file(self, split: str) -> Path:
        """Return the file that lists the images of a split."""
        return self.splits / f"{split}.txt"

    def split_names(self) -> list[str]:
        """Return the names of the splits, sorted; ``cat_train.txt`` lists one class and is none."""
        return sorted(path.stem for path in self.splits.glob("*.txt") if "_" not in path.stem)


def find_folder(root: Path, year: int | str | None, *, need_images: bool = True) -> Folder:
    """Return the folders of the data set at `root`, given as for `VOCDataset`.

    An InputError says if there is no such folder or year, no choice among several years, no
    annotation, or no folder of images although `need_images`.
    """
    if not root.is_dir():
        raise InputError(f"{root}: data set: no such folder")
    years = sorted(path.name[3:] for path in root.glob("VOC*") if (path / "Annotations").is_dir())
    path = root
    if years:
        if year is None and len(years) > 1:
            raise InputError(f"{root}: year: several there, choose one of {', '.join(years)}")
        wanted = years[0] if year is None else str(year)
        if wanted not in years:
            raise InputError(f"{root}: year {wanted}: not there; there is {', '.join(years)}")
        path = root / f"VOC{wanted}"
    elif year is not None and root.name != f"VOC{year}":
        raise InputError(f"{root}: year {year}: no folder VOC{year} in it")
    images, annotations, splits = (
        path / name for name in ("JPEGImages", "Annotations", "ImageSets/Main")
    )
    if annotations.is_dir():
        if need_images and not images.is_dir():
            raise InputError(f"{path}: data set: has Annotations but no JPEGImages folder")
        return Folder(path, images, annotations, splits)
    if next(path.glob("*.xml"), None) is None:
        raise InputError(f"{path}: data set: holds no VOC folder, no Annotations, no XML files")
    return Folder(path, path, path, splits)


def image_files(folder: Folder) -> dict[str, Path]:
    """Return the image file of each id that has one."""
    paths = [path for path in folder.images.iterdir() if path.suffix.lower() in IMAGE_ENDINGS]
    # The preferred format comes last and so replaces the others.
    paths.sort(key=lambda path: IMAGE_ENDINGS.index(path.suffix.lower()), reverse=True)
    return {path.stem: path for path in paths}


def split_ids(folder: Folder, split: str | None, images: Iterable[str]) -> list[str]:
    """Return the image ids of a split, in the order of its file; InputError if it is not there.

    None and ``"all"`` mean every id that has an annotation or is among `images`, sorted.
    """
    if split is None or split == "all":
        return sorted({path.stem for path in folder.annotations.glob("*.xml")} | set(images))
    if not folder.splits.is_dir():
        raise InputError(f"{folder.path}: split {split!r}: no ImageSets/Main there, only 'all'")
    path = folder.split_file(split)
    if not path.is_file():
        names = ", ".join(folder.split_names()) or "none"
        raise InputError(f"{folder.path}: split {split!r}: not there; there is {names}")
    # -sig: some editors put a byte order mark in front.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise BadFileError(Kind.EMPTY_SPLIT, path, f"split {split!r}", "lists no image")
    return ids


# One image and its annotation.


class Entry(NamedTuple):
    """An image and its annotation, both usable; bad objects are left out."""

    image_id: str
    image_path: Path
    xml_path: Path
    content: VOCFile


def _read_split(
    folder: Folder, split: str | None, read_header: Callable[[Path], ImageHeader] | None
) -> tuple[list[Entry], list[str], list[Finding]]:
    """Return the usable entries of a split, the ids of the others, and everything that is wrong."""
    images = image_files(folder) if read_header else {}
    entries, left_out, findings = [], [], []
    for image_id in split_ids(folder, split, images):
        entry, about = read_entry(image_id, images.get(image_id), folder, read_header)
        findings += about
        if entry is None:
            left_out.append(image_id)
        else:
            entries.append(entry)
    return entries, left_out, findings


def read_entry(
    image_id: str,
    image_path: Path | None,
    folder: Folder,
    read_header: Callable[[Path], ImageHeader] | None,
) -> tuple[Entry | None, list[Finding]]:
    """Return an entry, or None if it cannot be used, and everything that is wrong with it.

    `image_path` is None if there is no image; `read_header` is `read_image_header`, or
    `examine_image`, which finds more, or None if the image does not matter.
    """
    xml_path = folder.annotations / f"{image_id}.xml"
    header = content = None
    findings: list[Finding] = []
    try:
        content = read_annotation(xml_path)
    except BadFileError as error:
        findings.append(error.finding)
    if image_path is None:
        image_path, reason = folder.images / image_id, "no such file, of any format"
        if read_header:
            findings.append(finding(Kind.MISSING_FILE, image_path, "image", reason))
    elif read_header:
        try:
            header = read_header(image_path)
        except BadFileError as error:
            findings.append(error.finding)
    if content is None:
        return None, findings
    if header is not None:
        findings += _compare(header, image_path, content.image_size, xml_path)
    usable = not errors_of(findings)
    findings += content.findings
    return (Entry(image_id, image_path, xml_path, content) if usable else None), findings


def _compare(
    header: ImageHeader, image_path: Path, annotated: ImageSize, xml_path: Path
) -> Iterator[Finding]:
    """Yield what is wrong with an image, given the size that its annotation states."""
    height, width = header.image_size
    if (height, width) != annotated:
        unturned = header.turned and header.stored_size == annotated
        reason = (
            f"width {annotated[1]}, height {annotated[0]};"
            f" but {image_path.name}, shown upright, has {width}, {height}"
        )
        kind = Kind.UNTURNED if unturned else Kind.WRONG_SIZE
        yield finding(kind, xml_path, "image size", reason)
    elif header.turned and header.stored_size == header.image_size:
        reason = "has an EXIF orientation, applied here; were the boxes drawn with it?"
        yield finding(Kind.MAYBE_UNTURNED, image_path, "image", reason)
    elif header.turned:
        reason = "turned upright as its EXIF orientation says, which fits the annotated size"
        yield finding(Kind.TURNED, image_path, "image", reason)
    if header.mode != "RGB":
        note = f"; {header.range_note}" if header.range_note else ""
        yield finding(Kind.NOT_RGB, image_path, "image", f"mode {header.mode}, read as RGB{note}")
    if header.doubt:
        yield finding(Kind.BLANK_IMAGE, image_path, "image", header.doubt)


def _to_annotation(entry: Entry, classes: tuple[str, ...]) -> Annotation:
    """Return the ground truth of the known classes, boxes half-open."""
    objects = [item for _, item in entry.content.objects if item.name in classes]
    corners = np.array([item.corners for item in objects], dtype=np.float32).reshape(-1, 4)
    return Annotation(
        image_id=entry.image_id,
        image_path=entry.image_path,
        image_size=entry.content.image_size,
        gt_boxes=half_open(corners),
        gt_classes=np.array([classes.index(item.name) for item in objects], dtype=np.int64),
        difficult=np.array([item.difficult for item in objects], dtype=bool),
    )


# The names of the classes.


def count_classes(entries: Iterable[Entry]) -> Counter[str]:
    """Return the number of objects of each class name."""
    return Counter(item.name for entry in entries for _, item in entry.content.objects)


def choose_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return VOC's classes if they include all `names`, else the names, sorted."""
    names = set(names)
    return VOC_CLASSES if names <= set(VOC_CLASSES) else tuple(sorted(names))


def unknown_classes(entries: Sequence[Entry], classes: Sequence[str]) -> list[Finding]:
    """Return an error for each object whose class is not among `classes`."""
    listed = f"the classes are {', '.join(classes)}"
    reasons = {
        name: f"unknown class{_suggest(name, classes)}; {listed}"
        for name in count_classes(entries)
        if name not in classes
    }
    return _findings_by_name(entries, reasons, Kind.UNKNOWN_CLASS)


def odd_classes(entries: Sequence[Entry]) -> list[Finding]:
    """Return a warning for each object whose class name looks like a typing error.

    Where at least half of the objects have VOC's names, every other name is odd. Elsewhere a name
    is odd that differs from a more frequent one only by capitals, blanks, hyphens or underscores.
    """
    counts = count_classes(entries)
    of_voc = sum(counts[name] for name in VOC_CLASSES)
    reasons: dict[str, str] = {}
    if of_voc > 0 and 2 * of_voc >= counts.total():
        others = [name for name in counts if name not in VOC_CLASSES]
        reasons = {name: f"not one of VOC's{_suggest(name, VOC_CLASSES)}" for name in others}
    else:
        usual: dict[str, str] = {}  # the most frequent spelling of each bare name
        for name in sorted(counts, key=lambda name: (-counts[name], name)):
            if usual.setdefault(_bare(name), name) != name:
                reasons[name] = f"written {usual[_bare(name)]!r} more often"
    return _findings_by_name(entries, reasons, Kind.ODD_CLASS)


def _suggest(name: str, classes: Sequence[str]) -> str:
    """Return ", perhaps CLASS" with the class most like `name`, or "" if none is alike."""
    by_bare = {_bare(one): one for one in reversed(classes)}
    alike = get_close_matches(_bare(name), by_bare, n=1, cutoff=_ALIKE)
    return f", perhaps {by_bare[alike[0]]!r}" if alike else ""


def _bare(name: str) -> str:
    """Return a name without capitals, blanks, hyphens and underscores."""
    return "".join(letter for letter in name.casefold() if letter not in " -_")


def _findings_by_name(
    entries: Iterable[Entry], reasons: Mapping[str, str], kind: Kind
) -> list[Finding]:
    """Return a finding for each object whose class name has a reason."""
    return [
        finding(kind, entry.xml_path, f"object {number} ({item.name})", reasons[item.name])
        for entry in entries
        for number, item in entry.content.objects
        if item.name in reasons
    ]
