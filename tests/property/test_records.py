"""Records of any shape: each reader returns what later code may trust, or raises one clear line."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirpn.detector import Detections as Detected
from minirpn.errors import InputError
from minirpn.evaluation import (
    APResult,
    RecallResult,
    average_precision,
    proposal_recall,
    read_coco_detections,
)
from minirpn.fields import list_of, number, object_of, optional
from minirpn.files import write_npz
from minirpn.report.contents import read_contents
from minirpn.report.page import render
from minirpn.report.records import parse_metrics
from minirpn.results import Detections, Proposals
from minirpn.studies.study import Outcome
from minirpn.training.evaluate import PROPOSALS_FORMAT, load_proposals
from minirpn.training.fingerprint import load_fingerprints

# What JSON can say, and Python's reader takes: nan, halves of characters, hundreds of digits.
ODD = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2, 10**18, 10**30, 10**400, 0.5, -0.0, 1e300, 1e-320),
        *(math.nan, math.inf, -math.inf, "", "a", "0.5", "\ud800", "\0", "\x1b[2J", "x" * 20_000),
        *("../a.png", [], [[]], [None], [1, 2], [[0.5]], ["a", "a"], {}, {"": 1}, {"a": {}}),
    ]
)
ANY = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
DEEP = (b"[" * 5000, b'{"a":' * 5000, b"", b"\xff", b"nul", b"[" + b"[]," * 600_000 + b"[]]")
BOX = np.array([[0.0, 0, 50, 50]])
RECALL = proposal_recall([BOX], [BOX], counts=(50, 100, 300)).to_dict()
RECALL |= {"split": "val", "images": 1}
PRECISION = average_precision(
    [Detected(np.repeat(BOX, 2, axis=0), np.array([0.9, 0.5]), np.array([1, 1]))],
    [BOX],
    [np.array([1])],
    classes=("cat", "dog"),
).to_dict()
RECORDS = [
    {"kind": "train", "step": 1, "phase": "rpn", "image": "a", "loss": 0.5, "lr": 0.01}
    | {"objectness_loss": 0.25, "box_loss": None, "positives": 3, "negatives": 9}
    | {"step_seconds": 0.5, "data_wait_seconds": 0.0},
    {"kind": "validate", "step": 1, "loss": 0.5, "recall": {"50": 0.5}, "mean_ap": 0.5}
    | {"images": 3, "seconds": 1.5},
    {"kind": "diagnose", "step": 1, "zero_share": {"conv1": 0.5}, "gradient_norm": {"rpn": 1.0}}
    | {"weight_norm": {"rpn": 1.0}, "update_ratio": {"rpn": 0.001}}
    | {"layers": {"rpn.conv": {"gradient": 0.5, "weight": 1.0, "update": 0.01}}}
    | {"proposals_before_nms": 90, "proposals_after_nms": 9, "objectness_by_anchor": [0.5]},
    {"kind": "samples", "step": 1, "images": ["a"], "files": ["1.png"], "positives": [3]},
    {"kind": "warning", "step": 1, "message": "dying"},
    {"kind": "of a newer version", "step": 2, "images": {"any": ["thing"]}},
]
OUTCOME = Outcome("a", 0, RecallResult.from_dict(RECALL), more={"losses": [0.5, None]}).to_dict()
FOUND = [
    Detections(BOX, np.array([0.9]), classes=np.array([1]), names=("a", "b"), image_size=(60, 80)),
    Proposals(np.repeat(BOX, 2, axis=0), np.array([0.9, 0.5]), image_size=(60, 80)),
]
COCO = [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 5, 5], "score": 0.5}]
SPLITS = {"train": {"images": {"a": "8x6 00", "b": "8x6 11"}, "left_out": ["c"]}}


def places(value: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in a document."""
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield (*before, key)
        yield from places(value[key], *before, key)


@st.composite
def damaged(draw: Any, document: Any) -> Any:
    """A document with one or two values that are other ones, or are missing."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(list(places(document)) or [()])) or (None,)
        if last is None:
            return draw(ANY)
        inner = document
        for key in way:
            inner = inner[key]
        if draw(st.booleans()) and draw(st.booleans()):
            del inner[last]
        else:
            inner[last] = draw(ANY)
    return document


def documents(document: Any) -> st.SearchStrategy[bytes]:
    """Bytes of a file: damaged documents, any JSON, and what is hard to parse."""
    text = (damaged(document) | ANY).map(lambda plain: json.dumps(plain).encode())
    return text | st.sampled_from(DEEP)


def one_line(call: Callable[[], Any], beginning: str) -> Any:
    """Return what a call returns, None if it raises one clear line; nothing else may happen."""
    try:
        return call()
    except InputError as error:
        line = str(error)
    assert line.startswith(beginning)
    assert len(line) <= 1000
    assert line.isprintable()
    return None


many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@given(damaged(RECALL) | ANY)
def test_recall(plain: Any):
    result = one_line(lambda: RecallResult.from_dict(plain, "file"), "file: ")
    if result is not None:
        result.table()
        assert list(result.counts) == sorted(set(result.counts))
        assert RecallResult.from_dict(result.to_dict()).to_dict() == result.to_dict()


@given(damaged(PRECISION) | ANY)
def test_precision(plain: Any):
    result = one_line(lambda: APResult.from_dict(plain, "file"), "file: ")
    if result is not None:
        result.table()
        assert APResult.from_dict(result.to_dict()).to_dict() == result.to_dict()
        assert np.isnan(result.mean_ap) or 0 <= result.mean_ap <= 1


@many
@given(st.lists(st.sampled_from(RECORDS).flatmap(documents), max_size=3))
def test_metrics(lines: list[bytes]):
    content = b"".join(line + b"\n" for line in lines)
    for record in one_line(lambda: parse_metrics(content, "file"), "file: line ") or []:
        assert type(record["step"]) is int
        assert type(record["kind"]) is str


@many
@given(documents({"format": "minirpn data", "version": 1, "splits": SPLITS}))
def test_fingerprints(tmp_path, content: bytes):
    path = tmp_path / "data.json"
    path.write_bytes(content)
    for split in (one_line(lambda: load_fingerprints(path), f"{path}: ") or {}).values():
        assert {type(name) for name in split.known} <= {str}


@given(damaged(OUTCOME) | ANY)
def test_outcomes_of_a_study(plain: Any):
    more = object_of(losses=list_of(optional(number()), 2))
    outcome = one_line(lambda: Outcome.from_dict(plain, "file", more), "file: ")
    assert outcome is None or outcome.to_dict().keys() == OUTCOME.keys()


@many
@given(st.sampled_from(FOUND).flatmap(lambda found: documents(found._content())))
def test_results_of_an_image(tmp_path, content: bytes):
    path = tmp_path / "found.json"
    path.write_bytes(content)
    for kind in (Proposals, Detections):
        found = one_line(lambda kind=kind: kind.from_json(path), f"{path}: ")
        if found is not None:
            assert np.isfinite(found.boxes).all()
            assert len(found.lines()) == len(found.to_coco()) == len(found)


@many
@given(documents(COCO))
def test_detections_of_others(tmp_path, content: bytes):
    path = tmp_path / "coco.json"
    path.write_bytes(content)
    found = one_line(lambda: read_coco_detections(path, 2, 2), f"{path}: ")
    assert found is None or len(found) == 2


METADATA = {"format": PROPOSALS_FORMAT, "images": ["a", "b"], "counts": [2, 1]}


@many
@given(damaged(METADATA) | ANY, st.sampled_from(["f4", "f8", "i8", "?"]), ANY)
def test_proposals(tmp_path, monkeypatch, metadata: Any, dtype: str, value: Any):
    monkeypatch.setattr("minirpn.files.os.fsync", lambda handle: None)
    path = tmp_path / "proposals.npz"
    boxes = np.array([[0, 0, 5, 5], [1, 1, 9, 9], [2, 2, 3, 3]], dtype)
    if isinstance(value, float) and dtype == "f4":
        with np.errstate(over="ignore"):
            boxes[1, 2] = value
    write_npz(path, metadata, {"boxes": boxes, "scores": np.ones(3, "f4")})
    saved = one_line(lambda: load_proposals(path), f"{path}: ")
    for proposals in (saved or {}).values():
        assert np.isfinite(proposals.boxes * np.float32(4)).all()


FILES = {
    "env.json": {"numpy": "2.4.0", "command": ["minirpn", "train"], "blas": [{"name": "a"}]},
    "recall.json": RECALL,
    "precision.json": PRECISION | {"split": "val"},
    "plots/captions.json": {"1.png": "one"},
}


@many
@given(
    st.sampled_from(list(FILES)).flatmap(
        lambda name: st.tuples(st.just(name), documents(FILES[name]))
    )
    | st.tuples(st.just("metrics.jsonl"), st.sampled_from(RECORDS).flatmap(documents))
)
def test_a_page_is_made_of_anything(tmp_path, change: tuple[str, bytes]):
    (tmp_path / "plots" / "samples").mkdir(parents=True, exist_ok=True)
    files = {name: json.dumps(plain).encode() for name, plain in FILES.items()}
    files["metrics.jsonl"] = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    name, content = change
    files[name] = content + b"\n" + files[name] if name == "metrics.jsonl" else content
    for one, bytes_ in files.items():
        (tmp_path / one).write_bytes(bytes_)
    contents = read_contents(tmp_path)
    assert render(contents).startswith("<!doctype html>")
    assert all(len(notice) < 1100 for notice in contents.notices)
