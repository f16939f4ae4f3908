"""Chapter 12 compares each part that a learner pastes with the library's; it names a wrong one."""

import numpy as np
import pytest

from minirpn.lessons import parts
from minirpn.lessons.put_it_together import check_slots
from minirpn.testing import CheckError

SLOTS = {name: getattr(parts, name) for name in parts.__all__}


def iou_of_mine(a, b):
    low, high = (
        np.maximum(a[:, None, :2], b[None, :, :2]),
        np.minimum(a[:, None, 2:], b[None, :, 2:]),
    )
    shared = np.maximum(high - low, 0).prod(axis=2)
    area_a, area_b = ((some[:, 2:] - some[:, :2]).prod(axis=1) for some in (a, b))
    return shared / (area_a[:, None] + area_b - shared)


def test_it_tells_whose_function_is_in_each_slot(capsys):
    check_slots(**SLOTS | {"iou": iou_of_mine})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SLOTS)
    by_name = {line.split()[1]: line for line in lines}
    assert "yours" in by_name["iou"]
    assert "01, my_iou" in by_name["iou"]
    assert all("the library" in line for name, line in by_name.items() if name != "iou")


def nearly(name):
    """Return a function that is wrong in one number, or in one box."""

    def wrong(*arguments):
        result = SLOTS[name](*arguments)
        if isinstance(result, tuple):
            first, *others = result
            return (first + 0.01, *others)
        if np.asarray(result).dtype.kind in "iu":
            return result[::-1]
        return result * 1.01

    return wrong


@pytest.mark.parametrize("name", SLOTS)
def test_a_slot_with_a_wrong_function_is_named(name):
    with pytest.raises(CheckError, match=f"^slot {name}: "):
        check_slots(**SLOTS | {name: nearly(name)})


@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.parametrize("answer", [None, ...])
def test_a_slot_with_an_empty_function_is_named(name, answer):
    with pytest.raises(CheckError, match=f"^slot {name}: "):
        check_slots(**SLOTS | {name: lambda *arguments: answer})


def test_a_forgotten_slot_is_named():
    with pytest.raises(TypeError, match="slots: nms on one side only"):
        check_slots(**{name: slot for name, slot in SLOTS.items() if name != "nms"})
