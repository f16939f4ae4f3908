"""What sphinx-gallery leaves open: pictures that are as new as the library, one build at a time.

It runs a script again if the script has changed. Here a change of the library counts, too.
"""

from __future__ import annotations

from typing import Any

from filelock import FileLock

from docs.extensions import DOCS, write
from docs.extensions.checksum import library_checksum

FOLDER = DOCS / "gallery"
SCRIPTS = FOLDER / "scripts"
_STATE = FOLDER / "library.sha256"
_BEFORE, _AFTER = 400, 600  # sphinx-gallery has 500, the default


def forget_old_pictures() -> None:
    """Make sphinx-gallery run every script if the library is another than at the last build."""
    checksum = library_checksum()
    if not _STATE.exists() or _STATE.read_text() != checksum:
        for path in FOLDER.glob("*.md5"):
            path.unlink()
    write(_STATE, checksum)


def begin(app: Any) -> None:
    """Wait until no other build runs the scripts: both would write the same files."""
    app.gallery_lock = FileLock(FOLDER / ".lock")
    app.gallery_lock.acquire()
    forget_old_pictures()


def setup(app: Any) -> dict[str, bool]:
    """Enclose what sphinx-gallery does before it looks for pages."""
    app.connect("builder-inited", begin, priority=_BEFORE)
    app.connect("builder-inited", lambda app: app.gallery_lock.release(), priority=_AFTER)
    return {"parallel_read_safe": True}
