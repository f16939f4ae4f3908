"""The documentation, built once for all tests that look at it, whichever process they run in."""

import re
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SECONDS = 600  # a limit against hanging


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


def build(folder):
    """Build the documentation in a folder; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    command += ["-D", "tutorials_execute=0", "-D", "browser_site=0"]
    command += ["-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder / "html")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return f"{result.returncode}\n{result.stdout}{result.stderr}"


def built(folder):
    """Return the site in a folder that processes share: the first builds it, the others wait."""
    said = folder / "said.txt"
    try:
        folder.mkdir()
    except FileExistsError:
        end = time.monotonic() + SECONDS
        while not said.exists():
            assert time.monotonic() < end, f"{said}: the process that builds the pages is gone"
            time.sleep(0.5)
    else:
        unfinished = folder / "unfinished.txt"
        unfinished.write_text(build(folder))
        unfinished.rename(said)
    status, _, output = said.read_text().partition("\n")
    assert status == "0", output
    return opened(folder / "html")


def opened(folder):
    """Return the site that is built in a folder."""
    return Site(folder, inventory(folder / "objects.inv"))
