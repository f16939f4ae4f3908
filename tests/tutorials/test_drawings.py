"""The drawings of single chapters: what each shows, where, and that nothing is fetched."""

import base64
import io
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from minirpn import boxes, nn
from minirpn.data.shapes import SHAPES, draw_picture
from minirpn.rpn import AnchorConfig, base_anchors
from minirpn.testing import strategies
from minirpn.training.config import OptimizerConfig, SharingConfig, TrainConfig
from minirpn.training.phases import phases_of
from minirpn.viz.style import BLUE, GREY, VERMILLION
from tutorials import drawings

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
        drawings.Moment(f"step {k}", rng.random((15, 20, 9)), proposals[k], scores[k])
        for k in range(count)
    ]


def test_each_picture_is_drawn_on_an_empty_figure_and_held_in_the_page():
    drawn = []
    figure = Figure(figsize=(2, 1), dpi=50)

    def draw(index):
        assert not figure.axes
        figure.add_subplot()
        drawn.append(index)

    played = drawings.played(figure, draw, 3, interval=500)
    assert set(drawn) == {0, 1, 2}
    assert [picture.size for picture in pictures(played)] == [(100, 50)] * 3
    assert "slider_id, 500.0" in played.html
    assert re.search(r'value="once"[^>]*checked', played.html)
    assert "http" not in played.html


def test_the_first_picture_is_shown_before_any_script_has_run():
    played = drawings.animate_nms(BOXES, SCORES, iou_threshold=0.5)
    images = re.findall(r"<img [^>]*>", played.html)
    assert len(images) == 1
    (shown,) = re.findall(r"src=\"data:image/jpeg;base64,([^\"\s\\]*)\"", images[0])
    first = pictures(played)[0]
    np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(shown))), first)
    assert 'alt="animation"' in images[0]


def test_nothing_to_play_is_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        drawings.animate_boxes(IMAGE, [])


def test_learning_is_seen_in_two_panels_at_every_moment(monkeypatch):
    figures = []

    def seen(figure, draw, count, *, interval):
        for index in range(count):
            figure.clear()
            draw(index)
            names = [axes.get_title() for axes in figure.axes[:2]]
            figures.append((figure.get_suptitle(), *names))

    monkeypatch.setattr(drawings, "played", seen)
    drawings.animate_boxes(IMAGE, moments(2), BOXES, top=5)
    assert [suptitle for suptitle, _, _ in figures] == ["step 0", "step 1"]
    for _, left, right in figures:
        assert left == "objectness of each cell"
        assert right.startswith("the 5 best proposals find")


@pytest.mark.slow
def test_twenty_moments_of_a_textured_image_would_stay_below_a_megabyte_and_a_half():
    played = drawings.animate_boxes(IMAGE, moments(4), BOXES)
    assert len(pictures(played)) == 4
    assert len(played.html) / 4 < 1_500_000 / 20


def test_the_ground_of_the_map_has_no_colours_and_is_light():
    pale = drawings.pale(IMAGE)
    assert pale.shape == IMAGE.shape
    assert (pale == pale[:, :, :1]).all()
    assert pale.min() >= 128


@given(data=st.data(), threshold=st.sampled_from([0.0, 0.25, 0.5, 0.7]))
def test_rounds_keep_what_nms_keeps_and_share_out_all_boxes(data, threshold):
    drawn = data.draw(strategies.boxes(max_count=6, extent=8, whole=True))
    scores = data.draw(strategies.scores(len(drawn)))
    rounds = drawings.suppression_rounds(drawn, scores, threshold)
    kept = boxes.nms(drawn, scores, iou_threshold=threshold)
    np.testing.assert_array_equal(rounds[0].waiting, np.arange(len(drawn)))
    assert [step.best.tolist() for step in rounds] == [[], *([k] for k in kept.tolist())]
    for number, step in enumerate(rounds[1:]):
        assert sorted(step.stayed) == sorted(kept[:number])
        np.testing.assert_array_equal(np.sort(np.concatenate(step)), np.arange(len(drawn)))


def test_a_round_by_hand():
    # 3 is best and alone; 0 strikes out 1 (IoU 3/5) and leaves 2 (2/6), as 1 would not have.
    _, first, second, third = drawings.suppression_rounds(BOXES, SCORES, 0.5)
    assert (first.best.tolist(), first.struck.tolist()) == ([3], [])
    assert (second.best.tolist(), second.struck.tolist(), second.stayed.tolist()) == ([0], [1], [3])
    assert (third.best.tolist(), third.gone.tolist(), third.waiting.tolist()) == ([2], [1], [])


def test_a_round_is_drawn_with_counts_and_the_score_of_the_best():
    ax = drawings.prepare(Figure().add_subplot(), BOXES, None)
    step = drawings.suppression_rounds(BOXES, SCORES, 0.5)[2]
    drawings.draw_round(BOXES, SCORES, step, ax)
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
    ax = drawings.prepare(Figure().add_subplot(), BOXES, None)
    drawings.draw_round(
        BOXES,
        SCORES,
        drawings.suppression_rounds(BOXES, SCORES, 0.5)[0],
        ax,
        names=["a", "b", "c", "d"],
    )
    counts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "waiting (4)" in counts
    assert "best of those left (0)" in counts
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c", "d"]
    step = drawings.suppression_rounds(BOXES, SCORES, 0.5)[2]
    ax = drawings.draw_round(BOXES, SCORES, step, Figure().add_subplot(), ["a", "b", "c", "d"])
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

    monkeypatch.setattr(drawings, "played", inspect)
    drawings.animate_nms(BOXES, SCORES, iou_threshold=0.5)
    drawings.animate_nms(BOXES, SCORES, iou_threshold=0.5, image=IMAGE)
    assert len(seen) == 6
    for extent in seen:
        assert min(extent.x0, extent.y0) >= 0
        assert max(extent.x1, extent.y1) <= 1


@pytest.mark.parametrize("image", [None, IMAGE])
def test_suppression_plays_all_boxes_and_then_a_picture_for_each_that_stays(image):
    played = drawings.animate_nms(BOXES, SCORES, iou_threshold=0.5, image=image)
    assert len(pictures(played)) == 1 + 3
    assert len(played.html) < 500_000


def test_scores_that_are_not_as_many_are_refused():
    with pytest.raises(ValueError, match="scores"):
        drawings.animate_nms(BOXES, SCORES[:2], iou_threshold=0.5)


GRID = np.arange(20.0).reshape(4, 5)
KERNEL = np.array([[-1.0, 0.0], [0.5, 2.0]])


def convolved(**options):
    return nn.conv2d_forward(GRID[None, None], KERNEL[None, None], np.zeros(1), **options)[0][0, 0]


def frame(ax):
    """Return the box that is framed: (x1, y1, x2, y2)."""
    (patch,) = ax.patches
    x, y = patch.get_xy()
    return (x, y, x + patch.get_width(), y + patch.get_height())


def shown(ax):
    """Return the visible numbers, left to right and from top to bottom."""
    return [float(text.get_text()) for text in ax.texts if text.get_visible()]


def test_the_framed_window_times_the_kernel_is_the_framed_output():
    y = convolved(stride=2, padding=1)
    left, right = drawings.draw_window(GRID, y, (1, 2), kernel=KERNEL, stride=2, padding=1)
    x1, y1, x2, y2 = frame(left)
    assert (x1, y1, x2, y2) == (3, 1, 5, 3)
    assert frame(right) == (2, 1, 3, 2)
    assert shown(right)[-1] == np.sum(GRID[y1:y2, x1:x2] * KERNEL) == y[1, 2]
    assert [ax.get_title() for ax in left.figure.axes] == ["image", "kernel", "output"]


def test_outputs_still_to_come_are_empty():
    y = convolved()
    _, right = drawings.draw_window(GRID, y, (1, 0), kernel=KERNEL)
    assert shown(right) == y.ravel()[: y.shape[1] + 1].tolist()
    picture = np.ma.getmaskarray(right.images[0].get_array())
    assert picture.sum() == y.size - y.shape[1] - 1
    assert not picture[1, 0]
    # Shades stay what they are in the whole output.
    assert right.images[0].norm.vmax == np.abs(y).max()


def test_padding_and_a_window_cut_by_the_border_are_in_view():
    y = convolved(padding=1)
    left, _ = drawings.draw_window(GRID, y, (0, 0), kernel=KERNEL, padding=1)
    assert (left.get_xlim(), left.get_ylim()) == ((-1, 6), (5, -1))
    pooled = nn.max_pool2d_forward(GRID[None, None], kernel=2, stride=2, ceil_mode=True)[0][0, 0]
    left, right = drawings.draw_window(GRID, pooled, (1, 2), kernel=2, stride=2)
    assert frame(left) == (4, 2, 6, 4)
    assert (left.get_xlim(), left.get_ylim()) == ((0, 6), (4, 0))
    assert [ax.get_title() for ax in right.figure.axes] == ["image", "output"]
    left, _ = drawings.draw_window(GRID.T, convolved(stride=2).T, (0, 0), kernel=2, stride=2)
    assert (left.get_xlim(), left.get_ylim()) == ((0, 4), (5, 0))  # the last row is in no window


def test_a_place_outside_the_output_is_refused():
    with pytest.raises(ValueError, match=r"at: expected a place in \(3, 4\), got \(3, 0\)"):
        drawings.draw_window(GRID, convolved(), (3, 0), kernel=KERNEL)
    with pytest.raises(ValueError, match="output: expected a matrix"):
        drawings.draw_window(GRID, convolved()[None], (0, 0), kernel=KERNEL)


def test_the_framed_column_is_the_framed_window():
    left, right = drawings.draw_columns(GRID, (1, 2), kernel=(2, 3), stride=(2, 1))
    x1, y1, x2, y2 = frame(left)
    assert (x1, y1, x2, y2) == (2, 2, 5, 4)
    assert frame(right) == (5, 0, 6, 6)
    columns = np.reshape(shown(right), (6, 6))
    np.testing.assert_array_equal(columns[:, 5], GRID[y1:y2, x1:x2].ravel())
    np.testing.assert_array_equal(columns[0], GRID[::2, :3].ravel())


def test_columns_times_kernel_are_the_output():
    _, right = drawings.draw_columns(GRID, (0, 0), kernel=2, stride=2, padding=1)
    columns = np.reshape(shown(right), (4, -1))
    np.testing.assert_array_equal(KERNEL.ravel() @ columns, convolved(stride=2, padding=1).ravel())
    with pytest.raises(ValueError, match="at: expected a place"):
        drawings.draw_columns(GRID, (0, 5), kernel=2)


def frames_of(animation):
    """Return the pictures that a player plays, decoded."""
    found = re.findall(r'frames\[\d+\] = "data:image/png;base64,([^"]+)"', animation.html)
    return [base64.b64decode(text.replace("\\\n", "")) for text in found]


def test_an_animation_has_a_picture_for_each_output_and_fits_a_notebook():
    y = convolved(stride=2)
    frames = frames_of(drawings.animate_window(GRID, y, kernel=KERNEL, stride=2))
    assert len(frames) == y.size == 4
    assert all(frame.startswith(b"\x89PNG") for frame in frames)
    assert len(set(frames)) == len(frames)
    sizes = {frame[16:24] for frame in frames}  # width and height, in the header of a PNG
    assert len(sizes) == 1
    assert max(map(len, frames)) < 16_000  # bytes: less than a megabyte for 40 of them


def test_an_animation_needs_nothing_from_the_web():
    animation = drawings.animate_window(GRID, convolved(stride=2), kernel=2, stride=2)
    assert animation._repr_html_() == animation.html
    assert "http" not in animation.html
    assert "<link" not in animation.html
    buttons = re.findall(r"<button[^>]*>\s*([^<]*?)\s*</button>", animation.html)
    assert len(buttons) == 9
    assert all(buttons)
    assert "Animation()" in repr(animation)


def test_an_animation_of_too_many_steps_is_refused():
    with pytest.raises(ValueError, match="at most 40 numbers, got 42"):
        drawings.animate_window(np.zeros((6, 7)), np.zeros((6, 7)), kernel=1)


PARTS = {"backbone": "backbone", "RPN": "rpn", "detector": "detector"}


def phases(kind, **options):
    config = replace(TrainConfig(), optimizer=OptimizerConfig(steps=2400))
    return phases_of(replace(config, sharing=SharingConfig(kind=kind, **options)))


def boxes_of(ax):
    """Return the framed words by place."""
    framed = [text for text in ax.texts if text.get_bbox_patch()]
    return {text.get_position(): text for text in framed}


def arrows_of(ax):
    """Return (from, to, bends) of each arrow by colour: places are (column, row)."""
    found = {}
    for arrow in ax.texts:
        if hasattr(arrow, "arrow_patch"):
            color = to_hex(arrow.arrow_patch.get_edgecolor())
            bends = arrow.arrow_patch.get_connectionstyle().rad != 0
            found.setdefault(color, set()).add((arrow.xyann, arrow.xy, bends))
    return found


@pytest.mark.parametrize("kind", ["rpn-only", "4-step", "approximate-joint", "joint"])
def test_what_learns_is_blue_and_what_is_only_used_is_white(kind):
    shown = phases(kind)
    boxes = boxes_of(drawings.draw_phases(shown, title=kind))
    rows = {PARTS[box.get_text()]: y for (x, y), box in boxes.items() if x == 0}
    for column, phase in enumerate(shown, start=1):
        here = {part: boxes.get((column, y)) for part, y in rows.items()}
        assert {part for part, box in here.items() if box} == phase.trainable_parts | {"backbone"}
        for part, box in here.items():
            if box:
                learns = part in phase.trainable_parts
                assert box.get_text() == ("learns" if learns else "fixed")
                face = to_hex(box.get_bbox_patch().get_facecolor())
                assert face == to_hex(BLUE if learns else "white")


def test_four_steps_pass_on_parameters_and_proposals():
    ax = drawings.draw_phases(phases("4-step"))
    arrows = arrows_of(ax)
    # RPN of the step before (row 1) to the detector (row 2).
    assert arrows.pop(to_hex(VERMILLION)) == {((1, 1), (2, 2), False), ((3, 1), (4, 2), False)}
    (parameters,) = arrows.values()
    assert parameters == {
        ((0, 0), (1, 0), False),
        ((0, 0), (2, 0), True),  # afresh, and not from the first step
        ((2, 0), (3, 0), False),
        ((3, 0), (4, 0), False),
        ((0, 1), (1, 1), False),
        ((1, 1), (3, 1), False),  # the RPN rests meanwhile
        ((0, 2), (2, 2), False),
        ((2, 2), (4, 2), False),
    }


def test_each_phase_has_its_name_and_its_steps_above_it():
    ax = drawings.draw_phases(phases("4-step"))
    headings = {
        text.get_text(): text.get_position() for text in ax.texts if "\n" in text.get_text()
    }
    assert {text: x for text, (x, _) in headings.items()} == {
        "rpn-1\n800 steps": 1,
        "detector-1\n400 steps": 2,
        "rpn-2\n800 steps": 3,
        "detector-2\n400 steps": 4,
    }
    assert all(y < 0 for _, y in headings.values())


def test_proposals_of_a_file_come_from_no_rpn():
    ax = drawings.draw_phases(phases("4-step", proposals="theirs.npz"))
    file = next(at for at, box in boxes_of(ax).items() if box.get_text() == "proposals of a file")
    arrows = arrows_of(ax)[to_hex(VERMILLION)]
    assert arrows == {(file, (1, 2), False), ((2, 1), (3, 2), False)}
    # With no step before it, the backbone begins as it is: nothing bows over anything.
    assert not any(bends for found in arrows_of(ax).values() for _, _, bends in found)


def test_a_training_without_a_detector_has_no_row_for_it():
    words = {text.get_text() for text in drawings.draw_phases(phases("rpn-only")).texts}
    assert {"backbone", "RPN"} <= words
    assert "detector" not in words


GRAPH = {
    "x": [],
    "weight": [],
    "conv": ["x", "weight"],
    "left": ["conv"],
    "other weight": [],
    "right": ["conv", "other weight"],
    "sum": ["left", "right"],
}


def labels_of(ax):
    return {text.get_text(): text for text in ax.texts if text.get_text()}


def test_a_graph_goes_from_top_to_bottom():
    labels = labels_of(drawings.draw_graph(GRAPH, title="a fork"))
    assert set(labels) == set(GRAPH)
    for name, made_from in GRAPH.items():
        for source in made_from:
            assert labels[source].get_position()[1] < labels[name].get_position()[1]
    assert len({label.get_position() for label in labels.values()}) == len(GRAPH)


def test_no_two_frames_of_a_graph_touch():
    labels = labels_of(drawings.draw_graph(GRAPH))
    figure = next(iter(labels.values())).figure
    figure.draw_without_rendering()
    frames = [label.get_bbox_patch().get_window_extent() for label in labels.values()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(frames, 2))


def test_a_graph_has_an_arrow_from_each_input_to_what_it_makes():
    ax = drawings.draw_graph(GRAPH)
    name_at = {label.get_position(): name for name, label in labels_of(ax).items()}
    arrows = [(name_at[a.xyann], name_at[a.xy]) for a in ax.texts if not a.get_text()]
    assert sorted(arrows) == sorted((source, name) for name in GRAPH for source in GRAPH[name])


def test_what_is_made_from_nothing_stands_before_its_first_use_and_is_grey():
    labels = labels_of(drawings.draw_graph(GRAPH))
    row = {name: label.get_position()[1] for name, label in labels.items()}
    assert row["other weight"] == row["right"] - 1
    frames = {
        name: to_hex(label.get_bbox_patch().get_edgecolor()) for name, label in labels.items()
    }
    assert frames["other weight"] == to_hex(GREY)
    assert frames["right"] == to_hex(BLUE)


def test_an_input_without_an_entry_of_its_own_is_refused():
    with pytest.raises(ValueError, match="'weight' has no entry before 'conv'"):
        drawings.draw_graph({"x": [], "conv": ["x", "weight"], "weight": []})


def test_the_sizes_of_small_and_similar_anchors_are_listed_beside_them():
    config = AnchorConfig(scales=(2, 4, 8), ratios=(0.8, 1.0, 1.25))
    anchors = base_anchors(config)
    ax = drawings.draw_sizes(anchors, 3)
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named[3] == "32 × 32"
    assert len(named) == len(set(named)) == len(anchors)
    assert not ax.texts
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert (left < anchors[:, 0]).all()
    assert (right > anchors[:, 2]).all()
    assert (top < anchors[:, 1]).all()
    assert (bottom > anchors[:, 3]).all()
    outlines = [(to_hex(c.get_edgecolor()[0]), str(c.get_linestyle())) for c in ax.collections]
    assert len(set(outlines)) == len(anchors)


def test_sizes_are_shown_on_the_whole_image():
    anchors = base_anchors(AnchorConfig()) + 160
    ax = drawings.draw_sizes(anchors, 3, IMAGE)
    height, width = IMAGE.shape[:2]
    assert ax.get_xlim()[1] > width
    assert ax.get_ylim()[0] > height
    assert ax.get_ylim()[1] < anchors[:, 1].min()


def a_recording():
    rng = np.random.default_rng(2)
    return {
        "losses": np.array([[0.5, 0.4, 0.1, 0.03], [0.3, 0.2, 0.1, 0.003]]),
        "validated": np.array([0, 2]),
        "validations": np.array([[0.6, 0.5, 0.1], [0.4, 0.2, 0.2]]),
        "moments": np.array([0, 1200]),
        "objectness": rng.random((2, 10, 13)),
        "boxes": rng.random((2, 20, 4)),
        "scores": rng.random((2, 20)),
    }


def test_a_recording_becomes_the_records_of_a_run():
    first, second, validated = drawings.records_of(a_recording())
    assert first == {
        "kind": "train",
        "step": 1,
        "loss": 0.5,
        "objectness_loss": 0.4,
        "box_loss": 0.1,
        "lr": 0.03,
    }
    assert (second["step"], second["lr"]) == (2, 0.003)
    # The one before the first step has no place among the steps.
    assert (validated["kind"], validated["step"], validated["box_loss"]) == ("validate", 2, 0.2)
    assert "lr" not in validated


def test_a_recording_becomes_moments():
    kept = a_recording()
    first, last = drawings.kept_moments(kept)
    assert (first.name, last.name) == ("after step 0", "after step 1,200")
    np.testing.assert_array_equal(last.objectness, kept["objectness"][1])


def test_the_proposals_of_a_moment_overlap_little():
    kept = a_recording()
    kept["boxes"][:] = 20.0 * np.arange(20)[:, None] + np.array([0, 0, 10, 10])
    kept["boxes"][1, 7] = kept["boxes"][1, 3] + 1  # 81 of 119 pixels in common
    kept["scores"][:] = np.linspace(0.9, 0.1, 20)
    first, last = drawings.kept_moments(kept)
    np.testing.assert_array_equal(first.proposals, kept["boxes"][0])
    np.testing.assert_array_equal(last.proposals, np.delete(kept["boxes"][1], 7, axis=0))
    np.testing.assert_array_equal(last.scores, np.delete(kept["scores"][1], 7))
    assert len(drawings.kept_moments(kept, iou_threshold=0.7)[1].proposals) == 20


def test_pictures_stand_two_in_a_row_each_with_its_own_objects():
    objects = [BOXES[:1], BOXES[3:], BOXES[2:3]]
    figure = drawings.draw_pictures([IMAGE] * 3, objects, [BOXES] * 3, [SCORES] * 3, top=1)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert len(titles) == 3
    assert [title.split(" objects")[0][-6:] for title in titles] == ["1 of 1", "0 of 1", "0 of 1"]


def test_code_in_columns_is_text_and_no_html():
    columns = drawings.Columns((("mine", "a < b"), ("yours", "b > a & c")))
    html = columns._repr_html_()
    assert "a &lt; b" in html
    assert "b &gt; a &amp; c" in html
    assert repr(columns) == "mine\na < b\n\nyours\nb > a & c"
