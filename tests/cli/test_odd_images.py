"""Images of every kind are ordinary: trained on, measured, proposed for."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minirpn.cli.main import main
from minirpn.data import VOCObject, read_image, write_annotation

CAT = (VOCObject("cat", (5, 5, 60, 60)),)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def deep(largest: float, dtype: type[np.generic] = np.uint16) -> Image.Image:
    return Image.fromarray(np.linspace(0, largest, 80 * 96).astype(dtype).reshape(80, 96))


# Name -> the file's ending, how the picture is made, what is on it.
ODD: dict[str, tuple[str, Callable[[], Image.Image], tuple[VOCObject, ...]]] = {
    "ordinary": ("png", lambda: noise(96, 80), CAT),
    "one-pixel-wide": ("png", lambda: noise(1, 90), ()),
    "one-pixel-high": ("png", lambda: noise(90, 1), ()),
    "one-pixel": ("png", lambda: noise(1, 1), ()),
    "five-thousand-wide": ("jpg", lambda: noise(5000, 40), (VOCObject("cat", (9, 3, 90, 40)),)),
    "gray": ("jpg", lambda: noise(96, 80).convert("L"), CAT),
    "cmyk": ("jpg", lambda: noise(96, 80).convert("CMYK"), CAT),
    "palette": ("png", lambda: noise(96, 80).quantize(16), CAT),
    "sixteen-bit": ("png", lambda: deep(65535), CAT),
    "twelve-bit": ("tif", lambda: deep(4095), CAT),
    "float": ("tif", lambda: deep(1, np.float32), CAT),
    "alpha": ("png", lambda: noise(96, 80).convert("RGBA"), CAT),
    "without-objects": ("png", lambda: noise(96, 80), ()),
    "tiny-object": ("png", lambda: noise(96, 80), (VOCObject("cat", (7, 7, 8, 8)),)),
    # Anchors of 16 pixels and more do not fit into its height at the training scale.
    "smaller-than-every-anchor": ("png", lambda: noise(96, 9), (VOCObject("cat", (1, 1, 90, 9)),)),
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of odd images, each in the training and in the validation split."""
    root = tmp_path_factory.mktemp("odd")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name, (ending, picture, objects) in ODD.items():
        image = picture()
        image.save(root / "JPEGImages" / f"{name}.{ending}")
        size, file_name = (image.height, image.width), f"{name}.{ending}"
        write_annotation(root / "Annotations" / f"{name}.xml", file_name, size, objects)
    for split in ("trainval", "val"):
        (root / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(ODD) + "\n")
    return root


def records(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# Backbone, what is shared, and in how many epochs each phase sees every image.
RUNS = {
    "tiny": ("tiny", "rpn-only", 1),
    "squeezenet": ("squeezenet", "rpn-only", 1),
    "approximate-joint": ("tiny", "approximate-joint", 1),
    "joint": ("tiny", "joint", 1),
    "4-step": ("tiny", "4-step", 6),
}


# Where time is short, only the smallest network is trained.
SLOW = "squeezenet", "approximate-joint", "joint", "4-step"


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in RUNS],
)
def run(
    request: pytest.FixtureRequest,
    odd: Path,
    tmp_path_factory: pytest.TempPathFactory,
    small_config: Path,
    without_figures: Callable[[], AbstractContextManager[None]],
) -> Path:
    """An epoch on the odd images, for each phase."""
    backbone, sharing, epochs = RUNS[request.param]
    run = tmp_path_factory.mktemp("runs") / "odd"
    words = ["train", "--config", small_config, "--voc", odd, "--out", run]
    words += ["--split", "trainval", "--val-split", "val"]
    # Without flips and with one epoch, every image is seen once.
    words += ["--steps", epochs * len(ODD), "--no-flip", "--lr", 1e-4]
    words += ["--backbone", backbone, "--sharing", sharing]
    with without_figures():
        assert main([str(word) for word in words]) == 0
    return run


def test_an_epoch_sees_every_image_and_stays_finite(run: Path):
    steps = [record for record in records(run) if record["kind"] == "train"]
    for phase in {record["phase"] for record in steps}:
        assert {record["image"] for record in steps if record["phase"] == phase} == set(ODD)
    # What is not finite is written as null.
    assert all(value is not None for record in steps for value in record.values())
    positives = {r["image"]: r["positives"] for r in steps if "positives" in r}
    assert positives["ordinary"] > 0
    assert positives["tiny-object"] > 0  # no anchor overlaps it much; the best ones are positive
    for name in ("without-objects", "one-pixel", "one-pixel-wide", "smaller-than-every-anchor"):
        assert positives[name] == 0, name
    validations = [record for record in records(run) if record["kind"] == "validate"]
    assert validations
    for validation in validations:
        assert validation["objectness_loss"] is not None
        assert validation["images"] == len(ODD)


def test_a_detector_learns_from_every_image(run: Path):
    """Images without objects are background, and a step like any other."""
    steps = [record for record in records(run) if "objects" in record]
    assert bool(steps) == (run / "precision.json").exists()
    regions = {record["image"]: (record["objects"], record["background"]) for record in steps}
    for image, (objects, background) in regions.items():
        assert (objects > 0) == bool(ODD[image][2]), image
        assert objects + background <= 128


def test_what_was_found_is_said_in_one_line(run: Path):
    text = (run / "log.txt").read_text()
    said = "4 warnings (4 no objects); 7 repaired (7 image not RGB); `minirpn check` lists them"
    for split in ("trainval", "val"):
        assert f"split {split}: {said}\n" in text


def test_every_way_to_hold_gray_shows_the_same(odd: Path):
    """A ramp in 16 bits, in 12 bits of 16, and as floats up to 1."""
    ramps = [
        read_image(odd / "JPEGImages" / name).astype(int)
        for name in ("sixteen-bit.png", "twelve-bit.tif", "float.tif")
    ]
    assert (ramps[0].min(), ramps[0].max()) == (0, 255)
    for ramp in ramps[1:]:
        np.testing.assert_allclose(ramp, ramps[0], atol=1)


@pytest.mark.slow
def test_proposals_lie_on_every_image(
    run: Path,
    odd: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    without_figures: Callable[[], AbstractContextManager[None]],
):
    paths = sorted((odd / "JPEGImages").iterdir())
    words = ["propose", run, *paths, "--top", 5, "--out", tmp_path]
    is_drawn = request.node.callspec.params["run"] == "tiny"  # once: all are drawn alike
    with nullcontext() if is_drawn else without_figures():
        assert main([str(word) for word in words]) == 0
    for path in paths:
        content = json.loads((tmp_path / f"{path.stem}.json").read_text())
        with Image.open(path) as image:
            assert content["image_size"] == {"height": image.height, "width": image.width}
            limits = [image.width, image.height] * 2
        boxes = np.array(content["boxes"]).reshape(-1, 4)
        # Half a pixel: the sides of the resized image are rounded, the boxes are not.
        slack = 0.51 * max(limits) / 80 + 1e-3
        assert np.all((boxes >= 0) & (boxes <= np.array(limits) + slack)), path.name
        assert (tmp_path / f"{path.stem}.png").stat().st_size > 0
