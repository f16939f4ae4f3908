"""Pictures of the studies: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from minirpn import viz
from minirpn.viz.style import SKY, VERMILLION

RUNS = {"one": [0.2, 0.6], "other": [0.5], "none": []}


def drawn(ax, marker):
    return [
        (*line.get_xdata(), line.get_ydata()[0])
        for line in ax.get_lines()
        if line.get_marker() == marker
    ]


def test_a_row_for_each_variant_the_first_on_top():
    ax = viz.plot_variants(RUNS, x_label="recall", baseline="one")
    assert [label.get_text() for label in ax.get_yticklabels()] == list(RUNS)
    assert ax.yaxis_inverted()
    assert drawn(ax, "o") == [(0.2, 0.6, 0), (0.5, 1)]
    assert drawn(ax, "|") == [(0.4, 0)]  # the mean; a single run is its own


def test_the_range_of_the_baseline_goes_through_all_rows():
    ax = viz.plot_variants(RUNS, x_label="recall", baseline="one")
    (band,) = ax.patches
    extents = band.get_path().get_extents(band.get_patch_transform())
    assert (extents.x0, extents.width) == (0.2, pytest.approx(0.4))
    assert band.get_facecolor()[:3] == pytest.approx(to_rgb(SKY))
    colors = [line.get_color() for line in ax.get_lines() if line.get_marker() == "o"]
    assert (colors[0] == VERMILLION, colors[1] == VERMILLION) == (True, False)
    assert not viz.plot_variants(RUNS, x_label="recall", baseline="other").patches
    assert not viz.plot_variants(RUNS, x_label="recall").patches


def test_a_line_leads_from_each_anchor_to_its_proposals():
    anchors = np.array([[184.0, 96], [128, 128]])
    means = {"ours": np.array([[188.0, 111], [np.nan, np.nan]]), "theirs": np.full((2, 2), np.nan)}
    ax = viz.plot_proposal_sizes(anchors, means)
    lines = [line.get_xydata().tolist() for line in ax.get_lines() if line.get_marker() == "None"]
    assert [[184, 96], [188, 111]] in lines
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["ours", "anchor"]  # what is nowhere has no name
    with pytest.raises(ValueError, match=r"means: ours: expected shape \(2, 2\), got \(1, 2\)"):
        viz.plot_proposal_sizes(anchors, {"ours": anchors[:1]})
