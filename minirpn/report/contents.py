"""The contents of a run folder for its report, and notices on what is missing or broken.

A folder may come from anywhere. Each file is checked as it is read, so that the page may trust it,
and no link in the folder is followed: it could lead to a file that is nobody's business.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image

from minirpn.budget import Budget
from minirpn.errors import InputError
from minirpn.evaluation import APResult, RecallResult
from minirpn.fields import MOST_NAME, Fields, parsed, table_of, text, whole
from minirpn.files import read_file
from minirpn.report.records import MOST_BYTES, parse_metrics

Content = TypeVar("Content")

_LARGE = 120_000  # bytes of a PNG
_WIDTH = 640  # pixels, more than a column of the page has
_MOST_PIXELS = 50_000_000  # of a PNG; 150 MB when it is decoded
_MOST_PNG = 2**25  # bytes
_MOST_PICTURES = 200  # in plots/; a run makes about twenty
_MOST_POINTS = 10_000_000  # values in precision.json: three for each detection
_MOST_SETTINGS = 2**20  # bytes of config.toml and of env.json


class Picture(NamedTuple):
    """A picture of the page, and what it shows."""

    name: str  # of its file
    source: str  # a data URI, so that the page needs no other file
    caption: str


@dataclass
class Contents:
    """What a run folder holds; `notices` explain what is empty.

    Parameters
    ----------
    run
        The folder.
    notices
        What is missing or cannot be read, a line each.
    settings
        The text of ``config.toml``.
    environment
        ``env.json``.
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
    environment: dict[str, Any] = field(default_factory=dict)
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
        source = self.read(name, _data_uri, "", most=_MOST_PNG)
        path = Path(name)
        return Picture(path.name, source, path.stem) if source else None

    def read(
        self,
        name: str,
        parse: Callable[[bytes, str], Content],
        missing: Content,
        *,
        most: int = MOST_BYTES,
    ) -> Content:
        """Return a file, parsed; if that fails, return `missing` and add a notice."""
        try:
            return parse(read_file(self.run / name, most=most, follow=False), name)
        except FileNotFoundError:
            self._notice(f"{name} is missing.")
        except OSError as error:
            self._notice(f"{name} cannot be used: {error.strerror or error}.")
        except InputError as error:
            self._notice(f"{name} cannot be used: {str(error).removeprefix(f'{name}: ')}.")
        return missing

    def _is_link(self, folder: str) -> bool:
        """Tell whether a folder is a link, which is not followed; a notice says so."""
        is_link = (self.run / folder).is_symlink()
        if is_link:
            self._notice(f"{folder} is a link: its pictures are left out.")
        return is_link

    def _notice(self, line: str) -> None:
        if line not in self.notices:
            self.notices.append(line)


def read_contents(run: Path) -> Contents:
    """Return what a run folder holds; whatever is missing or broken becomes a notice."""
    contents, names = Contents(run), _names_in(run)
    contents.settings = contents.read("config.toml", _text, "", most=_MOST_SETTINGS)
    contents.environment = contents.read("env.json", _environment, {}, most=_MOST_SETTINGS)
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


def _data_uri(png: bytes, name: str) -> str:
    """Return a PNG as a data URI.

    A large one shows a photograph. It becomes a JPEG of at most `_WIDTH`, a quarter of the size, so
    that a page of thirty pictures stays below 3 MB.
    """
    kind, content = "png", png
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of a bomb, which is refused
            Image.open(io.BytesIO(png), formats=["PNG"]) as image,
        ):
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            if len(png) > _LARGE:
                small = image.convert("RGB")
                small.thumbnail((_WIDTH, _WIDTH * 2))
                buffer = io.BytesIO()
                small.save(buffer, format="JPEG", quality=75, optimize=True)
                kind, content = "jpeg", buffer.getvalue()
    # On damaged files Pillow raises OSError, SyntaxError, ValueError, struct.error and more.
    except Exception as error:
        raise InputError(f"{name}: not a sound PNG: {error}") from error
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _text(content: bytes, _: str) -> str:
    return content.decode(errors="backslashreplace")


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
