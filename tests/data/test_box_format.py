"""How files count pixels: each convention means the same boxes, and the boxes tell which it is."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.data import VOCDataset, half_open, likely_format, voc_corners
from minirpn.data.box_format import CONVENTIONS, BoxFormat
from minirpn.errors import InputError

FORMATS = get_args(BoxFormat)
HEIGHT, WIDTH = 30, 40
SIDES = np.array([WIDTH, HEIGHT])


def as_written(boxes: np.ndarray, box_format: BoxFormat) -> np.ndarray:
    """Return half-open boxes as a tool writes them, by the meaning of each convention."""
    x1, y1, x2, y2 = np.moveaxis(np.asarray(boxes, dtype=np.float64), -1, 0)
    return np.stack(
        {
            "voc": (x1 + 1, y1 + 1, x2, y2),
            "zero-based": (x1, y1, x2 - 1, y2 - 1),
            "half-open": (x1, y1, x2, y2),
            "one-based-half-open": (x1 + 1, y1 + 1, x2 + 1, y2 + 1),
            "normalized": (x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT),
        }[box_format],
        axis=-1,
    )


@st.composite
def whole_boxes(draw: st.DrawFn) -> np.ndarray:
    """Draw half-open boxes (M, 4) of whole pixels in the image, wider and higher than one."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        x1, y1 = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
        x2, y2 = draw(st.integers(x1 + 2, WIDTH)), draw(st.integers(y1 + 2, HEIGHT))
        rows.append((x1, y1, x2, y2))
    return np.array(rows, dtype=np.float64)


@pytest.mark.parametrize("box_format", FORMATS)
@given(boxes=whole_boxes(), dtype=st.sampled_from([np.float32, np.float64]))
def test_every_convention_means_the_same_boxes(box_format, boxes, dtype):
    corners = as_written(boxes, box_format).astype(dtype)
    corners.setflags(write=False)
    read = half_open(corners, box_format, (HEIGHT, WIDTH))
    assert read.dtype == dtype
    np.testing.assert_allclose(read, boxes, atol=1e-5)
    np.testing.assert_allclose(voc_corners(read), as_written(boxes, "voc"), atol=1e-5)


@pytest.mark.parametrize("box_format", FORMATS)
def test_the_edges_of_the_image(box_format):
    (whole,) = as_written([[0, 0, WIDTH, HEIGHT]], box_format)
    convention = CONVENTIONS[box_format]
    length = 1 if box_format == "normalized" else WIDTH
    assert (whole[0], whole[2]) == (convention.first, convention.last(length))


# Boxes that touch the border: two at each near edge, two at each far one.
TOUCHING = np.array([[0, 3, 9, 9], [4, 0, WIDTH, 8], [0, 2, 7, HEIGHT], [5, 5, 11, 13.0]])


@pytest.mark.parametrize("box_format", FORMATS)
def test_boxes_that_touch_the_border_tell_the_convention(box_format):
    evidence = likely_format(as_written(TOUCHING, box_format), np.tile(SIDES, (4, 1)))
    if box_format == "voc":
        assert evidence is None
    else:
        assert evidence is not None
        assert evidence.box_format == box_format


def test_the_evidence_is_counted():
    words = {
        name: likely_format(as_written(TOUCHING, name), np.tile(SIDES, (4, 1))).words
        for name in FORMATS
        if name != "voc"
    }
    assert words == {
        "zero-based": "3 boxes start at 0 and 0 at 1; 0 end at the width or height",
        "half-open": "3 boxes start at 0 and 0 at 1; 2 end at the width or height",
        "one-based-half-open": "2 boxes end one pixel beyond the image and 0 at its width or "
        "height",
        "normalized": "all 4 boxes lie between 0 and 1",
    }


def test_a_few_wrong_boxes_are_no_convention():
    inner = np.tile([[4.0, 5, 11, 13]], (999, 1))
    for wrong in ([0, 5, 9, 9], [5, 5, WIDTH + 1, 9]):
        for count in (1, 9, 11):  # of a thousand
            corners = np.concatenate([inner, np.tile([wrong], (count, 1)).astype(float)])
            evidence = likely_format(corners, np.tile(SIDES, (len(corners), 1)))
            assert (evidence is None) == (count < 10)
    assert likely_format(np.zeros((0, 4)), np.zeros((0, 2))) is None


# --- a data set that another tool has written -----------------------------------------------------


@pytest.fixture
def written(tmp_path, write_voc):
    """Write a data set of one image with the boxes of `TOUCHING`, as a tool counts them."""

    def write(box_format: BoxFormat):
        root = write_voc(tmp_path / box_format, ids=("a",), objects=())
        objects = "".join(
            f"<object><name>cat</name><pose>Left</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x1!r}</xmin><ymin>{y1!r}</ymin>"
            f"<xmax>{x2!r}</xmax><ymax>{y2!r}</ymax></bndbox></object>"
            for x1, y1, x2, y2 in as_written(TOUCHING, box_format).tolist()
        )
        path = root / "Annotations/a.xml"
        path.write_text(path.read_text().replace("</annotation>", f"{objects}</annotation>"))
        return root

    return write


@pytest.mark.parametrize("box_format", FORMATS)
def test_a_data_set_is_read_as_it_was_meant(written, box_format):
    dataset = VOCDataset(written(box_format), box_format=box_format)
    np.testing.assert_allclose(dataset.annotation(0).gt_boxes, TOUCHING, atol=1e-4)
    assert dataset.findings == ()


@pytest.mark.parametrize("box_format", ["zero-based", "half-open", "one-based-half-open"])
def test_one_pixel_too_far_is_clipped_and_the_convention_proposed(written, box_format):
    dataset = VOCDataset(written(box_format))
    labels = {one.kind.label for one in dataset.findings}
    assert labels == {"box clipped", "boxes of another convention"}
    (told,) = (one.reason for one in dataset.findings if "perhaps" in one.reason)
    assert told.endswith(f": perhaps --box-format {box_format}")
    # Off by one at most.
    assert np.abs(dataset.annotation(0).gt_boxes - TOUCHING).max() <= 1


def test_normalized_boxes_stop_with_the_convention(written):
    with pytest.raises(InputError, match=r"perhaps --box-format normalized$"):
        VOCDataset(written("normalized"))
