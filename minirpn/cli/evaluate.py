"""``minirpn eval``: measure the proposals of a run, and the detections of its detector."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.cli.model import TEST, add_run, default_split, open_data, way_on
from minirpn.cli.output import check_apart, make_folders, write_each
from minirpn.cli.settings import add_device, add_distributed
from minirpn.cli.source import add_source, names_data, source_values

if TYPE_CHECKING:
    from minirpn.data.samples import Annotation
    from minirpn.data.voc import VOCDataset
    from minirpn.detector import Detections
    from minirpn.training.config import TrainConfig
    from minirpn.training.distributed import Ranks
    from minirpn.training.evaluate import SplitResult

NAME = "eval"
SUMMARY = "measure a run's proposals and detections on a data set"
DESCRIPTION = """\
Measure the share of the objects of a split that the proposals find: for several numbers of
proposals (up to 2,000, as in figure 4 of the paper), by IoU and by size of the object. With a
detector, also measure the average precision of its detections for each class, by both of VOC's
rules. Objects marked difficult are left out. Without --voc, the data set is the run's; a model that
comes with minirpn has none, and needs --voc.
"""

_RECALL, _PRECISION = "recall.png", "precision_recall.png"  # in --out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    add_run(parser)
    add_source(parser)
    parser.add_argument(
        "--split",
        metavar="S",
        help="split to measure on (default: test, or else the one that the run validated on)",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out what is wrong in the data"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="measure up to N proposals per image (default: 2000); "
        "a detector still gets as many as the run's settings say",
    )
    parser.add_argument(
        "--matching",
        choices=("one-to-one", "any"),
        default="one-to-one",
        help="'any' lets one proposal find several objects (default: one-to-one)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    parser.add_argument("--out", type=Path, metavar="DIR", help="draw the curves into DIR (PNG)")
    parser.add_argument(
        "--voc-results",
        type=Path,
        metavar="DIR",
        help="write the detections in the format of VOC's tools; "
        "without a detector the proposals, as one class, 'object'",
    )
    parser.add_argument(
        "--coco",
        type=Path,
        metavar="FILE",
        help="write them in the format of COCO's tools, and the ground truth beside them",
    )
    add_device(parser)
    add_distributed(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the tables, and return the exit status."""
    from minirpn.training.distributed import open_ranks

    ranks = open_ranks(args.distributed)
    measured = ranks.perform(partial(_measure, args, ranks))
    if ranks.is_first:
        _report(args, *measured)
    return 0


def _measure(
    args: argparse.Namespace, ranks: Ranks
) -> tuple[TrainConfig, str, VOCDataset, SplitResult]:
    """Return settings, split, data set, and the result on it; the ranks share the images."""
    from minirpn.evaluation.result_files import check_voc_ids
    from minirpn.training.build import load_model
    from minirpn.training.evaluate import evaluate_split
    from minirpn.training.run_data import check_measurable
    from minirpn.training.stored import read_stored

    stored = read_stored(args.source, best=args.best)
    check_apart(_files(args))
    ranks.use_threads()
    model, trained = load_model(stored, ranks.open_device(args.device))
    config, counts = _configured(trained, args), _counts(args.top)
    split = args.split or default_split(config)
    with way_on(config):
        dataset = open_data(stored, config, split, named=names_data(args))
    where = config.data.voc or "generated shapes"
    check_measurable(dataset, f"{where}: split {split!r}", limit=args.limit)
    if args.voc_results is not None:
        check_voc_ids(dataset.image_ids[: args.limit], "--voc-results")
    if ranks.is_first:
        make_folders([args.out, args.voc_results], [args.json, args.coco])
    with way_on(config):
        result = evaluate_split(
            model,
            config,
            dataset,
            counts=counts,
            matching=args.matching,
            limit=args.limit,
            progress=True,
            ranks=ranks,
        )
    return config, split, dataset, result


def _report(
    args: argparse.Namespace,
    config: TrainConfig,
    split: str,
    dataset: VOCDataset,
    result: SplitResult,
) -> None:
    """Print the tables, and write the files that are asked for."""
    for reason in dataset.skipped:
        print(f"left out: {reason}")
    images = len(result.proposals)
    if args.split is None and split != TEST:
        print(f"no split {TEST!r} there: measured on {split!r}, the run's validation split")
    print(f"{config.data.voc or 'generated shapes'}, split {split}, {images} images")
    mean = sum(len(item.boxes) for item in result.proposals) / images
    print(f"at most {result.recall.counts[-1]} proposals an image, {mean:.0f} on average")
    print(result.recall.table())
    if result.precision is not None:
        print(f"\n{result.precision.table()}")
    write_each(_outputs(args, split, result, dataset.classes))


def _configured(config: TrainConfig, args: argparse.Namespace) -> TrainConfig:
    """Return the settings of the run, with the data set of the flags."""
    from minirpn.errors import InputError
    from minirpn.training.config import override

    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit: expected at least 1, got {args.limit}")
    values, names = source_values(args)
    if args.skip_bad or "data.voc" in values:  # a run's own data are read as in its training
        values["data.skip_bad"] = args.skip_bad
    return override(config, values, origins=names)


def _counts(top: int | None) -> tuple[int, ...]:
    """Return the numbers of proposals whose recall is measured, ascending."""
    from minirpn.errors import InputError
    from minirpn.evaluation import COUNTS

    if top is None:
        return COUNTS
    if top < 1:
        raise InputError(f"--top: expected at least 1, got {top}")
    return (*(count for count in COUNTS if count < top), top)


def _files(args: argparse.Namespace) -> list[Path]:
    """Return the files that the flags ask for, but for those of VOC's tools."""
    files = [file for file in (args.json, args.coco) if file is not None]
    if args.coco is not None:
        files.append(_truth_beside(args.coco))
    if args.out is not None:
        files += [args.out / _RECALL, args.out / _PRECISION]
    return files


def _truth_beside(path: Path) -> Path:
    """Return where the ground truth for a file in COCO's format goes."""
    return path.with_name(f"{path.stem}_ground_truth.json")


def _outputs(
    args: argparse.Namespace, split: str, result: SplitResult, classes: tuple[str, ...]
) -> Iterator[Callable[[], list[Path]]]:
    """Yield a function for each output that the flags ask for; it writes, and returns the paths."""
    if args.json is not None:
        yield lambda: _write_numbers(args.json, split, result)
    if args.out is not None:
        yield lambda: _draw(args.out, result)
    annotations, detections, classes = _for_files(result, classes)
    if args.voc_results is not None:
        yield lambda: _write_voc(args.voc_results, split, annotations, detections, classes)
    if args.coco is not None:
        yield lambda: _write_coco(args.coco, annotations, detections, classes)


def _write_numbers(path: Path, split: str, result: SplitResult) -> list[Path]:
    """Write recall and precision."""
    from minirpn.files import write_json

    numbers = result.recall.to_dict() | {"split": split, "images": len(result.proposals)}
    if result.precision is not None:
        numbers["precision"] = result.precision.to_dict()
    write_json(path, numbers)
    return [path]


def _write_voc(
    folder: Path,
    split: str,
    annotations: list[Annotation],
    detections: list[Detections],
    classes: tuple[str, ...],
) -> list[Path]:
    """Write what VOC's tools read."""
    from minirpn.evaluation import write_voc_results

    image_ids = [annotation.image_id for annotation in annotations]
    write_voc_results(folder, detections, image_ids, classes, split=split)
    return [folder]


def _write_coco(
    path: Path,
    annotations: list[Annotation],
    detections: list[Detections],
    classes: tuple[str, ...],
) -> list[Path]:
    """Write what COCO's tools read."""
    from minirpn.evaluation import write_coco_detections, write_coco_ground_truth

    truth = _truth_beside(path)
    write_coco_detections(path, detections)
    write_coco_ground_truth(truth, annotations, classes)
    return [path, truth]


def _for_files(
    result: SplitResult, classes: tuple[str, ...]
) -> tuple[list[Annotation], list[Detections], tuple[str, ...]]:
    """Return ground truth, detections and classes for the files of other tools.

    Without a detector the proposals stand for detections, and all objects are of one class.
    """
    from dataclasses import replace

    import numpy as np

    from minirpn.detector import Detections
    from minirpn.results import OBJECT

    if result.precision is not None:
        found = [item.detections for item in result.detections]
        return [item.annotation for item in result.detections], found, classes
    found = [
        Detections(item.boxes, item.scores, np.zeros(len(item.scores), np.int64))
        for item in result.proposals
    ]
    truth = [
        replace(item.annotation, gt_classes=np.zeros_like(item.annotation.gt_classes))
        for item in result.proposals
    ]
    return truth, found, (OBJECT,)


def _draw(folder: Path, result: SplitResult) -> list[Path]:
    """Draw the curves, and return the paths of the pictures."""
    from minirpn import viz
    from minirpn.files import one_line_errors

    drawn = {_RECALL: viz.plot_recall(result.recall)}
    if result.precision is not None:
        drawn[_PRECISION] = viz.plot_precision_recall(result.precision)
    with one_line_errors(folder, "write"):
        return [viz.save(axes, folder / name) for name, axes in drawn.items()]
