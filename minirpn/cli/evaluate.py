"""``minirpn eval``: how many objects the proposals of a run find."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minirpn.training.config import TrainConfig

NAME = "eval"
SUMMARY = "measure the recall of a run's proposals on a data set"
DESCRIPTION = """\
Measure which share of the objects of a split the proposals find, by number of proposals (up to
2,000, as in figure 4 of the paper), by IoU and by size of the object. Objects marked difficult are
left out. Without --voc, the data is that of the run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of this command."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a training run")
    parser.add_argument("--voc", metavar="DIR", help="data set in VOC layout")
    parser.add_argument("--year", metavar="Y", help="which year of a VOCdevkit")
    parser.add_argument("--split", default="test", metavar="S", help="default: test")
    parser.add_argument("--skip-bad", action="store_true", help="leave out what is wrong, count it")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="proposals an image, whatever the run's settings say (default: 2000)",
    )
    parser.add_argument(
        "--matching",
        choices=("one-to-one", "any"),
        default="one-to-one",
        help="whether one proposal may find several objects (any)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the table, and return the exit status."""
    from minirpn.files import write_json
    from minirpn.training.build import build_pipeline, load_network, open_dataset
    from minirpn.training.evaluate import recall_of
    from minirpn.training.inference import as_many_as, propose_all
    from minirpn.training.log import Progress
    from minirpn.training.run_folder import open_run

    network, trained = load_network(args.folder)
    config, counts = _configured(trained, args), _counts(args.top)
    dataset = open_dataset(config, open_run(args.folder), args.split)
    images = len(dataset) if args.limit is None else min(args.limit, len(dataset))
    asked = as_many_as(config.proposals, counts[-1])
    proposals = propose_all(
        network, dataset, build_pipeline(config, network), asked, limit=args.limit
    )
    found = []
    with Progress(images, unit="image") as progress:
        for item in proposals:
            found.append(item)
            progress.advance()
    result = recall_of(found, counts=counts, matching=args.matching)
    for reason in dataset.skipped:
        print(f"left out: {reason}")
    print(f"{config.data.voc or 'generated shapes'}, split {args.split}, {len(found)} images")
    mean = sum(len(item.boxes) for item in found) / len(found)
    print(f"at most {counts[-1]} proposals an image, {mean:.0f} on average")
    print(result.table())
    if args.json is not None:
        write_json(args.json, {**result.to_dict(), "split": args.split, "images": len(found)})
    return 0


def _configured(config: TrainConfig, args: argparse.Namespace) -> TrainConfig:
    """Return the run's settings with the data set that the flags ask for."""
    from minirpn.errors import InputError
    from minirpn.training.config import override

    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit: expected at least 1, got {args.limit}")
    values: dict[str, Any] = {"data.skip_bad": args.skip_bad}
    if args.voc is not None:
        # The year of the data set it was trained on says nothing about another one.
        values |= {"data.voc": args.voc, "data.year": None}
    if args.year is not None:
        values["data.year"] = args.year
    return override(config, values, origins={"data.voc": "--voc", "data.year": "--year"})


def _counts(top: int | None) -> tuple[int, ...]:
    """Return the numbers of proposals whose recall is measured, ascending."""
    from minirpn.errors import InputError
    from minirpn.evaluation import COUNTS

    if top is None:
        return COUNTS
    if top < 1:
        raise InputError(f"--top: expected at least 1, got {top}")
    return (*(count for count in COUNTS if count < top), top)
