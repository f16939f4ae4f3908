"""The folder of one training run: what lies where, and the rule that no run overwrites another."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minirpn.devices import Device, open_device
from minirpn.errors import InputError
from minirpn.files import one_line_errors, write_json
from minirpn.training.config import TrainConfig, save_config
from minirpn.training.environment import describe_environment
from minirpn.training.log import append_record, append_text, drop_records_after

RUNS = Path("runs")


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are; `create` and `open_run` make one.

    ========================= ===============================================================
    ``config.toml``           the settings in full
    ``env.json``              versions and machine of the first start
    ``metrics.jsonl``         one JSON object a line
    ``log.txt``               what happened, in words
    ``checkpoints/last.npz``  the state to resume from
    ``checkpoints/best.npz``  the state with the best validation recall
    ``checkpoints/start.npz`` the state before the first step, where a phase goes back to it
    ``proposals/``            those that a phase of the training learns from
    ``plots/``                pictures; in ``samples/`` the same images again and again
    ``tensorboard/``          the records once more, with ``--tensorboard``
    ``failure-STEP.npz``      a step whose numbers were not finite
    ``report.html``           all of it on one page
    ========================= ===============================================================
    """

    path: Path

    @property
    def config(self) -> Path:
        """The settings, a TOML file."""
        return self.path / "config.toml"

    @property
    def environment(self) -> Path:
        """Versions and machine, a JSON file."""
        return self.path / "env.json"

    @property
    def metrics(self) -> Path:
        """The records, JSON lines."""
        return self.path / "metrics.jsonl"

    @property
    def text(self) -> Path:
        """The log in words."""
        return self.path / "log.txt"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last.npz"

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation recall."""
        return self.path / "checkpoints" / "best.npz"

    @property
    def start(self) -> Path:
        """The checkpoint from before the first step."""
        return self.path / "checkpoints" / "start.npz"

    def proposals(self, name: str) -> Path:
        """Return where the proposals are that a phase learns from."""
        return self.path / "proposals" / f"{name}.npz"

    @property
    def plots(self) -> Path:
        """The folder of pictures."""
        return self.path / "plots"

    @property
    def samples(self) -> Path:
        """The folder of pictures of the same images at several moments."""
        return self.plots / "samples"

    @property
    def tensorboard(self) -> Path:
        """The folder of event files."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The page with all of it."""
        return self.path / "report.html"

    def record(self, record: Mapping[str, Any]) -> None:
        """Append a record to ``metrics.jsonl``. Its ``step`` counts the steps done, from 1."""
        append_record(self.metrics, record)

    def drop_records_after(self, step: int) -> None:
        """Forget the records of steps a resumed run takes again, those beyond `step`."""
        drop_records_after(self.metrics, step)

    def log(self, message: str) -> None:
        """Append a line to ``log.txt``."""
        append_text(self.text, message)

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write ``NAME`` (such as ``env.json``) into the folder, whole or not at all."""
        path = self.path / name
        write_json(path, content)
        return path


def create_run(path: Path, config: TrainConfig, device: Device | None = None) -> RunFolder:
    """Make the folder of a new run at exactly `path`, with its settings and surroundings.

    Parameters
    ----------
    path
        Of the folder.
    config
        The run's settings.
    device
        Where it will compute, to be noted down; None for what the settings ask for.

    Raises
    ------
    InputError
        There is something at `path` already, and be it one file; or it cannot be made. Or the
        settings ask for a device that cannot be used.
    """
    folder, device = RunFolder(path), device or open_device(config.run.device, tf32=config.run.tf32)
    with one_line_errors(path, "make the run folder"):
        if path.is_dir() and any(path.iterdir()):
            raise InputError(f"{path}: run folder exists: use --resume or another --out")
        folder.last.parent.mkdir(parents=True)
        folder.plots.mkdir()
    save_config(folder.config, config)
    environment = describe_environment(device)
    folder.write_json(folder.environment.name, environment)
    version = environment["minirpn"]
    folder.log(f"started on {device} with minirpn {version}: {shlex.join(sys.argv)}")
    return folder


@contextlib.contextmanager
def discarded_unless_begun(folder: RunFolder) -> Iterator[None]:
    """Take a folder that `create_run` made away again if the block fails before any checkpoint.

    A mistyped flag shall not leave an empty run behind, in the way of the next try.
    """
    try:
        yield
    except BaseException:
        if not folder.last.exists():
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def open_run(path: Path) -> RunFolder:
    """Return the folder of a run that was started before.

    Raises
    ------
    InputError
        There is no such folder, or it is not that of a run.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such run folder")
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise InputError(f"{path}: not a run folder: no {folder.config.name} in it")
    return folder


def new_run_path(backbone: str, *, runs: Path = RUNS) -> Path:
    """Return a path for a run under `runs` that nothing has yet: backbone and time (UTC)."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = itertools.chain([f"{backbone}-{now}"], (f"{backbone}-{now}-{i}" for i in range(2, 100)))
    return next(runs / name for name in names if not (runs / name).exists())


def newest_run(*, runs: Path = RUNS) -> Path:
    """Return the run under `runs` that was written to last.

    Raises
    ------
    InputError
        There is no run.
    """
    configs = [path for path in runs.glob("*/config.toml") if path.is_file()]
    if not configs:
        raise InputError(f"{runs}: no run in it")
    return max((path.parent for path in configs), key=_last_written)


def _last_written(run: Path) -> float:
    return max(path.stat().st_mtime for path in run.iterdir())
