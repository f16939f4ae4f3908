"""The Markdown of the repository, and its fenced blocks, as the tests of the pages read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from docs.extensions import DOCS, ROOT

FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
FRONT += [ROOT / "CODE_OF_CONDUCT.md", ROOT / "ROADMAP.md", ROOT / "tutorials/README.md"]
FRONT += [ROOT / ".github/PULL_REQUEST_TEMPLATE.md"]


def markdown() -> list[Path]:
    """Return every Markdown file of the repository that people read."""
    return FRONT + sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def name_of(path: Path) -> str:
    """Return the path of a page in the repository."""
    return str(path.relative_to(ROOT))


class Block(NamedTuple):
    """A fenced block, and the comment before it."""

    line: int
    language: str
    mark: str  # what the comment says, such as "run" or "skip: reason"
    code: str


_FENCE = re.compile(
    r"(?:^<!-- *(?P<mark>[^\n]*?) *-->\n\n?)?"
    r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = path.read_text()
    return [
        Block(
            text.count("\n", 0, match.start()) + 1,
            match["language"].strip(),
            match["mark"] or "",
            match["code"],
        )
        for match in _FENCE.finditer(text)
    ]
