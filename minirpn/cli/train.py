"""``minirpn train``: learn from a VOC data set, or from generated shapes."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from minirpn.cli.settings import add_distributed, add_recipe, add_settings, given_settings
from minirpn.errors import InputError
from minirpn.text import MOST_BEFORE_COMMANDS, MOST_WITH_COMMANDS
from minirpn.text import message as one_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from minirpn.data.findings import BadDataError, BadFileError
    from minirpn.devices import Device
    from minirpn.training.config import DataConfig, TrainConfig
    from minirpn.training.distributed import Ranks
    from minirpn.training.run_folder import RunFolder
    from minirpn.training.train import TrainResult

NAME = "train"
SUMMARY = "train an RPN on a VOC data set, or on generated shapes"
DESCRIPTION = """\
Train a Region Proposal Network.

Without --voc, shapes are generated and the tiny backbone learns to find them, in about a minute.
Settings come from a recipe, then --config FILE, then the flags and --set; all of them are written
to config.toml in the run's folder. With --voc the recipe is 'small': what trains SqueezeNet best in
half an hour on two cores. Without it, it is 'shapes'. 'paper' is the paper's: VGG-16, 80,000 steps.
"""

_FAILED, _INTERRUPTED = 2, 130
_LISTED = 20  # errors in the data that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    folder = parser.add_argument_group("the run's folder")
    folder.add_argument(
        "--out", type=Path, metavar="DIR", help="exactly this folder (default: a new one in runs/)"
    )
    folder.add_argument(
        "--resume",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="RUN",
        help="continue this run (default: the one of --out, or the newest in runs/); with --steps "
        "N, go on to N steps in all; with --skip-bad, without images that have gone bad; --voc DIR "
        "says where its data set is now",
    )
    add_recipe(folder)
    folder.add_argument("--config", type=Path, metavar="FILE", help="settings, in TOML")
    add_distributed(folder)
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Train, print the results, and return the exit status."""
    from minirpn.training.crew import together
    from minirpn.training.distributed import open_ranks
    from minirpn.training.run_folder import RunFolder

    ranks = open_ranks(args.distributed)
    prepared = ranks.perform(partial(_prepare, args, ranks))
    result = together(ranks, prepared.device, partial(_train, prepared, ranks))
    if result is None:
        return _FAILED  # the first rank tells why
    if result.interrupted:
        print(f"stopped after step {result.steps}; {_way_on(prepared.path)}", file=sys.stderr)
        return _INTERRUPTED
    if ranks.is_first:
        _summarise(result, RunFolder(prepared.path), prepared.config)
    return 0


class _Prepared(NamedTuple):
    """What a command line asks for."""

    config: TrainConfig
    device: Device
    path: Path  # of the run's folder
    is_resumed: bool
    steps: int | None  # the new total of a run that is resumed


def _prepare(args: argparse.Namespace, ranks: Ranks) -> _Prepared:
    """Return what the command line asks for; compute with as many threads from now on."""
    prepared = _started(args, ranks) if args.resume is None else _resumed(args, ranks)
    ranks.use_threads(prepared.config.run.threads)
    return prepared


def _train(prepared: _Prepared, ranks: Ranks) -> TrainResult:
    """Train, in a new folder or in that of the run."""
    from minirpn.data.findings import BadDataError, BadFileError
    from minirpn.training.run_folder import open_run, start_run
    from minirpn.training.train import train

    config, device, path, is_resumed, steps = prepared
    opened: AbstractContextManager[RunFolder] = (
        contextlib.nullcontext(open_run(path))
        if is_resumed
        else start_run(path, config, device, ranks)
    )
    with opened as folder:
        print(f"run folder: {path}")
        print(f"device: {device}", flush=True)
        if not ranks.is_alone:
            print(ranks, flush=True)
        try:
            return train(config, folder, device=device, resume=is_resumed, steps=steps, ranks=ranks)
        except (BadDataError, BadFileError) as error:
            raise _with_ways_on(error, config) from error
        except KeyboardInterrupt:
            print(f"stopped at once; {_way_on(path)}", file=sys.stderr)
            raise


def _way_on(path: Path) -> str:
    return f"continue with: minirpn train --resume {shlex.quote(str(path))}"


def _started(args: argparse.Namespace, ranks: Ranks) -> _Prepared:
    """Return settings, folder and device of a new run."""
    from minirpn.training.build import with_splits_there
    from minirpn.training.config import keys_in, load_config
    from minirpn.training.run_folder import new_run_path
    from minirpn.training.scaling import shared_by

    values, names = given_settings(args)
    config = load_config(args.config, values, recipe=args.recipe, origins=names)
    config, changed = with_splits_there(config, {*values, *keys_in(args.config)})
    for line in changed:
        print(line)
    config, scaled = shared_by(config, ranks.size)
    if scaled is not None:
        print(scaled)
    device = ranks.open_device(config.run.device, tf32=config.run.tf32)
    if config.data.voc is None:
        print(
            f"No --voc: generating {config.synthetic.images} pictures of shapes, and training "
            f"{config.model.backbone} for {config.optimizer.steps} steps to find them."
        )
    return _Prepared(config, device, args.out or new_run_path(config.model.backbone), False, None)


def _resumed(args: argparse.Namespace, ranks: Ranks) -> _Prepared:
    """Return settings, folder and device of a run to continue, and its new total of steps.

    Its other settings must not change.
    """
    from minirpn.training.config import check_resumable, load_config, override
    from minirpn.training.run_folder import newest_run, open_run

    for name in ("config", "recipe"):
        if (given := getattr(args, name)) is not None:
            raise InputError(f"--{name} {given}: not with --resume, a run has its own settings")
    named = args.resume if args.resume != Path() else None
    if named is not None and args.out is not None and named != args.out:
        raise InputError(f"--out {args.out}: contradicts --resume {named}")
    folder = open_run(named or args.out or newest_run())
    values, names = given_settings(args)
    stored, steps = load_config(folder.config), None
    if "optimizer.steps" in values:  # the one other setting that may change: the new total
        total = {"optimizer.steps": values.pop("optimizer.steps")}
        steps = override(stored, total, origins=names).optimizer.steps
    config = check_resumable(stored, values, str(folder.config), origins=names)
    device = ranks.open_device(config.run.device, tf32=config.run.tf32)
    return _Prepared(config, device, folder.path, True, steps)


def _with_ways_on(error: BadDataError | BadFileError, config: TrainConfig) -> InputError:
    """Return an error in the data with what can be done; print the others, if there are more."""
    from minirpn.data.findings import BadDataError, Kind

    findings = error.findings if isinstance(error, BadDataError) else (error.finding,)
    if len(findings) > 1:
        for one in findings[:_LISTED]:
            print(f"error: {one}", file=sys.stderr)
        if len(findings) > _LISTED:
            print(f"error: ... and {len(findings) - _LISTED} more", file=sys.stderr)
    data, told = config.data, one_line(str(findings[0]), MOST_BEFORE_COMMANDS)
    if data.voc is None:  # generated shapes: no user has made a mistake in them
        return InputError(told)
    if len(findings) > 1:
        told += f" (and {len(findings) - 1} more bad files or boxes)"
    told += f"; `{_check_line(data)}` lists all that is wrong"
    # An empty split has nothing to leave out.
    if not data.skip_bad and all(one.kind is not Kind.EMPTY_SPLIT for one in findings):
        told += ", --skip-bad leaves it out"
    if isinstance(error, BadDataError) and error.hint:
        told += f"; {error.hint}"
    return InputError(told, most=MOST_WITH_COMMANDS)


def _check_line(data: DataConfig) -> str:
    """Return the command that checks the data set of the settings."""
    from minirpn.cli.source import flags_of

    return shlex.join(["minirpn", "check", *flags_of(data)])


def _summarise(result: TrainResult, folder: RunFolder, config: TrainConfig) -> None:
    """Print the results of the run, and what to try next."""
    print(f"\n{result.steps} steps in {result.seconds:.0f} s")
    if result.recall is not None:
        print(f"\n{result.recall.table()}")
    if result.precision is not None:
        print(f"\n{result.precision.table()}")
    if config.run.pictures:
        print(f"\nreport:  {folder.report}")
    print("try next:")
    print(f"  minirpn propose {folder.path} IMAGE... --save    proposals on pictures of yours")
    if config.sharing.has_detector:
        print(f"  minirpn detect {folder.path} IMAGE... --save    detections on them")
    if config.data.voc is None:
        print(f"  minirpn eval {folder.path}    recall on shapes it has not seen")
        print("  minirpn train --voc DIR    learn from a data set in VOC layout")
    else:
        print(f"  minirpn eval {folder.path} --split SPLIT    recall on another split")
