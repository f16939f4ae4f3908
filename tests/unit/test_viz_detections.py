"""Pictures of detections and of how good they are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from minirpn import viz
from minirpn.detector import Detections
from minirpn.evaluation import APResult, PrecisionRecall
from minirpn.viz.style import BLACK, BLUE, CYCLE, GREY, VERMILLION

IMAGE = np.full((30, 40, 3), 90, dtype=np.uint8)
FOUND = Detections(
    np.array([[2.0, 3, 12, 9], [5, 5, 40, 30], [0, 0, 9, 9]]),
    np.array([0.9, 0.5, 0.7]),
    np.array([0, 1, 9]),
)
NAMES = ("cat", "dog", *"cdefghij")


def curve(hits, positives):
    """Return the curve of answers in the order of their scores."""
    hits = np.array(hits, dtype=np.int64)
    scores = np.linspace(1, 0, len(hits))
    return PrecisionRecall(scores, np.cumsum(hits), np.cumsum(1 - hits), positives)


def result_of(*curves, method="area"):
    return APResult(NAMES[: len(curves)], curves, (0,) * len(curves), 0.5, method)


TWO = result_of(curve([1, 0, 1, 0], 2), curve([1, 0, 0, 0], 4), curve([0], 0))


def labelled(ax):
    """Return the lines of the legend: their colour by label."""
    legend = ax.get_legend()
    return {
        text.get_text(): to_hex(line.get_color())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }


def line_of(ax, label):
    (line,) = (line for line in ax.lines if line.get_label() == label)
    return line


def test_few_classes_have_a_colour_each_the_best_first():
    ax = viz.plot_precision_recall(TWO)
    # the class without objects has no line
    assert labelled(ax) == {"cat (0.833)": BLUE.lower(), "dog (0.250)": VERMILLION.lower()}
    assert ax.get_title() == "detections at an IoU of 0.5, mean AP 0.542"
    # The envelope: 1 up to a recall of 1/2, 2/3 up to 1; and no further than recall goes.
    line = line_of(ax, "cat (0.833)")
    np.testing.assert_allclose(line.get_xdata(), [0, 0.5, 1])
    np.testing.assert_allclose(line.get_ydata(), [1, 1, 2 / 3])
    assert line.get_drawstyle() == "steps-pre"
    # Behind it the curve itself, with its teeth.
    own = ax.lines[0]
    np.testing.assert_allclose(own.get_ydata(), [1, 1 / 2, 2 / 3, 1 / 2])
    assert own.get_alpha() < 0.5


def test_the_legend_gives_the_average_that_is_asked_for():
    ax = viz.plot_precision_recall(TWO, method="voc07")
    assert ax.get_legend().get_title().get_text() == "AP (voc07)"
    assert list(labelled(ax)) == [f"cat ({(6 + 5 * 2 / 3) / 11:.3f})", f"dog ({3 / 11:.3f})"]


def test_of_many_classes_the_best_the_worst_and_the_mean_stand_out():
    worst, best = curve([0, 0], 3), curve([1, 1], 2)
    middle = [curve([1, 0], 2)] * 7
    ax = viz.plot_precision_recall(result_of(worst, *middle, best))
    assert labelled(ax) == {
        "7 others": GREY.lower(),
        "best: i (1.000)": BLUE.lower(),
        "worst: cat (0.000)": VERMILLION.lower(),
        "mean (0.500)": BLACK.lower(),
    }
    assert sum(to_hex(line.get_color()) == GREY.lower() for line in ax.lines) == 7
    # Eight of nine classes reach a recall of 1/2 at precision 1, one of them goes on to 1.
    mean = line_of(ax, "mean (0.500)")
    recall, precision = mean.get_xdata(), mean.get_ydata()
    np.testing.assert_allclose(precision[recall <= 0.5], 8 / 9)
    np.testing.assert_allclose(precision[recall > 0.5], 1 / 9)


def test_of_very_many_classes_some_curves_are_drawn():
    names = tuple(map(str, range(2000)))
    one = curve([1], 1)
    ax = viz.plot_precision_recall(APResult(names, (one,) * 2000, (0,) * 2000, 0.5, "area"))
    assert 250 <= len(ax.lines) <= 303
    assert [label for label in labelled(ax) if label.endswith("others")] == ["1998 others"]


def test_classes_without_objects_or_detections_can_be_drawn():
    ax = viz.plot_precision_recall(result_of(curve([], 0), curve([0], 0)))
    assert ax.get_title() == "detections at an IoU of 0.5: no objects"
    assert ax.get_legend() is None
    assert labelled(viz.plot_precision_recall(result_of(curve([], 3)))) == {
        "cat (0.000)": BLUE.lower()
    }
    nothing = result_of(*[curve([], 3)] * 10)
    np.testing.assert_array_equal(viz.plot_precision_recall(nothing).lines[-1].get_ydata(), 0)


def test_detections_carry_class_and_score_the_highest_on_top():
    ax = viz.draw_detections(IMAGE, FOUND, NAMES)
    assert [text.get_text() for text in ax.texts] == ["dog 0.50", "j 0.70", "cat 0.90"]
    (outlines,) = ax.collections
    assert [path.vertices[0].tolist() for path in outlines.get_paths()] == [[5, 5], [0, 0], [2, 3]]
    # The tenth class has the colour of the second.
    expected = [CYCLE[1], CYCLE[1], CYCLE[0]]
    np.testing.assert_allclose(outlines.get_colors(), [to_rgba(color) for color in expected])
    assert ax.get_title() == "3 detections"


def test_detections_of_low_scores_are_left_out():
    ax = viz.draw_detections(IMAGE, FOUND, NAMES, score_threshold=0.7)
    assert [text.get_text() for text in ax.texts] == ["j 0.70", "cat 0.90"]
    assert ax.get_title() == "2 detections of at least 0.7"
    ax = viz.draw_detections(IMAGE, FOUND, NAMES, score_threshold=0.9)
    assert ax.get_title() == "1 detection of at least 0.9"
    assert not viz.draw_detections(IMAGE, FOUND, NAMES, score_threshold=0.95).texts


def test_detections_of_every_world_can_be_drawn(world):
    found = Detections(
        world.array(FOUND.boxes), world.array(FOUND.scores), world.array(FOUND.classes, np.int64)
    )
    ax = viz.draw_detections(world.array(IMAGE, dtype=np.uint8), found, NAMES)
    assert len(ax.texts) == 3


def test_detections_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"detections.scores: expected shape \(3\)"):
        viz.draw_detections(IMAGE, FOUND._replace(scores=np.ones(2)), NAMES)


DRAWINGS = {
    "precision": lambda ax: viz.plot_precision_recall(TWO, ax),
    "detections": lambda ax: viz.draw_detections(IMAGE, FOUND, NAMES, ax),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_every_picture_takes_axes_labels_them_and_can_be_saved(draw, tmp_path):
    given = Figure().add_subplot()
    assert draw(given) is given
    made = draw(None)
    for ax in (given, made):
        assert ax.get_xlabel().endswith(")")
        assert ax.get_ylabel().endswith(")")
    path = viz.save(made, tmp_path / "new folder" / "picture.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == []
