"""Pictures that move: what each shows, that nothing is fetched, and how large the page gets."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from minirpn import boxes, viz
from minirpn.data.shapes import SHAPES, draw_picture
from minirpn.testing import strategies
from minirpn.viz import animation

BOXES = np.array([[0.0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4], [8, 0, 12, 4]])
SCORES = np.array([0.9, 0.8, 0.7, 0.95])
IMAGE, _ = draw_picture(
    np.random.default_rng(0), (240, 320), names=SHAPES, max_objects=4, side_range=(20, 140)
)


def pictures(played):
    """Return the pictures that a page plays, decoded."""
    encoded = re.findall(r"frames\[\d+\] = \"data:image/jpeg;base64,([^\"]*)\"", played.html)
    return [Image.open(io.BytesIO(base64.b64decode(text.replace("\\", "")))) for text in encoded]


def moments(count):
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 150, (count, 20, 2))
    proposals = np.concatenate([low, low + rng.uniform(20, 80, low.shape)], axis=2)
    scores = -np.sort(-rng.random((count, 20)))
    return [
        viz.Moment(f"step {k}", rng.random((15, 20, 9)), proposals[k], scores[k])
        for k in range(count)
    ]


def test_each_picture_is_drawn_on_an_empty_figure_and_held_in_the_page():
    drawn = []
    figure = Figure(figsize=(2, 1), dpi=50)

    def draw(index):
        assert not figure.axes
        figure.add_subplot()
        drawn.append(index)

    played = animation._played(figure, draw, 3, interval=500)
    assert set(drawn) == {0, 1, 2}
    assert [picture.size for picture in pictures(played)] == [(100, 50)] * 3
    assert "slider_id, 500.0" in played.html
    assert re.search(r'value="once"[^>]*checked', played.html)
    assert "http" not in played.html


def test_the_first_picture_is_shown_before_any_script_has_run():
    played = viz.animate_nms(BOXES, SCORES, iou_threshold=0.5)
    images = re.findall(r"<img [^>]*>", played.html)
    assert len(images) == 1
    (shown,) = re.findall(r"src=\"data:image/jpeg;base64,([^\"\s\\]*)\"", images[0])
    first = pictures(played)[0]
    np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(shown))), first)
    assert 'alt="animation"' in images[0]


def test_nothing_to_play_is_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        viz.animate_boxes(IMAGE, [])


def test_learning_is_seen_in_two_panels_at_every_moment(monkeypatch):
    figures = []

    def seen(figure, draw, count, *, interval):
        for index in range(count):
            figure.clear()
            draw(index)
            names = [axes.get_title() for axes in figure.axes[:2]]
            figures.append((figure.get_suptitle(), *names))

    monkeypatch.setattr(animation, "_played", seen)
    viz.animate_boxes(IMAGE, moments(2), BOXES, top=5)
    assert [suptitle for suptitle, _, _ in figures] == ["step 0", "step 1"]
    for _, left, right in figures:
        assert left == "objectness of each cell"
        assert right.startswith("the 5 best proposals find")


def test_twenty_moments_of_a_textured_image_would_stay_below_a_megabyte_and_a_half():
    played = viz.animate_boxes(IMAGE, moments(4), BOXES)
    assert len(pictures(played)) == 4
    assert len(played.html) / 4 < 1_500_000 / 20


def test_the_ground_of_the_map_has_no_colours_and_is_light():
    pale = animation._pale(IMAGE)
    assert pale.shape == IMAGE.shape
    assert (pale == pale[:, :, :1]).all()
    assert pale.min() >= 128


@given(data=st.data(), threshold=st.sampled_from([0.0, 0.25, 0.5, 0.7]))
def test_rounds_keep_what_nms_keeps_and_share_out_all_boxes(data, threshold):
    drawn = data.draw(strategies.boxes(max_count=6, extent=8, whole=True))
    scores = data.draw(strategies.scores(len(drawn)))
    rounds = animation.suppression_rounds(drawn, scores, threshold)
    kept = boxes.nms(drawn, scores, iou_threshold=threshold)
    assert [step.best for step in rounds] == kept.tolist()
    for number, step in enumerate(rounds):
        assert sorted(step.stayed) == sorted(kept[:number])
        parts = [[step.best], step.struck, step.stayed, step.gone, step.waiting]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(drawn)))


def test_a_round_by_hand():
    # 3 is best and alone; 0 strikes out 1 (IoU 3/5) and leaves 2 (2/6), as 1 would not have.
    first, second, third = animation.suppression_rounds(BOXES, SCORES, 0.5)
    assert (first.best, first.struck.tolist()) == (3, [])
    assert (second.best, second.struck.tolist(), second.stayed.tolist()) == (0, [1], [3])
    assert (third.best, third.gone.tolist(), third.waiting.tolist()) == (2, [1], [])


def test_a_round_is_drawn_with_counts_and_the_score_of_the_best():
    ax = animation._axes_for(Figure().add_subplot(), BOXES, None)
    step = animation.suppression_rounds(BOXES, SCORES, 0.5)[1]
    animation.draw_round(BOXES, SCORES, step, ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "gone (0)",
        "waiting (1)",
        "stayed (1)",
        "struck out now (1)",
        "best of those left (1)",
    ]
    assert ax.get_title() == "round 2: 0.90 stays, 1 struck out"
    assert [text.get_text() for text in ax.texts] == ["0.90"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (pixels)", "y (pixels)")
    assert ax.get_xlim()[0] < 0 < 12 < ax.get_xlim()[1]
    assert ax.yaxis_inverted()


def test_before_the_first_round_all_boxes_wait_under_their_names():
    ax = animation._axes_for(Figure().add_subplot(), BOXES, None)
    animation.draw_round(BOXES, SCORES, None, ax, names=["a", "b", "c", "d"])
    counts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "waiting (4)" in counts
    assert "best of those left (0)" in counts
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c", "d"]
    step = animation.suppression_rounds(BOXES, SCORES, 0.5)[1]
    ax = animation.draw_round(BOXES, SCORES, step, Figure().add_subplot(), ["a", "b", "c", "d"])
    assert {text.get_text() for text in ax.texts} == {"a 0.90", "b", "c", "d"}


def test_title_and_legend_are_in_the_picture(monkeypatch):
    seen = []

    def inspect(figure, draw, count, *, interval):
        draw(1)
        figure.draw_without_rendering()
        (ax,) = figure.axes
        seen.extend(
            artist.get_window_extent().transformed(figure.transFigure.inverted())
            for artist in (ax.title, ax.get_legend(), ax.yaxis.label)
        )

    monkeypatch.setattr(animation, "_played", inspect)
    viz.animate_nms(BOXES, SCORES, iou_threshold=0.5)
    viz.animate_nms(BOXES, SCORES, iou_threshold=0.5, image=IMAGE)
    assert len(seen) == 6
    for extent in seen:
        assert min(extent.x0, extent.y0) >= 0
        assert max(extent.x1, extent.y1) <= 1


@pytest.mark.parametrize("image", [None, IMAGE])
def test_suppression_plays_all_boxes_and_then_a_picture_for_each_that_stays(image):
    played = viz.animate_nms(BOXES, SCORES, iou_threshold=0.5, image=image)
    assert len(pictures(played)) == 1 + 3
    assert len(played.html) < 500_000


def test_scores_that_are_not_as_many_are_refused():
    with pytest.raises(ValueError, match="scores"):
        viz.animate_nms(BOXES, SCORES[:2], iou_threshold=0.5)
