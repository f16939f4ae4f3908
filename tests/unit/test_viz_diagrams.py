"""Diagrams of lessons: what is drawn, and where."""

import numpy as np
import pytest

from minirpn import viz


def test_lines_are_named_and_labelled():
    x = np.linspace(0, 1, 5)
    ax = viz.plot_lines(x, {"x": x, "x squared": x**2}, x_label="x (m)", y_label="y (m²)")
    assert [line.get_label() for line in ax.lines] == ["x", "x squared"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), x**2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (m)", "y (m²)")


def test_bars_carry_their_numbers_the_first_on_top():
    ax = viz.plot_bars({"loops": 120.0, "numba": 1.5}, x_label="time (ms)", log=True)
    assert [bar.get_width() for bar in ax.patches] == [120.0, 1.5]
    assert {"120", "1.5"} <= {text.get_text() for text in ax.texts}
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
