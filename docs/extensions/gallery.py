"""What sphinx-gallery leaves open: pictures that are as new as the library, one build at a time.

It runs a script again if the script has changed. Here a change of the library counts, too.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from docs.extensions import DOCS, ROOT, write

FOLDER = DOCS / "gallery"
SCRIPTS = FOLDER / "scripts"
_STATE = FOLDER / "library.sha256"
_PACKAGES = ("matplotlib", "numba", "numpy", "pillow")
_BEFORE, _AFTER = 400, 600  # sphinx-gallery has 500, the default


def library_checksum(*more: Path) -> str:
    """Return a checksum of minirpn with its models and samples, of its packages, and of `more`."""
    total = hashlib.sha256()
    files = (path for path in (ROOT / "minirpn").rglob("*") if path.is_file())
    for path in [*sorted(path for path in files if "__pycache__" not in path.parts), *more]:
        total.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    total.update("\n".join(f"{name} {metadata.version(name)}" for name in _PACKAGES).encode())
    return total.hexdigest()


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
