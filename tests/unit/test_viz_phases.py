"""A training in phases as a picture: what learns where, and what passes between."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from minirpn import viz
from minirpn.training.config import OptimizerConfig, SharingConfig, TrainConfig
from minirpn.training.phases import phases_of
from minirpn.viz.style import BLUE, VERMILLION

NAMES = {"backbone": "backbone", "RPN": "rpn", "detector": "detector"}


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
    boxes = boxes_of(viz.draw_phases(shown, title=kind))
    rows = {NAMES[box.get_text()]: y for (x, y), box in boxes.items() if x == 0}
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
    ax = viz.draw_phases(phases("4-step"))
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
    ax = viz.draw_phases(phases("4-step"))
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
    ax = viz.draw_phases(phases("4-step", proposals="theirs.npz"))
    file = next(at for at, box in boxes_of(ax).items() if box.get_text() == "proposals of a file")
    arrows = arrows_of(ax)[to_hex(VERMILLION)]
    assert arrows == {(file, (1, 2), False), ((2, 1), (3, 2), False)}
    # With no step before it, the backbone begins as it is: nothing bows over anything.
    assert not any(bends for found in arrows_of(ax).values() for _, _, bends in found)


def test_a_training_without_a_detector_has_no_row_for_it():
    words = {text.get_text() for text in viz.draw_phases(phases("rpn-only")).texts}
    assert {"backbone", "RPN"} <= words
    assert "detector" not in words
