"""Foreign text in every place where the program shows it: names that would do something there.

A data set whose classes and files have such names is trained on, once, and every command that reads
it or the run is called. Whatever it prints and writes is then looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data.annotation import VOCObject, write_annotation
from minirpn.text import printable
from minirpn.training.config import load_config
from minirpn.training.run_folder import Records, RunFolder
from minirpn.training.tables import write_toml
from tests.event_files import events

# What XML can hold, so that a data set can have such classes.
IN_XML = [
    r"$\frac{$",
    "$x$ and $",
    r"\$5",
    "_hidden",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=1>",
    "<!-- -->]]>",
    '"onmouseover="1',
    "&amp;",
    "{0} {name} %s %(a)s ${name}",
    "-flag",
    "=cmd|'/c calc'!A1",
    "Fu\u00dfg\u00e4nger",
    "\u4eba" * 40,
    "\U0001f600\u200d\U0001f600",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "turned\u202eback",
    "\u2066hidden\u2069",
    "a\u2028b",
    "C1\x9b2J",
    "x" * 200,  # of a class at most
]
OTHERS = [
    "\x1b[2J\x1b]0;title\x07",
    "nul\x00byte",
    "two\nlines\r",
    "\udcff byte",
    "\ud800 half",
    "\ufffe\U0001ffff",
]
EVIL = IN_XML + OTHERS
# On file systems, a name has at most 255 bytes, and no slash.
FILES = [name.replace("/", "|") for name in [*IN_XML[:-1], OTHERS[0], OTHERS[3]] if len(name) < 80]

# Three steps on small pictures, with a detector that is sure of nothing.
SETTINGS = {
    "data": {"split": "all", "val_split": "all"},
    "resize": {"short_side": 80, "max_side": 96},
    "model": {"backbone": "tiny"},
    "anchors": {"base_size": 8, "scales": [2.0, 4.0]},
    "optimizer": {"steps": 3},
    "sharing": {"kind": "approximate-joint"},
    "proposals": {"post_nms": 20},
    "detections": {"score_threshold": 0.0},
    "run": {"checkpoint_every": 2, "device": "cpu"},
}

MOST = 2000  # characters of a line: paths come on top of a message

_RAW = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn"}


def raw(text: str) -> set[str]:
    """Return what is in a text and has no glyph, but for line breaks, tabs and joiners."""
    return {one for one in text if unicodedata.category(one) in _RAW} - set("\n\t\u200c\u200d")


@pytest.fixture(scope="session")
def evil_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose class names and file names are evil."""
    root = tmp_path_factory.mktemp("data") / os.fsdecode(b"$\\frac{$ <b>\x1b[2J\xff")
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()
    rng = np.random.default_rng(0)
    names = [escape(name) for name in IN_XML]
    for number, file in enumerate(FILES):
        pixels = rng.integers(0, 255, (80, 96, 3)).astype(np.uint8)
        with (root / "JPEGImages" / f"{file}.jpg").open("wb") as out:
            Image.fromarray(pixels).save(out, "JPEG")
        box = "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>70</xmax><ymax>60</ymax></bndbox>"
        some = names if number == 0 else [names[number % len(names)], names[0]]
        objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in some)
        size = "<size><width>96</width><height>80</height><depth>3</depth></size>"
        xml = root / "Annotations" / f"{file}.xml"
        xml.write_text(f"<annotation>{size}{objects}</annotation>", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def evil_run(evil_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on that data set, which is not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    write_toml(folder / "settings.toml", SETTINGS)
    run = folder / os.fsdecode(b"run <i>\x1b[2J\xff")
    words = ["train", "--voc", evil_data, "--config", folder / "settings.toml", "--out", run]
    assert main([os.fspath(word) for word in words]) == 0
    return run


@pytest.fixture
def said(
    evil_data: Path,
    evil_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[str]]:
    """Run a command on a copy of the run; return the lines it prints, which must be harmless."""
    shutil.copytree(evil_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    places = {
        "RUN": "run",
        "DATA": os.fspath(evil_data),
        "IMAGES": f"{evil_data}/JPEGImages",
        "IMAGE": f"{evil_data}/JPEGImages/{FILES[-1]}.jpg",
        "NOWHERE": "-".join(["x", *OTHERS[:1], *OTHERS[2:4], *IN_XML[:6], "x" * 10_000]),
    }

    def run(line: str, status: int = 0) -> list[str]:
        words = [re.sub("[A-Z]{3,}", lambda word: places[word[0]], one) for one in line.split()]
        assert main(words) == status
        printed = capsys.readouterr()
        lines = (printed.out + printed.err).split("\n")
        assert not raw("".join(lines))
        assert max(map(len, lines)) <= MOST
        return lines

    return run


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: set[tuple[str, frozenset[str]]] = set()
        self.text = ""
        content = path.read_bytes().decode()
        assert not raw(content)
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, frozenset(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def fresh(folder: Path, since: set[Path]) -> list[Path]:
    """Return the files that have been written, which must be whole and have plain contents."""
    written = sorted({path for path in folder.rglob("*") if path.is_file()} - since)
    for path in written:
        if path.suffix == ".json":
            assert not raw(path.read_bytes().decode())
            json.loads(path.read_bytes())
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
    assert not [path for path in written if path.suffix == ".tmp"]
    return written


@pytest.mark.slow
def test_a_training_logs_and_records(evil_run: Path, evil_data: Path):
    assert not raw((evil_run / "log.txt").read_bytes().decode())
    assert not raw((evil_run / "metrics.jsonl").read_bytes().decode())
    config = load_config(evil_run / "config.toml")
    assert config.data.voc == os.fspath(evil_data)
    words = (" ".join(name.split()) for name in IN_XML)
    shown = ("".join(one for one in name if printable(one) == one) for name in words)
    assert set(config.data.classes or ()) == set(shown)
    fresh(evil_run, set())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "status", "files"),
    [
        ("check --voc DATA --json check.json", 0, 1),
        ("check --voc DATA --fix copy", 0, 2 * len(FILES)),
        ("anchors --voc DATA --split all --out out", 0, 3),
        ("eval RUN --split all --json out/n.json --out out --coco out/coco.json", 0, 5),
        ("eval RUN --split all --voc-results out", 2, 0),  # a class with a slash
        ("propose RUN IMAGES --out out --json out.json --coco coco.json", 0, 3 + 2 * len(FILES)),
        ("detect RUN IMAGES --score-threshold 0 --save --json out.json", 0, 1 + 2 * len(FILES)),
        ("detect RUN IMAGE --score-threshold 0 --save", 0, 2),
        ("propose RUN --split all --out out", 0, 1),
        ("explain RUN IMAGE", 0, 1),
        ("explain RUN NOWHERE", 2, 0),
        ("train --voc NOWHERE --classes NOWHERE", 2, 0),
        ("train --set NOWHERE=NOWHERE", 2, 0),
        ("eval NOWHERE --NOWHERE=NOWHERE", 2, 0),
        ("convert NOWHERE NOWHERE.npz --network NOWHERE", 2, 0),
        ("bench --only NOWHERE", 2, 0),
        ("study NOWHERE", 2, 0),
        ("report NOWHERE", 2, 0),
        ("NOWHERE", 2, 0),
        ("completion bash", 0, 0),
    ],
)
def test_commands_print_and_write(
    said: Callable[..., list[str]], line: str, status: int, files: int, tmp_path: Path
):
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    said(line, status)
    assert len(fresh(tmp_path, before)) >= files


@pytest.mark.slow
def test_pages_have_no_element_that_names_have_made(
    said: Callable[..., list[str]], trained_detector: Path, tmp_path: Path
):
    said("report RUN")
    said("explain RUN IMAGE --out page.html")
    words = ["explain", str(trained_detector), "000001", "--out", "plain.html"]
    assert main(words) == 0
    report, page, plain = map(
        Page, (tmp_path / "run/report.html", tmp_path / "page.html", tmp_path / "plain.html")
    )
    assert page.elements == plain.elements
    assert not {"script", "i", "b"} & {tag for tag, _ in report.elements}
    assert not [names for _, names in report.elements if any(n.startswith("on") for n in names)]
    assert "<img src=x onerror=1>" in report.text


def test_tags_of_tensorboard_are_plain(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    records = Records(RunFolder(tmp_path), 0, tensorboard=True)
    for name in EVIL:
        records.write({"kind": "diagnose", "step": 1, "zero_share": {name: 0.5}})
        records.picture(f"samples/{name}", np.zeros((4, 4, 3), np.uint8), 1)
    records.close()
    # The tags alone: in checksums and pictures any bytes may follow each other.
    found = events(tmp_path / "tensorboard")
    tags = "\n".join(value.tag for event in found for value in event.summary.value)
    assert "zero_share/_hidden" in tags
    for name in ("\x1b[2J", "\u202e", "\u2066", "\u2028", "\x9b", "<script>"):
        assert name not in tags


@pytest.mark.slow
def test_a_corrected_copy_has_printable_names(said: Callable[..., list[str]], tmp_path: Path):
    said("check --voc DATA --fix copy")
    assert not raw("".join(path.name for path in (tmp_path / "copy").rglob("*")))
    assert not raw((tmp_path / "copy/CHANGES.md").read_bytes().decode())
    said("check --voc copy")


# --- a locale without letters --------------------------------------------------------------------

COMMANDS = """
check --voc DATA
check --voc DATA --classes stra\u00dfe
check --voc DATA --fix copy
anchors --voc DATA --split all --out out
train --voc DATA --config settings.toml --out run
eval run --voc DATA --split all --out out --json out/n.json --coco out/c.json
eval run --voc DATA --split all --voc-results out
detect run DATA/JPEGImages --score-threshold 0 --out out
detect run stra\u00dfe.jpg
explain run DATA/JPEGImages/a\u00df.jpg
report run
convert stra\u00dfe out.npz
stra\u00dfe
"""
CHILD = """
import os, sys
from minirpn.cli.main import main
print(sys.getfilesystemencoding(), sys.stdout.encoding)
for line in os.fsencode(sys.argv[1]).decode().split("\\n"):
    words = [os.fsdecode(word.encode()) for word in line.split()]
    print("status", main(words), line.encode("ascii", "backslashreplace").decode(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others know no ASCII for the names of files")
def test_letters_that_the_locale_lacks_are_written_as_escapes(tmp_path: Path):
    data = tmp_path / "da\u00dfta"
    for folder in ("JPEGImages", "Annotations"):
        (data / folder).mkdir(parents=True)
    for name in ("a\u00df", "b\u00df", "c\u00df"):
        Image.fromarray(np.full((80, 96, 3), 90, np.uint8)).save(data / f"JPEGImages/{name}.jpg")
        write_annotation(
            data / f"Annotations/{name}.xml",
            f"{name}.jpg",
            (80, 96),
            [VOCObject("Fu\u00dfg\u00e4nger", (9, 9, 70, 60), False, False)],
        )
    write_toml(tmp_path / "settings.toml", SETTINGS)
    lines = COMMANDS.strip().replace("DATA", data.name)
    surroundings = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    surroundings["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, lines], cwd=tmp_path, env=surroundings, capture_output=True
    )
    out, err = done.stdout.decode("ascii"), done.stderr.decode("ascii")
    assert out.startswith("ascii ascii\n")
    found = [line.split()[1] for line in out.splitlines() if line.startswith("status ")]
    assert found == list("0100002020022"), out + err
    assert r"Fu\xdfg\xe4nger" in out
    assert "Traceback" not in err
