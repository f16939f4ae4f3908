"""A sliding window: where its frames stand, what is shown, and a player that runs offline."""

import base64
import re

import numpy as np
import pytest

from minirpn import nn, viz

IMAGE = np.arange(20.0).reshape(4, 5)
KERNEL = np.array([[-1.0, 0.0], [0.5, 2.0]])


def convolved(**options):
    return nn.conv2d_forward(IMAGE[None, None], KERNEL[None, None], np.zeros(1), **options)[0][0, 0]


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
    left, right = viz.draw_window(IMAGE, y, (1, 2), kernel=KERNEL, stride=2, padding=1)
    x1, y1, x2, y2 = frame(left)
    assert (x1, y1, x2, y2) == (3, 1, 5, 3)
    assert frame(right) == (2, 1, 3, 2)
    assert shown(right)[-1] == np.sum(IMAGE[y1:y2, x1:x2] * KERNEL) == y[1, 2]
    assert [ax.get_title() for ax in left.figure.axes] == ["image", "kernel", "output"]


def test_outputs_still_to_come_are_empty():
    y = convolved()
    _, right = viz.draw_window(IMAGE, y, (1, 0), kernel=KERNEL)
    assert shown(right) == y.ravel()[: y.shape[1] + 1].tolist()
    picture = np.ma.getmaskarray(right.images[0].get_array())
    assert picture.sum() == y.size - y.shape[1] - 1
    assert not picture[1, 0]
    # Shades stay what they are in the whole output.
    assert right.images[0].norm.vmax == np.abs(y).max()


def test_padding_and_a_window_cut_by_the_border_are_in_view():
    y = convolved(padding=1)
    left, _ = viz.draw_window(IMAGE, y, (0, 0), kernel=KERNEL, padding=1)
    assert (left.get_xlim(), left.get_ylim()) == ((-1, 6), (5, -1))
    pooled = nn.max_pool2d_forward(IMAGE[None, None], kernel=2, stride=2, ceil_mode=True)[0][0, 0]
    left, right = viz.draw_window(IMAGE, pooled, (1, 2), kernel=2, stride=2)
    assert frame(left) == (4, 2, 6, 4)
    assert (left.get_xlim(), left.get_ylim()) == ((0, 6), (4, 0))
    assert [ax.get_title() for ax in right.figure.axes] == ["image", "output"]
    left, _ = viz.draw_window(IMAGE.T, convolved(stride=2).T, (0, 0), kernel=2, stride=2)
    assert (left.get_xlim(), left.get_ylim()) == ((0, 4), (5, 0))  # the last row is in no window


def test_a_place_outside_the_output_is_refused():
    with pytest.raises(ValueError, match=r"at: expected a place in \(3, 4\), got \(3, 0\)"):
        viz.draw_window(IMAGE, convolved(), (3, 0), kernel=KERNEL)
    with pytest.raises(ValueError, match="output: expected a matrix"):
        viz.draw_window(IMAGE, convolved()[None], (0, 0), kernel=KERNEL)


def test_the_framed_column_is_the_framed_window():
    left, right = viz.draw_columns(IMAGE, (1, 2), kernel=(2, 3), stride=(2, 1))
    x1, y1, x2, y2 = frame(left)
    assert (x1, y1, x2, y2) == (2, 2, 5, 4)
    assert frame(right) == (5, 0, 6, 6)
    columns = np.reshape(shown(right), (6, 6))
    np.testing.assert_array_equal(columns[:, 5], IMAGE[y1:y2, x1:x2].ravel())
    np.testing.assert_array_equal(columns[0], IMAGE[::2, :3].ravel())


def test_columns_times_kernel_are_the_output():
    _, right = viz.draw_columns(IMAGE, (0, 0), kernel=2, stride=2, padding=1)
    columns = np.reshape(shown(right), (4, -1))
    np.testing.assert_array_equal(KERNEL.ravel() @ columns, convolved(stride=2, padding=1).ravel())
    with pytest.raises(ValueError, match="at: expected a place"):
        viz.draw_columns(IMAGE, (0, 5), kernel=2)


def frames_of(animation):
    """Return the pictures that a player plays, decoded."""
    found = re.findall(r'frames\[\d+\] = "data:image/png;base64,([^"]+)"', animation.html)
    return [base64.b64decode(text.replace("\\\n", "")) for text in found]


def test_an_animation_has_a_picture_for_each_output_and_fits_a_notebook():
    y = convolved(stride=2)
    frames = frames_of(viz.animate_window(IMAGE, y, kernel=KERNEL, stride=2))
    assert len(frames) == y.size == 4
    assert all(frame.startswith(b"\x89PNG") for frame in frames)
    assert len(set(frames)) == len(frames)
    sizes = {frame[16:24] for frame in frames}  # width and height, in the header of a PNG
    assert len(sizes) == 1
    assert max(map(len, frames)) < 16_000  # bytes: less than a megabyte for 40 of them


def test_an_animation_needs_nothing_from_the_web():
    animation = viz.animate_window(IMAGE, convolved(stride=2), kernel=2, stride=2)
    assert animation._repr_html_() == animation.html
    assert "http" not in animation.html
    assert "<link" not in animation.html
    buttons = re.findall(r"<button[^>]*>\s*([^<]*?)\s*</button>", animation.html)
    assert len(buttons) == 9
    assert all(buttons)
    assert "Animation()" in repr(animation)


def test_an_animation_of_too_many_steps_is_refused():
    with pytest.raises(ValueError, match="at most 40 numbers, got 42"):
        viz.animate_window(np.zeros((6, 7)), np.zeros((6, 7)), kernel=1)
