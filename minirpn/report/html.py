"""Pieces of HTML, and numbers in words.

Text is made printable and escaped here, once, wherever it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from minirpn.text import printable


class HTML(str):
    """Text that is HTML already; any other text is escaped when it is put into a page."""

    __slots__ = ()


def safe(content: object) -> HTML:
    """Return `content` as HTML: as it is if it is HTML, printable and escaped otherwise."""
    return content if isinstance(content, HTML) else HTML(escape(printable(str(content))))


def element(tag: str, *content: object, **attributes: str) -> HTML:
    """Return an element with this content; ``class_`` stands for ``class``, ``a_b`` for ``a-b``.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    inner = "".join(safe(piece) for piece in content)
    return HTML(f"<{tag}{_named(attributes)}>{inner}</{tag}>")


def _named(attributes: dict[str, str]) -> str:
    """Return attributes as they stand in a tag; even of HTML the value is escaped."""
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{safe(str(value))}"'
        for name, value in attributes.items()
    )


def join(pieces: Iterable[object]) -> HTML:
    """Return the pieces one after the other, a line each."""
    return HTML("\n".join(safe(piece) for piece in pieces))


def section(title: str, *content: object) -> HTML:
    """Return a section under a heading, nothing if it has no content; `anchor_of` leads to it."""
    inner = join(piece for piece in content if piece)
    if not inner:
        return HTML("")
    return element("section", element("h2", title), inner, id=anchor_of(title))


def anchor_of(title: str) -> str:
    """Return the id of the section of a title.

    >>> anchor_of("Made with")
    'made-with'
    """
    return title.lower().replace(" ", "-")


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> HTML:
    """Return a table that scrolls where the page is narrow; the first column holds names."""
    heading = join(element("th", cell, scope="col") for cell in head)
    body = join(
        element(
            "tr",
            *(
                element("td" if i else "th", cell, **({} if i else {"scope": "row"}))
                for i, cell in enumerate(row)
            ),
        )
        for row in rows
    )
    whole = element("table", element("thead", element("tr", heading)), element("tbody", body))
    return element("div", whole, class_="wide")


class Picture(NamedTuple):
    """A picture of the page, and what it shows."""

    name: str  # of its file
    source: str  # a data URI, so that the page needs no other file
    caption: str
    size: tuple[int, int]  # width and height in pixels, of what `source` holds
    file: str = ""  # address of a larger picture, seen from the page; empty if there is none


def figure(picture: Picture, name: str) -> HTML:
    """Return a picture with its caption, which a click shows in full size, and the next one closes.

    No script is needed: the picture is in a popover, which the style shows in its place as long as
    it is not open. So its bytes are on the page once, and the Escape key closes it. The frame
    around it keeps the place, before the picture is there and while it is open.

    Parameters
    ----------
    picture
        It and its caption.
    name
        The id of the popover, another one for each figure.
    """
    width, height = map(str, picture.size)
    # Its bytes are there with the page: it is drawn with the text, not a moment later.
    attributes = {"src": picture.source, "alt": picture.caption, "width": width, "height": height}
    image = HTML(f"<img{_named(attributes | {'decoding': 'sync'})}>")
    button = element("button", image, type="button", popovertarget=name)
    pieces: list[object] = [picture.caption]
    if picture.file:
        pieces += [" (larger: ", element("a", picture.name, href=picture.file), ")"]
    popover = element("div", button, element("p", *pieces), class_="full", id=name, popover="")
    frame = element("div", popover, class_="frame", style=f"--w:{width};--h:{height}")
    return element("figure", frame, element("figcaption", picture.caption))


def share(value: float | None) -> str:
    """Return a share in three digits, "-" if it is not known."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Return a share in percent, "-" if it is not known."""
    return "-" if value is None else f"{value:.1%}"


def scientific(value: float | None) -> str:
    """Return a number of any size, "-" if it is not known."""
    return "-" if value is None else f"{value:.2e}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
