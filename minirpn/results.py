"""What a model finds in one image: proposals and detections, and files of many of them.

These are for users: NumPy arrays on the host, in pixels of the original image. The networks return
named tuples of the same names, on their device and in pixels of the resized image; see
`minirpn.rpn.Proposals` and `minirpn.detector.Detections`.
"""

from __future__ import annotations

import base64
import html
import json
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minirpn import detector
from minirpn._typing import ImageSize
from minirpn.budget import Budget, values_in
from minirpn.data.images import read_image
from minirpn.errors import InputError
from minirpn.evaluation.result_files import (
    COCORow,
    coco_rows,
    write_coco_detections,
    write_coco_images,
    write_voc_results,
)
from minirpn.fields import MOST_NAME, Fields, list_of, number, optional, parsed, text, whole
from minirpn.files import one_line_errors, read_file, replace_file
from minirpn.text import elided, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OBJECT = "object"
"""The one class of proposals."""

_SHOWN = 5  # boxes in a repr
_IN_TABLE = 10  # boxes in a notebook's table
_MOST_BYTES = 2**29  # of a file of results: 152 a box, 300 in each of 11,700 images


class ScoredBox(NamedTuple):
    """One box of a result."""

    box: NDArray[np.float32]  # (4,) half-open pixels of the original image
    score: float
    name: str


# eq=False: a comparison of arrays gives arrays, so a generated == would raise.
@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """Boxes in one image, with a score and a class each; the base of the two results.

    ``len(found)`` is the number of boxes, iteration and ``found[3]`` give a `ScoredBox`. A slice, a
    mask, or an array of positions gives a result of the same kind: ``found[found.scores > 0.5]``.

    Parameters
    ----------
    boxes
        (R, 4) ``(x1, y1, x2, y2)``, half-open pixels of the original image. Kept as float32.
    scores
        (R,), kept as float32.
    classes
        (R,) positions in `names`, kept as int64.
    names
        The classes that the model knows.
    image_size
        (height, width) of the original image.
    image
        (H, W, 3) uint8, if the model was given pixels; None if it was given a file, which `pixels`
        reads again.
    image_path
        The file; None if the model was given pixels.

    Raises
    ------
    InputError
        The numbers of boxes, scores and classes differ, or a class has no name.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64] = field(kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)
    image_size: ImageSize = field(kw_only=True)
    image: NDArray[np.uint8] | None = field(default=None, kw_only=True)
    image_path: Path | None = field(default=None, kw_only=True)

    kind: ClassVar[str]
    """What messages call these boxes, in the plural."""
    named: ClassVar[bool]
    """Whether there are classes to tell apart."""

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32)
        scores = np.asarray(self.scores, np.float32)
        classes = np.asarray(self.classes, np.int64)
        R = len(scores) if scores.ndim == 1 else -1
        if boxes.shape != (R, 4) or classes.shape != (R,):
            raise InputError(
                f"{self.kind}: expected boxes (R, 4), scores (R,), classes (R,), "
                f"got {boxes.shape}, {scores.shape}, {classes.shape}"
            )
        if R and not 0 <= classes.min() <= classes.max() < len(self.names):
            raise InputError(f"{self.kind}: a class is not one of the {len(self.names)} names")
        for name, array in (("boxes", boxes), ("scores", scores), ("classes", classes)):
            object.__setattr__(self, name, array)

    # --- a sequence of boxes ---------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[ScoredBox]:
        for position in range(len(self)):
            yield self[position]

    @overload
    def __getitem__(self, index: int) -> ScoredBox: ...

    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Self: ...

    def __getitem__(self, index: Any) -> ScoredBox | Self:
        """Return one box, or those of a slice, a mask (R,) bool, or positions (n,).

        Raises
        ------
        IndexError
            There is no such box; the mask is not as long as the result; the index is none of these.
        """
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            position = operator.index(index)
            if not -len(self) <= position < len(self):
                raise IndexError(f"no box {position}: {self._counted()}")
            name = self.names[self.classes[position]]
            return ScoredBox(self.boxes[position], float(self.scores[position]), name)
        return self._take(index if isinstance(index, slice) else self._positions(index))

    def _positions(self, index: ArrayLike) -> NDArray[np.int64]:
        """Return the positions that a mask or an array of whole numbers chooses."""
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise IndexError(f"a mask of shape {chosen.shape} for {self._counted()}")
            return np.flatnonzero(chosen)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise IndexError(
                "expected a position, a slice, a mask or a list of positions, "
                f"got {chosen.dtype} of shape {chosen.shape}"
            )
        positions = chosen.astype(np.int64)
        outside = positions[(positions < -len(self)) | (positions >= len(self))]
        if outside.size:
            raise IndexError(f"no box {outside[0]}: {self._counted()}")
        return positions

    def _take(self, index: slice | NDArray[np.int64]) -> Self:
        """Return the boxes at an index, each with its score and its class."""
        raise NotImplementedError

    def _counted(self) -> str:
        one = len(self) == 1
        return f"{len(self)} {self.kind.removesuffix('s') if one else self.kind}"

    def top(self, count: int) -> Self:
        """Return the boxes of the `count` highest scores, best first; equal scores keep order.

        An InputError says if `count` is negative.
        """
        if count < 0:
            raise InputError(f"top: expected 0 or more, got {count}")
        return self[np.argsort(-self.scores, kind="stable")[:count]]

    def above(self, score: float) -> Self:
        """Return the boxes whose score is above `score`, in their order."""
        return self[self.scores > score]

    # --- shown -----------------------------------------------------------------------------------

    def pixels(self) -> NDArray[np.uint8]:
        """Return the original image (H, W, 3) uint8, read again if the model was given a file.

        An InputError says if there is neither, or if the file cannot be read or has another size.
        """
        if self.image is not None:
            return self.image
        if self.image_path is None:
            raise InputError(f"{self.kind}: neither pixels nor a file of the image are known")
        image = read_image(self.image_path)
        if image.shape[:2] != tuple(self.image_size):
            raise InputError(
                f"{self.image_path}: it is {image.shape[:2]} pixels high and wide, "
                f"but the {self.kind} are in an image of {tuple(self.image_size)}"
            )
        return image

    def _has_pixels(self) -> bool:
        return self.image is not None or (self.image_path is not None and self.image_path.is_file())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Return axes with the image and the boxes; the errors are those of `pixels`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        where = "" if self.image_path is None else printable(f" in {self.image_path}")
        height, width = self.image_size
        lines = [f"{type(self).__name__}: {self._counted()}{where} ({width} x {height} pixels)"]
        lines += [f"  {line}" for line in self[:_SHOWN].lines()]
        if len(self) > _SHOWN:
            lines.append(f"  and {len(self) - _SHOWN} more")
        return "\n".join(lines)

    def lines(self) -> list[str]:
        """Return a line for each box: score and corners, of detections the name first."""
        shown = {
            label: elided(printable(self.names[label])) for label in set(self.classes.tolist())
        }
        wide = max(map(len, shown.values()), default=0)
        lines = []
        for (box, score, _), label in zip(self, self.classes.tolist(), strict=True):
            first = f"{shown[label]:<{wide}}  " if self.named else ""
            lines.append(f"{first}{score:.3f}  " + " ".join(f"{value:7.1f}" for value in box))
        return lines

    def _repr_png_(self) -> bytes | None:
        """Return the picture for a notebook, or None if the image is not known any more."""
        return self._png

    @cached_property
    def _png(self) -> bytes | None:
        # Kept, because a notebook asks for the picture, and again for the table with the picture.
        if not self._has_pixels():
            return None
        from minirpn.viz.style import figure_of, rendered

        figure = figure_of(self.plot())
        assert figure is not None  # of axes just made
        return rendered(figure, "png")

    def _repr_html_(self) -> str:
        """Return a table of the first boxes and the picture, for a notebook."""
        cell = "<td style='text-align: right'>{}</td>".format
        rows = []
        for box, score, name in self[:_IN_TABLE]:
            numbers = "".join(cell(f"{value:.1f}") for value in box)
            shown = html.escape(elided(printable(name)))
            rows.append(f"<tr><td>{shown}</td>{cell(f'{score:.3f}')}{numbers}</tr>")
        first = repr(self).splitlines()[0] + (f", the first {_IN_TABLE}:" * (len(self) > _IN_TABLE))
        head = "".join(f"<th>{word}</th>" for word in ("", "score", "x1", "y1", "x2", "y2"))
        table = f"<table><tr>{head}</tr>{''.join(rows)}</table>" if rows else ""
        picture = self._png
        image = ""
        if picture is not None:
            data = base64.b64encode(picture).decode()
            image = f"<img alt='{self.kind}' src='data:image/png;base64,{data}'/>"
        return f"<p>{html.escape(first)}</p>{table}{image}"

    # --- files -----------------------------------------------------------------------------------

    def _content(self) -> dict[str, Any]:
        """Return what a JSON file says about this image."""
        return {
            "image": None if self.image_path is None else str(self.image_path),
            "image_size": {"height": self.image_size[0], "width": self.image_size[1]},
            "boxes": self.boxes.tolist(),
            "scores": self.scores.tolist(),
        }

    @classmethod
    def _of_content(cls, content: Fields) -> Self:
        """Return the result of such a content; an InputError says what is wrong with it."""
        raise NotImplementedError

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the result as JSON text, and write it to `path` if that is given.

        The keys are those of ``minirpn propose --save`` and ``minirpn detect --save``: ``image``,
        ``image_size``, ``boxes``, ``scores``, and for detections ``classes`` and ``names``. The
        pixels are not in it. An InputError says if the file cannot be written.
        """
        text = json.dumps(self._content(), indent=2) + "\n"
        if path is not None:
            # Not durable: `detect --save` writes one for each of thousands of images.
            replace_file(Path(path), text.encode(), durable=False)
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> Self:
        """Return the result that `to_json` wrote, with exactly the same numbers.

        Parameters
        ----------
        source
            JSON text (str), or the file with it (Path).

        Raises
        ------
        InputError
            The file cannot be read, or holds something else.
        """
        where = str(source) if isinstance(source, Path) else cls.kind
        return cls._of_content(Fields(_parsed(source), where))

    def to_coco(self, image_id: int = 1, path: str | Path | None = None) -> list[COCORow]:
        """Return the boxes in COCO's results format, and write them to `path` if that is given.

        Parameters
        ----------
        image_id
            COCO's number of the image.
        path
            A JSON file with the list. `write_coco` writes one file for many images.

        Returns
        -------
        rows
            For each box ``image_id``, ``category_id`` (its class, from 1), ``bbox``
            ``[x, y, width, height]`` and ``score``.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        rows = coco_rows(self._for_files(), image_id)
        if path is not None:
            replace_file(Path(path), (json.dumps(rows) + "\n").encode())
        return rows

    def to_voc(
        self, folder: str | Path, image_id: str | None = None, *, split: str = "test"
    ) -> list[Path]:
        """Write VOC's result files, one a class, and return their paths.

        Parameters
        ----------
        folder
            Made if missing. `write_voc` writes many images into the same files.
        image_id
            None for the name of the image file without its ending, or ``"000001"``.
        split
            Part of the file names ``comp4_det_SPLIT_CLASS.txt``.

        Raises
        ------
        InputError
            The id has a blank in it, which the format cannot express; a file cannot be written.
        """
        ids = _image_ids([self]) if image_id is None else [image_id]
        return write_voc_results(Path(folder), [self._for_files()], ids, self.names, split=split)

    def to_supervision(self) -> Any:
        """Return the boxes as ``supervision.Detections``.

        An InputError says if the package ``supervision`` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise InputError(f"to_supervision: {error}: pip install supervision") from error
        words = np.array([self.names[label] for label in self.classes.tolist()], dtype=np.str_)
        return supervision.Detections(
            xyxy=self.boxes, confidence=self.scores, class_id=self.classes, data={_WORDS: words}
        )

    def _for_files(self) -> detector.Detections:
        return detector.Detections(self.boxes, self.scores, self.classes)


_WORDS = "class_name"  # where supervision's annotators look for the names


@dataclass(frozen=True, eq=False, repr=False)
class Proposals(Found):
    """Where in an image objects may be, best first: what `minirpn.models.Model.propose` returns.

    The parameters are those of `Found` without `classes` and `names`: all ``classes`` are 0, and
    ``names`` is ``("object",)``.
    """

    classes: NDArray[np.int64] = field(init=False)
    names: tuple[str, ...] = field(init=False, default=(OBJECT,))

    kind = "proposals"
    named = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", np.zeros(np.shape(self.scores), np.int64))
        super().__post_init__()

    def _take(self, index: slice | NDArray[np.int64]) -> Self:
        return replace(self, boxes=self.boxes[index], scores=self.scores[index])

    def plot(
        self, ax: Axes | None = None, *, top: int = 50, gt_boxes: ArrayLike | None = None
    ) -> Axes:
        """Return axes with the image and the best proposals, coloured by score.

        Parameters
        ----------
        ax
            Where to draw; None makes a new figure.
        top
            How many proposals are drawn.
        gt_boxes
            (M, 4) objects in the same pixels: found ones are drawn solid, missed ones dashed.

        Raises
        ------
        InputError
            As `pixels`.
        """
        from minirpn import viz

        objects = None if gt_boxes is None else np.asarray(gt_boxes, np.float32)
        best = self.top(top)
        return viz.draw_proposals(self.pixels(), best.boxes, best.scores, objects, ax, top=top)

    @classmethod
    def _of_content(cls, content: Fields) -> Self:
        if "classes" in content:
            raise content.wrong("it has classes, so these are detections")
        return cls(**_shared(content))


@dataclass(frozen=True, eq=False, repr=False)
class Detections(Found):
    """The objects detected in an image, best first: what `minirpn.models.Model.detect` returns.

    The parameters are those of `Found`. ``names`` are all the classes of the model, and
    ``found.names[found.classes[0]]`` is the first box's.
    """

    kind = "detections"
    named = True

    def _take(self, index: slice | NDArray[np.int64]) -> Self:
        boxes, scores, classes = self.boxes[index], self.scores[index], self.classes[index]
        return replace(self, boxes=boxes, scores=scores, classes=classes)

    def plot(self, ax: Axes | None = None, *, score_threshold: float = 0.0) -> Axes:
        """Return axes with the image and each detection, with its class and its score.

        Parameters
        ----------
        ax
            Where to draw; None makes a new figure.
        score_threshold
            Detections of a lower score are left out.

        Raises
        ------
        InputError
            As `pixels`.
        """
        from minirpn import viz

        found = self._for_files()
        return viz.draw_detections(
            self.pixels(), found, self.names, ax, score_threshold=score_threshold
        )

    def _content(self) -> dict[str, Any]:
        words = [self.names[label] for label in self.classes.tolist()]
        return super()._content() | {"classes": words, "names": list(self.names)}

    @classmethod
    def _of_content(cls, content: Fields) -> Self:
        shared = _shared(content)
        words = content.get("classes", list_of(text(MOST_NAME), len(shared["scores"])))
        # Files of earlier versions do not say which other classes there are.
        names = content.get("names", list_of(text(MOST_NAME)), sorted(set(words)))
        numbers: dict[str, int] = {}
        for name in names:
            numbers.setdefault(name, len(numbers))
        if len(numbers) < len(names):
            raise content.wrong("names: expected each once")
        unknown = sorted(set(words) - set(names))
        if unknown:
            raise content.wrong(f"class {unknown[0]!r} is not one of its 'names'")
        classes = np.array([numbers[word] for word in words], np.int64)
        return cls(**shared, classes=classes, names=tuple(names))


_FLOAT32 = number(*map(float, (np.finfo(np.float32).min, np.finfo(np.float32).max)))
_SIDE = whole(1, 10**6)  # pixels


def _shared(content: Fields) -> dict[str, Any]:
    """Return the arguments of both kinds of result from the content of a JSON file."""
    scores = content.get("scores", list_of(_FLOAT32))
    size, path = content.get("image_size", Fields), content.get("image", optional(text()))
    boxes = content.get("boxes", list_of(list_of(_FLOAT32, 4), len(scores)))
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "image_size": (size.get("height", _SIDE), size.get("width", _SIDE)),
        "image_path": None if path is None else Path(path),
    }


# --- many images ---------------------------------------------------------------------------------


def write_json(path: str | Path, results: Sequence[Found]) -> None:
    """Write a JSON list with what `Found.to_json` says of each image, in order.

    An InputError says if the file cannot be written.
    """
    content = [found._content() for found in results]
    replace_file(Path(path), (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: str | Path) -> list[Proposals | Detections]:
    """Return the results in a file of `write_json`, with exactly the same numbers.

    An InputError says if the file cannot be read, or holds something else.
    """
    content = _parsed(Path(path))
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a JSON list of images")
    results: list[Proposals | Detections] = []
    for place, item in enumerate(content, start=1):
        fields = Fields(item, f"{path}: image {place}")
        kind = Detections if "classes" in fields else Proposals
        results.append(kind._of_content(fields))
    return results


def write_coco(path: str | Path, results: Sequence[Found]) -> Path:
    """Write the boxes of many images in COCO's results format, and which image has which number.

    Parameters
    ----------
    path
        The JSON file: a list of ``{"image_id", "category_id", "bbox", "score"}``.
    results
        The images, numbered from 1 in this order.

    Returns
    -------
    Path
        ``NAME_images.json`` beside the file: COCO's list of images and of categories, as COCO has
        them for images without ground truth.

    Raises
    ------
    InputError
        The results have different classes, or a file cannot be written.
    """
    path, names = Path(path), _common_names(results)
    write_coco_detections(path, [found._for_files() for found in results])
    images = path.with_name(f"{path.stem}_images.json")
    files = (found.image_path for found in results)
    # The whole path, because two pictures in different folders may share a name.
    file_names = [
        f"{number:06d}" if file is None else file.as_posix()
        for number, file in enumerate(files, start=1)
    ]
    sizes = [found.image_size for found in results]
    write_coco_images(images, file_names, sizes, names)
    return images


def write_voc(folder: str | Path, results: Sequence[Found], *, split: str = "test") -> list[Path]:
    """Write VOC's result files for many images, one file a class, and return their paths.

    Parameters
    ----------
    folder
        Made if missing.
    results
        The id of an image is the name of its file without the ending, such as ``000005``; equal
        ones are numbered from 2. Without a file it is the number of the image, from ``000001``.
    split
        Part of the file names ``comp4_det_SPLIT_CLASS.txt``.

    Raises
    ------
    InputError
        The results have different classes; an id has a blank in it, which the format cannot
        express; a file cannot be written.
    """
    names, ids = _common_names(results), _image_ids(results)
    found = [result._for_files() for result in results]
    return write_voc_results(Path(folder), found, ids, names, split=split)


def _common_names(results: Sequence[Found]) -> tuple[str, ...]:
    """Return the classes that all the results have."""
    every = {found.names for found in results}
    if len(every) > 1:
        raise InputError("results of different classes cannot be in one file")
    return next(iter(every), ())


def picture_names(files: Sequence[Path | None]) -> list[str]:
    """Return a different name for each picture: that of its file without the ending, or a number.

    Equal names are numbered from 2. Where there is no file, it is the number of the picture.
    """
    names: dict[str, None] = {}
    again: Counter[str] = Counter()  # how often each first name was numbered
    for place, file in enumerate(files, start=1):
        name = first = f"{place:06d}" if file is None else file.stem
        while name in names:
            again[first] += 1
            name = f"{first}-{again[first] + 1}"
        names[name] = None
    return list(names)


def _image_ids(results: Sequence[Found]) -> list[str]:
    return picture_names([found.image_path for found in results])


def _parsed(source: str | Path) -> Any:
    """Return what JSON text, or a file of it, says."""
    if isinstance(source, Path):
        with one_line_errors(source, "read"):
            content = read_file(source, most=_MOST_BYTES)
        return parsed(content, str(source), Budget(values=values_in(len(content))))
    content = source.encode(errors="surrogatepass")
    try:
        return parsed(content, "JSON text", Budget(values=values_in(len(content))))
    except InputError as error:
        raise InputError(f"{error}; a file is named by a Path, not by a str") from error
