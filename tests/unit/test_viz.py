"""Pictures: boxes to the pixel, colours, labels, and no figure left behind."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from minirpn import viz
from minirpn.evaluation import proposal_recall
from minirpn.rpn.targets import IGNORE, NEGATIVE, POSITIVE
from minirpn.viz import images as viz_images
from minirpn.viz import small
from minirpn.viz import training as viz_training
from minirpn.viz.style import BLACK, ORANGE, SKY, VERMILLION

IMAGE = np.full((30, 40, 3), 90, dtype=np.uint8)
BOXES = np.array([[2.0, 3, 12, 9], [5, 5, 40, 30]])


def records():
    """Six steps: the learning rate drops before step 5; one loss is unknown."""
    made = []
    for step in range(1, 7):
        loss = None if step == 2 else 3.0 / step
        made.append(
            {"kind": "train", "step": step, "loss": loss, "objectness_loss": 1.0, "box_loss": 0.5}
            | {"lr": 1e-3 if step < 5 else 1e-4}
        )
    parts = {"objectness_loss": 0.6, "box_loss": 0.2}
    made.append({"kind": "validate", "step": 3, "loss": 0.8, **parts, "recall": {"50": 0.4}})
    stages = {
        "zero_share": {"conv1": 0.5, "conv2": 0.9},
        "gradient_norm": {"conv2": 0.2, "rpn": 0.1},
    }
    made.append({"kind": "diagnose", "step": 3, **stages})
    return made


def rendered(ax):
    """Return the picture as pixels, and a function from data to pixel (row, column)."""
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())

    def at(x, y):
        column, up = ax.transData.transform((x, y))
        return pixels[int(pixels.shape[0] - up), int(column), :3].tolist()

    return at


def outlines(ax):
    """Return the outline of every box, in the order in which they are drawn, with its colour."""
    return [
        (path.vertices, color)
        for collection in ax.collections
        for path, color in zip(
            collection.get_paths(),
            np.resize(collection.get_colors(), (len(collection.get_paths()), 4)),
            strict=True,
        )
    ]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_half_open_boxes_frame_exactly_their_pixels():
    image = np.zeros((8, 10, 3), dtype=np.uint8)
    image[3:7, 2:5] = 255  # the pixels of the half-open box (2, 3, 5, 7)
    ax = viz.draw_boxes(np.array([[2.0, 3, 5, 7]]), image=image, linewidth=1)
    at = rendered(ax)
    near = 0.1  # of an image pixel; the line is thinner
    white, black = [255] * 3, [0] * 3
    for x, y, dx, dy in ((2, 5, 1, 0), (5, 5, -1, 0), (3.5, 3, 0, 1), (3.5, 7, 0, -1)):
        assert at(x + near * dx, y + near * dy) == white
        assert at(x - near * dx, y - near * dy) == black
        assert at(x, y) not in (white, black)


def test_the_image_is_the_box_from_zero_to_its_size():
    ax = viz.draw_image(IMAGE)
    assert ax.get_xlim() == (0, 40)
    assert ax.get_ylim() == (30, 0)
    (drawn,) = ax.images
    assert list(drawn.get_extent()) == [0, 40, 30, 0]


def test_boxes_are_closed_outlines_in_their_order_and_colours():
    ax = viz.draw_boxes(BOXES, image=IMAGE, colors=[SKY, ORANGE])
    (first, blue), (_, orange) = outlines(ax)
    np.testing.assert_array_equal(first, [[2, 3], [12, 3], [12, 9], [2, 9], [2, 3]])
    np.testing.assert_allclose(blue, to_rgba(SKY))
    np.testing.assert_allclose(orange, to_rgba(ORANGE))


def test_names_and_scores_are_written():
    ax = viz.draw_boxes(BOXES, names=["cat", "dog"], scores=np.array([0.916, 0.5]))
    assert [text.get_text() for text in ax.texts] == ["cat 0.92", "dog 0.50"]
    ax = viz.draw_boxes(BOXES, scores=np.array([0.916, 0.5]))
    assert [text.get_text() for text in ax.texts] == ["0.92", "0.50"]
    with pytest.raises(ValueError, match="2 boxes, but 1 names or scores"):
        viz.draw_boxes(BOXES, names=["cat"])


def test_without_an_image_all_boxes_show_and_y_grows_downward():
    ax = viz.draw_boxes(BOXES - 20)
    assert ax.get_xlim() == (-18, 20)
    assert ax.get_ylim() == (10, -17)


def test_anchors_show_where_they_leave_the_image():
    anchors = np.array([[-10.0, 5, 50, 25], [10, 10, 30, 20]])
    ax = viz.draw_anchors(IMAGE, anchors)
    assert [text.get_text() for text in ax.texts] == ["20 × 10", "60 × 20"]
    assert ax.get_xlim()[0] < -10
    assert ax.get_xlim()[1] > 50
    assert ax.get_ylim() == (30, 0)


def test_labels_are_told_apart_by_rule_and_counted():
    anchors = np.array([[i, i, i + 5, i + 5] for i in range(20)], dtype=np.float64)
    labels = np.full(20, NEGATIVE, dtype=np.int8)
    labels[:3], labels[3] = POSITIVE, IGNORE
    by_best = np.zeros(20, dtype=bool)
    by_best[0] = True
    ax = viz.draw_labels(IMAGE, anchors, labels, BOXES, by_best, negatives=4)
    assert legend(ax) == [
        "negative (16, 4 drawn)",
        "positive by IoU alone (2)",
        "best of an object (1)",
        "object (2)",
    ]
    drawn = [collection for collection in ax.collections if collection.get_label()[0] != "_"]
    assert [len(collection.get_paths()) for collection in drawn] == [4, 2, 1, 2]
    best, objects = drawn[2:]
    np.testing.assert_array_equal(best.get_paths()[0].vertices[0], [0, 0])
    np.testing.assert_allclose(best.get_colors()[0], to_rgba(ORANGE))
    np.testing.assert_allclose(objects.get_colors()[0], to_rgba(BLACK))  # not another orange
    ax = viz.draw_labels(IMAGE, anchors, labels, BOXES)
    assert legend(ax)[1:] == ["positive (3)", "object (2)"]
    ax = viz.draw_labels(IMAGE, anchors, labels, BOXES, ignored=BOXES[:1])
    assert legend(ax)[1:] == ["positive (3)", "ignored region (1)", "object (2)"]
    none = viz.draw_labels(IMAGE, anchors, labels, BOXES, ignored=BOXES[:0])
    assert legend(none)[1:] == ["positive (3)", "object (2)"]


def test_the_sample_of_negatives_keeps_step_with_no_anchor_shape():
    sample = viz_images.spread_evenly(np.arange(9000), 30)
    assert len(set(sample)) == 30
    assert len(set(sample % 9)) >= 7
    assert sample.min() < 600
    assert sample.max() > 8400


def test_proposals_tell_found_from_missed_objects():
    proposals = np.array([[2.0, 3, 12, 9], [0, 0, 3, 3], [5, 5, 40, 30]])
    scores = np.array([0.9, 0.8, 0.1])
    ax = viz.draw_proposals(IMAGE, proposals, scores, BOXES, top=2)
    assert ax.get_title() == "the 2 best proposals find 1 of 2 objects at IoU ≥ 0.5"
    assert legend(ax) == ["object, found", "object, missed"]
    (second, _), (first, _), *_, (found, black), (missed, red) = outlines(ax)
    np.testing.assert_array_equal(first[0], [2, 3])  # the best proposal lies on top
    np.testing.assert_array_equal(second[0], [0, 0])
    np.testing.assert_array_equal(found[0], [2, 3])
    np.testing.assert_array_equal(missed[0], [5, 5])
    np.testing.assert_allclose([black, red], [to_rgba(BLACK), to_rgba(VERMILLION)])
    viz.draw_proposals(IMAGE, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)))


def test_whole_number_ground_truths_will_do_for_proposals_of_float32():
    ax = viz.draw_proposals(IMAGE, BOXES.astype(np.float32), np.array([0.9, 0.8]), BOXES)
    assert "2 of 2" in ax.get_title()


def test_objectness_cells_cover_their_stride_and_the_image_stays():
    objectness = np.zeros((2, 3, 9))
    objectness[0, 1, 4] = 1
    ax = viz.plot_objectness(objectness, IMAGE, stride=16)
    image, heat = ax.images
    assert list(heat.get_extent()) == [0, 48, 32, 0]
    np.testing.assert_array_equal(heat.get_array(), [[0, 1, 0], [0, 0, 0]])
    assert ax.get_xlim() == (0, 40)
    assert list(image.get_extent()) == [0, 40, 30, 0]


def test_the_training_plot_shows_losses_validation_and_the_drop():
    ax = viz.plot_training(records())
    names = legend(ax)
    assert names == [
        *("total", "total, validation", "objectness", "objectness, validation"),
        *("box", "box, validation", "learning rate drops to 0.0001"),
    ]
    drop = next(line for line in ax.lines if line.get_label().startswith("learning"))
    assert list(drop.get_xdata()) == [5, 5]
    raw = ax.lines[0].get_ydata()
    np.testing.assert_array_equal(raw, [3, np.nan, 1, 0.75, 0.6, 0.5])


def test_a_learning_rate_that_falls_all_the_time_is_marked_nowhere():
    train = [record | {"lr": 1.0 - step / 20} for step, record in enumerate(records()[:6] * 3)]
    assert not [name for name in legend(viz.plot_training(train)) if name.startswith("learning")]


def test_stages_and_validation_have_a_line_for_each_member():
    upper, lower = viz.plot_stages(records())
    assert legend(upper) == ["conv1", "conv2"]
    assert legend(lower) == ["conv2", "rpn"]
    assert lower.lines[0].get_color() == upper.lines[1].get_color()
    assert upper.figure is lower.figure
    assert legend(viz.plot_validation_recall(records())) == ["50 proposals"]


def test_lengths_of_weights_and_changes_have_a_line_for_each_stage():
    record = {"kind": "diagnose", "step": 1, "zero_share": {"conv1": 0.5, "conv2": 0.5}}
    record |= {"weight_norm": {"conv1": 2.0, "conv2": 3.0}, "update_ratio": {"conv2": 0.001}}
    upper, lower = viz.plot_norms([record])
    assert legend(upper) == ["conv1", "conv2"]
    assert legend(lower) == ["conv2"]
    assert lower.lines[0].get_color() == upper.lines[1].get_color()
    assert upper.get_yscale() == lower.get_yscale() == "log"
    assert list(upper.lines[1].get_ydata()) == [3.0]


def test_small_pictures_have_boxes_to_the_pixel():
    image = np.full((10, 12, 3), 255, dtype=np.uint8)
    picture = small.draw_small(image, [(np.array([[2.0, 3, 6, 8]]), "#000000")])
    black = (picture == 0).all(axis=2)
    edge = np.zeros((10, 12), dtype=bool)
    edge[3:8, 2:6] = True  # rows 3 to 7, columns 2 to 5: half-open
    edge[4:7, 3:5] = False
    np.testing.assert_array_equal(black, edge)
    assert (image == 255).all()


@pytest.mark.parametrize("size", [(400, 800), (1, 5000), (5000, 1), (1, 1)])
def test_small_pictures_are_small(size, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0, size[1], size[0]], [0.3, 0.3, 0.4, 0.4]])
    picture = small.draw_small(image, [(boxes, "#D55E00"), (boxes[:0], "#000000")])
    assert max(picture.shape) <= 200
    assert picture.shape[0] >= 1 <= picture.shape[1]
    both = small.above(picture, picture)
    assert both.shape == (2 * picture.shape[0] + 3, *picture.shape[1:])
    with (tmp_path / "small.png").open("wb") as file:
        small.save_small(both, file)
    assert (tmp_path / "small.png").stat().st_size < 70_000


@pytest.mark.parametrize(
    "plot", [viz.plot_training, viz.plot_validation_recall, lambda r: viz.plot_stages(r)[1]]
)
@pytest.mark.parametrize("kept", [[], ["train"], ["validate"], ["diagnose"]])
def test_runs_that_recorded_little_can_be_plotted(plot, kept, tmp_path):
    ax = plot([record for record in records() if record["kind"] in kept])
    viz.save(ax, tmp_path / "plot.png")


def test_gradients_of_nothing_can_be_plotted(tmp_path):
    # What a step on an image without any anchor inside leaves.
    record = {"kind": "diagnose", "step": 1, "gradient_norm": {"conv1": 0.0, "rpn": 0.0}}
    ax = viz.plot_gradient_norm([record])
    assert ax.get_yscale() == "linear"
    viz.save(ax, tmp_path / "picture.png")
    assert viz.plot_gradient_norm(records()).get_yscale() == "log"


def test_the_moving_mean_is_centred_and_passes_over_what_is_not_finite():
    values = np.array([1.0, 2, np.nan, 4, 5])
    np.testing.assert_allclose(viz_training.moving_mean(values, 3), [1.5, 1.5, 3, 4.5, 4.5])
    np.testing.assert_allclose(viz_training.moving_mean(values, 1), values)


def test_recall_has_a_line_for_each_count_and_one_for_counts_that_agree():
    result = proposal_recall([BOXES], [BOXES + 1], counts=(1, 2, 1000))
    ax = viz.plot_recall(result)
    one, two, many = result.average_recall
    assert legend(ax) == [f"1 (AR {one:.3f})", f"2 or 1,000 (AR {two:.3f})"]
    assert two == many
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), result.recall[1])
    viz.plot_recall(proposal_recall([], []))  # nan


@pytest.mark.parametrize(("height", "width"), [(400, 20), (20, 400)])
@pytest.mark.parametrize("small", [False, True])
def test_nothing_is_cut_off_narrow_and_flat_images(tmp_path, height, width, small):
    image = np.zeros((height, width, 3), dtype=np.uint8)
    ax = Figure(figsize=(2, 2)).add_subplot() if small else None
    ax = viz.draw_proposals(image, BOXES, np.ones(2), BOXES, ax=ax)
    picture = plt.imread(viz.save(ax, tmp_path / "picture.png"))
    for edge in (picture[:2], picture[-2:], picture[:, :2], picture[:, -2:]):
        assert (edge == 1).all()


DRAWINGS = {
    "image": lambda ax: viz.draw_image(IMAGE, ax),
    "boxes": lambda ax: viz.draw_boxes(BOXES, ax, image=IMAGE),
    "anchors": lambda ax: viz.draw_anchors(IMAGE, BOXES, ax),
    "labels": lambda ax: viz.draw_labels(IMAGE, BOXES, np.array([1, 0]), BOXES, ax=ax),
    "proposals": lambda ax: viz.draw_proposals(IMAGE, BOXES, np.ones(2), BOXES, ax=ax),
    "objectness": lambda ax: viz.plot_objectness(np.ones((2, 3)), IMAGE, ax),
    "training": lambda ax: viz.plot_training(records(), ax),
    "validation": lambda ax: viz.plot_validation_recall(records(), ax),
    "zeros": lambda ax: viz.plot_zero_share(records(), ax),
    "gradients": lambda ax: viz.plot_gradient_norm(records(), ax),
    "recall": lambda ax: viz.plot_recall(proposal_recall([BOXES], [BOXES]), ax),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_every_picture_takes_axes_labels_them_and_can_be_saved(draw, tmp_path):
    given = Figure().add_subplot()
    assert draw(given) is given
    made = draw(None)
    for ax in (given, made):
        for label in (ax.get_xlabel(), ax.get_ylabel()):
            assert label.endswith(")") or label.startswith(("IoU", "recall", "length")), label
    path = viz.save(made, tmp_path / "new folder" / "picture.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert viz.save(made.figure, tmp_path / "picture.svg").exists()
    assert plt.get_fignums() == []


@pytest.mark.parametrize("draw", list(DRAWINGS.values())[:6], ids=list(DRAWINGS)[:6])
def test_what_is_drawn_is_not_modified(draw):
    before = IMAGE.copy(), BOXES.copy()
    draw(None)
    np.testing.assert_array_equal(IMAGE, before[0])
    np.testing.assert_array_equal(BOXES, before[1])


def test_arrays_of_every_world_can_be_drawn(world):
    image = world.array(IMAGE, dtype=np.uint8)
    boxes, scores = world.array(BOXES), world.array([0.9, 0.1])
    assert "2 of 2" in viz.draw_proposals(image, boxes, scores, boxes).get_title()
    viz.draw_labels(image, boxes, world.array([1, 0], dtype=np.int8), boxes)
    viz.draw_anchors(image, boxes)
    viz.plot_objectness(world.array(np.ones((2, 3))), image)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"image: expected shape \(H, W, 3\)"):
        viz.draw_image(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="objectness"):
        viz.plot_objectness(np.zeros(3), IMAGE)
    with pytest.raises(ValueError, match="scores"):
        viz.draw_proposals(IMAGE, BOXES, np.zeros(3))
    with pytest.raises(ValueError, match="labels"):
        viz.draw_labels(IMAGE, BOXES, np.zeros(3), BOXES)


def test_losses_of_a_detector_are_drawn_where_there_are_any():
    rpn = [{"kind": "train", "step": n, "loss": 3.0, "objectness_loss": 2.0} for n in (1, 2)]
    detector = [{"kind": "train", "step": n, "loss": 2.0, "class_loss": 1.5} for n in (3, 4)]
    validate = {"kind": "validate", "step": 2, "rpn_loss": 2.5, "objectness_loss": 2.2}
    ax = viz.plot_training([*rpn, validate, *detector])
    names = {text.get_text() for text in ax.get_legend().get_texts()}
    assert names == {"total", "objectness", "objectness, validation", "class of a region"}


def test_captions_of_near_equal_boxes_are_written_apart():
    boxes = np.array([[20.0, 20, 90, 80], [22, 21, 91, 81], [20, 22, 92, 79], [300, 20, 380, 80]])
    names = ["square", "circle", "star", "far"]
    ax = viz.draw_boxes(boxes, image=np.zeros((120, 400, 3), dtype=np.uint8), names=names)
    ax.figure.canvas.draw()
    places = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for k, one in enumerate(places) for other in places[:k])
    assert [text.xy for text in ax.texts] == [(20, 20), (91, 21), (20, 79), (300, 20)]
