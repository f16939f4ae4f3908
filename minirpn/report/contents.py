"""The contents of a run folder for its report, and notices on what is missing or broken.

A folder may come from anywhere. Each file is checked as it is read, so that the page may trust it,
and no link in the folder is followed: it could lead to a file that is nobody's business.
"""

from __future__ import annotations

import base64
import io
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from PIL import Image

from minirpn.budget import Budget, parse_toml
from minirpn.errors import InputError
from minirpn.evaluation import APResult, RecallResult
from minirpn.fields import MOST_NAME, Fields, list_of, parsed, table_of, text, whole
from minirpn.files import MOST_TEXT, open_regular, read_file
from minirpn.report.html import Picture
from minirpn.report.records import MOST_BYTES, parse_metrics

Content = TypeVar("Content")

_LARGE = 120_000  # bytes of a PNG
_WIDTH = 1000  # pixels; what a run draws has less
# At half the quality, JPEG shows thin lines at their full size better than at 640 pixels with 75,
# in as many bytes.
_QUALITY = 55
_FEW_COLORS, _COLORS = 10_000, 128  # of a diagram: with all shades of its edges, and as shown
_MOST_PIXELS = 50_000_000  # of a PNG; 150 MB when it is decoded
_MOST_PNG = 2**25  # bytes
_MOST_PICTURES = 200  # in plots/; a run makes about twenty
_MOST_POINTS = 10_000_000  # values in precision.json: three for each detection
_MOST_SETTINGS = 2**20  # bytes of config.toml and of env.json
_MOST_IMAGES = 10_000_000  # values in data.json: more than its bytes can hold
_MOST_EXPLAINED = 20  # pages in explain/
_BEGINNING = 1024  # bytes of such a page: the mark of `minirpn.explain` is at its beginning
_MARK = re.compile(rb'<meta name="minirpn-explain" content="([^"]*)">')


class Split(NamedTuple):
    """The images of a split of the data set."""

    images: int  # how many
    left_out: int  # more, which could not be used
    first: str  # the id of one; empty if there is none


class Explained(NamedTuple):
    """A page of ``minirpn explain``, and the anchors that it recommends."""

    name: str  # of its image, as the file has it
    address: str  # seen from the report
    anchors: dict[str, int]  # by what they are, of `_NOTABLE`


@dataclass
class Contents:
    """What a run folder holds; `notices` explain what is empty.

    Parameters
    ----------
    run
        The folder.
    notices
        What is missing or cannot be read, a line each.
    settings, values
        The text of ``config.toml``, and what it says.
    environment
        ``env.json``.
    splits
        The images of the run by split: ``data.json``.
    records
        ``metrics.jsonl``.
    recall
        ``recall.json``; None if there is none.
    measured_on
        The images of `recall`, such as "test, 120 images".
    precision, precision_on
        ``precision.json``, None if there is none, and its images.
    """

    run: Path
    notices: list[str] = field(default_factory=list)
    settings: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Split] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    recall: RecallResult | None = None
    measured_on: str = ""
    precision: APResult | None = None
    precision_on: str = ""

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of one kind, in their order."""
        return [record for record in self.records if record.get("kind") == kind]

    def pictures(self) -> list[Picture]:
        """Return the pictures in ``plots/`` by name, number 2 before number 10."""
        if self._is_link("plots"):
            return []
        names = sorted((path.name for path in (self.run / "plots").glob("*.png")), key=_natural)
        if len(names) > _MOST_PICTURES:
            self.notices.append(f"plots has {len(names):,} pictures: {_MOST_PICTURES} are shown.")
        captions: dict[str, str] = {}
        if "captions.json" in _names_in(self.run / "plots"):
            captions = self.read("plots/captions.json", _captions, {})
        shown = (self.picture(f"plots/{name}") for name in names[:_MOST_PICTURES])
        return [
            picture._replace(caption=captions.get(picture.name, picture.caption))
            for picture in shown
            if picture is not None
        ]

    def sample(self, name: str) -> Picture | None:
        """Return a picture in ``plots/samples/``; None if there is none, or none that is sound."""
        # The file name alone: a record must not lead to another folder.
        name = re.split(r"[/\\]", name)[-1]
        if self._is_link("plots") or self._is_link("plots/samples"):
            return None
        there = name in _names_in(self.run / "plots" / "samples")
        return self.picture(f"plots/samples/{name}") if there else None

    def picture(self, name: str) -> Picture | None:
        """Return a PNG file of the run, with its name as the caption; if it is broken, a notice."""
        return self.read(name, _picture, None, most=_MOST_PNG)

    def explained(self) -> list[Explained]:
        """Return the pages of ``minirpn explain`` in the folder, by name; see `_MOST_EXPLAINED`."""
        if self._is_link("explain", "pages"):
            return []
        names = sorted(_names_in(self.run / "explain"), key=_natural)
        names = [name for name in names if name.endswith(".html") and not name.startswith(".")]
        if len(names) > _MOST_EXPLAINED:
            self._notice(f"explain has {len(names):,} pages: {_MOST_EXPLAINED} are named.")
        pages = []
        for name in names[:_MOST_EXPLAINED]:
            anchors = self.read(f"explain/{name}", _notable, None, load=_beginning_of)
            if anchors is not None:
                pages.append(Explained(Path(name).stem, _address("explain", name), anchors))
        return pages

    def read(
        self,
        name: str,
        parse: Callable[[bytes, str], Content],
        missing: Content,
        *,
        most: int = MOST_BYTES,
        load: Callable[[Path], bytes] | None = None,
    ) -> Content:
        """Return a file, parsed; if that fails, return `missing` and add a notice.

        It is read as a whole, if it has `most` bytes at most; or by `load`, if that is given.
        """
        path = self.run / name
        try:
            content = load(path) if load else read_file(path, most=most, follow=False)
            return parse(content, name)
        except FileNotFoundError:
            self._notice(f"{name} is missing.")
        except OSError as error:
            self._notice(f"{name} cannot be used: {error.strerror or error}.")
        except InputError as error:
            self._notice(f"{name} cannot be used: {str(error).removeprefix(f'{name}: ')}.")
        return missing

    def _is_link(self, folder: str, content: str = "pictures") -> bool:
        """Tell whether a folder is a link, which is not followed; a notice says so."""
        is_link = (self.run / folder).is_symlink()
        if is_link:
            self._notice(f"{folder} is a link: its {content} are left out.")
        return is_link

    def _notice(self, line: str) -> None:
        if line not in self.notices:
            self.notices.append(line)


def read_contents(run: Path) -> Contents:
    """Return what a run folder holds; whatever is missing or broken becomes a notice."""
    contents, names = Contents(run), _names_in(run)
    contents.settings = contents.read("config.toml", _text, "", most=_MOST_SETTINGS)
    contents.values = contents.read("config.toml", _values, {}, most=_MOST_SETTINGS)
    contents.environment = contents.read("env.json", _environment, {}, most=_MOST_SETTINGS)
    contents.splits = contents.read("data.json", _splits, {}, most=MOST_TEXT)
    contents.records = contents.read("metrics.jsonl", parse_metrics, [])
    if "recall.json" in names:
        measured: tuple[RecallResult | None, str] = (None, "")
        contents.recall, contents.measured_on = contents.read("recall.json", _recall, measured)
    else:
        contents.notices.append(
            "recall.json is missing: no recall was measured after the last step "
            "(the run goes on, was stopped, or has no validation images)."
        )
    if "precision.json" in names:
        none: tuple[APResult | None, str] = (None, "")
        contents.precision, contents.precision_on = contents.read(
            "precision.json", _precision, none
        )
    return contents


def _names_in(folder: Path) -> set[str]:
    """Return the names in a folder; none if there is no such folder."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _beginning_of(path: Path) -> bytes:
    """Return the first bytes of a file that may be large."""
    with open_regular(path, follow=False) as file:
        return file.read(_BEGINNING)


def _address(folder: str, name: str) -> str:
    """Return the address of a file in a folder of the run, as a page beside the folder has it."""
    return f"{folder}/{quote(os.fsencode(name))}"


def _picture(png: bytes, name: str) -> Picture:
    """Return a PNG as a picture of the page, with its name as the caption.

    On the page it takes a fifth of the bytes, so that one of thirty pictures stays below 3 MB.
    """
    folder, _, name_alone = name.rpartition("/")
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of a bomb, which is refused
            Image.open(io.BytesIO(png), formats=["PNG"]) as image,
        ):
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            size = image.size
            image.load()
            kind, content, shown = _compact(image, png)
    # On damaged files Pillow raises OSError, SyntaxError, ValueError, struct.error and more.
    except Exception as error:
        raise InputError(f"{name}: not a sound PNG: {error}") from error
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    file = "" if shown == size else _address(folder, name_alone)
    return Picture(name_alone, source, name_alone.removesuffix(".png"), shown, file)


def _compact(image: Image.Image, png: bytes) -> tuple[str, bytes, tuple[int, int]]:
    """Return the kind, the bytes and the size of a picture for the page, given its PNG.

    A diagram has few colours, and keeps the most common ones. A large picture with many shows a
    photograph, and becomes a JPEG; as large as it was, for its lines are thin, but for `_WIDTH`.
    """
    # Pillow has no colours for 16 bits of gray.
    if (len(png) <= _LARGE and image.mode == "P") or image.mode.startswith("I"):
        return "png", png, image.size
    size, buffer, kind = image.size, io.BytesIO(), "png"
    # Others cannot be scaled smoothly.
    small = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGBA")
    small.thumbnail((_WIDTH, _WIDTH * 2))
    flat = Image.new("RGB", small.size, "white")
    flat.paste(small, mask=small if small.mode == "RGBA" else None)
    if flat.getcolors(_FEW_COLORS) is not None:
        flat.quantize(_COLORS).save(buffer, "PNG", optimize=True)
    elif len(png) > _LARGE:
        kind = "jpeg"
        flat.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    content = buffer.getvalue()
    return (kind, content, small.size) if 0 < len(content) < len(png) else ("png", png, size)


def _text(content: bytes, _: str) -> str:
    return content.decode(errors="backslashreplace")


def _values(content: bytes, name: str) -> dict[str, Any]:
    try:
        return parse_toml(content.decode(errors="surrogateescape"))
    except ValueError as error:
        raise InputError(f"{name}: not TOML: {error}") from error


def _splits(content: bytes, name: str) -> dict[str, Split]:
    plain = Fields(parsed(content, name, Budget(values=_MOST_IMAGES)), name)
    images, left_out = table_of(text()), list_of(text())
    splits = {}
    for split, fields in plain.get("splits", table_of(Fields)).items():
        ids = list(fields.get("images", images))
        others = fields.get("left_out", left_out, [])
        splits[split] = Split(len(ids), len(others), ids[0] if ids else "")
    return splits


def _notable(content: bytes, name: str) -> dict[str, int]:
    """Return what the head of a page of ``minirpn explain`` says; nothing of any other page."""
    said = _MARK.search(content)
    if said is None:
        return {}
    words = unescape(said[1].decode(errors="replace")).encode()
    return table_of(whole())(parsed(words, name), name)


def _environment(content: bytes, name: str) -> dict[str, Any]:
    return Fields(parsed(content, name), name).plain


def _captions(content: bytes, name: str) -> dict[str, str]:
    return table_of(text())(parsed(content, name), name)


def _recall(content: bytes, name: str) -> tuple[RecallResult | None, str]:
    plain = Fields(parsed(content, name), name)
    return RecallResult.from_dict(plain.plain, name), _measured_on(plain)


def _precision(content: bytes, name: str) -> tuple[APResult | None, str]:
    plain = Fields(parsed(content, name, Budget(values=_MOST_POINTS)), name)
    return APResult.from_dict(plain.plain, name), _measured_on(plain)


def _measured_on(plain: Fields) -> str:
    split = plain.get("split", text(MOST_NAME), None)
    images = plain.get("images", whole(), None)
    where = [] if split is None else [split]
    where += [] if images is None else [f"{images} images"]
    return ", ".join(where)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key in which numbers count as numbers."""
    parts = re.split(r"(\d+)", name)  # words and numbers in turn, a word first
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]
