"""Diagrams of lessons: what is drawn, and where."""

import numpy as np
import pytest

from minirpn import viz
from minirpn.viz.style import BLUE, VERMILLION


def test_lines_are_named_and_labelled():
    x = np.linspace(0, 1, 5)
    ax = viz.plot_lines(x, {"x": x, "x squared": x**2}, x_label="x (m)", y_label="y (m²)")
    assert [line.get_label() for line in ax.lines] == ["x", "x squared"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), x**2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (m)", "y (m²)")


def test_bars_carry_their_numbers_the_first_on_top():
    lengths = {"loops": 21546.0, "array": 120.4, "numba": 1.5}
    ax = viz.plot_bars(lengths, x_label="time (ms)", log=True)
    assert [bar.get_width() for bar in ax.patches] == list(lengths.values())
    assert {"21,546", "120", "1.5"} <= {text.get_text() for text in ax.texts}
    assert ax.yaxis_inverted()
    assert ax.get_xscale() == "log"


def test_each_pixel_shows_its_number_in_its_middle():
    ax = viz.draw_pixels(np.array([[0, 128, 255], [10, 20, 30]]))
    assert [text.get_text() for text in ax.texts] == ["0", "128", "255", "10", "20", "30"]
    assert ax.texts[5].get_position() == (2.5, 1.5)
    assert ax.get_xlim() == (0, 3)
    assert ax.get_ylim() == (2, 0)


def test_too_many_pixels_to_read_are_refused():
    with pytest.raises(ValueError, match="at most 400 pixels"):
        viz.draw_pixels(np.zeros((21, 20)))


def test_a_table_shows_numbers_with_a_sign():
    ax = viz.draw_numbers(np.array([[-2.0, -0.0, 1], [0.25, np.nan, -1]]), x_label="output")
    assert [text.get_text() for text in ax.texts] == ["-2", "0", "1", "0.25", "-1"]
    assert ax.texts[3].get_position() == (0.5, 1.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("output", "row")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]
    picture = ax.images[0]
    blue, white, orange = (picture.to_rgba(value)[:3] for value in (-2.0, 0.0, 2.0))
    assert blue[2] > blue[0]
    assert np.min(white) > 0.99
    assert orange[0] > orange[2]
    # White on the dark end, black everywhere else.
    assert [text.get_color() == "white" for text in ax.texts] == [True, False, False, False, False]


def test_a_table_can_have_the_colours_of_a_larger_one():
    alone = viz.draw_numbers(np.array([[1.0]])).images[0]
    beside = viz.draw_numbers(np.array([[1.0]]), limit=4.0).images[0]
    assert alone.norm(1.0) == 1.0
    assert beside.norm(1.0) == 0.625


def test_a_table_of_zeros_or_of_nothing_known_is_white():
    assert viz.draw_numbers(np.zeros((2, 2))).images[0].norm(0.0) == 0.5
    assert not viz.draw_numbers(np.full((2, 2), np.nan)).texts


@pytest.mark.parametrize("shape", [(21, 20), (3,), (2, 2, 3)])
def test_a_table_too_large_to_read_is_refused(shape):
    with pytest.raises(ValueError, match="at most 400 numbers"):
        viz.draw_numbers(np.zeros(shape))


def test_the_roof_is_the_lower_of_two_limits():
    points = {"relu": (0.125, 3.0), "conv": (100.0, 90.0)}
    ax = viz.plot_roofline(points, peak=100, bandwidth=25, colors={"conv": VERMILLION})
    roof = ax.lines[0]
    x, y = roof.get_xdata(), roof.get_ydata()
    np.testing.assert_allclose(y[x < 4], 25 * x[x < 4])
    np.testing.assert_array_equal(y[x > 4], 100)
    assert x[0] < 0.125
    assert x[-1] > 100


def test_each_piece_of_work_is_a_named_point_of_its_colour():
    points = {"relu": (0.125, 3.0), "conv": (100.0, 90.0)}
    ax = viz.plot_roofline(points, peak=100, bandwidth=25, colors={"conv": VERMILLION})
    found = {tuple(np.ravel(line.get_data())): line.get_color() for line in ax.lines[1:]}
    assert found == {(0.125, 3.0): BLUE, (100.0, 90.0): VERMILLION}
    named = {text.get_text(): text.xy for text in ax.texts}
    assert {name: named[name] for name in points} == points
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "GFLOP/s" in ax.get_ylabel()
