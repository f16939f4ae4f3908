"""What holds for any grid of anchors: centres, areas, mirror images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minirpn import boxes
from minirpn.rpn import base_anchors, grid_anchors
from minirpn.testing import strategies

CELLS = st.tuples(st.integers(1, 6), st.integers(1, 6))


@given(strategies.anchor_configs())
def test_base_anchors_are_centred_and_ordered(close, config):
    anchors = base_anchors(config)
    assert anchors.shape == (config.count, 4)
    close((anchors[:, :2] + anchors[:, 2:]) / 2, np.full((config.count, 2), config.base_size / 2))
    # One ratio after the other, each at every scale.
    sides = (anchors[:, 2:] - anchors[:, :2]).reshape(len(config.ratios), len(config.scales), 2)
    unscaled = sides / np.array(config.scales)[:, None]
    close(unscaled, np.broadcast_to(unscaled[:, :1], unscaled.shape))
    if config.rounding == "caffe":
        np.testing.assert_array_equal(unscaled, np.round(unscaled))
    else:
        ratios = np.repeat(config.ratios, len(config.scales))
        close((sides[..., 1] / sides[..., 0]).reshape(-1), ratios)


@given(strategies.anchor_configs(), CELLS, st.sampled_from([4, 8, 16]))
def test_the_grid_is_its_own_mirror_image(close, config, cells, stride):
    rows, columns = cells
    # Cells are mirrored onto cells when the anchors stand at their centres.
    to_centre = (stride - config.base_size) / 2
    grid = grid_anchors(base_anchors(config), cells, stride, offset=(to_centre, to_centre))
    # (K, 4) -> (Hf, Wf, A, 4)
    by_cell = grid.reshape(rows, columns, config.count, 4)
    sideways = boxes.flip(grid, columns * stride).reshape(by_cell.shape)[:, ::-1]
    close(sideways, by_cell, atol=1e-11)
    turned = grid[:, [1, 0, 3, 2]]  # x and y exchanged
    upside_down = boxes.flip(turned, rows * stride)[:, [1, 0, 3, 2]]
    close(upside_down.reshape(by_cell.shape)[::-1], by_cell, atol=1e-11)


@given(strategies.anchor_configs(), CELLS)
def test_every_cell_has_the_base_anchors(close, config, cells):
    base = base_anchors(config)
    grid = grid_anchors(base, cells, 16).reshape(*cells, config.count, 4)
    for row, column in np.ndindex(*cells):
        shift = np.array([column, row, column, row]) * 16
        close(grid[row, column], base + shift)


OFFSETS = st.tuples(st.integers(-20, 20), st.integers(-20, 20))


@given(strategies.anchor_configs(), CELLS, OFFSETS)
def test_an_offset_moves_rows_and_columns_each_by_its_own(close, config, cells, offset):
    base = base_anchors(config)
    dy, dx = offset
    moved = grid_anchors(base, cells, 16, offset=offset)
    close(moved, grid_anchors(base, cells, 16) + np.array([dx, dy, dx, dy]))
