"""Results: any index keeps box, score and class together; files give back the same numbers."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.evaluation import read_coco_detections, read_voc_results
from minirpn.results import Detections, Proposals, read_json, write_coco, write_json, write_voc

NAMES = ("cat", "potted plant", "Kuh")
# Any float32 but those so small that even a float64 loses them when VOC's one pixel is added.
PIXELS = st.floats(0, 1e4, width=32).map(lambda x: x if x > 1e-8 else 0.0)
SCORES = st.floats(0, 1, width=32)
PATHS = st.none() | st.text("abß", min_size=1, max_size=3).map(Path)


@st.composite
def results(draw, kind=None):
    """Draw proposals or detections, in the order in which files give them back."""
    corner = st.tuples(*[PIXELS] * 4).map(
        lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
    )
    kind = kind or draw(st.sampled_from((Proposals, Detections)))
    labels = st.integers(0, 2) if kind is Detections else st.just(0)
    rows = draw(st.lists(st.tuples(SCORES, labels, corner), max_size=6))
    rows.sort(key=lambda row: (-row[0], row[1]))
    more = {"image_size": draw(st.tuples(*[st.integers(1, 10_000)] * 2)), "image_path": draw(PATHS)}
    if kind is Detections:
        more |= {"classes": [row[1] for row in rows], "names": NAMES}
    boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
    return kind(boxes, [row[0] for row in rows], **more)


@st.composite
def indices(draw, count):
    """Draw a slice, a mask or positions for so many boxes."""
    return draw(
        st.one_of(
            st.slices(count),
            st.lists(st.booleans(), min_size=count, max_size=count).map(
                lambda mask: np.array(mask, bool)
            ),
            st.lists(st.integers(-count, count - 1), max_size=8).map(
                lambda positions: np.array(positions, np.int64)
            )
            if count
            else st.just(np.array([], np.int64)),
        )
    )


def triples(found):
    return [(tuple(box.tolist()), score, name) for box, score, name in found]


def assert_same(one, other):
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.classes, other.classes)


@given(data=st.data(), found=results())
def test_every_index_keeps_box_score_and_class_together(data, found):
    index = data.draw(indices(len(found)))
    positions = np.arange(len(found))[index]
    every = triples(found)
    assert triples(found[index]) == [every[position] for position in positions]


@given(found=results(), count=st.integers(0, 8), score=SCORES)
def test_top_and_above_are_filters(found, count, score):
    best = triples(found.top(count))
    # They are drawn best first.
    assert best == triples(found)[:count]
    assert triples(found.above(score)) == [item for item in triples(found) if item[1] > score]


@given(found=results())
def test_json_reads_back_exactly(found):
    again = type(found).from_json(found.to_json())
    assert_same(again, found)
    assert (again.names, again.image_size, again.image_path) == (
        found.names,
        found.image_size,
        found.image_path,
    )


@given(many=st.lists(results(), max_size=3))
def test_json_of_many_reads_back_exactly(many):
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "all.json", many)
        again = read_json(Path(folder) / "all.json")
    for before, after in zip(many, again, strict=True):
        assert type(before) is type(after)
        assert_same(before, after)


@pytest.mark.parametrize("kind", [Proposals, Detections])
@given(data=st.data())
def test_coco_and_voc_read_back_exactly(kind, data):
    many = data.draw(st.lists(results(kind), min_size=2, max_size=2))
    names = many[0].names
    with tempfile.TemporaryDirectory() as folder:
        write_coco(Path(folder) / "coco.json", many)
        from_coco = read_coco_detections(Path(folder) / "coco.json", 2, len(names))
        paths = write_voc(Path(folder) / "voc", many)
        ids = sorted({line.split()[0] for path in paths for line in path.read_text().splitlines()})
        from_voc = dict(zip(ids, read_voc_results(Path(folder) / "voc", ids, names), strict=True))
    for before, after in zip(many, from_coco, strict=True):
        assert_same(before, as_result(before, after))
    # An image without boxes is in no file, so it has no id there.
    filled = [found for found in many if len(found)]
    assert len(from_voc) == len(filled)
    for before in filled:
        expected = triples(before)
        assert expected in [triples(as_result(before, after)) for after in from_voc.values()]


def as_result(like, read):
    """Return what was read from a file as a result."""
    more = {"image_size": like.image_size}
    if isinstance(like, Detections):
        more |= {"classes": read.classes, "names": like.names}
    return type(like)(read.boxes, read.scores, **more)
