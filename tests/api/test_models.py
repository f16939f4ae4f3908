"""`minirpn.load` and `Model`: pictures of every kind go in, results in their pixels come out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minirpn
from minirpn.data import SHAPES, Sample, VOCDataset
from minirpn.detector import DetectionConfig
from minirpn.devices import CPU
from minirpn.errors import InputError
from minirpn.rpn import ProposalConfig
from minirpn.training.build import build_pipeline, load_network
from minirpn.training.evaluate import evaluate_split


def assert_equal(one, other):
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.classes, other.classes)


# --- pictures ------------------------------------------------------------------------------------


def test_boxes_are_in_pixels_of_the_original(shapes, pictures):
    """The picture is enlarged for the network; the rectangle is found where it was."""
    found = shapes.propose(pictures[0])
    assert isinstance(found, minirpn.Proposals)
    assert found.image_size == (60, 80)
    best = minirpn.boxes.iou(found.top(20).boxes, np.float32([[15, 10, 50, 40]]))
    assert best.max() > 0.7
    assert found.boxes.min() >= 0
    assert found.boxes[:, 2].max() <= 80
    assert found.boxes[:, 3].max() <= 60


def test_every_kind_of_picture_gives_the_same(tmp_path, shapes, pictures):
    path = tmp_path / "a.png"
    Image.fromarray(pictures[0]).save(path)
    expected = shapes.propose(pictures[0])
    for same in (path, str(path), Image.open(path), pictures[0][:, ::-1][:, ::-1]):
        assert_equal(shapes.propose(same), expected)
    of_file = shapes.propose(path)
    assert of_file.image_path == path
    assert of_file.image is None
    np.testing.assert_array_equal(of_file.pixels(), pictures[0])
    assert expected.image is pictures[0]
    assert expected.image_path is None


def test_gray_is_three_equal_channels(shapes, pictures):
    gray = pictures[0][:, :, 0]
    expected = shapes.propose(np.stack([gray] * 3, axis=2))
    assert_equal(shapes.propose(gray), expected)
    assert_equal(shapes.propose(Image.fromarray(gray)), expected)
    assert shapes.propose(gray).pixels().shape == (60, 80, 3)


def test_a_list_gives_what_each_picture_gives(tmp_path, shapes, pictures):
    path = tmp_path / "a.png"
    Image.fromarray(pictures[2]).save(path)
    together = shapes.propose([pictures[0], path, pictures[1]])
    assert isinstance(together, list)
    for found, picture in zip(together, [pictures[0], path, pictures[1]], strict=True):
        assert_equal(found, shapes.propose(picture))
    assert [found.image_path for found in together] == [None, path, None]
    assert [found.image_size for found in together] == [(60, 80), (90, 64), (60, 80)]
    assert_equal(shapes.propose(tuple(pictures[:1]))[0], together[0])
    stack = shapes.propose(np.stack(pictures[:2]))
    assert_equal(stack[1], together[2])
    assert shapes.propose([]) == []


def test_inputs_are_not_changed(shapes, pictures):
    image = pictures[0].copy()
    image.setflags(write=False)
    shapes.propose(image)
    np.testing.assert_array_equal(image, pictures[0])


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((4, 4, 3)), "image: expected an array of uint8, 0 to 255, got float64"),
        (np.zeros((4, 4, 4), np.uint8), r"image: expected shape \(H, W, 3\) or \(H, W\), got"),
        (np.zeros(4, np.uint8), r"image: expected shape .* got \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"image: it has no pixels: its shape is \(0, 4, 3\)"),
        (None, "image: expected a path, an array or a Pillow image, got NoneType"),
        (Image.fromarray(np.float32([[1, np.nan]])), "^image: holds numbers that are not finite"),
        ("nowhere.jpg", "nowhere.jpg: image: no such file"),
        ([np.zeros((4, 4), np.uint8), 3], "image 2 of 2: expected a path"),
        (np.zeros((1, 4, 4, 2), np.uint8), "image 1 of 1: expected shape"),
    ],
)
def test_what_is_no_picture_is_named(shapes, image, reason):
    with pytest.raises(InputError, match=reason):
        shapes.propose(image)


def test_files_that_are_no_pictures_are_named(tmp_path, shapes, pictures):
    with pytest.raises(InputError, match="a folder, not a picture: give a list of its files"):
        shapes.propose(tmp_path)
    path = tmp_path / "a.png"
    Image.fromarray(pictures[0]).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.png: image: truncated"):
        shapes.propose([pictures[0], path])
    with (
        Image.open(path) as image,
        pytest.raises(InputError, match="image: truncated, damaged or unreadable"),
    ):
        shapes.propose(image)


# --- settings ------------------------------------------------------------------------------------


def test_settings_by_name_by_section_and_as_a_whole(shapes, pictures):
    three = shapes.propose(pictures[0]).top(3)
    for settings in (
        {"post_nms": 3},
        {"proposals": {"post_nms": 3}},
        {"proposals": ProposalConfig(post_nms=3, min_size=8.0)},
    ):
        assert_equal(shapes.propose(pictures[0], **settings), three)
    assert shapes.config.proposals.post_nms == 300
    smaller = shapes.features(pictures[0], short_side=60, max_side=80)
    assert smaller.shape[1:] == (4, 5)


def test_a_second_look_finds_other_boxes_in_every_picture(shapes, pictures):
    together = shapes.propose(pictures[:2], also_at=(0.7,))
    for picture, found in zip(pictures[:2], together, strict=True):
        assert_equal(shapes.propose(picture, resize={"also_at": (0.7,)}), found)
        assert not np.array_equal(found.boxes, shapes.propose(picture).boxes)
        assert found.boxes.max() <= 80


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"also_at": (0.01,)}, "also_at: expected numbers from 0.1 to 10, got 0.01"),
        ({"post_nsm": 3}, "post_nsm: no such setting; did you mean post_nms?"),
        ({"steps": 3}, "steps: no such setting"),
        ({"post_nms": 1.5}, "post_nms: expected a whole number, got 1.5"),
        ({"iou_threshold": 2.0}, "iou_threshold: expected 0 to 1, got 2.0"),
        ({"proposals": {"iou": 0.5}}, "proposals.iou: no such setting; there are pre_nms, "),
        ({"proposals": {"min_sise": 1}}, "proposals.min_sise: no such setting; did you mean min_"),
        ({"proposals": 3}, "proposals: expected a dict of its settings, got 3"),
        ({"post_nms": 3, "proposals": {"post_nms": 4}}, "proposals.post_nms: given twice"),
        ({"short_side": 900, "max_side": 10}, "short_side and max_side: expected 1 <= short_side"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_given(shapes, pictures, settings, reason):
    with pytest.raises(InputError) as caught:
        shapes.propose(pictures[0], **settings)
    assert str(caught.value).startswith(reason)


# --- a detector ----------------------------------------------------------------------------------


def test_detections_have_the_classes_of_the_model(detector_run, pictures):
    model = detector_run.model
    assert model.names == SHAPES
    assert model.has_detector
    one, other = model.detect(pictures[:2], score_threshold=0.0, max_detections=4)
    assert isinstance(one, minirpn.Detections)
    assert one.names == SHAPES
    assert len(one) == len(other) == 4
    assert {name for _, _, name in one} <= set(SHAPES)
    assert_equal(model.detect(pictures[0], score_threshold=0.0, max_detections=4), one)
    assert one.boxes[:, 2].max() <= 80


def test_only_what_scores_above_a_half_is_a_detection(detector_run, pictures):
    model = detector_run.model
    found = model.detect(pictures[0], score_threshold=0.0)
    middle = float(np.median(found.scores))
    assert_equal(model.detect(pictures[0], score_threshold=middle), found.above(middle))
    assert len(model.detect(pictures[0])) == (found.scores > 0.5).sum()


@pytest.mark.parametrize("call", ["propose", "detect"])
def test_a_detector_is_not_asked_to_look_twice(detector_run, pictures, call):
    with pytest.raises(InputError, match=r"^also_at: a model with a detector looks at an image"):
        getattr(detector_run.model, call)(pictures[0], also_at=(0.5,))


def test_a_name_in_two_sections_needs_its_section(detector_run, pictures):
    with pytest.raises(InputError) as caught:
        detector_run.model.detect(pictures[0], iou_threshold=0.4)
    assert str(caught.value) == (
        "iou_threshold: a setting of proposals and of detections; "
        "say which: proposals={'iou_threshold': 0.4}"
    )
    model = detector_run.model
    everything = model.detect(pictures[0], score_threshold=0.0, detections={"iou_threshold": 1.0})
    few = model.detect(pictures[0], score_threshold=0.0, detections={"iou_threshold": 0.0})
    assert len(few) < len(everything)


def test_the_score_threshold_is_half_unless_a_call_names_another(detector_run, pictures):
    model = detector_run.model
    everything = model.detect(pictures[0], score_threshold=0.0)
    assert_equal(model.detect(pictures[0]), everything.above(0.5))
    inner = model.detect(pictures[0], detections={"score_threshold": 0.0})
    assert_equal(inner, everything)
    whole = model.detect(pictures[0], detections=DetectionConfig(score_threshold=0.0))
    assert_equal(whole, everything)
    with pytest.raises(InputError, match=r"^detections\.score_threshold: given twice"):
        model.detect(pictures[0], score_threshold=0.1, detections={"score_threshold": 0.2})


def test_without_a_detector_one_line_says_how_to_get_one(shapes, pictures):
    assert not shapes.has_detector
    assert shapes.names == ("object",)
    with pytest.raises(InputError) as caught:
        shapes.detect(pictures[0])
    assert str(caught.value) == (
        "shapes: it has no detector; minirpn train --sharing 4-step trains one"
    )


# --- evaluation ----------------------------------------------------------------------------------


class Own:
    """The smallest data set: a length, and samples by position."""

    def __init__(self, dataset):
        self._samples = [dataset[index] for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def test_a_folder_and_an_own_data_set_are_measured_alike(detector_run):
    model, root = detector_run.model, detector_run.path / "shapes"
    dataset = VOCDataset(root, split="val", classes=SHAPES)
    expected = evaluate_split(model.network, model.config, dataset)
    for result in (
        model.evaluate(root, split="val"),
        model.evaluate(dataset),
        model.evaluate(Own(dataset)),
    ):
        np.testing.assert_array_equal(result.recall.recall, expected.recall.recall)
        assert result.precision.mean_ap == expected.precision.mean_ap
        assert result.images == len(dataset)
    assert model.evaluate(root, split="val", limit=1).images == 1
    np.testing.assert_array_equal(expected.recall.recall, detector_run.recall.recall)
    shown = repr(model.evaluate(root, split="val"))
    assert shown.startswith(f"Evaluation of {len(dataset)} images")
    assert "proposals" in shown
    assert "circle" in shown


def test_an_evaluation_takes_settings(run):
    result = run.model.evaluate(run.path / "shapes", split="val", post_nms=7)
    assert result.recall.counts == (7,)
    assert result.precision is None


def test_what_cannot_be_evaluated_on_is_named(detector_run, run):
    root = detector_run.path / "shapes"
    with pytest.raises(InputError, match=r"dataset: its classes are .*, circle, but those of"):
        detector_run.model.evaluate(VOCDataset(root, split="val", classes=SHAPES[::-1]))
    with pytest.raises(InputError, match="dataset: no images to evaluate on"):
        run.model.evaluate(Own([]))
    with pytest.raises(InputError, match="nowhere: data set: no such folder"):
        run.model.evaluate("nowhere")
    dataset = VOCDataset(root, split="val")
    for annotation in map(dataset.annotation, range(len(dataset))):
        annotation.difficult[:] = True
    with pytest.raises(InputError, match=r"^dataset: no object to measure in its \d+ images$"):
        run.model.evaluate(Own(dataset))
    # Of a network without a detector the classes do not matter.
    run.model.evaluate(VOCDataset(root, split="val", classes=SHAPES[::-1]), limit=1)


def test_a_folder_without_objects_is_named(run, tmp_path):
    root = shutil.copytree(run.path / "shapes", tmp_path / "bare")
    for path in (root / "Annotations").iterdir():
        path.write_text(path.read_text().replace("object>", "Thing>"))
    with pytest.raises(InputError, match=r"bare: split 'test': no object to measure in its 1 imag"):
        run.model.evaluate(root)


# --- a model -------------------------------------------------------------------------------------


def test_a_run_a_checkpoint_and_a_shipped_model_load(run, pictures):
    expected = run.model.propose(pictures[0])
    checkpoint = run.path / "checkpoints" / "last.npz"
    for source in (run.path, str(run.path), checkpoint, f"{run.path}@last"):
        assert_equal(minirpn.load(source, device=CPU).propose(pictures[0]), expected)
    best = minirpn.load(run.path, best=True)
    assert_equal(best.propose(pictures[0]), minirpn.load(f"{run.path}@best").propose(pictures[0]))
    with pytest.raises(InputError, match="no such model; did you mean shapes"):
        minirpn.load("shape")
    with pytest.raises(InputError, match="expected auto, cpu, cuda or"):
        minirpn.load("shapes", device="tpu")


def test_features_are_those_of_the_backbone(run, pictures):
    features = run.model.features(pictures[0])
    network, config = load_network(run.path)
    sample = minirpn.data.samples.unannotated(Path("a"), pictures[0])
    image = build_pipeline(config, network).example(sample).image
    expected, _ = network.backbone.forward(image[None, ...])
    np.testing.assert_array_equal(features, expected[0])
    assert isinstance(features, np.ndarray)


def test_repr_of_a_shipped_model(shapes):
    assert repr(shapes).splitlines() == [
        "Model shapes",
        "  backbone    tiny, stride 16",
        "  anchors     9 a cell: sides of 32, 64, 128 pixels, ratios 0.5, 1, 2",
        "  parameters  399,574",
        "  trained on  360 generated pictures of shapes (`minirpn.data.generate`, seed 0)",
        "  recall      0.902 with 50, 0.943 with 100, 0.973 with 300 proposals at IoU 0.5 "
        "(120 generated pictures that it has not seen)",
        "  device      cpu",
    ]


def test_repr_of_a_run_reads_its_recall(detector_run, tmp_path):
    rows = repr(detector_run.model).splitlines()
    assert "  detector    6 classes: circle, cross, ring, square, star, triangle" in rows
    assert "  trained on  generated shapes, split train" in rows
    (recall,) = (row for row in rows if row.startswith("  recall"))
    value = detector_run.recall.at(20)
    images = len(VOCDataset(detector_run.path / "shapes", split="val"))
    end = f"{value:.3f} with 20 proposals at IoU 0.5 (split val, {images} images)"
    assert recall.endswith(end)
    # Those numbers are not about the best checkpoint, nor about one outside its run.
    assert "recall" not in repr(minirpn.load(detector_run.path, best=True))
    shutil.copy(detector_run.path / "checkpoints" / "last.npz", tmp_path / "mine.npz")
    assert "recall" not in repr(minirpn.load(tmp_path / "mine.npz"))


def test_a_number_of_numpy_is_a_number(shapes, pictures):
    assert len(shapes.propose(pictures[0], post_nms=np.int64(5))) == 5
