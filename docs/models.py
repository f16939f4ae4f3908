"""``python -m docs.models NAME``: train a model of minirpn's own, measure it, write its card.

The file and the card in ``minirpn/shipped`` are what this command wrote. The numbers on the card
are those of the file: its parameters were rounded to float16 before they were measured.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from minirpn.cli.main import main as minirpn
from minirpn.data import VOCDataset
from minirpn.errors import InputError
from minirpn.training.build import load_model, open_dataset
from minirpn.training.config import TrainConfig
from minirpn.training.evaluate import SplitResult, evaluate_split
from minirpn.training.run_folder import open_run
from minirpn.training.stored import SHIPPED, StoredModel, read_stored, write_shipped

COUNTS = (50, 100, 300)


class Recipe(NamedTuple):
    """How a model is trained, and what its card says beside the numbers."""

    summary: str
    words: tuple[str, ...]  # of the command line, without data set and weights
    trained_on: str
    measured_on: str
    limits: str
    licence: str


RECIPES = {
    "shapes": Recipe(
        summary="A tiny RPN that finds shapes, such as circles and stars, in generated pictures.",
        words=(),
        trained_on="360 generated pictures of shapes (`minirpn.data.generate`, seed 0)",
        measured_on="120 generated pictures that it has not seen",
        limits="It knows no photographs.",
        licence="MIT, as minirpn: the pictures are generated.",
    ),
    "voc-small": Recipe(
        summary="SqueezeNet 1.1 with an RPN and a light detector for the 20 classes of VOC.",
        words=("--recipe", "small", "--sharing", "approximate-joint", "--steps", "10000"),
        trained_on="4,368 photographs: 942 of VOC 2007 trainval (each holds a car, bus, cat or "
        "train) and 3,426 of VOC 2012 trainval (each holds a cat, dog, cow, horse or sheep)",
        measured_on="483 photographs of VOC 2007 test (each holds a car, bus, cat or train)",
        limits="A small network, trained in less than an hour on two cores of a CPU, on a part of "
        "VOC: its detector knows the classes that this part is rich in, and hardly the others. "
        "Pictures are seen at 300 x 500 pixels at most, so small objects are missed.",
        licence="MIT, as minirpn. It began from the SqueezeNet 1.1 of its authors (BSD), trained "
        "on ImageNet. The photographs are by users of Flickr and are not in the file.",
    ),
}


def merge(folders: list[Path], root: Path) -> Path:
    """Return a new folder in VOC layout that links to the ``trainval`` images of all folders."""
    merged = root / "VOCdevkit" / "VOC2012"
    ids: list[str] = []
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (merged / name).mkdir(parents=True)
    for folder in folders:
        for image_id in (folder / "ImageSets/Main/trainval.txt").read_text().split():
            for file in (f"JPEGImages/{image_id}.jpg", f"Annotations/{image_id}.xml"):
                (merged / file).symlink_to((folder / file).resolve())
            ids.append(image_id)
    (merged / "ImageSets/Main/trainval.txt").write_text("".join(f"{name}\n" for name in ids))
    return merged.parent


def train(name: str, args: argparse.Namespace, scratch: Path) -> Path:
    """Train a model with the command line of minirpn, and return the folder of its run."""
    run = scratch / "run"
    words = ["train", "--out", str(run), *RECIPES[name].words]
    if name != "shapes":
        root = merge([args.voc2007, args.voc2012], scratch)
        words += ["--voc", str(root), "--split", "trainval", "--val-split", "none"]
        words += ["--weights", str(args.weights)]
    if minirpn(words) != 0:
        raise SystemExit(f"{name}: the training failed or was stopped: {run}")
    return run


def without_paths(config: TrainConfig) -> TrainConfig:
    """Return the settings of a run without the paths of the machine that it ran on."""
    data, model = config.data, config.model
    if data.voc is not None:
        data = replace(data, voc="VOCdevkit")
    if model.weights is not None:
        model = replace(model, weights=Path(model.weights).name)
    return replace(config, data=data, model=model)


def measure(name: str, run: Path, args: argparse.Namespace) -> SplitResult:
    """Return how good a shipped model is on the split that is kept for reporting."""
    model, config = load_model(name)
    if name == "shapes":
        dataset = open_dataset(config, open_run(run), "test")
    else:
        dataset = VOCDataset(args.voc2007, split="test", classes=config.data.classes)
    return evaluate_split(model, config, dataset, counts=COUNTS, progress=True)


def about(name: str, result: SplitResult | None, parameters: int) -> dict[str, Any]:
    """Return what the card says, as plain data."""
    recipe = RECIPES[name]
    content: dict[str, Any] = {
        "summary": recipe.summary,
        "trained_on": recipe.trained_on,
        "measured_on": recipe.measured_on,
        "command": command(name),
        "limits": recipe.limits,
        "licence": recipe.licence,
        "parameters": parameters,
    }
    if result is not None:
        content["images"] = len(result.proposals)
        content["recall"] = {str(n): round(result.recall.at(n), 3) for n in COUNTS}
        average = zip(COUNTS, result.recall.average_recall.tolist(), strict=True)
        content["average_recall"] = {str(n): round(value, 3) for n, value in average}
        if result.precision is not None:
            by_class = zip(result.precision.classes, result.precision.ap.tolist(), strict=True)
            content["mean_ap"] = round(result.precision.mean_ap, 3)
            content["ap"] = {label: round(ap, 3) for label, ap in by_class if ap == ap}
            content["ap_method"] = result.precision.method
    return content


def command(name: str) -> str:
    """Return the command that trains the model."""
    words = f"python -m docs.models {name}"
    if name != "shapes":
        words += " --voc2007 VOC2007 --voc2012 VOC2012 --weights squeezenet.npz"
    return words


def card(name: str, content: dict[str, Any]) -> str:
    """Return the card, in Markdown."""
    counts = " | ".join(str(n) for n in COUNTS)
    recall = " | ".join(f"{content['recall'][str(n)]:.3f}" for n in COUNTS)
    average = " | ".join(f"{content['average_recall'][str(n)]:.3f}" for n in COUNTS)
    lines = [
        f"# {name}",
        "",
        content["summary"],
        "",
        f"- **Trained on** {content['trained_on']}.",
        f"- **Recipe:** `minirpn train {' '.join(RECIPES[name].words)}`".rstrip(" `") + "`.",
        f"- **Command** that trains, measures and writes it: `{content['command']}`.",
        f"- **Size:** {content['parameters']:,} parameters, stored as float16.",
        f"- **Limits:** {content['limits']}",
        f"- **Licence:** {content['licence']}",
        "",
        f"Measured on {content['measured_on']}:",
        "",
        f"| proposals | {counts} |",
        "|---|---|---|---|",
        f"| recall at IoU 0.5 | {recall} |",
        f"| average recall, IoU 0.5 to 0.95 | {average} |",
    ]
    if "mean_ap" in content:
        ap = ", ".join(f"{label} {value:.2f}" for label, value in content["ap"].items())
        lines += [
            "",
            f"Detector: mAP {content['mean_ap']:.3f} (IoU 0.5, `{content['ap_method']}`): {ap}.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, or take a run that was trained, and write file and card."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.models", description="Make a model that comes with minirpn."
    )
    parser.add_argument("name", choices=tuple(RECIPES))
    parser.add_argument("--voc2007", type=Path, metavar="DIR", help="VOC2007, for voc-small")
    parser.add_argument("--voc2012", type=Path, metavar="DIR", help="VOC2012, for voc-small")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="ImageNet SqueezeNet 1.1")
    parser.add_argument("--run", type=Path, metavar="RUN", help="do not train, take this run")
    args = parser.parse_args()
    if args.name != "shapes" and args.voc2007 is None:
        parser.error("voc-small is measured on --voc2007")
    if args.name != "shapes" and args.run is None and None in (args.voc2012, args.weights):
        parser.error("voc-small is trained with --voc2012 and --weights too")
    path = SHIPPED / f"{args.name}.npz"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            run = args.run or train(args.name, args, Path(scratch))
            stored = read_stored(run)
            stored = replace(stored, config=without_paths(stored.config))
            write(path, stored, None)
            content = write(path, stored, measure(args.name, run, args))
        except InputError as error:
            raise SystemExit(str(error)) from error
    path.with_suffix(".md").write_text(card(args.name, content))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(card(args.name, content))


def write(path: Path, stored: StoredModel, result: SplitResult | None) -> dict[str, Any]:
    """Write the file with what its card says, and return that."""
    parameters = sum(value.size for value in stored.parameters.values())
    content = about(path.stem, result, parameters)
    write_shipped(path, stored, content)
    return content


if __name__ == "__main__":
    main()
