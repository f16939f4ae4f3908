"""The documentation, built once for all tests that look at it."""

import posixpath
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Site(NamedTuple):
    """A built documentation."""

    folder: Path
    entries: dict[tuple[str, str], str]  # (role, name) -> address, of all that can be linked to


def inventory(path):
    """Return what Sphinx wrote into its inventory."""
    content = path.read_bytes()
    start = 0
    for _ in range(4):  # the lines of the header
        start = content.index(b"\n", start) + 1
    line = re.compile(r"(.+?) (\S+:\S+) (-?\d+) (\S*) (.*)")
    entries = {}
    for text in zlib.decompress(content[start:]).decode().splitlines():
        name, role, _, address, _ = line.fullmatch(text).groups()
        entries[role, name] = address[:-1] + name if address.endswith("$") else address
    return entries


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build the documentation; a warning is an error."""
    pytest.importorskip("sphinx", reason="needs the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    command += ["-D", "tutorials_execute=0", "-D", "browser_site=0"]
    command += ["-d", str(folder / "doctrees")]
    result = subprocess.run(
        [*command, str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return Site(folder / "html", inventory(folder / "html" / "objects.inv"))


@pytest.fixture(scope="session")
def resolve():
    """Return the file and the anchor that a relative link in a file leads to."""

    def resolved(source, link):
        path, _, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(source.parent, path)) if path else source
        return Path(target), anchor

    return resolved
