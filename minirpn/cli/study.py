"""``minirpn study``: ask a question of the paper again, with trainings of minutes."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minirpn.cli.settings import (
    ANCHORS,
    add_distributed,
    add_recipe,
    add_settings,
    given_settings,
)
from minirpn.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from minirpn.studies import Findings, Study, StudyResult
    from minirpn.training.distributed import Ranks

NAME = "study"
SUMMARY = "repeat one of the paper's studies, small"
DESCRIPTION = """\
Repeat one of the paper's studies with trainings of minutes: recall (figure 4), lambda (table 9),
anchors (table 8), loss, layers, sizes (table 1), numerics. Each variant is trained with several
seeds, and the recall of its proposals is measured on --val-split. If it is stopped or
killed, the same command continues. Settings are those of `minirpn train`; without --voc, the data
are generated shapes.
"""

RUNS = Path("runs/studies")

_INTERRUPTED = 130
_SETTINGS = frozenset(
    {
        "data.voc",
        "data.year",
        "data.split",
        "data.val_split",
        "data.skip_bad",
        "resize.short_side",
        "resize.max_side",
        "model.backbone",
        "model.weights",
        "model.preprocessing",
        "optimizer.steps",
        "optimizer.lr",
        "run.threads",
    }
)
# With --run only these may be set: where to measure, and how fast.
_ALLOWED_WITH_RUN = ("data.voc", "data.year", "data.val_split", "data.skip_bad", "run.threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the flags of this command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of the study; see --list")
    parser.add_argument("--list", action="store_true", help="list the studies, and do nothing")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train each variant with seeds 0 to N - 1 (default: 3; 1 where nothing is compared); "
        "a later call may ask for more",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="measure on the first N images of --val-split only"
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="RUN",
        dest="trained",
        help="train nothing: measure this run, or RUN@best (for recall and sizes)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the study's folder (default: runs/studies/NAME)"
    )
    add_recipe(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, in TOML")
    add_distributed(parser)
    add_settings(parser, only=_SETTINGS)


def run(args: argparse.Namespace) -> int:
    """Run or list studies, print the table, and return the exit status."""
    from minirpn.studies import STUDIES
    from minirpn.studies.runner import JSON, PICTURE, TABLE
    from minirpn.training.distributed import open_ranks

    if args.list:
        for study in STUDIES.values():
            print(f"{study.name:<9} {study.source}: {study.title}")
        return 0
    ranks = open_ranks(args.distributed)
    study, out, result = ranks.perform(partial(_study, args, ranks))
    if result is None:
        return 0  # the first rank did it alone
    if result.interrupted:
        print("stopped; the same command continues from here", file=sys.stderr)
        return _INTERRUPTED
    print(study.table(result.findings))
    for name in (TABLE, PICTURE) if args.trained else (JSON, TABLE, PICTURE):
        print(f"written: {out / name}")
    return 0


def _study(args: argparse.Namespace, ranks: Ranks) -> tuple[Study, Path, StudyResult | None]:
    """Return the study that is named, its folder, and what it has found; ranks share trainings.

    Without trainings, the first rank does it alone; the others get None.
    """
    from minirpn.studies import STUDIES, StudyResult, run_study
    from minirpn.training.config import load_config

    if args.name is None:
        raise InputError(f"which study? There are {', '.join(STUDIES)}")
    if args.name not in STUDIES:
        near = did_you_mean(args.name.lower(), STUDIES)
        raise InputError(f"no study {args.name!r}; there are {', '.join(STUDIES)}{near}")
    study = STUDIES[args.name]
    out = args.out or RUNS / study.name
    if args.trained is not None:
        if not ranks.is_first:
            return study, out, None
        return study, out, StudyResult(_measure_run(args, study, out), interrupted=False)
    values, names = given_settings(args)
    config = load_config(args.config, values, recipe=args.recipe, origins=names)
    seeds = study.seeds if args.seeds is None else args.seeds
    ranks.use_threads()
    result = run_study(study, config, out, seeds=seeds, limit=args.limit, ranks=ranks)
    return study, out, result


def _measure_run(args: argparse.Namespace, study: Study, out: Path) -> Findings:
    """Measure a run that is trained already, for a study."""
    from minirpn.accel.threads import set_threads
    from minirpn.studies import measure_run
    from minirpn.training.build import load_network
    from minirpn.training.config import override

    values, names = given_settings(args)
    given = {
        "--config": args.config,
        "--recipe": args.recipe,
        "--seeds": args.seeds,
        ANCHORS: args.anchors,
    }
    given |= {names[key]: value for key, value in values.items() if key not in _ALLOWED_WITH_RUN}
    for flag, value in given.items():
        if value is not None:
            raise InputError(f"{flag}: not with --run, a run has its own settings")
    if "data.voc" in values:
        # The run's year belongs to the data set that it was trained on.
        values = {"data.year": None} | values
    _, trained = load_network(args.trained)
    config = override(trained, values, origins=names)
    if config.run.threads is not None:
        set_threads(config.run.threads)
    return measure_run(study, args.trained, out, config=config, limit=args.limit)
