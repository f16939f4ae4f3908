"""The kept training of chapter 11: it has its form, it begins as a fresh one, and it ends well."""

import sys
from pathlib import Path

import numpy as np
import pytest

TUTORIALS = Path(__file__).parents[2] / "tutorials"


@pytest.fixture(scope="module")
def recording():
    sys.path.insert(0, str(TUTORIALS))
    try:
        import recording
    finally:
        sys.path.remove(str(TUTORIALS))
    return recording


@pytest.fixture(scope="module")
def kept(recording):
    return recording.load()


def test_the_file_is_small_and_has_the_form_that_the_script_tells(recording, kept):
    assert recording.PATH.stat().st_size < 300_000
    V, T, P, top = len(kept["validated"]), len(recording.MOMENTS), len(recording.SHOWN), 50
    assert {name: array.shape for name, array in kept.items()} == {
        "losses": (recording.STEPS, 4),
        "validated": (V,),
        "validations": (V, 3),
        "recalls": (V, len(recording.COUNTS), len(recording.IOUS)),
        "moments": (T,),
        "objectness": (T, 10, 13),
        "boxes": (T, top, 4),
        "scores": (T, top),
        "shown": (P,),
        "shown_boxes": (P, top, 4),
        "shown_scores": (P, top),
        "wrong_recalls": (len(recording.COUNTS), len(recording.IOUS)),
    }
    whole = {name for name, array in kept.items() if array.dtype == np.int32}
    assert whole == {"validated", "moments", "shown"}
    assert all(kept[name].dtype == np.float32 for name in set(kept) - whole)
    assert tuple(kept["moments"]) == recording.MOMENTS
    assert kept["validated"].tolist() == list(range(0, 1801, recording.VALIDATE_EVERY))
    assert all(name in recording.__doc__ for name in kept)


def test_its_numbers_are_of_a_training_that_went_well(recording, kept):
    assert all(np.isfinite(array).all() for array in kept.values())
    loss, objectness, box, lr = kept["losses"].T
    np.testing.assert_allclose(loss, objectness + box, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(lr[[0, 1349, 1350, -1]], [0.03, 0.03, 0.003, 0.003])
    assert loss[-100:].mean() < loss[:100].mean() / 4
    at_half = kept["recalls"][:, recording.COUNTS.index(100), 0]
    assert at_half[0] < 0.5
    assert at_half[-1] >= 0.95
    wrong = kept["wrong_recalls"][recording.COUNTS.index(100), 0]
    assert at_half[0] < wrong < at_half[kept["validated"] == recording.WRONG_STEPS]
    assert (np.diff(kept["scores"], axis=1) <= 0).all()


@pytest.mark.slow
def test_its_first_moments_are_those_of_a_fresh_training(recording, kept):
    lines = []
    fresh = recording.record(20, say=lines.append)
    assert lines == ["step    0: recall 0.357 (100 proposals, IoU 0.5)"]
    # Other machines add in another order, and steps make such differences larger.
    close = {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(fresh["losses"], kept["losses"][:20], **close)
    np.testing.assert_allclose(fresh["validations"], kept["validations"][:1], **close)
    np.testing.assert_allclose(fresh["objectness"], kept["objectness"][:3], **close)
    np.testing.assert_allclose(fresh["scores"], kept["scores"][:3], **close)
    changed = recording.record(1, changes=recording.WRONG, say=lines.append)
    assert abs(changed["losses"][0, 0] - fresh["losses"][0, 0]) > 0.01
    # Two proposals with scores that are nearly equal may change places: the best one does not.
    np.testing.assert_allclose(fresh["boxes"][:1, 0], kept["boxes"][:1, 0], atol=0.5)
