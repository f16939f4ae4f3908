"""Pictures that come with minirpn: three photographs, and eight pictures of blood cells.

``README.md`` beside this file says where they come from, and under which licence.

>>> sorted(photos())
['astronaut', 'chelsea', 'coffee']
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["BLOOD", "photos"]

_FOLDER = Path(__file__).parent

BLOOD = _FOLDER / "blood"
"""Eight pictures of blood cells in VOC layout; splits ``train``, ``val`` and ``test``."""


def photos() -> dict[str, Path]:
    """Return the files of the photographs by name: CC0 or in the public domain."""
    return {path.stem: path for path in sorted((_FOLDER / "photos").glob("*.jpg"))}
