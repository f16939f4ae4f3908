"""A data set in PASCAL VOC layout: its files, its splits, its classes, its samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from minirpn._typing import ImageSize
from minirpn.data.annotation import UNNAMED, VOCFile, read_annotation
from minirpn.data.box_format import BoxFormat, half_open, likely_format
from minirpn.data.findings import (
    BadDataError,
    BadFileError,
    Finding,
    Kind,
    errors_of,
    finding,
    hints_for,
)
from minirpn.data.images import ImageHeader, examine_image, read_image, read_image_header
from minirpn.data.layout import Layout, NoAnnotation, Source, find_layout
from minirpn.data.samples import Annotation, Sample
from minirpn.errors import InputError

#: The 20 classes of PASCAL VOC, in the order of the alphabet.
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip

# The least similarity of a name that is suggested, by difflib's ratio: "persn" and "person" have
# it, "rat" and "cat" do not.
_ALIKE = 0.75
_VERY_ALIKE = 0.8  # "chair" and "car" are not
_RARE = 20  # a name so many times rarer than one that is alike looks like a typing error
_MOST_COMPARED = 10**8  # pairs of letters: a second or two, and 1,000 names with 1,000 others


class VOCDataset:
    """The images and ground truths of one split.

    Every annotation and the header of every image are read and checked here (about 0.3 ms an
    image), so that a training does not stop in the middle. An image is decoded when it is needed.

    Parameters
    ----------
    root
        A VOCdevkit, one year's folder in it, or another folder of images and XML files: both
        together, in two folders, or in folders ``train``, ``valid`` and ``test``. Or a `Source`,
        which also says `year` and all from `images` to `no_annotation`.
    year
        Which year of a VOCdevkit; not needed if there is only one.
    split
        The name of a file of ``ImageSets/Main``, or of a folder of a split; None or ``"all"`` for
        everything. A data set with neither has ``"train"`` (80 % of the images, drawn at random,
        always the same), ``"val"`` (the others) and ``"trainval"``.
    images, annotations
        The folders of the images and of the XML files, in `root` or anywhere; None looks for them.
    box_format
        How the boxes count pixels: ``"voc"``; ``"zero-based"``, from 0, the last one included;
        ``"half-open"``, from 0 to the width; ``"one-based-half-open"``, from 1 to the width + 1;
        ``"normalized"``, from 0 to 1.
    clip_boxes
        Clip boxes that reach far beyond the image; otherwise only those within one pixel.
    no_annotation
        What an image without XML is: an ``"error"``, ``"skip"`` leaves it out, ``"negative"`` takes
        it as an image without objects.
    classes
        Class names, in the order of their numbers, or ``"voc"`` for VOC's twenty. None takes the
        names that occur, sorted. Give a validation set the classes of its training set.
    skip_bad
        Leave out what is bad and keep the reasons in `skipped`: of a bad object the box alone, of a
        bad file the whole image. Where a box is left out, the annotation has an ignored region.
        Every image is then decoded once here, to find the truncated ones (a few milliseconds an
        image of VOC).

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
    note : str
        How the splits came about, if no file lists them; otherwise "".

    Raises
    ------
    InputError
        There is no such folder, year or split; or, without `skip_bad`, a file or a box is bad. The
        line names file, object and reason, and says how many more there are.
    """

    def __init__(
        self,
        root: str | Path | Source,
        *,
        year: int | str | None = None,
        split: str | None = "trainval",
        images: str | Path | None = None,
        annotations: str | Path | None = None,
        box_format: BoxFormat = "voc",
        clip_boxes: bool = False,
        no_annotation: NoAnnotation = "error",
        classes: Sequence[str] | Literal["voc"] | None = None,
        skip_bad: bool = False,
    ) -> None:
        if isinstance(root, Source):
            source = root
        else:
            image_folder = None if images is None else Path(images)
            xml_folder = None if annotations is None else Path(annotations)
            reading = box_format, clip_boxes, no_annotation
            source = Source(Path(root), year, image_folder, xml_folder, *reading)
        layout = find_layout(source)
        read_header = examine_image if skip_bad else read_image_header
        entries, left_out, findings = _read_split(layout, source, split, read_header)
        if classes is None:
            self.classes = choose_classes(count_classes(entries))
            findings += odd_classes(entries)
        else:
            self.classes = VOC_CLASSES if classes == "voc" else tuple(classes)
            findings += unknown_classes(entries, self.classes)
        findings += odd_format(entries, source, layout.path)
        problems = errors_of(findings)
        if problems and not skip_bad:
            raise BadDataError(problems, hints_for(findings))
        if not entries:
            raise InputError(f"{layout.path}: split {split!r}: every file in it is bad")
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._annotations = [_to_annotation(entry, numbers) for entry in entries]
        self.image_ids = tuple(entry.image_id for entry in entries)
        self.left_out = tuple(left_out)
        self.skipped = tuple(str(problem) for problem in problems)
        self.findings = tuple(findings)
        self.note = layout.note

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
            reason = "changed since it was checked"
            raise BadFileError(Kind.WRONG_SIZE, annotation.image_path, "image", reason)
        return Sample(annotation, image)

    def annotation(self, index: int) -> Annotation:
        """Return the ground truth at a position without reading the image."""
        return self._annotations[index]


def read_ground_truth(
    source: Source | str | Path, split: str | None = "trainval"
) -> tuple[list[Annotation], tuple[Finding, ...]]:
    """Return the annotations of a split without decoding an image, and what is wrong with them.

    Bad files and boxes are left out. If the data set has images, those that a training would leave
    out are left out too; it may also have none.

    Parameters
    ----------
    source
        The data set; or its folder, if there is nothing else to say about it.
    split
        As for `VOCDataset`.

    Raises
    ------
    InputError
        There is no such folder, year or split.
    """
    source = source if isinstance(source, Source) else Source(Path(source))
    layout = find_layout(source, need_images=False)
    read_header = read_image_header if layout.images else None
    entries, _, findings = _read_split(layout, source, split, read_header)
    findings += odd_format(entries, source, layout.path)
    classes = choose_classes(count_classes(entries))
    numbers = {name: number for number, name in enumerate(classes)}
    return [_to_annotation(entry, numbers) for entry in entries], tuple(findings)


def read_sample(
    files: Files, source: Source, *, skip_bad: bool = False
) -> tuple[Sample, tuple[str, ...]]:
    """Return one image with its ground truth, and the class names its numbers stand for.

    An InputError says if one of the two files is missing or bad (without `skip_bad`, one bad box is
    enough), or if they do not belong together.
    """
    entry, findings = read_entry(files, source, read_image_header)
    problems = errors_of(findings)
    if entry is None or (problems and not skip_bad):
        raise BadDataError(problems)
    classes = choose_classes(count_classes([entry]))
    numbers = {name: number for number, name in enumerate(classes)}
    return Sample(_to_annotation(entry, numbers), read_image(entry.image_path)), classes


# One image and its annotation.


class Files(NamedTuple):
    """The two files of an image; None for one that is not there."""

    image_id: str
    image: Path | None
    xml: Path | None


class Entry(NamedTuple):
    """An image and its annotation, both usable; bad objects are left out."""

    image_id: str
    image_path: Path
    xml_path: Path
    content: VOCFile


def _read_split(
    layout: Layout,
    source: Source,
    split: str | None,
    read_header: Callable[[Path], ImageHeader] | None,
) -> tuple[list[Entry], list[str], list[Finding]]:
    """Return the usable entries of a split, the ids of the others, and everything that is wrong."""
    entries, left_out = [], []
    listed = layout.listed(split)
    findings = repeated_ids(listed, layout.source_of(split or "all")) + same_names(layout)
    for image_id in dict.fromkeys(listed):
        entry, about = read_entry(files_of(image_id, layout), source, read_header, layout)
        findings += about
        if entry is None:
            left_out.append(image_id)
        else:
            entries.append(entry)
    return entries, left_out, findings


def repeated_ids(listed: Sequence[str], path: Path) -> list[Finding]:
    """Return a warning for each id that a list at `path` names more than once; it counts once."""
    return [
        finding(Kind.LISTED_TWICE, path, image_id, f"{count} times")
        for image_id, count in Counter(listed).items()
        if count > 1
    ]


def same_names(layout: Layout) -> list[Finding]:
    """Return a warning for each image that is passed over, because another one has its name."""
    reason = "passed over: another image has the same name"
    return [finding(Kind.SAME_NAME, path, "image", reason) for path in layout.passed_over]


def files_of(image_id: str, layout: Layout) -> Files:
    """Return the files of an image of a data set."""
    return Files(image_id, layout.images.get(image_id), layout.annotations.get(image_id))


def read_entry(
    files: Files,
    source: Source,
    read_header: Callable[[Path], ImageHeader] | None,
    layout: Layout | None = None,
) -> tuple[Entry | None, list[Finding]]:
    """Return an entry, or None if it cannot be used, and everything that is wrong with it.

    `read_header` is `read_image_header`, or `examine_image`, which finds more, or None if the image
    does not matter. `layout` says where a missing file should be.
    """
    image_id, image_path, xml_path = files
    findings: list[Finding] = []
    header = content = None
    if image_path is None:
        image_path = Path(image_id) if layout is None else layout.image_folder / image_id
        if read_header:
            other = None if layout is None else layout.other_file(image_id)
            reason = "no such file, of any format"
            if other is not None:
                reason = f"only {other}, which has no ending of an image"
            findings.append(finding(Kind.MISSING_FILE, image_path, "image", reason))
    elif read_header:
        try:
            header = read_header(image_path)
        except BadFileError as error:
            findings.append(error.finding)
    if xml_path is None:
        name = f"{image_id}.xml"
        xml_path = Path(name) if layout is None else layout.annotation_folder / name
        if source.no_annotation == "negative" and header is not None:
            content = VOCFile(header.image_size, (), ())
        else:
            findings.append(finding(Kind.NO_ANNOTATION, xml_path, "annotation", "no such file"))
    else:
        try:
            content = read_annotation(
                xml_path,
                box_format=source.box_format,
                clip_boxes=source.clip_boxes,
                image_size=header.image_size if header else None,
            )
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


def _to_annotation(entry: Entry, classes: Mapping[str, int]) -> Annotation:
    """Return the ground truth, boxes half-open, given the number of each class.

    Objects of unknown classes are ignored regions.
    """
    objects = [item for _, item in entry.content.objects if item.name in classes]
    unknown = [item.corners for _, item in entry.content.objects if item.name not in classes]
    return Annotation(
        image_id=entry.image_id,
        image_path=entry.image_path,
        image_size=entry.content.image_size,
        gt_boxes=_boxes([item.corners for item in objects]),
        gt_classes=np.array([classes[item.name] for item in objects], dtype=np.int64),
        difficult=np.array([item.difficult for item in objects], dtype=bool),
        ignored=_boxes([*entry.content.ignored, *unknown]),
    )


def _boxes(corners: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Return half-open boxes (M, 4) float32 for VOC's corners."""
    return half_open(np.array(corners, dtype=np.float32).reshape(-1, 4))


def odd_format(entries: Iterable[Entry], source: Source, path: Path) -> list[Finding]:
    """Return a warning if the boxes of a data set speak for another convention than is used."""
    files = [entry.content for entry in entries]
    corners = [corners for file in files for corners in file.written]
    sides = [file.image_size[::-1] for file in files for _ in file.written]
    evidence = likely_format(
        np.array(corners, dtype=np.float64).reshape(-1, 4), np.array(sides).reshape(-1, 2)
    )
    if evidence is None or evidence.box_format == source.box_format:
        return []
    reason = f"{evidence.words}: perhaps --box-format {evidence.box_format}"
    return [finding(Kind.BOX_FORMAT, path, "boxes", reason)]


# The names of the classes.


def count_classes(entries: Iterable[Entry]) -> Counter[str]:
    """Return the number of objects of each class name."""
    return Counter(item.name for entry in entries for _, item in entry.content.objects)


def choose_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that occur, sorted."""
    return tuple(sorted(set(names)))


def unknown_classes(entries: Sequence[Entry], classes: Sequence[str]) -> list[Finding]:
    """Return an error for each object with a class that is not among `classes`."""
    listed, known = f"the classes are {', '.join(classes)}", set(classes)
    reasons = {
        name: f"unknown class{_suggest(name, classes)}; {listed}"
        for name in count_classes(entries)
        if name not in known and name != UNNAMED  # which has a warning already
    }
    return _findings_by_name(entries, reasons, Kind.UNKNOWN_CLASS)


def odd_classes(entries: Sequence[Entry]) -> list[Finding]:
    """Return a warning for each object whose class name looks like a typing error.

    A name is odd that differs from a more frequent one only by capitals, blanks, hyphens or
    underscores; or that is much like a name of `_RARE` times as many objects, and differs from it
    in letters, not in digits alone.
    """
    counts = count_classes(entries)
    reasons: dict[str, str] = {}
    usual: dict[str, str] = {}  # the most frequent spelling of each bare name, those first
    bare_names: list[str] = []  # of `usual`, in its order
    frequent: list[str] = []  # the first of them: `_RARE` times as frequent as the name
    letters, left = 0, _MOST_COMPARED
    findings: list[Finding] = []
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        if name == UNNAMED:
            continue
        bare = _bare(name)
        while (
            len(frequent) < len(bare_names)
            and counts[usual[bare_names[len(frequent)]]] >= _RARE * counts[name]
        ):
            frequent.append(bare_names[len(frequent)])
            letters += len(frequent[-1])
        left -= len(bare) * letters
        if left < 0:
            reason = f"{len(counts):,} different names, too many to look for typing errors in all"
            findings = [finding(Kind.ODD_CLASS, entries[0].xml_path, "classes", reason)]
            break
        alike = get_close_matches(bare, frequent, n=1, cutoff=_VERY_ALIKE)
        if bare in usual:
            reasons[name] = f"written {usual[bare]!r} more often"
        elif alike and _letters(alike[0]) != _letters(bare):
            other = usual[alike[0]]
            reasons[name] = f"perhaps {other!r}, which {counts[other]:,} objects are"
        if bare not in usual:
            usual[bare] = name
            bare_names.append(bare)
    return findings + _findings_by_name(entries, reasons, Kind.ODD_CLASS)


def _letters(name: str) -> str:
    """Return a name without its digits."""
    return "".join(letter for letter in name if not letter.isdigit())


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
