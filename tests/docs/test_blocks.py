"""The code on the pages runs.

Before each block stands a comment: ``<!-- run -->``, ``<!-- run: needs weights -->`` (or mpiexec,
or both), ``<!-- file: NAME -->``, or ``<!-- skip: reason -->``. The blocks of a page run one after
the other in one folder, in which ``RUN``, ``DIR``, ``VOCdevkit``, ``photos``, ``picture.jpg`` and
``minirpn/samples`` are real. ``minirpn train`` makes a few steps on a few pictures there, whatever
the page says; all else runs as it is written.
"""

import os
import shutil
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.extensions.pages import FRONT, ROOT, blocks, markdown, name_of
from minirpn.data import SyntheticConfig, generate

SECONDS = 600  # a limit against hanging; all blocks together take a minute of one core
STEPS = 6  # the fewest that the four steps of alternating training can share
PICTURES = 30  # of shapes, where a page names no data set
_RUNNABLE = {"", "bash", "sh", "python"}
_MINIRPN = """\
#!/bin/sh
case "$1 $*" in
  "train "*--resume*) exec {python} -m minirpn "$@" ;;
  "train "*--voc*) exec {python} -m minirpn "$@" {brief} ;;
  "train "*) exec {python} -m minirpn "$@" {brief} --config {few} ;;
  *) exec {python} -m minirpn "$@" ;;
esac
"""


def with_marks():
    """Return the pages on which every block needs a mark."""
    return [*FRONT, ROOT / "docs/index.md", *sorted((ROOT / "docs/howto").glob("*.md"))]


def kinds(block):
    return block.mark.partition(":")[0]


def pages_that_run():
    return [path for path in markdown() if any(kinds(block) == "run" for block in blocks(path))]


@pytest.mark.parametrize("path", with_marks(), ids=name_of)
def test_every_block_says_whether_it_runs(path):
    for block in blocks(path):
        if block.language in _RUNNABLE:
            where = f"{name_of(path)}:{block.line}: a comment before it"
            assert kinds(block) in ("run", "file", "skip"), where
            assert kinds(block) == "run" or block.mark.partition(": ")[2], f"{where}, with a reason"


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory):
    """A folder with a run, a data set and a picture, and the commands people have."""
    folder = tmp_path_factory.mktemp("pages")
    generate(folder / "VOCdevkit" / "VOC2007", SyntheticConfig(images=10))
    shutil.copytree(folder / "VOCdevkit" / "VOC2007", folder / "DIR")
    shutil.copy(next((folder / "DIR" / "JPEGImages").iterdir()), folder / "picture.jpg")
    write_photos(folder / "photos", folder / "DIR")
    (folder / "minirpn").mkdir()  # without code in it: Python finds the package elsewhere
    (folder / "minirpn/samples").symlink_to(ROOT / "minirpn/samples")
    commands = folder / ".commands"
    commands.mkdir()
    script = commands / "minirpn"
    few = commands / "few.toml"
    few.write_text(f"[synthetic]\nimages = {PICTURES}\n")
    brief = f"--steps {STEPS} --validate-every {STEPS}"
    script.write_text(_MINIRPN.format(python=sys.executable, brief=brief, few=few))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    run(["minirpn", "train", "--out", "RUN"], folder)
    return folder


def has_mpi():
    """Tell whether the extra 'mpi' is installed: library and launcher."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return find_spec("mpi4py") is not None and shutil.which("mpiexec", path=path) is not None


def write_photos(folder, source):
    """Write a data set as people have them: one folder, boxes from 0, faults, and litter.

    One image has no XML file, and one box has its corners the wrong way round.
    """
    folder.mkdir()
    for image in sorted((source / "JPEGImages").iterdir()):
        shutil.copy(image, folder)
        tree = ElementTree.parse(source / "Annotations" / f"{image.stem}.xml")
        for corner in tree.iterfind("object/bndbox/*"):
            corner.text = str(int(corner.text) - 1)
        tree.write(folder / f"{image.stem}.xml")
    first, second, *_ = sorted(folder.glob("*.xml"))
    first.unlink()
    text = second.read_text()
    second.write_text(text.replace("xmin", "?").replace("xmax", "xmin").replace("?", "xmax"))
    (folder / ".DS_Store").write_bytes(b"\0")


def run(command, folder):
    """Run a command with the repository's minirpn; its failure is the test's."""
    path = [str(folder / ".commands"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
    }
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, f"{command[-1]}\n{result.stdout}\n{result.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("path", pages_that_run(), ids=name_of)
def test_the_blocks_of_a_page(path, surroundings, tmp_path, request):
    folder = tmp_path / "page"
    shutil.copytree(surroundings, folder, symlinks=True)
    for block in blocks(path):
        if kinds(block) == "file":
            (folder / block.mark.partition(": ")[2]).write_text(block.code)
        elif kinds(block) == "run":
            if "mpiexec" in block.mark and not has_mpi():
                pytest.skip("needs the extra 'mpi'")
            if "weights" in block.mark:
                name = "squeezenet_v1_1.npz"
                shared = request.getfixturevalue("shared")
                shutil.copy(shared / "weights" / name, folder / name)
            if block.language == "python":
                (folder / "block.py").write_text(block.code)
                run([sys.executable, "-W", "error", "block.py"], folder)
            else:
                run(["bash", "-euo", "pipefail", "-c", block.code], folder)


@pytest.mark.slow
def test_a_block_that_fails_is_seen(surroundings):
    with pytest.raises(AssertionError, match="no such folder"):
        run(["bash", "-euc", "minirpn check --voc nowhere; true"], surroundings)
