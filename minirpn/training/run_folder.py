"""The folder of one training run: its files and records; no run overwrites another."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minirpn.data.folders import is_litter
from minirpn.devices import Device, open_device
from minirpn.errors import InputError
from minirpn.files import (
    append_text,
    folder_lock,
    is_unfinished,
    one_line_errors,
    open_regular,
    replace_file,
    write_json,
)
from minirpn.text import message, printable
from minirpn.training.config import TrainConfig, save_config
from minirpn.training.distributed import ALONE, Ranks
from minirpn.training.environment import describe_environment
from minirpn.training.phases import PHASE_NAMES
from minirpn.training.places import with_absolute_places

RUNS = Path("runs")

_LONGEST_RECORD = 2**22  # bytes of a line of ``metrics.jsonl``
_FOLDERS = ("checkpoints", "plots", "proposals", "detections", "explain", "tensorboard", "shapes")
_FILES = ("config.toml", "env.json", "data.json", "metrics.jsonl", "log.txt", "report.html")
_RESULTS = ("recall.json", "precision.json")
# What a run writes before its first checkpoint, seen from its folder.
_BEGINNING = re.compile(
    rf"""
    config\.toml | env\.json | data\.json | metrics\.jsonl | log\.txt
    | checkpoints/start\.npz | plots/samples/\d-0+\.png
    | checkpoints/\.(start|last)\.npz\.tmp  # an earlier version, killed
    | proposals/({"|".join(PHASE_NAMES)})\.npz
    | tensorboard/events\.[^/]+
    | (\.shapes-[^/]+/)?shapes/
      (JPEGImages/\d+\.jpg | Annotations/\d+\.xml | ImageSets/Main/\w+\.txt)
    """,
    re.VERBOSE,
)
# What the log of a run begins with.
_STARTED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ started on ")


@dataclass
class RunFolder:
    """The paths of the files of a run; `create_run` and `open_run` make one.

    =============== ========================= ====================================================
    ``config``      ``config.toml``           the settings in full
    ``environment`` ``env.json``              versions and machine of the first start
    ``data``        ``data.json``             what identifies the images, see `fingerprint`
    ``metrics``     ``metrics.jsonl``         the records, one JSON object a line
    ``text``        ``log.txt``               what happened, in words
    ``last``        ``checkpoints/last.npz``  the state to resume from
    ``best``        ``checkpoints/best.npz``  the state with the best validation recall
    ``start``       ``checkpoints/start.npz`` the state before the first step, if a phase needs it
    ``proposals()`` ``proposals/NAME.npz``    those that a phase of the training learns from
    ``plots``       ``plots/``                pictures
    ``samples``     ``plots/samples/``        the same images again and again
    ``tensorboard`` ``tensorboard/``          the records once more, with ``--tensorboard``
                    ``failure-STEP.npz``      a step whose numbers were not finite
    ``report``      ``report.html``           all of it on one page
    =============== ========================= ====================================================
    """

    path: Path

    def __post_init__(self) -> None:
        self.config = self.path / "config.toml"
        self.environment = self.path / "env.json"
        self.data = self.path / "data.json"
        self.metrics = self.path / "metrics.jsonl"
        self.text = self.path / "log.txt"
        self.last, self.best, self.start = (
            self.path / "checkpoints" / f"{name}.npz" for name in ("last", "best", "start")
        )
        self.plots = self.path / "plots"
        self.samples = self.plots / "samples"
        self.tensorboard = self.path / "tensorboard"
        self.report = self.path / "report.html"
        self._is_locked = False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Allow only this object to train in the folder during the block; see `folder_lock`.

        A block within such a block is part of it.
        """
        if self._is_locked:
            yield
            return
        with folder_lock(self.path):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def check_links(self) -> None:
        """Raise InputError if a file or folder of the run is a link.

        Through a link in a stranger's run, files elsewhere would be read into a report, or
        overwritten. The folder itself may be a link: the user has named it.
        """
        for name in (*_FOLDERS, *_FILES, *_RESULTS):
            top = self.path / name
            for one in (top, *_below(top)):
                if one.is_symlink():
                    raise InputError(f"{one}: a link, and links in a run folder are not followed")

    def proposals(self, phase: str) -> Path:
        """Return the file of the proposals that a phase learns from, given its name."""
        return self.path / "proposals" / f"{phase}.npz"

    def record(self, record: Mapping[str, Any]) -> None:
        """Append a record to ``metrics.jsonl``. Its ``step`` counts the steps done, from 1.

        JSON has no nan and no infinity: they are written as null.
        """
        append_text(self.metrics, json.dumps(_finite(record), allow_nan=False) + "\n")

    def warn(self, step: int, text: str) -> None:
        """Append a record of the kind "warning", whose message is one line of bounded length."""
        self.record({"kind": "warning", "step": step, "message": message(text)})

    @property
    def has_begun(self) -> bool:
        """Whether there is, or was, a checkpoint; a run that was killed early has none."""
        if self.last.exists() or self.best.exists():
            return True
        with contextlib.closing(self._lines()) as lines:
            return any(0 < _step_of(line) < math.inf for line in lines)

    def make_folders(self) -> None:
        """Make the folders that a run has from its beginning on."""
        with one_line_errors(self.path, "make the run folder"):
            # The first tells that what else is found is of a run.
            self.last.parent.mkdir(parents=True, exist_ok=True)
            self.plots.mkdir(exist_ok=True)

    def check_free(self) -> None:
        """Raise InputError if a run has begun in the folder, or if there are other files in it."""
        self.check_links()
        if self.has_begun:
            raise InputError(f"{self.path}: run folder exists: use --resume or another --out")
        is_start = self._is_of_a_start()
        for file in _below(self.path):
            if file.is_dir() or is_litter(file.name):
                continue
            if not (is_start and (file == self.report or self._is_of_beginning(file))):
                inside = file.relative_to(self.path)
                raise InputError(f"{self.path}: {inside} is in it: give another --out")

    def _is_of_a_start(self) -> bool:
        """Tell whether a start of minirpn's made the folder; other settings are the user's own.

        A start makes ``checkpoints/`` first, then the first line of the log, then all else.
        """
        if not self.last.parent.is_dir():
            return False
        if self.text.exists():
            with one_line_errors(self.text, "read"), open_regular(self.text, follow=False) as file:
                line = file.read(100)
            if line:  # else killed before it was written
                return bool(_STARTED.match(line))
        return not (self.config.exists() or self.environment.exists())

    def remove_beginning(self, *, but: Collection[str] = ()) -> None:
        """Remove what a run wrote before its first checkpoint, and folders that are then empty.

        `but` are names of files that stay. Nothing else is touched.
        """
        with one_line_errors(self.path, "remove what a stopped start left"):
            for one in _below(self.path):
                if one in (self.text, self.last.parent):
                    continue
                top = one.relative_to(self.path).parts[0]
                if one.is_dir() and not one.is_symlink():
                    if top in _FOLDERS or top.startswith(".shapes-"):
                        with contextlib.suppress(OSError):  # it is not empty
                            one.rmdir()
                elif self._is_of_beginning(one) and one.name not in but:
                    one.unlink()
            # These tell that the others are of a run, so they go last.
            if self.text.name not in but:
                with contextlib.suppress(FileNotFoundError):
                    self.text.unlink()
            if not but:
                with contextlib.suppress(OSError):  # it is not empty
                    self.last.parent.rmdir()

    def _is_of_beginning(self, file: Path) -> bool:
        """Tell whether a run writes a file of this path before its first checkpoint."""
        path = file.relative_to(self.path).as_posix()
        return bool(_BEGINNING.fullmatch(path)) or is_unfinished(file.name)

    def drop_records_after(self, step: int, kinds: Collection[str] = ()) -> None:
        """Drop the records of steps beyond `step`, and a line that a killed process cut short.

        Of `step` itself, drop the records of these kinds. A run that resumes there writes all those
        lines again.
        """
        if not self.metrics.exists():
            return

        def is_kept(line: bytes) -> bool:
            at = _step_of(line)
            return at < step or (at == step and json.loads(line).get("kind") not in kinds)

        def write(file: BinaryIO) -> None:
            file.writelines(line.rstrip() + b"\n" for line in self._lines() if is_kept(line))

        replace_file(self.metrics, write)

    def _lines(self) -> Generator[bytes]:
        """Yield the lines of ``metrics.jsonl``; InputError at one that no record is as long as."""
        if not self.metrics.exists():
            return
        with (
            one_line_errors(self.metrics, "read"),
            open_regular(self.metrics, follow=False) as file,
        ):
            while line := file.readline(_LONGEST_RECORD + 1):
                if len(line) > _LONGEST_RECORD:
                    raise OSError(errno.EFBIG, f"a line of more than {_LONGEST_RECORD:,} bytes")
                yield line

    def log(self, message: str) -> None:
        """Append a line to ``log.txt``, with the time (UTC) in front."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        append_text(self.text, f"{now} {printable(message)}\n")


def _below(folder: Path) -> Iterator[Path]:
    """Yield all that is in a folder and in those below it, a folder after what is in it."""
    for root, folders, files in os.walk(folder, topdown=False):
        yield from (Path(root, name) for name in (*files, *folders))


def _finite(value: Any) -> Any:
    """Return plain data with None in place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(line: bytes) -> float:
    """Return the step that a record is about; infinity if the line is not whole."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return math.inf
    return step if isinstance(step, int) else math.inf


def create_run(path: Path, config: TrainConfig, device: Device | None = None) -> RunFolder:
    """Make the folder of a new run at exactly `path`, with its settings and its environment.

    A run that was stopped there before its first checkpoint has nothing to lose: it makes room.

    Parameters
    ----------
    path
        The folder to make.
    config
        The run's settings; the data set gets an absolute path, see `with_absolute_places`.
    device
        Where it will compute, for ``env.json``; None for the one in the settings.

    Raises
    ------
    InputError
        A run has begun at `path`, or other files are there, or another process is training in it;
        the folder cannot be made, or the device cannot be used.
    """
    device = device or open_device(config.run.device, tf32=config.run.tf32)
    folder = RunFolder(path)
    with one_line_errors(path, "make the run folder"):
        path.mkdir(parents=True, exist_ok=True)
    with folder.lock():
        folder.check_free()
        _write_start(folder, config, device, ALONE)
    return folder


def _write_start(folder: RunFolder, config: TrainConfig, device: Device, ranks: Ranks) -> None:
    """Write the first files of a run to a folder that is free, in place of an earlier start's."""
    folder.remove_beginning()
    folder.make_folders()
    environment = describe_environment(device, ranks)
    version = environment["minirpn"]
    # It tells that the settings are a run's, so it goes first.
    folder.log(f"started on {device} with minirpn {version}: {shlex.join(sys.argv)}")
    for line in ranks.lines():
        folder.log(line)
    save_config(folder.config, with_absolute_places(config))
    write_json(folder.environment, environment)


@contextlib.contextmanager
def start_run(
    path: Path, config: TrainConfig, device: Device | None = None, ranks: Ranks = ALONE
) -> Iterator[RunFolder]:
    """Make the folder of a new run as `create_run` does, for a training in the block.

    If a mistake of the user's ends the block before the first checkpoint, what was made is removed
    again, so that a mistyped flag leaves no empty run: the files that a run writes until then, and
    the folders that were new, if nothing else is in them. What an earlier start left there, of a
    run that never began, is gone by then too: it has made room. An interrupted start stays, and can
    be resumed; so does one that a mistake of minirpn's ended, with its log.
    """
    device = device or open_device(config.run.device, tf32=config.run.tf32)
    folder = RunFolder(path)
    with one_line_errors(path, "make the run folder"):
        new = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
    with folder.lock():
        folder.check_free()
        try:
            _write_start(folder, config, device, ranks)
            yield folder
        except (InputError, OSError, MemoryError):
            with contextlib.suppress(InputError, OSError):
                if not folder.has_begun:
                    folder.remove_beginning()
                    for one in new:
                        one.rmdir()
            raise


def open_run(path: Path) -> RunFolder:
    """Return the folder of a run that was started before.

    An InputError says if it is none, or if there are links in it; see `RunFolder.check_links`.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such run folder")
    folder = RunFolder(path)
    folder.check_links()
    if not folder.config.is_file():
        if folder.last.parent.is_dir():
            raise InputError(
                f"{path}: the run was stopped before its settings were written: start it as "
                "before, with the same --out"
            )
        raise InputError(f"{path}: not a run folder: no {folder.config.name} in it")
    return folder


def new_run_path(backbone: str, *, runs: Path = RUNS) -> Path:
    """Return a path under `runs` that does not exist yet: backbone and time (UTC)."""
    name = f"{backbone}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(runs / name for name in names if not (runs / name).exists())


def newest_run(*, runs: Path = RUNS) -> Path:
    """Return the run under `runs` that was written to last; raise InputError if there is none."""
    found = [path.parent for path in runs.glob("*/config.toml") if path.is_file()]
    if not found:
        raise InputError(f"{runs}: no run in it")
    return max(found, key=_written)


def _written(run: Path) -> float:
    """Return when a file of a run was last written."""
    times = [0.0]
    for path in run.iterdir():
        with contextlib.suppress(OSError):  # one that is being written is gone again
            times.append(path.lstat().st_mtime)
    return max(times)


def require_tensorboard() -> None:
    """Raise InputError if the library that writes for TensorBoard is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "--tensorboard: needs tensorboardX; try: pip install 'minirpn[tensorboard]'"
        ) from None


class Records:
    """Writes the records of a run to ``metrics.jsonl`` and, if asked, to TensorBoard.

    Each start of a run adds an event file for TensorBoard. Given the `step` it starts from,
    TensorBoard hides what an earlier start wrote about later steps.
    """

    def __init__(self, folder: RunFolder, step: int, *, tensorboard: bool) -> None:
        self._folder = folder
        self._writer: Any = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            # The library names files by the second and overwrites one of the same name.
            self._writer = SummaryWriter(
                str(folder.tensorboard),
                purge_step=step + 1,
                flush_secs=10,
                filename_suffix=f".{step}",
            )

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record; TensorBoard gets each number as ``KIND/NAME``."""
        self._folder.record(record)
        if self._writer is not None:
            for name, value in numbers_of(record):
                self._writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])

    def picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Show a picture (h, w, 3) uint8 in TensorBoard."""
        if self._writer is not None:
            self._writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Write everything to the disk."""
        if self._writer is not None:
            self._writer.close()


def numbers_of(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a record with their names; those within others as ``OUTER/INNER``."""
    for name, value in record.items():
        if name in ("kind", "step"):
            continue
        if isinstance(value, list | tuple):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", item) for inner, item in numbers_of(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value
