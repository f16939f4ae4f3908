"""The page as a file: whole, offline, small, safe; and its numbers are those of the step."""

import base64
import json
import os
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.explain import write_page
from minirpn.explain.page import contents_of, notable_of, packed, render, script_safe
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE


class Page(HTMLParser):
    """Collects elements, and what scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.scripts, self.inside = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.words.append(data)


def unpacked(array):
    flat = np.frombuffer(base64.b64decode(array["base64"]), np.dtype(array["type"]))
    return flat.reshape(array["shape"])


def page_of(step):
    return Page(render(contents_of(step)))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32])
def test_packing_keeps_every_value(dtype):
    array = np.array([[1, -2, 3], [-100, 0, 127]]).astype(dtype).T  # not contiguous
    found = packed(array, dtype)
    assert found["shape"] == [3, 2]
    np.testing.assert_array_equal(unpacked(found), array)


@pytest.mark.parametrize("classifier", ["softmax", "logistic"])
def test_the_numbers_on_the_page_are_those_of_the_step(opened, classifier):
    step = opened(model__classifier=classifier)
    data = json.loads(page_of(step).scripts[0])
    learning, told = step.learning, data["learning"]
    assert told["loss"] == {name: float(value) for name, value in learning.loss._asdict().items()}
    np.testing.assert_array_equal(unpacked(told["label"]), learning.labels)
    np.testing.assert_array_equal(unpacked(told["rule"]), learning.rules)
    outputs = {name: unpacked(array) for name, array in data["outputs"].items()}
    np.testing.assert_array_equal(outputs["objectness"], step.output.objectness[0])
    np.testing.assert_array_equal(outputs["deltas"], step.output.deltas[0])
    detail = {name: unpacked(array) for name, array in told["detail"].items()}
    rows = detail["anchors"]
    expected = (learning.labels != IGNORE) | (learning.assigned.labels == POSITIVE)
    np.testing.assert_array_equal(rows, np.flatnonzero(expected))
    for name, array in (
        ("targets", learning.targets),
        ("class_losses", learning.terms.class_losses),
        ("box_losses", learning.terms.box_losses),
        ("contributions", learning.terms.contributions),
        ("dobjectness", learning.grads.dobjectness),
        ("ddeltas", learning.grads.ddeltas),
    ):
        np.testing.assert_array_equal(detail[name], array[rows])
        # What is not on the page is 0.
        assert not np.delete(array, rows, axis=0).any()
    np.testing.assert_array_equal(unpacked(data["proposals"]["anchors"]), step.ranking.anchors)


def test_anchors_follow_from_what_the_page_is_told(opened):
    step = opened(model__anchor_centre="receptive-field")
    grid = contents_of(step)["grid"]
    base = np.array([item["box"] for item in grid["base"]])
    cells = np.stack(np.meshgrid(np.arange(grid["rows"]), np.arange(grid["columns"])), -1)
    shifts = np.tile(cells.transpose(1, 0, 2)[..., ::-1] * grid["stride"], 2)
    boxes = (shifts[:, :, None] + base).reshape(-1, 4)
    np.testing.assert_array_equal(boxes, step.output.anchors)
    for item, box in zip(grid["base"], base, strict=True):
        width, height = box[2:] - box[:2]
        assert height / width == pytest.approx(item["ratio"], rel=0.3)
        assert grid["scales"] == 2


def test_objects_are_numbered_as_they_are_matched(opened):
    step = opened()
    told = contents_of(step)["objects"]
    assert told["difficult"] == []
    boxes = [item["box"] for item in told["learnt"]]
    np.testing.assert_array_equal(np.array(boxes, np.float32), step.learning.gt_boxes)
    assert {item["name"] for item in told["learnt"]} <= set(step.picture.classes)


def test_without_ground_truth(opened, lone_image):
    path = lone_image("lone.jpg")
    data = json.loads(page_of(opened(path)).scripts[0])
    assert data["learning"] is None
    assert data["no_truth"] == f"{path}: there is no annotation beside it"


def test_the_anchors_worth_a_look(opened):
    step = opened()
    learning, notable = step.learning, notable_of(step)
    assert list(notable) == ["positive", "proposal"]
    costs = learning.terms.contributions.sum(axis=1)
    positives = np.flatnonzero(learning.labels == POSITIVE)
    assert len(positives) > 1
    assert costs[notable["positive"]] == costs[positives].max()
    assert notable["proposal"] == step.ranking.anchors[0]
    # Without positives, of the negatives; without both, and without candidates, nothing.
    labels = np.where(learning.labels == POSITIVE, IGNORE, learning.labels)
    step = replace(step, learning=learning._replace(labels=labels))
    found = notable_of(step)["negative"]
    assert costs[found] == costs[labels == NEGATIVE].max()
    nothing = step.ranking._replace(anchors=step.ranking.anchors[:0])
    none = learning._replace(labels=np.full_like(labels, IGNORE))
    assert notable_of(replace(step, learning=none, ranking=nothing)) == {}


def test_equal_costs_are_the_first_anchors(opened):
    step = opened()
    costs = np.ones_like(step.learning.terms.contributions)
    terms = step.learning.terms._replace(contributions=costs)
    notable = notable_of(replace(step, learning=step.learning._replace(terms=terms)))
    assert notable["positive"] == np.flatnonzero(step.learning.labels == POSITIVE)[0]


def test_the_anchors_worth_a_look_stand_at_the_beginning(opened):
    """A report reads so much, and not the megabyte that follows."""
    step = opened()
    text = render(contents_of(step))
    (said,) = re.findall(r'<meta name="minirpn-explain" content="(.*?)">', text[:1024])
    assert json.loads(unescape(said)) == notable_of(step)


def test_nothing_is_loaded_and_nothing_may_be(opened):
    text = render(contents_of(opened()))
    page = Page(text)
    for tag, attrs in page.tags:
        assert not {"src", "href", "srcset", "action"} & set(attrs), tag
        assert not any(name.startswith("on") for name in attrs), tag
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"https?://|@import|url\(", text)


def test_every_part_the_scripts_ask_for_is_there(opened):
    page = page_of(opened())
    there = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    asked = set(re.findall(r'byId\("([^"]+)"\)', page.scripts[1]))
    assert asked
    assert asked <= there


def test_names_are_text(opened, lone_image):
    name = "<b>&$x</script>".replace("/", "")
    page = page_of(opened(lone_image(f"{name}.jpg")))
    assert any(name in words for words in page.words)
    assert "b" not in {tag for tag, _ in page.tags}
    assert json.loads(page.scripts[0])["image"]["name"] == name
    assert "<" not in page.scripts[0]


@pytest.mark.skipif(os.name == "nt", reason="file names there are Unicode")
def test_a_name_that_is_not_utf_8(opened, lone_image, tmp_path):
    step = opened(lone_image(os.fsdecode(b"caf\xe9.jpg")))
    page = write_page(step, tmp_path / "page.html").read_text(encoding="utf-8")
    assert r"<h1>Anchors and proposals on caf\xe9</h1>" in page


def test_names_that_would_do_something(opened):
    evil = "\x1b[2J\x9b\u202e\u2028</script><b a=1>" + "x" * 5000
    step = opened()
    plain = page_of(step)
    picture = step.picture._replace(
        classes=(evil,) * len(step.picture.classes), no_truth=f"{evil}: none"
    )
    annotation = replace(step.example.annotation, image_id=evil)
    contents = contents_of(
        replace(step, picture=picture, example=replace(step.example, annotation=annotation))
    )
    things = contents["objects"]["learnt"]
    shown = r"\x1b[2J\x9b\u202e\u2028</script><b a=1>xxx"
    for text in (things[0]["name"], contents["image"]["name"], contents["no_truth"]):
        assert text.startswith(shown)
    assert len(things[0]["name"]) == 100
    assert len(contents["no_truth"]) <= 1000
    text = render(contents)
    assert text.replace("\n", "").isprintable()
    page = Page(text)
    assert page.tags == plain.tags
    assert json.loads(page.scripts[0])["objects"]["learnt"] == things


def test_no_text_in_the_data_ends_the_script():
    text = json.dumps({"name": "</script><!--<script>"})
    assert "<" not in script_safe(text)
    assert json.loads(script_safe(text)) == json.loads(text)


def test_a_page_of_many_anchors_stays_small(opened, tmp_path):
    # 38 x 45 x 9 = 15,390 anchors: of the 21,546 that the paper's largest picture has, two thirds.
    step = opened(
        resize__short_side=600,
        resize__max_side=720,
        anchors__base_size=16.0,
        anchors__scales=[8.0, 16.0, 32.0],
    )
    assert step.output.anchors.shape[0] == 15_390
    path = write_page(step, tmp_path / "new" / "page.html")
    assert path.stat().st_size < 2_000_000


def test_where_it_cannot_be_written(opened, lone_image):
    path = lone_image("file.jpg") / "page.html"
    with pytest.raises(InputError, match=r"file.jpg: cannot make the folder: "):
        write_page(opened(), path)
