"""The report is complete, offline and safe, and is made of whatever a run left behind."""

import base64
import io
import json
import os
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image, ImageDraw

from minirpn.detector import Detections
from minirpn.errors import InputError
from minirpn.evaluation import average_precision, proposal_recall
from minirpn.report import read_metrics, write_report
from minirpn.report.contents import read_contents
from minirpn.report.page import DIAGRAMS

VOID = {"meta", "img"}
PNG = base64.b64decode(  # one white pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsVVE8gAAAABJRU5ErkJggg=="
)


class Page(HTMLParser):
    """Parses a page, and fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def pictures(self):
        return [(a["alt"], a["src"]) for tag, a in self.tags if tag == "img"]


def train(step, /, **changed):
    record = {"kind": "train", "step": step, "loss": 1 / step, "objectness_loss": 0.5}
    record |= {"box_loss": 0.25, "lr": 0.001, "step_seconds": 2.0, "data_wait_seconds": 0.5}
    return record | changed


RECORDS = [
    *(train(step) for step in range(1, 5)),
    {"kind": "validate", "step": 4, "loss": 0.3125, "objectness_loss": 0.2, "box_loss": 0.1}
    | {"recall": {"50": 0.25, "100": None}, "images": 3},
    {"kind": "diagnose", "step": 4, "zero_share": {"conv1": 0.5}, "gradient_norm": {"rpn": 0.125}}
    | {"proposals_before_nms": 1234, "proposals_after_nms": 56, "objectness_by_anchor": [0.75]}
    | {"weight_norm": {"conv1": 2.0, "rpn": 4.0}, "update_ratio": {"rpn": 0.002}}
    | {"layers": {"rpn.conv": {"gradient": 0.125, "weight": 4.0, "update": 0.008}}},
    {"kind": "samples", "step": 0, "images": ["000005"], "files": ["1-0.png"]},
    {"kind": "samples", "step": 4, "images": ["000005"], "files": ["1-4.png"]},
    {"kind": "warning", "step": 4, "message": "conv1 is dying"},
]
BOX = np.array([[0.0, 0, 50, 50]])
RECALL = proposal_recall([BOX, BOX], [BOX, BOX + 10], counts=(100, 300))
PRECISION = average_precision(
    [Detections(BOX, np.array([0.9]), np.array([1]))],
    [BOX],
    [np.array([1])],
    classes=("cat", "dog"),
)


SETTINGS = """\
[data]
voc = "/data/VOCdevkit/VOC2007"
year = "none"
[model]
backbone = "zf"
weights = "/weights/zf.caffemodel"
[sharing]
kind = "joint"
[optimizer]
lr = 0.001
steps = 6
"""
SPLITS = {
    "train": {"left_out": ["bad"], "images": {f"{n:06}": "3x2 00" for n in range(1234)}},
    "val": {"images": {"002001": "3x2 00", "002002": "3x2 00"}},
}


def fill(run, **changed):
    """Write the files of a whole run; a file given as None is left out."""
    files = {
        "config.toml": SETTINGS,
        "env.json": json.dumps(
            {"numpy": "2.4.0", "blas": [{"internal_api": "openblas", "num_threads": 2}]}
            | {"numba": None, "command": ["/usr/bin/minirpn", "train", "--out", "my run"]}
            | {"device": {"name": "cuda:0", "about": "Fast Card"}, "cpus_usable": 2}
        ),
        "data.json": json.dumps({"format": "minirpn data", "version": 1, "splits": SPLITS}),
        "metrics.jsonl": "".join(json.dumps(record) + "\n" for record in RECORDS),
        "recall.json": json.dumps(RECALL.to_dict() | {"split": "test", "images": 2}),
        "plots/captions.json": json.dumps({"proposals_2.png": "the second image"}),
    } | changed
    (run / "plots" / "samples").mkdir(parents=True)
    for name in ("1-0.png", "1-4.png"):
        (run / "plots" / "samples" / name).write_bytes(PNG)
    for name, text in files.items():
        if text is not None:
            (run / name).write_text(text)
    for name in ("proposals_10.png", "proposals_2.png"):
        (run / "plots" / name).write_bytes(PNG)
    return run


def report(run):
    assert write_report(run) == run / "report.html"
    return read_page(run)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run with all files and its report."""
    run = fill(tmp_path_factory.mktemp("runs") / "tiny-run")
    write_report(run)
    return run


def test_nothing_to_notice_shows_nothing(whole_run):
    assert read_contents(whole_run).notices == []
    assert "[]" not in (whole_run / "report.html").read_text(encoding="utf-8")


def read_page(run):
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_a_whole_run_is_told_in_numbers_pictures_and_commands(whole_run):
    page = read_page(whole_run)
    for words in (
        "tiny-run",
        "Network zf from zf.caffemodel, with a detector (joint)",
        "Data VOC2007: 1,234 images in train (1 left out), 2 images in val",
        "Device cuda:0, Fast Card",
        "Training 4 of 6 steps in 8 s",
        "0.500 recall at IoU 0.5, 100 proposals",
        "0.500 recall at IoU 0.5, 300 proposals",
        "average recall, 300 proposals",
        "0.250 loss of the last step",
        "0.312 loss of the last validation",
        "100 0.500 0.500 0.500 0.500 - 0.500 -",
        "Share of the 2 objects (0 small, 2 medium, 0 large) found on test, 2 images",
        "2 s a step (median); 25.0% of the time",
        "Step 4: conv1 is dying",
        "conv1 50.0% - 2.00e+00 - rpn - 1.25e-01 4.00e+00 2.00e-03",
        "rpn.conv 1.25e-01 4.00e+00 8.00e-03",
        "Of 1,234 proposals NMS keeps 56. Mean objectness of each base anchor: 0.750.",
        "minirpn train --out 'my run'",
        "--config",
        "lr = 0.001",
        "numpy 2.4.0",
        "internal_api openblas, num_threads 2",
    ):
        assert words in page.text
    assert "missing" not in page.text
    names = [alt for alt, _ in page.pictures()]
    assert names[:2] == ["the second image", "proposals_10"]  # 2 before 10
    assert names[-2:] == ["000005, step 0", "000005, step 4"]
    assert len(names) == 9
    for name in ("training", "validation", "recall", "stages", "norms"):
        assert (whole_run / "plots" / f"{name}.png").exists()


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"config.toml": '[data]\nvoc = "none"\n[model]\nbackbone = "tiny"\nweights = "none"'},
            "Network tiny from random weights Data generated shapes: 1,234 images in train",
        ),
        ({"config.toml": '[data]\nvoc = "C:\\\\kit\\\\"\nyear = "2012"'}, "Data kit 2012: 1,234"),
        ({"env.json": '{"device": {"name": "cpu"}, "cpus_usable": 8}'}, "Device cpu, 8 cores"),
        ({"env.json": '{"device": {"name": "cpu"}, "ranks": {"size": 4}}'}, "Device cpu, 4 ranks"),
        ({"config.toml": '[data]\nvoc = "VOC2007"\nyear = "2007"'}, "Data VOC2007: 1,234"),
        ({"env.json": '{"device": {"name": "cuda"}, "cpus_usable": 8}'}, "Device cuda Training"),
        ({"env.json": '{"device": 7, "ranks": 7}'}, "2 images in val Training 4 of 6 steps"),
        ({"config.toml": "data = 7\nmodel = [{}]\noptimizer = 7"}, "Training 4 steps in 8 s 0.500"),
        ({"data.json": '{"splits": {}}'}, "Data VOC2007 Device"),
    ],
)
def test_the_header_tells_what_the_run_was(tmp_path, files, words):
    assert words in report(fill(tmp_path / "run", **files)).text


def test_the_sections_in_the_order_in_which_a_reader_asks(whole_run):
    text = (whole_run / "report.html").read_text()
    titles = re.findall("<h2>(.*?)</h2>", text)
    assert titles == [
        *("Pictures", "Recall", "Training", "Health", "Over time", "One step", "Again"),
        *("Settings", "Made with"),
    ]
    (menu,) = re.findall("<nav.*?</nav>", text)
    links = re.findall('<a href="#(.*?)">(.*?)</a>', menu)
    assert [title for _, title in links] == titles
    ids = [a["id"] for _, a in read_page(whole_run).tags if "id" in a]
    assert {anchor for anchor, _ in links} <= set(ids)
    assert len(ids) == len(set(ids))


def test_every_picture_has_its_size_and_opens(whole_run):
    page = read_page(whole_run)
    popovers = {a["id"] for _, a in page.tags if "popover" in a}
    opened = [a["popovertarget"] for _, a in page.tags if "popovertarget" in a]
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(opened) == len(set(opened)) == len(pictures) == 9
    assert set(opened) == popovers
    for attributes in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))
        assert picture.size == (int(attributes["width"]), int(attributes["height"]))


def test_the_page_needs_nothing_but_itself(whole_run):
    page = read_page(whole_run)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe"}
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "a":
            assert attributes["href"].startswith("#")
    for _, source in page.pictures():
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(encoded, validate=True).startswith(b"\x89PNG")
    text = (whole_run / "report.html").read_text()
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        page.tags
    )


@pytest.mark.usefixtures("no_figures")
def test_what_users_write_is_text_and_never_tags(tmp_path):
    evil = "<script>alert('x')</script>\"&"
    warning = {"kind": "warning", "step": 1, "message": evil}
    diagnose = {"kind": "diagnose", "step": 1, "zero_share": {evil: 0.5}}
    run = fill(
        tmp_path / "<i>run&",
        **{
            "config.toml": f"# {evil}",
            "env.json": json.dumps({evil: evil, "command": ["minirpn", evil]}),
            "metrics.jsonl": "".join(json.dumps(r) + "\n" for r in (warning, diagnose)),
            "recall.json": json.dumps(RECALL.to_dict() | {"split": evil}),
            "plots/captions.json": json.dumps({"proposals_2.png": evil}),
        },
    )
    page = report(run)
    assert not [tag for tag, _ in page.tags if tag in {"script", "i"}]
    assert page.text.count("<script>alert(") == 9  # a caption twice: under and over the picture
    assert evil in [alt for alt, _ in page.pictures()]
    assert "<i>run&" in page.text


# They clear a terminal, turn the reading direction, end a script or a line, or are no characters.
UNSHOWN = "\x00\x1b[2J\x9b\u202e\u2066\u2028\r\udcff\ud800"


@pytest.mark.usefixtures("no_figures")
def test_what_has_no_glyph_is_written_as_an_escape(tmp_path):
    def filled(folder, word):
        warning = {"kind": "warning", "step": 1, "message": word * 100}
        stages = {key: {word: 0.5} for key in ("zero_share", "gradient_norm", "weight_norm")}
        layers = {word: {"gradient": 0.5}}
        diagnose = {"kind": "diagnose", "step": 1, **stages, "layers": layers}
        samples = {"kind": "samples", "step": 1, "images": [word], "files": ["1-0.png"]}
        records = (train(1), warning, diagnose, samples)
        precision = replace(PRECISION, classes=(word, "dog")).to_dict()
        return fill(
            folder,
            **{
                "config.toml": f"# {word!a}\n# line\n",
                "env.json": json.dumps({word: word, "command": ["minirpn", word]}),
                "metrics.jsonl": "".join(json.dumps(record) + "\n" for record in records),
                "recall.json": json.dumps(RECALL.to_dict() | {"split": word}),
                "precision.json": json.dumps(precision | {"split": word}),
                "plots/captions.json": json.dumps({"proposals_2.png": word}),
            },
        )

    evil = report(filled(tmp_path / os.fsdecode(b"a\x1b[2J\xff"), f"<a>{UNSHOWN}\"'&"))
    plain = report(filled(tmp_path / "b", "plain"))
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in plain.tags]
    assert [set(names) for _, names in evil.tags] == [set(names) for _, names in plain.tags]
    shown = r"<a>\x00\x1b[2J\x9b\u202e\u2066\u2028\r\xff\ud800"
    assert evil.text.count(f"{shown}\"'&") > 8
    assert evil.text.count(r"a\x1b[2J\xff") >= 2
    content = next(tmp_path.glob("a*")).joinpath("report.html").read_bytes().decode()
    assert content.replace("\n", "").isprintable()
    (told,) = (line for line in evil.words if line.startswith("Step 1: "))
    assert len(told) <= 1000


@pytest.mark.parametrize(
    "name", ["report.html", ".report.html.0123456789abcdef.tmp", "plots/training.png"]
)
def test_a_link_in_a_strangers_run_is_not_followed(tmp_path, name):
    run = fill(tmp_path / "run")
    (tmp_path / "mine").write_text("mine")
    (run / name).symlink_to(tmp_path / "mine")
    write_report(run)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (run / name).is_symlink()
    assert not [*run.rglob("*.tmp")]


def test_pictures_are_not_drawn_into_another_folder(tmp_path):
    run = fill(tmp_path / "run")
    (run / "plots").rename(tmp_path / "mine")
    (run / "plots").symlink_to(tmp_path / "mine")
    assert "plots is a link: no diagrams are drawn into it." in report(run).text
    assert not (tmp_path / "mine" / "training.png").exists()


@pytest.mark.usefixtures("no_figures")
def test_results_come_before_what_they_were_learned_from(tmp_path):
    run = fill(tmp_path / "run")
    for name in ("anchors.png", "detections_1.png", "labels.png"):
        (run / "plots" / name).write_bytes(PNG)
    names = [alt for alt, _ in report(run).pictures()]
    shown = ["detections_1", "the second image", "proposals_10", "anchors", "labels"]
    assert names[:5] == shown


# --- the pages of single steps -------------------------------------------------------------------


def explained(run, name, said='{"positive": 12, "proposal": 345}', before=""):
    """Write what begins as a page of ``minirpn explain`` does."""
    (run / "explain").mkdir(exist_ok=True)
    mark = "" if said is None else f'<meta name="minirpn-explain" content="{escape(said)}">'
    (run / "explain" / name).write_text(f"<!doctype html>\n{before}{mark}\n")


def links_of(page):
    return [a["href"] for tag, a in page.tags if tag == "a" and a["href"][0] != "#"]


@pytest.mark.usefixtures("no_figures")
def test_pages_of_steps_are_linked_with_their_anchors(tmp_path):
    run = fill(tmp_path / "run")
    explained(run, "10 a&b#?.html", '{"negative": 7, "unheard-of": 1}')
    explained(run, "2.html")
    explained(run, "old.html", None)
    explained(run, ".hidden.html")
    explained(run, "note.txt")
    page = report(run)
    assert links_of(page) == [
        *("explain/2.html", "explain/2.html#anchor=12", "explain/2.html#anchor=345"),
        *("explain/10%20a%26b%23%3F.html", "explain/10%20a%26b%23%3F.html#anchor=7"),
        "explain/old.html",
    ]
    for words in (
        "2 : the positive anchor that adds most to the loss (12) , the anchor of the best proposal",
        "10 a&b#? : the negative anchor that adds most to the loss (7) old",
    ):
        assert words in page.text
    assert "minirpn explain" not in page.text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("files", "image"),
    [
        ({}, "000005"),  # which is shown over time
        ({"metrics.jsonl": json.dumps(train(1))}, "002001"),  # the first to validate on
    ],
)
def test_without_a_page_of_a_step_the_command_is_told(tmp_path, files, image):
    run = fill(tmp_path / "my run", **files)
    page = report(run)
    assert f"minirpn explain '{run}' {image} minirpn report '{run}'" in page.text
    assert links_of(page) == []


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"positive": "x"}', "positive: expected a whole number"),
        ('{"positive": -1}', "positive: expected a whole number"),
        ("[1]", "expected an object"),
        ("{", "not JSON"),
    ],
)
def test_a_page_of_a_step_that_says_something_else_is_a_notice(tmp_path, said, reason):
    run = fill(tmp_path / "run")
    explained(run, "1.html", said)
    page = report(run)
    assert f"explain/1.html cannot be used: {reason}" in page.text
    assert links_of(page) == []


@pytest.mark.usefixtures("no_figures")
def test_few_pages_of_steps_are_named_and_only_their_beginning_is_read(tmp_path):
    run = fill(tmp_path / "run")
    for number in range(25):
        explained(run, f"{number}.html")
    explained(run, "0.html", before="x" * 1024)
    page = report(run)
    links = links_of(page)
    assert links[:2] == ["explain/0.html", "explain/1.html"]
    assert len(links) == 1 + 19 * 3
    assert "explain has 25 pages: 20 are named." in page.text


@pytest.mark.usefixtures("no_figures")
def test_a_detector_has_a_table_of_its_own(tmp_path):
    plain = json.dumps(PRECISION.to_dict() | {"split": "val", "images": 1})
    page = report(fill(tmp_path / "run", **{"precision.json": plain}))
    for words in (
        "1.000 mean average precision at IoU 0.5",
        "cat 0 0 0 - - dog 1 1 0 1.000 1.000 mean 1.000 1.000",
        "Measured on val, 1 images; a detection finds an object at an IoU of 0.5.",
    ):
        assert words in page.text
    assert DIAGRAMS["precision_recall.png"] in [alt for alt, _ in page.pictures()]
    assert (tmp_path / "run" / "plots" / "precision_recall.png").exists()
    for broken in ("{", "{}", json.dumps({"classes": [{}]})):
        (tmp_path / "run" / "precision.json").write_text(broken)
        assert "precision.json cannot be used: " in report(tmp_path / "run").text


def test_sample_pictures_are_looked_for_in_their_folder_alone(tmp_path):
    outside = tmp_path / "run" / "plots" / "proposals_2.png"
    record = {"kind": "samples", "step": 1, "images": ["a", "b", "c"]}
    record |= {"files": ["../proposals_2.png", str(outside), "gone.png"]}
    files = {"metrics.jsonl": json.dumps(record), "recall.json": None}
    page = report(fill(tmp_path / "run", **files))
    assert [alt for alt, _ in page.pictures()] == ["the second image", "proposals_10"]


def test_no_more_samples_are_shown_than_a_run_makes(tmp_path):
    record = {"kind": "samples", "images": list("abcdef"), "files": ["1-0.png"] * 6}
    lines = [json.dumps(record | {"step": step}) for step in range(30)]
    page = report(fill(tmp_path / "run", **{"metrics.jsonl": "\n".join(lines)}))
    shown = [alt for alt, _ in page.pictures() if ", step " in alt]
    assert len(shown) == 3 * 9
    assert shown[8] == "a, step 29"


def embedded(page, alt):
    """Return a picture of the page, and its kind."""
    ((_, source),) = (one for one in page.pictures() if one[0] == alt)
    kind, _, encoded = source.partition(";base64,")
    content = base64.b64decode(encoded)
    return Image.open(io.BytesIO(content)), kind, len(content)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("width", "shown"), [(800, 800), (1500, 1000)])
def test_photographs_take_fewer_bytes(tmp_path, rng, width, shown):
    run = fill(tmp_path / "run")
    path = run / "plots" / "proposals_2.png"
    smooth = np.linspace(0, 200, 600 * width * 3).reshape(600, width, 3)
    noisy = (smooth + rng.normal(scale=4, size=smooth.shape)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(noisy)
    picture.save(path)
    page = report(run)
    found, kind, length = embedded(page, "the second image")
    assert kind == "data:image/jpeg"
    assert length < path.stat().st_size / 5
    assert found.size == (shown, 600 * shown // width)
    expected = np.asarray(picture.resize(found.size)).astype(int)
    assert np.abs(np.asarray(found) - expected).mean() < 6
    # The file is linked if it is larger.
    assert links_of(page) == (["plots/proposals_2.png"] if shown < width else [])


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_diagrams_keep_their_size_and_their_lines(tmp_path, rng, mode):
    run = fill(tmp_path / "run")
    path = run / "plots" / "proposals_2.png"
    lines = rng.integers(0, 500, (40, 4))
    large = Image.new("RGB", (1000, 1000), "white")
    for x1, y1, x2, y2 in 2 * lines.tolist():
        ImageDraw.Draw(large).line((2 * x1, 2 * y1, 2 * x2, 2 * y2), fill=(0, 114, 178), width=3)
    picture = large.resize((500, 500))  # with edges in many shades
    if mode == "RGBA":  # without a ground
        alpha = Image.eval(picture.getchannel("R"), lambda value: 255 - value)
        clear = Image.new("RGBA", picture.size, (0, 114, 178, 0))
        clear.putalpha(alpha)
        clear.save(path, compress_level=1)
        picture = Image.new("RGB", clear.size, "white")
        picture.paste(clear, mask=clear)
    else:
        picture.save(path, compress_level=1)
    found, kind, length = embedded(report(run), "the second image")
    assert kind == "data:image/png"
    assert found.size == (500, 500)
    assert length < path.stat().st_size / 2
    difference = np.asarray(found.convert("RGB")).astype(int) - np.asarray(picture)
    assert np.abs(difference).max() <= 16


def test_a_picture_of_16_bits_keeps_its_grays(tmp_path):
    run = fill(tmp_path / "run")
    path = run / "plots" / "proposals_2.png"
    grays = np.linspace(0, 65535, 3600).reshape(60, 60).astype(np.uint16)
    Image.fromarray(grays).save(path)
    found, kind, _ = embedded(report(run), "the second image")
    assert kind == "data:image/png"
    np.testing.assert_array_equal(np.asarray(found), grays)


@pytest.mark.parametrize(
    "name", ["config.toml", "data.json", "env.json", "metrics.jsonl", "recall.json"]
)
@pytest.mark.parametrize("text", ["", "{\n\n{", "[1]\n2", '{"kind": "train"'])
def test_what_is_broken_is_said(tmp_path, name, text):
    (notice,) = read_contents(fill(tmp_path / "run", **{name: text})).notices or [""]
    # A run may have recorded nothing, or been killed in a line.
    fine = name == "config.toml" and text == ""
    fine |= name == "metrics.jsonl" and "\n" not in text
    assert notice.startswith("" if fine else f"{name} cannot be used: ")
    assert bool(notice) != fine


def test_a_page_is_made_of_broken_files_too(tmp_path):
    files = (
        "config.toml",
        "data.json",
        "env.json",
        "metrics.jsonl",
        "recall.json",
        "plots/captions.json",
    )
    page = report(fill(tmp_path / "run", **dict.fromkeys(files, "{\n{")))
    for name in files:
        assert f"{name} cannot be used: " in page.text
    assert [alt for alt, _ in page.pictures()] == ["proposals_2", "proposals_10"]


def test_an_empty_folder_has_a_report(tmp_path):
    page = report(tmp_path)
    for name in ("config.toml", "data.json", "env.json", "metrics.jsonl", "recall.json"):
        assert f"{name} is missing" in page.text
    assert "Training no step was recorded" in page.text
    assert page.pictures() == []


@pytest.mark.usefixtures("no_figures")
def test_without_a_last_measurement_the_last_validation_is_shown(tmp_path):
    page = report(fill(tmp_path / "run", **{"recall.json": None}))
    assert "0.250 recall at IoU 0.5, 50 proposals, validation at step 4" in page.text
    assert "- recall at IoU 0.5, 100 proposals, validation at step 4" in page.text


@pytest.mark.usefixtures("no_figures")
def test_recall_of_no_objects_is_a_dash(tmp_path):
    nothing = json.dumps(proposal_recall([], []).to_dict())
    assert "- average recall" in report(fill(tmp_path / "run", **{"recall.json": nothing})).text


def test_a_value_of_another_type_is_said(tmp_path):
    lines = json.dumps(train(1, lr="fast")) + "\n"
    page = report(fill(tmp_path / "run", **{"metrics.jsonl": lines}))
    assert "metrics.jsonl cannot be used: line 1: lr: expected a number" in page.text


def test_many_warnings_are_cut_to_the_last(tmp_path):
    lines = [{"kind": "warning", "step": step, "message": "hm"} for step in range(100)]
    metrics = "".join(json.dumps(line) + "\n" for line in lines)
    page = report(fill(tmp_path / "run", **{"metrics.jsonl": metrics}))
    assert "88 earlier warnings are in metrics.jsonl. Step 88: hm" in page.text
    assert "Step 87" not in page.text


def test_python_m_minirpn_is_said_as_it_was_typed(tmp_path):
    command = ["/site-packages/minirpn/__main__.py", "train"]
    files = {"env.json": json.dumps({"command": command}), "metrics.jsonl": "", "recall.json": None}
    page = report(fill(tmp_path / "run", **files))
    assert "python -m minirpn train" in page.text


def test_a_report_is_written_again_over_the_old_one(whole_run):
    first = read_page(whole_run)
    assert report(whole_run).pictures() == first.pictures()


def test_no_folder_is_one_line(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such run folder"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    with pytest.raises(InputError, match=r"report\.html: cannot write: it is a folder"):
        write_report(tmp_path / "run")


def test_metrics_of_a_killed_run_are_read_up_to_the_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    last = whole.rstrip().rfind(b"\n") + 1
    for cut in (last, last + 1, len(whole) - 5):
        path.write_bytes(whole[:cut])
        assert read_metrics(path) == RECORDS[:-1]
    path.write_bytes(whole[:-1])
    assert read_metrics(path) == RECORDS
    path.write_bytes(whole + b"\xc3")  # the first half of a letter
    assert read_metrics(path) == RECORDS


def test_metrics_broken_in_the_middle_name_the_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "x", "step": 1}\n3\n{"kind": "x", "step": 2}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 2: expected an object, got 3"):
        read_metrics(path)
    with pytest.raises(InputError, match="cannot read the metrics: No such file"):
        read_metrics(tmp_path / "none.jsonl")


# --- a folder from a stranger --------------------------------------------------------------------


def link(path, target, *, is_folder=False):
    """Make a link, or skip the test where there are none."""
    try:
        path.symlink_to(target, target_is_directory=is_folder)
    except OSError:  # Windows asks for a right
        pytest.skip("no links here")


@pytest.fixture
def secret(tmp_path):
    """A picture outside the run, which must not come into its page."""
    path = tmp_path / "secret" / "1-0.png"
    path.parent.mkdir()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(path)
    return path


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("name", ["plots/x.png", "plots/samples/1-0.png"])
def test_a_picture_that_is_a_link_is_left_out(tmp_path, secret, name):
    run = fill(tmp_path / "run")
    (run / name).unlink(missing_ok=True)
    link(run / name, secret)
    page = report(run)
    assert base64.b64encode(secret.read_bytes()).decode() not in (run / "report.html").read_text()
    assert f"{name} cannot be used: a link, and links are not followed here." in page.text


@pytest.mark.parametrize("name", ["plots", "plots/samples"])
def test_a_folder_of_pictures_that_is_a_link_is_left_out(tmp_path, secret, name):
    run = fill(tmp_path / "run", **{"metrics.jsonl": json.dumps(RECORDS[6]), "recall.json": None})
    (run / name).rename(tmp_path / "away")
    link(run / name, secret.parent, is_folder=True)
    page = report(run)
    assert base64.b64encode(secret.read_bytes()).decode() not in (run / "report.html").read_text()
    assert f"{name} is a link: its pictures are left out." in page.text


@pytest.mark.parametrize(
    "name", ["config.toml", "data.json", "env.json", "metrics.jsonl", "recall.json"]
)
def test_a_record_that_is_a_link_is_not_read(tmp_path, name):
    run = fill(tmp_path / "run")
    (run / name).rename(tmp_path / "elsewhere")
    link(run / name, tmp_path / "elsewhere")
    assert read_contents(run).notices == [
        f"{name} cannot be used: a link, and links are not followed here."
    ]


@pytest.mark.usefixtures("no_figures")
def test_pages_of_steps_that_are_links_are_left_out(tmp_path):
    run = fill(tmp_path / "run")
    explained(run, "1.html")
    (tmp_path / "mine.html").write_text('<meta name="minirpn-explain" content="{&quot;a&quot;:5}">')
    link(run / "explain" / "2.html", tmp_path / "mine.html")
    page = report(run)
    assert links_of(page)[0] == "explain/1.html"
    assert "explain/2.html" not in links_of(page)
    assert "explain/2.html cannot be used: a link, and links are not followed here." in page.text
    (run / "explain").rename(tmp_path / "away")
    link(run / "explain", tmp_path / "away", is_folder=True)
    page = report(run)
    assert links_of(page) == []
    assert "explain is a link: its pages are left out." in page.text


def bomb():
    """Return a small PNG of 10,000 x 10,000 pixels."""
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"root:x:0:0:root", "not a sound PNG: cannot identify image file"),
        (b"", "not a sound PNG: cannot identify image file"),
        (PNG[:40], "not a sound PNG: "),
        (PNG[:33] + bytes(200_000), "not a sound PNG: "),
        (None, "not a sound PNG: 10000 x 10000 pixels are too many"),
    ],
)
def test_a_broken_picture_is_a_notice(tmp_path, content, reason):
    run = fill(tmp_path / "run")
    (run / "plots" / "broken.png").write_bytes(bomb() if content is None else content)
    contents = read_contents(run)
    names = [picture.name for picture in contents.pictures()]
    assert names == ["proposals_2.png", "proposals_10.png"]
    (notice,) = contents.notices
    assert notice.startswith(f"plots/broken.png cannot be used: {reason}")


@pytest.mark.usefixtures("no_figures")
def test_a_folder_with_the_name_of_a_picture_is_a_notice(tmp_path):
    run = fill(tmp_path / "run")
    (run / "plots" / "x.png").mkdir()
    assert "plots/x.png cannot be used: it is a folder." in report(run).text


def test_no_more_pictures_than_a_page_can_hold(tmp_path):
    run = fill(tmp_path / "run")
    for number in range(250):
        (run / "plots" / f"many_{number}.png").write_bytes(PNG)
    contents = read_contents(run)
    assert len(contents.pictures()) == 200
    assert contents.notices == ["plots has 252 pictures: 200 are shown."]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (train(10**18), "line 1: step: expected a whole number from 0 to 1000000000000, got"),
        (
            train(1, loss=1e300),
            "line 1: loss: expected a number from -1e+200 to 1e+200, got 1e+300",
        ),
        (train(1, lr=[0.1]), "line 1: lr: expected a number"),
        ({"kind": "diagnose", "step": 1, "layers": 3}, "line 1: layers: expected an object, got 3"),
        ({"kind": "samples", "step": 1, "files": 5}, "line 1: files: expected a list, got 5"),
        ({"kind": "validate", "step": 1, "recall": {"50": 7}}, "line 1: recall: 50: expected a nu"),
        ({"kind": "validate", "step": 1, "seconds": -1}, "line 1: seconds: expected a number from"),
        ({"kind": "train"}, "line 1: step: missing"),
        ({"step": 1}, "line 1: kind: missing"),
        ({"kind": ["train"], "step": 1}, "line 1: kind: expected a text"),
        (
            {"kind": "diagnose", "step": 1, "zero_share": {f"conv{n}": 0.5 for n in range(31)}},
            "line 1: more than 30 different names in the lines so far",
        ),
    ],
)
def test_a_record_that_no_training_writes_is_named(tmp_path, record, reason):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(InputError) as caught:
        read_metrics(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "step"),
    [(0, 10**12), (1e-300, 1), (1e200, 10**12), (-1e200, 0), (None, 10**12)],
)
def test_the_largest_numbers_of_records_can_be_drawn(tmp_path, value, step):
    length, share = (None if value is None else abs(value), 0.0 if value else value)
    records = [train(1), train(1, loss=value, objectness_loss=value, step=step)]
    for of_kind in (RECORDS[4], RECORDS[5]):
        records += [of_kind, of_kind | {"step": step}]
    records[-1] |= {key: {"rpn": length} for key in ("gradient_norm", "weight_norm")}
    records[-1] |= {"zero_share": {"conv1": share}, "update_ratio": {"rpn": length}}
    text = "".join(json.dumps(record) + "\n" for record in records)
    run = fill(tmp_path / "run", **{"metrics.jsonl": text})
    report(run)
    assert read_contents(run).notices == []
    for name in ("training", "validation", "stages", "norms"):
        assert (run / "plots" / f"{name}.png").exists()


def test_what_a_newer_version_records_is_kept(tmp_path):
    records = [{"kind": "new", "step": 1, "recall": 3, "files": {}}, train(1, extra=[{}])]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert read_metrics(path) == records


def test_a_file_of_records_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("minirpn.report.records.MOST_BYTES", 1000)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n" * 1001)
    with pytest.raises(InputError, match="cannot read the metrics: more than 1,000 bytes"):
        read_metrics(path)
    monkeypatch.setattr("minirpn.report.records.values_in", lambda size: 50)
    path.write_text("".join(json.dumps(train(step)) + "\n" for step in range(1, 5)))
    with pytest.raises(InputError, match="line 4: it holds more values than any"):
        read_metrics(path)
