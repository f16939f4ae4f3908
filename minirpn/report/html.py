"""Pieces of HTML, and numbers in words.

Text is made printable and escaped here, once, wherever it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from minirpn.text import printable


class HTML(str):
    """Text that is HTML already; any other text is escaped when it is put into a page."""

    __slots__ = ()


def safe(content: object) -> HTML:
    """Return `content` as HTML: as it is if it is HTML, printable and escaped otherwise."""
    return content if isinstance(content, HTML) else HTML(escape(printable(str(content))))


def element(tag: str, *content: object, **attributes: str) -> HTML:
    """Return an element with this content; ``class_`` stands for ``class``.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    inner = "".join(safe(piece) for piece in content)
    return HTML(f"<{tag}{_named(attributes)}>{inner}</{tag}>")


def _named(attributes: dict[str, str]) -> str:
    """Return attributes as they stand in a tag; even of HTML the value is escaped."""
    return "".join(
        f' {name.rstrip("_")}="{safe(str(value))}"' for name, value in attributes.items()
    )


def join(pieces: Iterable[object]) -> HTML:
    """Return the pieces one after the other, a line each."""
    return HTML("\n".join(safe(piece) for piece in pieces))


def section(title: str, *content: object) -> HTML:
    """Return a section under a heading, nothing if it has no content."""
    inner = join(piece for piece in content if piece)
    return element("section", element("h2", title), inner) if inner else HTML("")


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


def figure(source: str, caption: str) -> HTML:
    """Return a picture with its caption."""
    image = HTML(f"<img{_named({'src': source, 'alt': caption, 'loading': 'lazy'})}>")
    return element("figure", image, element("figcaption", caption))


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
