"""Average precision equals what five other implementations recorded, and a published mean."""

import numpy as np
import pytest

from minirpn.detector import Detections
from minirpn.evaluation import average_precision, envelope

CLASSES = ("a", "b", "c", "d")  # all objects of the last one are difficult
METHODS = {"voc07": "07", "area": "12"}
# Corners are inclusive in the files; one pixel more at the far end makes them half-open.
ONE_MORE = np.array([0.0, 0.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def images(oracle):
    """Detections, boxes, classes and difficult objects, a list of each with an item an image."""
    recorded = oracle("inputs")

    def of_image(index, kind, *names):
        mine = recorded[f"voc_{kind}_img"] == index
        return [recorded[f"voc_{kind}_{name}"][mine] for name in names]

    rows = []
    for index in range(int(recorded["voc_n_img"])):
        found, scores, labels = of_image(index, "det", "box", "score", "cls")
        objects, object_classes, difficult = of_image(index, "gt", "box", "cls", "diff")
        detections = Detections(found + ONE_MORE, scores, labels)
        rows.append((detections, objects + ONE_MORE, object_classes, difficult))
    return [list(part) for part in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def result(images):
    *arguments, difficult = images
    return average_precision(*arguments, classes=CLASSES, difficult=difficult)


@pytest.fixture(scope="module")
def all_count(images):
    """The result where difficult objects are objects as others are."""
    return average_precision(*images[:3], classes=CLASSES)


@pytest.mark.parametrize("label", range(3))
def test_py_faster_rcnn(result, oracle, label):
    peer, curve = oracle("pyfrcnn"), result.curves[label]
    recall, precision = peer[f"voc_rec_c{label}"], peer[f"voc_prec_c{label}"]
    # It has a point for each detection, for those on difficult objects the one before once more.
    assert len(curve.scores) + result.ignored[label] == len(recall)
    ours = np.stack([curve.recall, curve.precision])[:, curve.hits > 0]
    theirs = np.stack([recall, precision])[:, recall > 0]
    np.testing.assert_allclose(np.unique(ours, axis=1), np.unique(theirs, axis=1), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["pyfrcnn", "detectron2", "chainercv", "mmdet"])
def test_peers(result, oracle, name, method):
    peer, key = oracle(name), f"voc_ap{METHODS[method]}"
    expected = peer[key] if key in peer else [peer[f"{key}_c{label}"] for label in range(4)]
    single = {"rtol": 1e-6} if name == "mmdet" else {"rtol": 1e-12}  # it works in float32
    # For the class without objects ChainerCV says nan, mmdetection 0, the others nan or 0.
    np.testing.assert_allclose(result.ap_by(method)[:3], expected[:3], **single)
    assert np.isnan(result.ap_by(method)[3])


@pytest.mark.parametrize("method", METHODS)
def test_chainercv_leaves_classes_without_objects_out_of_the_mean(
    result, all_count, oracle, method
):
    peer, year = oracle("chainercv"), METHODS[method]
    assert result.mean_by(method) == pytest.approx(float(peer[f"voc_map{year}"]), rel=1e-12)
    np.testing.assert_allclose(all_count.ap_by(method), peer[f"voc_ap{year}_nodiff"], rtol=1e-12)


def test_coco(all_count, oracle):
    """COCO averages the envelope at 101 points of recall; the curve is the same one.

    (It also gives a detection the best object still free, which changes nothing here.)
    """
    points = np.linspace(0, 1, 101)
    found = [
        np.append(envelope(curve.precision), 0)[np.searchsorted(curve.recall, points)].mean()
        for curve in all_count.curves
    ]
    np.testing.assert_allclose(found, oracle("ioucoco")["coco_ap50_per_class_crowd0"], rtol=1e-12)


def read_rows(path):
    """Return the classes of a text file of ``class number number ...`` and its numbers by row."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return [name for name, *_ in rows], np.array([numbers for _, *numbers in rows], dtype=float)


def test_detections_in_photographs(shared):
    """The mean is published as 31.05 %, with area and an IoU of 0.5 reached or exceeded."""
    folder = shared / "eval" / "cartucho"
    names = sorted(path.name for path in (folder / "ground-truth").iterdir())
    objects = [read_rows(folder / "ground-truth" / name) for name in names]
    detected = [read_rows(folder / "detection-results" / name) for name in names]
    classes = sorted({word for words, _ in objects + detected for word in words})

    def labels(words):
        return np.array([classes.index(word) for word in words], dtype=np.int64)

    detections = [
        Detections(rows[:, 1:] + ONE_MORE, rows[:, 0], labels(words))
        for words, rows in ((words, rows.reshape(-1, 5)) for words, rows in detected)
    ]
    result = average_precision(
        detections,
        [rows.reshape(-1, 4) + ONE_MORE for _, rows in objects],
        [labels(words) for words, _ in objects],
        classes=classes,
        method="area",
    )
    assert sum(curve.positives for curve in result.curves) == 686
    assert sum(len(found.scores) for found in detections) == 494
    assert len(result.without_objects) == 8
    assert round(100 * result.mean_ap, 2) == 31.05
