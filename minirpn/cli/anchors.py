"""``minirpn anchors``: measure how well anchors fit a data set, and suggest better ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minirpn.cli.settings import add_recipe, add_settings, given_settings
from minirpn.cli.source import SOURCE_KEYS

if TYPE_CHECKING:
    from minirpn.data.samples import Annotation
    from minirpn.evaluation import AnchorFit, Scene
    from minirpn.training.config import TrainConfig

NAME = "anchors"
SUMMARY = "measure how anchors fit a data set, suggest better ones"
DESCRIPTION = """\
Measure how well the anchors fit the objects of a data set at the training scale, and suggest the
same number of scales and ratios that fit better (k-means on 1 - IoU). Only annotations are read.
The scale, the anchors and their grid are those of `minirpn train` with the same flags.
"""

_SETTINGS = frozenset(
    {
        "data.voc",
        *SOURCE_KEYS,
        "data.split",
        "data.use_difficult",
        "data.zoom",
        "resize.short_side",
        "resize.max_side",
        "model.backbone",
        "model.anchor_centre",
        "run.seed",
    }
)

_GAINS = (0.5, 0.6, 0.7)  # the IoUs whose gains are named, as in the table
_LEAST_GAIN = 1.0  # in points: less is no reason to change anchors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_recipe(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, in TOML")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write anchors.json and two pictures into DIR"
    )
    add_settings(parser, only=_SETTINGS)


def run(args: argparse.Namespace) -> int:
    """Measure, print, perhaps save, and return the exit status."""
    import numpy as np

    from minirpn.backbones import Backbone
    from minirpn.data.voc import read_ground_truth
    from minirpn.errors import InputError
    from minirpn.evaluation import Grid, anchor_fit, suggest_anchors
    from minirpn.evaluation.anchor_fit import fit_table
    from minirpn.training.build import build_network
    from minirpn.training.config import load_config

    values, names = given_settings(args)
    config = load_config(args.config, values, recipe=args.recipe, origins=names)
    data = config.data
    if data.source is None:
        raise InputError("--voc: needed, here or as data.voc in --config")
    annotations, findings = read_ground_truth(data.source, data.split)
    scenes = [_scene(annotation, config) for annotation in annotations]
    boxes = np.concatenate([np.zeros((0, 4)), *(scene.gt_boxes for scene in scenes)])
    print(_header(config, len(scenes), len(boxes), findings))

    # The anchors are those of the backbone's cells.
    network = build_network(config, rng=np.random.default_rng(0))
    assert isinstance(network.backbone, Backbone)  # build_network makes no other
    grid = Grid(network.stride, network.backbone.feature_size, network.anchor_offset)
    sides = boxes[:, 2:] - boxes[:, :2]
    suggestion = suggest_anchors(sides, config.anchors, rng=np.random.default_rng(config.run.seed))
    fits = {"now": anchor_fit(scenes, config.anchors, grid=grid, labels=config.labels)}
    if suggestion != config.anchors:
        fits["suggested"] = anchor_fit(scenes, suggestion, grid=grid, labels=config.labels)
    print(fit_table(fits))
    print(_advice(fits))
    if args.out is not None:
        _save(args.out, fits, sides, config, grid.stride)
    return 0


def _scene(annotation: Annotation, config: TrainConfig) -> Scene:
    """Return the objects that are trained on, at the training scale."""
    import numpy as np

    from minirpn.data.transforms import check_resized, resize_scale, resized_size
    from minirpn.evaluation import Scene

    zoom = config.data.zoom
    scale = resize_scale(annotation.image_size, config.resize) * zoom
    check_resized(annotation, scale, config.resize, zoom=zoom)
    trained = annotation.gt_boxes[config.data.learnt(annotation.difficult)]
    boxes = trained.astype(np.float64) * scale
    ignored = annotation.ignored.astype(np.float64) * scale
    return Scene(boxes, resized_size(annotation.image_size, scale), ignored)


def _header(config: TrainConfig, images: int, objects: int, findings: Any) -> str:
    """Return the lines above the table: data set, scale, and errors in the data."""
    from minirpn.data.findings import summary

    resize = config.resize
    lines = [
        f"{config.data.voc}, split {config.data.split}: images {images:,}, objects {objects:,}"
        f"{'' if config.data.use_difficult else ', not counting difficult ones'}",
        f"short side {resize.short_side}, long side at most {resize.max_side}"
        f"{'' if config.data.zoom == 1 else f', times {config.data.zoom:g} (zoom)'}",
    ]
    if findings:
        lines.append(f"{summary(findings)}; `minirpn check` lists them")
    return "\n".join([*lines, ""])


def _advice(fits: dict[str, AnchorFit]) -> str:
    """Return whether the suggestion is better, by how much, and how to use it.

    The mean share of objects over IoU 0.5 to 0.95 decides, as it is averaged in average recall,
    with the anchors that training uses.
    """
    now, suggested = fits["now"], fits.get("suggested")
    if not len(now.best_iou):
        return "\nThere are no objects for anchors to fit."
    if suggested is None:
        return "\nNo other scales and ratios were found that fit better."
    mean = _points(suggested.mean_share(inside=True) - now.mean_share(inside=True))
    gains = {
        iou: _points(suggested.share(iou, inside=True) - now.share(iou, inside=True))
        for iou in _GAINS
    }
    if abs(mean) < _LEAST_GAIN:
        verdict, then = (
            "about as many",
            f"That is less than {_LEAST_GAIN:g} point: keep the anchors.",
        )
    elif mean < 0:
        verdict, then = "fewer", "Keep the anchors."
    else:
        anchors = suggested.anchors
        scales, ratios = (",".join(f"{v:g}" for v in vs) for vs in (anchors.scales, anchors.ratios))
        command = f"minirpn train --anchors scales={scales} ratios={ratios} ..."
        verdict, then = "more", f"To use it:\n  {command}"
    each = ", ".join(f"{gain:+.1f} at {iou:g}" for iou, gain in gains.items())
    positives, without = (
        f"{before} -> {after}" if before != after else f"{before} as now"
        for before, after in zip(_positives(now), _positives(suggested), strict=True)
    )
    return (
        f"\nWith the anchors used in training, the suggestion covers {verdict} objects:"
        f"\n{mean:+.1f} points on average over IoU 0.5 to 0.95 ({each})."
        f"\nPositives an image by IoU: {positives}; images without a positive: {without}."
        f"\n{then}"
    )


def _points(gain: float) -> float:
    """Return a difference of shares in points, as it is shown: with one digit, and no -0.0."""
    return round(100 * gain, 1) + 0.0


def _positives(fit: AnchorFit) -> tuple[str, str]:
    """Return the mean number of positives an image by IoU, and the number of images without any."""
    return f"{fit.positives_by_iou.mean():,.1f}", f"{int((fit.positives == 0).sum()):,}"


def _save(
    folder: Path, fits: dict[str, AnchorFit], sides: Any, config: TrainConfig, stride: int
) -> None:
    """Write the numbers and the pictures."""
    from minirpn import viz
    from minirpn.files import one_line_errors, write_json

    with one_line_errors(folder, "make the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    content = {
        "data": config.data.voc,
        "split": config.data.split,
        "short_side": config.resize.short_side,
        "max_side": config.resize.max_side,
        "stride": stride,
        **{name: fit.to_dict() for name, fit in fits.items()},
    }
    write_json(folder / "anchors.json", content)
    marks = (config.labels.negative_iou, config.labels.positive_iou)
    viz.save(viz.plot_best_iou(fits, marks=marks), folder / "best_iou.png")
    anchors = {name: fit.anchors for name, fit in fits.items()}
    viz.save(viz.plot_box_shapes(sides, anchors), folder / "box_shapes.png")
    print(f"\nwritten: {folder}")
