"""Pictures of trainings on generated shapes: what one looks like, and what its network finds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from matplotlib.figure import Figure

import minirpn
from docs.figures.png import WIDTH, save_png
from minirpn import data, viz

_STEPS = 600
_PICTURES = (2, 9, 7, 14)  # of the test split: with a missed object, or with objects of all sizes
_PROPOSALS = 10


def draw_training(folder: Path, quick: bool) -> None:
    """Draw the losses and the recall of a short training, as its report shows them."""
    few = {"steps": 4, "synthetic": {"images": 10}, "validation_images": 2}
    settings = few if quick else {"steps": _STEPS, "validate_every": _STEPS // 6}
    with tempfile.TemporaryDirectory() as scratch:
        run = minirpn.train(out=Path(scratch) / "run", pictures=False, progress=False, **settings)
        records = run.metrics
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    viz.plot_training(records, upper)
    viz.plot_validation_recall(records, lower)
    lower.legend(fontsize="small", loc="lower right")
    save_png(figure, folder / "images/training.png")


def draw_results(folder: Path, quick: bool) -> None:
    """Draw the recall of the model ``shapes`` on pictures it has not seen, and some of these."""
    model = minirpn.load("shapes")
    figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
    curves, strip = figure.subfigures(2, 1, height_ratios=[3.2, 4.2])
    with tempfile.TemporaryDirectory() as scratch:
        # With the pictures of `minirpn train`, whose test split this is.
        images = 100 if quick else 600
        root = data.generate(Path(scratch) / "shapes", data.SyntheticConfig(images=images))
        measured = model.evaluate(root, split="test")
        viz.plot_recall(measured.recall, curves.subplots())
        pictures = data.VOCDataset(root, split="test")
        for ax, index in zip(strip.subplots(2, 2).flat, _PICTURES, strict=True):
            sample = pictures[index]
            found = model.propose(sample.image).top(_PROPOSALS)
            objects = sample.annotation.gt_boxes
            viz.draw_boxes(found.boxes, ax, image=sample.image, colors="yellow")
            viz.draw_boxes(objects, ax, colors="black", linestyle=(0, (2, 2)), linewidth=2)
            ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    strip.suptitle(f"objects (dashed) and the {_PROPOSALS} best proposals", fontsize="medium")
    save_png(figure, folder / "images/results.png")
